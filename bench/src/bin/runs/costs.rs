//! What a run costs: time, processor, disk. Rounds are interleaved, each on a fresh server, so that a busy minute strikes
//! every row alike.

use crate::Bench;
use crate::phase::Phase;
use aegis_bench::load::Enough;
use aegis_bench::meter::Used;
use aegis_bench::server::Server;
use aegis_bench::table::{Table, spread};
use std::io::{ErrorKind, Result};
use std::time::Duration;

const CONNECTIONS: [usize; 3] = [1, 8, 32];

/// How many fsyncs a transaction takes is counted in a pass of its own; a short one, since it hardly varies.
const WATCHED: Duration = Duration::from_millis(700);

const COMMITS: &str = "
¹ There is no strace here to count fsyncs with. These are the store's own transactions, each of which is one; folding the
write-ahead log into the database adds two for about every thousand pages.
";

const FSYNCS: &str = "
¹ The store's transactions for each answer, as it counts them itself, times the fsyncs that a transaction takes, which strace counts in a pass of its own:
watched, commits are slower, so that fewer of them wait for each other and share one.
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
    transactions: f64,
}

pub(crate) async fn table(bench: &Bench) -> Result<String> {
    let mut rounds = Vec::new();
    for round in 1..=bench.rounds {
        rounds.push(measure(bench, round).await?);
    }
    let syncs = count_syncs(bench).await?;
    let (how, note) = if syncs.is_some() { ("fsyncs¹", FSYNCS) } else { ("commits¹", COMMITS) };
    let mut table = Table::new(&["", "connections", "per second", "p50 ms", "p99 ms", "CPU µs", "KiB written", how]);
    let mut rows: Vec<_> = rows().enumerate().collect();
    rows.sort_by_key(|(_, (phase, _))| Phase::ALL.iter().position(|it| it == phase));
    for (index, (phase, connections)) in rows {
        let of = |figure: fn(&Figures) -> f64| spread(&rounds.iter().map(|round| figure(&round[index])).collect::<Vec<_>>());
        let figures = [of(|it| it.per_second), of(|it| it.p50), of(|it| it.p99), of(|it| it.cpu_us), of(|it| it.written_kib)];
        let each = syncs.as_ref().map_or(1.0, |it| it[index]);
        let synced = spread(&rounds.iter().map(|round| round[index].transactions * each).collect::<Vec<_>>());
        table.row([phase.name().into(), connections.to_string()].into_iter().chain(figures).chain([synced]));
    }
    Ok(format!("{table}{note}\n{}", resumes(&rounds)))
}

/// The CPU of a resume as a multiple of that of a run which nobody has to decide, both of the same round.
fn resumes(rounds: &[Vec<Figures>]) -> Table {
    let mut table = Table::new(&["CPU of a resume, by that of a", "1 connection", "8", "32", "to reach"]);
    for plain in [Phase::NoGuard, Phase::OneGuard] {
        let ratio = |connections| {
            let cpu = |round: &[Figures], phase| {
                rows().zip(round).find(|(row, _)| *row == (phase, connections)).map_or(f64::NAN, |(_, it)| it.cpu_us)
            };
            spread(&rounds.iter().map(|round| cpu(round, Phase::Approved) / cpu(round, plain)).collect::<Vec<_>>())
        };
        table.row([plain.name().into()].into_iter().chain(CONNECTIONS.map(ratio)).chain(["1.5".into()]));
    }
    table
}

/// One round, row by row.
async fn measure(bench: &Bench, round: usize) -> Result<Vec<Figures>> {
    let folder = bench.place.folder()?;
    let server = bench.place.build.start(folder.path())?;
    let (mut paused, mut figures) = (Vec::new(), Vec::new());
    warm_up(&server).await?;
    for (phase, connections) in rows() {
        bench.step(format!("round {round}/{}: {}, {connections} connections", bench.rounds, phase.name()));
        let (transactions, before) = (transactions(&server)?, Used::by(server.pid)?);
        let found = phase.run(server.address, connections, Enough { time: bench.time, answers: usize::MAX }, &mut paused).await?;
        let (after, each) = (Used::by(server.pid)?, found.answers as f64);
        figures.push(Figures {
            per_second: found.per_second(),
            p50: found.quantile(0.50),
            p99: found.quantile(0.99),
            cpu_us: (after.cpu_seconds - before.cpu_seconds) * 1e6 / each,
            written_kib: (after.written_bytes - before.written_bytes) / 1024.0 / each,
            transactions: (self::transactions(&server)? - transactions) / each,
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

/// Fsyncs in a transaction, row by row; none where there is no `strace`.
async fn count_syncs(bench: &Bench) -> Result<Option<Vec<f64>>> {
    let folder = bench.place.folder()?;
    let server = match bench.place.build.start_watched(folder.path()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        started => started?,
    };
    let (mut paused, mut each) = (Vec::new(), Vec::new());
    warm_up(&server).await?;
    for (phase, connections) in rows() {
        bench.step(format!("counting fsyncs: {}, {connections} connections", phase.name()));
        let before = (server.syncs()?, transactions(&server)?);
        phase.run(server.address, connections, Enough { time: WATCHED, answers: usize::MAX }, &mut paused).await?;
        let after = (server.syncs()?, transactions(&server)?);
        // What only reads has none.
        each.push((after.0 - before.0) as f64 / (after.1 - before.1).max(1.0));
    }
    Ok(Some(each))
}

fn transactions(server: &Server) -> Result<f64> {
    server.counter("aegis_store_transactions_total")
}
