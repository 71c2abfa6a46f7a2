//! What a run costs: time, processor, disk. Rounds are interleaved, each on a fresh server, so that a busy minute strikes
//! every row alike.

use crate::Bench;
use crate::phase::Phase;
use aegis_bench::load::Enough;
use aegis_bench::meter::Used;
use aegis_bench::server::Server;
use aegis_bench::table::{Table, short, spread};
use std::io::{ErrorKind, Result};
use std::time::Duration;

const CONNECTIONS: [usize; 3] = [1, 8, 32];

/// Syncs are counted in a pass of its own, since the watching costs time; a short one, since they hardly vary.
const WATCHED: Duration = Duration::from_millis(700);

const COMMITS: &str = "
¹ There is no strace here to count fsyncs with. These are the store's own transactions, each of which is one; folding the
write-ahead log into the database adds two for about every thousand pages.
";

pub(crate) fn steps(rounds: usize) -> u64 {
    ((rounds + 1) * rows().count()) as u64
}

/// Most is asked over one connection first; each phase follows the one that it needs.
fn rows() -> impl Iterator<Item = (Phase, usize)> {
    CONNECTIONS.into_iter().flat_map(|connections| Phase::ALL.map(|phase| (phase, connections)))
}

#[derive(Clone, Copy)]
struct Figures {
    per_second: f64,
    p50: f64,
    p99: f64,
    cpu_us: f64,
    written_kib: f64,
}

pub(crate) async fn table(bench: &Bench) -> Result<String> {
    let mut rounds = Vec::new();
    for round in 1..=bench.rounds {
        rounds.push(measure(bench, round).await?);
    }
    let syncs = count_syncs(bench).await?;
    let how = if syncs.watched { "fsyncs" } else { "commits¹" };
    let mut table = Table::new(&["", "connections", "per second", "p50 ms", "p99 ms", "CPU µs", "KiB written", how]);
    let mut rows: Vec<_> = rows().enumerate().collect();
    rows.sort_by_key(|(_, (phase, _))| Phase::ALL.iter().position(|it| it == phase));
    for (index, (phase, connections)) in rows {
        let of = |figure: fn(&Figures) -> f64| spread(&rounds.iter().map(|round| figure(&round[index])).collect::<Vec<_>>());
        let figures = [of(|it| it.per_second), of(|it| it.p50), of(|it| it.p99), of(|it| it.cpu_us), of(|it| it.written_kib)];
        table.row([phase.name().into(), connections.to_string()].into_iter().chain(figures).chain([short(syncs.each[index])]));
    }
    let note = if syncs.watched { "" } else { COMMITS };
    Ok(format!("{table}{note}"))
}

/// One round, row by row.
async fn measure(bench: &Bench, round: usize) -> Result<Vec<Figures>> {
    let folder = bench.folder()?;
    let server = bench.build.start(folder.path())?;
    let (mut paused, mut figures) = (Vec::new(), Vec::new());
    warm_up(&server).await?;
    for (phase, connections) in rows() {
        bench.step(format!("round {round}/{}: {}, {connections} connections", bench.rounds, phase.name()));
        let before = Used::by(server.pid)?;
        let found = phase.run(server.address, connections, Enough { time: bench.time, answers: usize::MAX }, &mut paused).await?;
        let (after, each) = (Used::by(server.pid)?, found.answers as f64);
        figures.push(Figures {
            per_second: found.per_second(),
            p50: found.quantile(0.50),
            p99: found.quantile(0.99),
            cpu_us: (after.cpu_seconds - before.cpu_seconds) * 1e6 / each,
            written_kib: (after.written_bytes - before.written_bytes) / 1024.0 / each,
        });
    }
    Ok(figures)
}

/// Every way once, so that no row pays for what is made at its first use.
async fn warm_up(server: &Server) -> Result<()> {
    let mut paused = Vec::new();
    for phase in Phase::ALL {
        phase.run(server.address, 8, Enough { time: Duration::from_secs(5), answers: 100 }, &mut paused).await?;
    }
    Ok(())
}

struct Syncs {
    /// By strace, rather than counted by the store itself.
    watched: bool,
    /// Per answer, row by row.
    each: Vec<f64>,
}

async fn count_syncs(bench: &Bench) -> Result<Syncs> {
    let folder = bench.folder()?;
    let server = match bench.build.start_watched(folder.path()) {
        Err(error) if error.kind() == ErrorKind::NotFound => bench.build.start(folder.path()),
        started => started,
    }?;
    let (mut paused, mut each) = (Vec::new(), Vec::new());
    warm_up(&server).await?;
    for (phase, connections) in rows() {
        bench.step(format!("counting fsyncs: {}, {connections} connections", phase.name()));
        let before = syncs(&server)?;
        let found = phase.run(server.address, connections, Enough { time: WATCHED, answers: usize::MAX }, &mut paused).await?;
        each.push((syncs(&server)? - before) / found.answers as f64);
    }
    Ok(Syncs { watched: server.syncs()?.is_some(), each })
}

fn syncs(server: &Server) -> Result<f64> {
    server.syncs()?.map_or_else(|| server.counter("aegis_store_transactions_total"), |it| Ok(it as f64))
}
