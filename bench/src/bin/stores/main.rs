//! What it costs to keep much: the ledger's share of a commit, long ledgers, many runs, many questions. A figure that is the store's is
//! measured on the store, one that is the server's on the real binary.

mod held;
mod ledger;
mod lists;
mod made;
mod recovery;

use aegis_bench::place::{Place, Subject, ended};
use aegis_bench::table::Table;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Result;
use std::process::ExitCode;

/// The same as the real binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the store and the release binary beside this program, and prints a table in Markdown.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// All numbers of runs and lines, divided by this; the figures to reach are for 1
    #[arg(long, value_name = "N", default_value_t = 1)]
    smaller: u64,
    /// Only what begins with one of these: ledger, lists, held, recovery
    #[arg(long, value_name = "WHAT")]
    only: Vec<String>,
}

/// What every figure needs.
struct Bench {
    place: Place,
    smaller: u64,
    bar: ProgressBar,
    table: Table,
}

#[tokio::main]
async fn main() -> ExitCode {
    ended(measure(Arguments::parse()).await)
}

async fn measure(arguments: Arguments) -> Result<()> {
    let wanted = |what: &str| arguments.only.is_empty() || arguments.only.iter().any(|it| it == what);
    let mut bench = Bench::new(&arguments)?;
    if wanted("ledger") {
        ledger::measure(&mut bench).await?;
    }
    if wanted("lists") {
        lists::measure(&mut bench).await?;
    }
    if wanted("held") {
        held::measure(&mut bench).await?;
    }
    if wanted("recovery") {
        recovery::measure(&mut bench).await?;
    }
    bench.bar.finish_and_clear();
    println!("Measured on {}.\n\n{}", bench.place.describe(), bench.table);
    Ok(())
}

impl Bench {
    fn new(arguments: &Arguments) -> Result<Bench> {
        let bar = ProgressBar::new(1);
        bar.set_style(ProgressStyle::with_template("{wide_bar} {msg} {pos}/{len} {elapsed}").expect("a template of known fields"));
        let table = Table::new(&["of a store", "measured", "to reach"]);
        Ok(Bench { place: Place::new(&arguments.subject)?, smaller: arguments.smaller.max(1), bar, table })
    }

    /// What is going on now, in so many steps.
    fn begin(&self, what: impl Into<String>, steps: u64) {
        self.bar.set_message(what.into());
        self.bar.set_length(steps);
        self.bar.set_position(0);
    }

    fn row(&mut self, what: impl Into<String>, measured: impl Into<String>, limit: &str) {
        self.table.row([what.into(), measured.into(), limit.into()]);
    }
}

/// As people write it: 1 000 000.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|it| std::str::from_utf8(it).expect("digits")).collect();
    parts.join(" ")
}
