//! One load on SQLite with one host and on a real Postgres with one, two and four: what equal hosts add, and what a run costs each side.

mod setup;

use aegis_bench::load::{Ask, Enough, load, message};
use aegis_bench::meter::Used;
use aegis_bench::place::{Place, Subject, ended};
use aegis_bench::table::{Table, spread};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use setup::{Other, Running, Setup};
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

const HOSTS: [usize; 3] = [1, 2, 4];
/// No row pays for what is made at its first use.
const WARM_UP: usize = 500;

/// Measures the release binary beside this one on SQLite and on a Postgres of its own, and prints a table in Markdown.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// How often everything is measured; the table shows the median, the least and the greatest
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Seconds for each row in each round
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    seconds: f64,
    /// Connections at once, over all hosts
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "8,32,128")]
    connections: Vec<usize>,
    /// A server with this API that runs already, to be measured beside the others
    #[arg(long, value_name = "ADDRESS", requires = "pid")]
    other: Option<SocketAddr>,
    /// Its process
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

/// Of a run.
struct Figures {
    per_second: f64,
    p50: f64,
    p99: f64,
    cpu_us: f64,
    postgres_us: f64,
    transactions: f64,
    wal: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    ended(measure(Arguments::parse()).await)
}

async fn measure(arguments: Arguments) -> Result<()> {
    let place = Place::new(&arguments.subject)?;
    let other = arguments.other.zip(arguments.pid).map(|(address, pid)| Other { address, pid });
    let hosts = if aegis_postgres::is_installed() { &HOSTS[..] } else { &[] };
    if hosts.is_empty() {
        eprintln!("bench: there is no Postgres here, so only SQLite is measured: say `scripts/setup.sh --tests`");
    }
    let shared = hosts.iter().map(|hosts| Setup::Postgres(*hosts));
    let ways: Vec<Setup> = [Setup::Sqlite].into_iter().chain(shared).chain(other.map(Setup::Other)).collect();
    let bar = ProgressBar::new((arguments.rounds * ways.len() * arguments.connections.len()) as u64);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {msg} {elapsed}").expect("a template of known fields"));
    let mut rows: Vec<Vec<Figures>> = (0..ways.len() * arguments.connections.len()).map(|_| vec![]).collect();
    for round in 1..=arguments.rounds {
        for (at, way) in ways.iter().enumerate() {
            bar.set_message(format!("round {round}/{}: {}", arguments.rounds, way.name()));
            let found = each(&place, way, &arguments, &bar).await?;
            rows[at * arguments.connections.len()..].iter_mut().zip(found).for_each(|(row, figures)| row.push(figures));
        }
    }
    bar.finish_and_clear();
    println!("Measured on {}; {} rounds: median (least–greatest).\n", place.describe(), arguments.rounds);
    println!("{}", table(&ways, &arguments.connections, &rows));
    Ok(())
}

/// One round of one way, for each number of connections.
async fn each(place: &Place, way: &Setup, arguments: &Arguments, bar: &ProgressBar) -> Result<Vec<Figures>> {
    let running = Running::start(place, way)?;
    let addresses = running.addresses();
    let ask = Ask::Create { route: "default", text: message(""), status: "completed" };
    load(&addresses, 8, &ask, Enough { time: Duration::from_secs(10), answers: WARM_UP }).await?;
    let mut figures = vec![];
    for &connections in &arguments.connections {
        let before = (cpu(&running.hosts())?, cpu(&running.postgres())?, running.counters()?);
        let found =
            load(&addresses, connections, &ask, Enough { time: Duration::from_secs_f64(arguments.seconds), answers: usize::MAX }).await?;
        let after = (cpu(&running.hosts())?, cpu(&running.postgres())?, running.counters()?);
        if found.wrong > 0 || found.answers == 0 {
            return Err(Error::other(format!("{}: {} of {} answers were not what they should be", way.name(), found.wrong, found.answers)));
        }
        let runs = found.answers as f64;
        figures.push(Figures {
            per_second: found.per_second(),
            p50: found.quantile(0.50),
            p99: found.quantile(0.99),
            cpu_us: (after.0 - before.0) * 1e6 / runs,
            postgres_us: (after.1 - before.1) * 1e6 / runs,
            transactions: (after.2.transactions - before.2.transactions) / runs,
            wal: (after.2.wal - before.2.wal) / runs,
        });
        bar.inc(1);
    }
    Ok(figures)
}

/// Seconds, of all of them; one that has ended meanwhile counts no more.
fn cpu(processes: &[u32]) -> Result<f64> {
    let each = processes.iter().map(|&pid| match Used::by(pid) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0.0),
        used => used.map(|it| it.cpu_seconds),
    });
    each.sum()
}

fn table(ways: &[Setup], connections: &[usize], rows: &[Vec<Figures>]) -> Table {
    let mut table = Table::new(&[
        "",
        "connections",
        "runs per second",
        "p50 ms",
        "p99 ms",
        "CPU µs, Aegis",
        "CPU µs, Postgres",
        "transactions",
        "WAL bytes",
    ]);
    let heads = ways.iter().flat_map(|way| connections.iter().map(move |connections| (way, connections)));
    for ((way, connections), row) in heads.zip(rows) {
        let of = |figure: fn(&Figures) -> f64| spread(&row.iter().map(figure).collect::<Vec<_>>());
        let asked = |figure| if way.has_postgres() { of(figure) } else { String::new() };
        table.row([
            way.name(),
            connections.to_string(),
            of(|it| it.per_second),
            of(|it| it.p50),
            of(|it| it.p99),
            of(|it| it.cpu_us),
            asked(|it| it.postgres_us),
            if matches!(way, Setup::Other(_)) { String::new() } else { of(|it| it.transactions) },
            asked(|it| it.wal),
        ]);
    }
    table
}
