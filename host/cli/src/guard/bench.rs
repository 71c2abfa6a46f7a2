//! `aegis guard bench`: what a scan costs in a fresh sandbox, as a host makes it, and in one that is there already. Only measured; nobody is
//! judged by a used sandbox.

use super::asked::Asked;
use super::trial::Trial;
use crate::failure::Failure;
use crate::loading::blocking;
use crate::terminal::{self, line, print, print_json};
use aegis_core::GuardFailure;
use aegis_wasm::{Load, LoadedGuard};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When nothing else is said: 200 bytes as people write them.
const TEXT: &str = "Could you summarise the three attached reports by Friday? The total was 1,234.56 EUR, about 12 % more than last year. \
                    If something is unclear, write to the team or call; we are here until 17:30. Thanks!";
/// Scans before anything counts.
const FIRST: usize = 20;
/// Scans of each kind at least, and at most.
const LEAST: usize = 20;
const MOST: usize = 100_000;
/// A fresh scan may cost so many times a warm one before something is said about it.
const DEAR: f64 = 40.0;
/// Instances that are held at once to see what one takes.
const HELD: usize = 8;

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 when it was measured, 1 when the guard cannot be loaded or fails, 2 for wrong usage.")]
pub(crate) struct Bench {
    /// The guard's component
    #[arg(value_name = "F")]
    component: PathBuf,
    #[command(flatten)]
    asked: Asked,
    /// How long to measure each kind, in seconds
    #[arg(long, value_name = "N", default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|it| (0.01..=600.0).contains(it)).ok_or_else(|| "write a number from 0.01 to 600".into())
}

/// Times of one kind of scan, sorted.
struct Times(Vec<Duration>);

struct Measured {
    load: Load,
    fresh: Times,
    warm: Times,
    /// Of making the sandbox alone, without a scan in it.
    made: Times,
    /// How much of the processor's time was the system's, in fresh scans and in making sandboxes: it gives each its memory, page by page. None where
    /// that cannot be told.
    system: Option<[f64; 2]>,
    /// Bytes of linear memory.
    memory: usize,
    /// Bytes that a live instance takes of the machine's memory; none where that cannot be told.
    resident: Option<usize>,
}

impl Bench {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let bench = Arc::new(self);
        let loading = bench.clone();
        let guard = blocking(move || loading.asked.load(&loading.component)).await?;
        let trial = bench.asked.trial(&guard, bench.asked.stage_of(&guard)?, TEXT)?;
        let measured = bench.measure(&guard, &trial).await;
        let measured = measured.map_err(|failure| Failure::new(failure.kind().code(), format!("the guard {failure}")))?;
        if bench.json { print_json(&as_json(&guard, &measured)) } else { print(&rendered(&guard, &measured)) }
    }

    async fn measure(&self, guard: &LoadedGuard, trial: &Trial) -> Result<Measured, GuardFailure> {
        let input = trial.input();
        let mut memory = 0;
        for _ in 0..FIRST {
            let (result, used) = guard.measure(&input).await;
            result?;
            memory = used.memory;
        }
        let resident = resident_of(guard, trial).await?;
        let (mut made, began, first) = (vec![], Instant::now(), processor());
        while self.goes_on(made.len(), began) {
            let start = Instant::now();
            drop(guard.warm().await?);
            made.push(start.elapsed());
        }
        let (mut fresh, began, before) = (vec![], Instant::now(), processor());
        while self.goes_on(fresh.len(), began) {
            let start = Instant::now();
            guard.scan(&input).await?;
            fresh.push(start.elapsed());
        }
        let system = || Some([share(before?, processor()?)?, share(first?, before?)?]);
        let system = system();
        let (mut warm, mut instance, began) = (vec![], guard.warm().await?, Instant::now());
        for _ in 0..FIRST {
            instance.scan(&input).await?;
        }
        while self.goes_on(warm.len(), began) {
            let start = Instant::now();
            instance.scan(&input).await?;
            warm.push(start.elapsed());
        }
        let (fresh, warm, made) = (Times::new(fresh), Times::new(warm), Times::new(made));
        Ok(Measured { load: guard.load().clone(), fresh, warm, made, system, memory, resident })
    }

    fn goes_on(&self, count: usize, began: Instant) -> bool {
        count < LEAST || (count < MOST && began.elapsed().as_secs_f64() < self.seconds)
    }
}

/// What [`HELD`] instances take that have each scanned once, for one.
async fn resident_of(guard: &LoadedGuard, trial: &Trial) -> Result<Option<usize>, GuardFailure> {
    let before = resident();
    let mut held = vec![];
    for _ in 0..HELD {
        let mut instance = guard.warm().await?;
        instance.scan(&trial.input()).await?;
        held.push(instance);
    }
    let after = resident();
    Ok(before.zip(after).map(|(before, after)| after.saturating_sub(before) / held.len()))
}

/// Bytes of memory that this process occupies, where Linux tells it.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<usize>().ok()? * 1024)
}

/// Ticks of the processor that this process has had by itself and by the system, where Linux tells it.
fn processor() -> Option<[u64; 2]> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11).map(str::parse);
    Some([fields.next()?.ok()?, fields.next()?.ok()?])
}

/// The system's share, where there are enough ticks to tell.
fn share([own, system]: [u64; 2], [own_after, system_after]: [u64; 2]) -> Option<f64> {
    let (own, system) = (own_after.saturating_sub(own), system_after.saturating_sub(system));
    (own + system >= 20).then(|| system as f64 / (own + system) as f64)
}

impl Times {
    fn new(mut times: Vec<Duration>) -> Times {
        times.sort_unstable();
        Times(times)
    }

    /// Microseconds.
    fn percentile(&self, percent: f64) -> f64 {
        let at = (self.0.len() as f64 * percent / 100.0) as usize;
        self.0.get(at.min(self.0.len().saturating_sub(1))).map_or(f64::NAN, |it| it.as_secs_f64() * 1e6)
    }

    fn in_words(&self) -> String {
        let [p50, p90, p99] = [50.0, 90.0, 99.0].map(|it| time(self.percentile(it)));
        format!("{p50} (90 %: {p90}, 99 %: {p99}) in {} scans", self.0.len())
    }

    fn as_json(&self) -> Value {
        let of = |percent| (self.percentile(percent) * 10.0).round() / 10.0;
        json!({"scans": self.0.len(), "p50": of(50.0), "p90": of(90.0), "p99": of(99.0), "least": of(0.0), "most": of(100.0)})
    }

    /// A line for each doubling of time, with a bar as long as its share.
    fn histogram(&self) -> String {
        let bucket = |it: &Duration| (it.as_nanos().max(1) as f64 / 1e3).max(0.125).log2().floor() as i32;
        let counts = self.0.iter().map(bucket).fold(std::collections::BTreeMap::<i32, usize>::new(), |mut counts, it| {
            *counts.entry(it).or_default() += 1;
            counts
        });
        let most = counts.values().max().copied().unwrap_or(1);
        let line = |(bucket, count): (&i32, &usize)| {
            let bar = "█".repeat((count * 40).div_ceil(most));
            format!("{:>9} … {:<9} {bar} {count}", time(2f64.powi(*bucket)), time(2f64.powi(bucket + 1)))
        };
        counts.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Microseconds, in the unit that suits them.
fn time(us: f64) -> String {
    match us {
        us if us < 1.0 => format!("{us:.2} µs"),
        us if us < 100.0 => format!("{us:.1} µs"),
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 100_000.0 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

impl Measured {
    /// What should be said about it.
    fn advice(&self) -> Option<String> {
        let [fresh, warm, made] = [&self.fresh, &self.warm, &self.made].map(|it| it.percentile(50.0));
        let times = fresh / warm;
        // Of making it, the system's part is in the first already.
        let sandbox = self.system.map_or(made, |[in_fresh, in_made]| in_fresh * fresh + (1.0 - in_made) * made).max(made);
        let why = if sandbox * 2.0 >= fresh - warm {
            let (sandbox, fresh) = (time(sandbox), time(fresh));
            format!(
                "{sandbox} of its {fresh} go into the sandbox and its memory, the price of a runtime of this size, which no warming up takes off"
            )
        } else {
            "warm up in configure".into()
        };
        (times >= DEAR).then(|| format!("a fresh scan costs {times:.0} times a warm one: {why}"))
    }
}

fn as_json(guard: &LoadedGuard, it: &Measured) -> Value {
    json!({
        "guard": {"name": guard.manifest().name, "version": guard.manifest().version},
        "component": guard.component(),
        "snapshot": guard.snapshot().is_ok(),
        "no_snapshot": guard.snapshot().err(),
        "load": {"milliseconds": (it.load.took.as_secs_f64() * 1e4).round() / 10.0, "cached": it.load.cached},
        "fresh_microseconds": it.fresh.as_json(),
        "warm_microseconds": it.warm.as_json(),
        "sandbox_microseconds": it.made.as_json(),
        "system_share": it.system.map(|[in_fresh, _]| in_fresh),
        "memory_bytes": it.memory,
        "resident_bytes": it.resident,
        "advice": it.advice(),
    })
}

fn rendered(guard: &LoadedGuard, it: &Measured) -> String {
    let manifest = guard.manifest();
    let how = if it.load.cached { "compiled earlier" } else { "compiled" };
    let mut facts = vec![
        ("guard", format!("{} {}", line(&manifest.name), line(&manifest.version))),
        ("load", format!("{}, {how}", time(it.load.took.as_secs_f64() * 1e6))),
        ("starts from", guard.snapshot().map_or_else(|why| format!("configure, each time: {}", line(why)), |()| "a snapshot".into())),
        ("fresh", it.fresh.in_words()),
        ("", it.fresh.histogram()),
        ("warm", it.warm.in_words()),
        ("sandbox", format!("{} to make one", time(it.made.percentile(50.0)))),
        ("memory", format!("{} KiB", it.memory.div_ceil(1024))),
    ];
    facts.extend(it.resident.map(|it| ("resident", format!("{} KiB more for each live instance", it.div_ceil(1024)))));
    facts.extend(it.advice().map(|it| ("note", it)));
    terminal::facts(&facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(us: &[u64]) -> Times {
        Times::new(us.iter().map(|it| Duration::from_micros(*it)).collect())
    }

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times = times(&(1..=100).rev().collect::<Vec<_>>());
        assert_eq!([0.0, 50.0, 99.0, 100.0].map(|it| times.percentile(it).round()), [1.0, 51.0, 100.0, 100.0]);
    }

    #[test]
    fn a_histogram_has_a_line_for_each_doubling() {
        insta::assert_snapshot!(times(&[5, 6, 7, 8, 9, 1000]).histogram(), @r"
          4.0 µs … 8.0 µs    ████████████████████████████████████████ 3
          8.0 µs … 16.0 µs   ███████████████████████████ 2
          512 µs … 1.02 ms   ██████████████ 1
        ");
    }

    #[test]
    fn a_guard_that_should_warm_up_is_told_so() {
        let measured = |fresh, made| {
            let (fresh, warm, made) = (times(&[fresh]), times(&[10]), times(&[made]));
            Measured { load: Load::default(), fresh, warm, made, system: None, memory: 0, resident: None }
        };
        assert_eq!(measured(399, 10).advice(), None);
        assert!(measured(400, 10).advice().is_some_and(|it| it.contains("40 times") && it.contains("warm up in configure")));
        assert!(measured(400, 300).advice().is_some_and(|it| it.contains("300 µs of its 400 µs") && !it.contains("in configure")));
        let half = Some([0.5, 0.5]);
        assert!(measured(400, 100).advice().is_some_and(|it| it.contains("in configure")));
        let advice = Measured { system: half, ..measured(400, 100) }.advice();
        assert!(advice.as_ref().is_some_and(|it| it.contains("250 µs of its 400 µs")), "{advice:?}");
        assert_eq!(share([10, 10], [40, 100]), Some(0.75));
        assert_eq!(share([10, 10], [12, 12]), None);
    }
}
