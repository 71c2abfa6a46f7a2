//! Memory: of a server that idles, and of one that keeps many runs for people to decide.

use crate::Bench;
use crate::phase::Phase;
use aegis_bench::load::Enough;
use aegis_bench::meter::resident_mib;
use aegis_bench::table::{Table, short};
use std::io::Result;
use std::time::Duration;

const PAUSED: [usize; 3] = [1_000, 10_000, 20_000];
pub(crate) const STEPS: u64 = PAUSED.len() as u64 + 2;

pub(crate) async fn table(bench: &Bench) -> Result<Table> {
    let folder = bench.place.folder()?;
    let server = bench.place.build.start(folder.path())?;
    let mut table = Table::new(&["memory", "resident MiB", "of it its own MiB"]);
    let mut row = |what: String| {
        let (resident, own) = resident_mib(server.pid)?;
        table.row([what, short(resident), short(own)]);
        Ok::<_, std::io::Error>(())
    };
    bench.step("memory: idle");
    tokio::time::sleep(Duration::from_secs(1)).await;
    row("idle".into())?;
    let mut paused = Vec::new();
    for many in PAUSED {
        bench.step(format!("memory: {many} paused runs"));
        let enough = Enough { time: Duration::from_secs(60), answers: many - paused.len() };
        Phase::Paused.run(server.address, 8, enough, &mut paused).await?;
        row(format!("{} runs paused", paused.len()))?;
    }
    bench.step("memory: after completed runs");
    let enough = Enough { time: Duration::from_secs(60), answers: PAUSED[2] };
    let found = Phase::OneGuard.run(server.address, 32, enough, &mut paused).await?;
    row(format!("and {} completed, 32 at once", found.answers))?;
    Ok(table)
}
