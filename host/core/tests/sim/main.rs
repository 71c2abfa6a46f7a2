//! The simulated world: seeded plans, guards, providers, people, stores and clocks that do their worst. After every step the
//! run is compared with what the world itself has seen. A failure prints its seed; `AEGIS_SEED=…` runs that one world again.

mod coverage;
mod dice;
mod guards;
mod scene;
mod truth;
mod world;

use coverage::{Coverage, PLACES};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use world::World;

/// Worlds in a plain test run; `AEGIS_WORLDS=…` changes it.
const WORLDS: u64 = 100_000;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var_os(name)?;
    Some(text.to_str().and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{name} has to be a number")))
}

#[test]
fn whatever_happens_every_run_ends_and_nothing_unjudged_gets_out() {
    if let Some(seed) = setting("AEGIS_SEED") {
        World::run(seed);
        return;
    }
    let worlds = setting("AEGIS_WORLDS").unwrap_or(WORLDS);
    let (next, failed) = (AtomicU64::new(1), AtomicBool::new(false));
    let work = || {
        let mut seen = Coverage::default();
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > worlds {
                break;
            }
            seen.add(catch_unwind(AssertUnwindSafe(|| World::run(seed))).unwrap_or_else(|panic| {
                failed.store(true, Ordering::Relaxed);
                eprintln!("world {seed} failed; again: AEGIS_SEED={seed} cargo test -p aegis-core --test sim");
                resume_unwind(panic)
            }));
        }
        seen
    };
    let mut seen = Coverage::default();
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            seen.add(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
    });
    let rare: Vec<_> = PLACES.iter().copied().flatten().map(|it| (*it, seen.times(it))).filter(|it| it.1 < worlds / 1_000).collect();
    assert!(rare.is_empty(), "these were reached in fewer than one world of a thousand: {rare:?}");
}
