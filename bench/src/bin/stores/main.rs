//! What it costs to keep much: the ledger's share of a commit, long ledgers, many runs, many questions. A figure that is the store's is
//! measured on the store, one that is the server's on the real binary.

mod held;
mod ledger;
mod lists;
mod made;
mod recovery;

use aegis_bench::machine;
use aegis_bench::server::Build;
use aegis_bench::table::Table;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::process::ExitCode;
use tempfile::TempDir;

/// The same as the real binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the store and the release binary beside this program, and prints a table in Markdown.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server's binary; the one beside this program when left out
    #[arg(long, value_name = "F")]
    binary: Option<PathBuf>,
    /// Its configuration, with the routes of bench/aegis.yaml
    #[arg(long, value_name = "F", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/aegis.yaml"))]
    config: PathBuf,
    /// All numbers of runs and lines, divided by this; the figures to reach are for 1
    #[arg(long, value_name = "N", default_value_t = 1)]
    smaller: u64,
    /// Only what begins with one of these: ledger, lists, held, recovery
    #[arg(long, value_name = "WHAT")]
    only: Vec<String>,
}

/// What every figure needs.
struct Bench {
    build: Build,
    place: PathBuf,
    smaller: u64,
    bar: ProgressBar,
    table: Table,
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
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
    println!("Measured on {}.\n\n{}", machine::describe(&bench.place), bench.table);
    Ok(())
}

impl Bench {
    fn new(arguments: &Arguments) -> Result<Bench> {
        let here = std::env::current_exe()?;
        let place = here.parent().ok_or_else(|| Error::other("this program is in no folder"))?.to_path_buf();
        let binary = arguments.binary.clone().unwrap_or_else(|| place.join("aegis"));
        let missing = |_| Error::new(ErrorKind::NotFound, format!("there is no {}: say `make bench`", binary.display()));
        let build = Build { binary: binary.canonicalize().map_err(missing)?, config: arguments.config.canonicalize()? };
        let bar = ProgressBar::new(1);
        bar.set_style(ProgressStyle::with_template("{wide_bar} {msg} {pos}/{len} {elapsed}").expect("a template of known fields"));
        let table = Table::new(&["of a store", "measured", "to reach"]);
        Ok(Bench { build, place, smaller: arguments.smaller.max(1), bar, table })
    }

    /// A new folder beside the build, on whatever disk that is: in memory, as `/tmp` often is, there would be no disk to wait for.
    fn folder(&self) -> Result<TempDir> {
        tempfile::Builder::new().prefix("bench-").tempdir_in(&self.place)
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
