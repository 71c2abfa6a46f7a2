//! What one scan costs: a fresh sandbox against an instance that is asked again, and against the same code run natively. Needs nothing outside the
//! repository. Prints a table; `scans SECONDS` measures each line for so long (4 if left out).

#[path = "../../../../guards/patterns/src/ascii.rs"]
mod ascii;
mod guards;
mod input;
#[path = "../../../../guards/patterns/src/matcher.rs"]
mod matcher;
mod measure;
#[path = "../../../../guards/patterns/src/sample.rs"]
mod sample;

use aegis_wasm::{LoadedGuard, Options, Sandbox};
use input::Conversation;
use matcher::{Matcher, Parsed};
use measure::{Measured, faults};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Fresh, warm and native take turns so often, so that what else the machine does hits all of them.
const ROUNDS: u32 = 5;

fn main() {
    let seconds = std::env::args().nth(1).map_or(Ok(4.0), |it| it.parse()).expect("the argument is a number of seconds");
    let turn = Duration::from_secs_f64(seconds) / ROUNDS / 3;
    let sandbox = Sandbox::new(Options::default()).expect("a sandbox");
    let native = Arc::new(native());
    let lines: [(&str, Arc<LoadedGuard>, &[usize], bool); 3] = [
        ("empty", guards::empty(&sandbox), &[200], false),
        ("sensitive-topic", guards::sensitive_topic(&sandbox), &[200, 2_000, 20_000], false),
        ("20 expressions", guards::patterns(&sandbox), &[200, 2_000, 20_000], true),
    ];
    println!("µs per scan (p50 / p99); faults: page faults per fresh scan; ratio: fresh to native");
    println!("{:<16}{:>8}{:>8}  {:>17}{:>17}{:>17}{:>8}{:>8}", "guard", "bytes", "at once", "fresh", "warm", "native", "ratio", "faults");
    for (name, guard, sizes, with_native) in &lines {
        for &bytes in *sizes {
            for at_once in [1, 2] {
                let native = with_native.then(|| native.clone());
                println!("{name:<16}{bytes:>8}{at_once:>8}  {}", line(guard, bytes, at_once, native, turn));
            }
        }
    }
}

fn native() -> Matcher {
    let parsed = guards::EXPRESSIONS.lines().map(|it| Parsed::new(it).expect("a pattern")).collect::<Vec<_>>();
    let matcher = Matcher::new(&parsed).unwrap_or_else(|(_, why)| panic!("{why}"));
    matcher.prepare(&sample::texts(&parsed.iter().map(Parsed::hir).collect::<Vec<_>>()));
    matcher
}

fn line(guard: &Arc<LoadedGuard>, bytes: usize, at_once: usize, native: Option<Arc<Matcher>>, turn: Duration) -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(at_once).enable_time().build().expect("a runtime");
    let (mut fresh, mut warm, mut natively, mut faulted) = (Measured::default(), Measured::default(), Measured::default(), 0);
    for _ in 0..ROUNDS {
        let before = faults();
        fresh.add(at_once_in(&runtime, at_once, || scan_fresh(guard.clone(), bytes, turn)));
        faulted += faults() - before;
        warm.add(at_once_in(&runtime, at_once, || scan_warm(guard.clone(), bytes, turn)));
        if let Some(native) = &native {
            natively.add(at_once_in(&runtime, at_once, || scan_natively(native.clone(), bytes, turn)));
        }
    }
    let per_scan = faulted as f64 / fresh.count() as f64;
    let ratio = if native.is_some() { format!("{:.1}", fresh.percentile(50) / natively.percentile(50)) } else { String::new() };
    format!("{:>17}{:>17}{:>17}{ratio:>8}{per_scan:>8.1}", fresh.text(), warm.text(), natively.text())
}

/// The same work in as many tasks, each on a thread of its own; all times together.
fn at_once_in<F: Future<Output = Vec<Duration>> + Send + 'static>(runtime: &Runtime, count: usize, work: impl Fn() -> F) -> Vec<Duration> {
    let tasks: Vec<_> = (0..count).map(|_| runtime.spawn(work())).collect();
    runtime.block_on(async {
        let mut all = vec![];
        for task in tasks {
            all.extend(task.await.expect("no panic"));
        }
        all
    })
}

async fn scan_fresh(guard: Arc<LoadedGuard>, bytes: usize, turn: Duration) -> Vec<Duration> {
    let conversation = Conversation::new(&input::prose(bytes));
    let (input, begin, mut times) = (conversation.input(), Instant::now(), vec![]);
    while begin.elapsed() < turn {
        let start = Instant::now();
        guard.scan(&input).await.expect("a report");
        times.push(start.elapsed());
    }
    times
}

async fn scan_warm(guard: Arc<LoadedGuard>, bytes: usize, turn: Duration) -> Vec<Duration> {
    let conversation = Conversation::new(&input::prose(bytes));
    let mut warm = guard.warm().await.expect("an instance");
    let (input, begin, mut times) = (conversation.input(), Instant::now(), vec![]);
    while begin.elapsed() < turn {
        let start = Instant::now();
        warm.scan(&input).await.expect("a report");
        times.push(start.elapsed());
    }
    times
}

async fn scan_natively(matcher: Arc<Matcher>, bytes: usize, turn: Duration) -> Vec<Duration> {
    let text = input::prose(bytes);
    let (begin, mut times) = (Instant::now(), vec![]);
    while begin.elapsed() < turn {
        let (start, mut found) = (Instant::now(), 0);
        matcher.find(&text, usize::MAX, |_, _| found += 1);
        std::hint::black_box(found);
        times.push(start.elapsed());
    }
    times
}
