//! Speed and size of the real server, as tables: what a run costs, what it costs to keep many, how long a start takes.

mod costs;
mod phase;
mod sizes;
mod starts;

use aegis_bench::place::{Place, Subject, ended};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Result;
use std::process::ExitCode;
use std::time::Duration;

/// Measures the release binary beside this one, and prints tables in Markdown.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// How often everything is measured; the tables show the median, the least and the greatest
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Seconds for each row in each round
    #[arg(long, value_name = "S", default_value_t = 1.5)]
    seconds: f64,
}

/// What every table needs.
struct Bench {
    place: Place,
    rounds: usize,
    time: Duration,
    bar: ProgressBar,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    ended(measure(Arguments::parse()).await)
}

async fn measure(arguments: Arguments) -> Result<()> {
    let bench = Bench::new(&arguments)?;
    bench.show(format!("Measured on {}; {} rounds: median (least–greatest).\n", bench.place.describe(), bench.rounds));
    bench.show(costs::table(&bench).await?);
    bench.show(sizes::table(&bench).await?);
    bench.show(starts::table(&bench)?);
    Ok(())
}

impl Bench {
    fn new(arguments: &Arguments) -> Result<Bench> {
        let (rounds, time) = (arguments.rounds.max(1), Duration::from_secs_f64(arguments.seconds));
        let bar = ProgressBar::new(costs::steps(rounds) + sizes::STEPS + starts::STEPS);
        bar.set_style(ProgressStyle::with_template("{wide_bar} {msg} {elapsed}").expect("a template of known fields"));
        Ok(Bench { place: Place::new(&arguments.subject)?, rounds, time, bar })
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
