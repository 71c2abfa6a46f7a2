//! Memory of a server that keeps many runs for people to decide, beside one that keeps none.

use crate::made::{self, Stand};
use crate::{Bench, grouped};
use aegis_bench::meter::resident_mib;
use aegis_bench::table::short;
use std::io::Result;
use std::time::Duration;

const PAUSED: u64 = 100_000;

pub(crate) async fn measure(bench: &mut Bench) -> Result<()> {
    let count = PAUSED / bench.smaller;
    let mut found = vec![];
    for paused in [0, count] {
        let folder = bench.place.folder()?;
        bench.begin("making paused runs", paused);
        made::store(&folder.path().join("aegis.db"), paused, |_| Stand::Paused, &bench.bar).await?;
        bench.begin(format!("a server with {} of them", grouped(paused)), 1);
        // Once more with everything compiled, as a server that has been there for a while.
        drop(bench.place.build.start(folder.path())?);
        let server = bench.place.build.start(folder.path())?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        found.push(resident_mib(server.pid)?);
    }
    let [(none, own_none), (many, own_many)] = found[..] else { unreachable!("two were measured") };
    let measured = format!("{} and {} ({} and {})", short(none), short(many), short(own_none), short(own_many));
    bench.row(format!("resident MiB with no paused run and with {} (of it its own)", grouped(count)), measured, "the same");
    Ok(())
}
