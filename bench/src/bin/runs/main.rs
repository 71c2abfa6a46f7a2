//! Speed and size of the real server, as tables: what a run costs, what it costs to keep many, how long a start takes.

mod costs;
mod phase;
mod sizes;
mod starts;

use aegis_bench::machine;
use aegis_bench::server::Build;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tempfile::TempDir;

/// Measures the release binary beside this one, and prints tables in Markdown.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server's binary; the one beside this program when left out
    #[arg(long, value_name = "F")]
    binary: Option<PathBuf>,
    /// Its configuration, with the routes of bench/aegis.yaml
    #[arg(long, value_name = "F", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/aegis.yaml"))]
    config: PathBuf,
    /// How often everything is measured; the tables show the median, the least and the greatest
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Seconds for each row in each round
    #[arg(long, value_name = "S", default_value_t = 1.5)]
    seconds: f64,
}

/// What every table needs.
struct Bench {
    build: Build,
    place: PathBuf,
    rounds: usize,
    time: Duration,
    bar: ProgressBar,
}

#[tokio::main(flavor = "current_thread")]
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
    let bench = Bench::new(arguments)?;
    bench.show(format!("Measured on {}; {} rounds: median (least–greatest).\n", machine::describe(&bench.place), bench.rounds));
    bench.show(costs::table(&bench).await?);
    bench.show(sizes::table(&bench).await?);
    bench.show(starts::table(&bench)?);
    Ok(())
}

impl Bench {
    fn new(arguments: Arguments) -> Result<Bench> {
        let here = std::env::current_exe()?;
        let place = here.parent().ok_or_else(|| Error::other("this program is in no folder"))?.to_path_buf();
        let binary = arguments.binary.unwrap_or_else(|| place.join("aegis"));
        let missing = |_| Error::new(ErrorKind::NotFound, format!("there is no {}: say `make bench`", binary.display()));
        let build = Build { binary: binary.canonicalize().map_err(missing)?, config: arguments.config.canonicalize()? };
        let (rounds, time) = (arguments.rounds.max(1), Duration::from_secs_f64(arguments.seconds));
        let bar = ProgressBar::new(costs::steps(rounds) + sizes::STEPS + starts::STEPS);
        bar.set_style(ProgressStyle::with_template("{wide_bar} {msg} {elapsed}").expect("a template of known fields"));
        Ok(Bench { build, place, rounds, time, bar })
    }

    /// A new folder beside the build, on whatever disk that is: in memory, as `/tmp` often is, there would be no disk to wait for.
    fn folder(&self) -> Result<TempDir> {
        tempfile::Builder::new().prefix("bench-").tempdir_in(&self.place)
    }

    fn step(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
        self.bar.inc(1);
    }

    fn show(&self, what: impl std::fmt::Display) {
        self.bar.suspend(|| println!("{what}"));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
