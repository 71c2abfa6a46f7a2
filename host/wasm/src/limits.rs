//! What a guard may use. No limit is missing: whoever leaves one out gets its default.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use wasmtime::{ResourceLimiter, UpdateDeadline};

/// How often a running guard is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// How much longer than its time a guard may take by the clock on the wall, where the machine is busy with others.
const CEILING: u32 = 10;
/// Elements of all tables of one instance; the largest runtimes known use 8 000.
const TABLE_ELEMENTS: usize = 40_000;

/// Limits of one guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// One scan, counted in milliseconds in which the guard ran; by the clock it may take ten times as long.
    pub time: Duration,
    /// `describe` and `configure` at load, each; counted like `time`.
    pub load_time: Duration,
    /// All of one load by the clock: compiling a large component takes most of it.
    pub compile_time: Duration,
    /// Bytes by which this process may grow while it loads the guard: a compiler takes a kilobyte and more for each local that is
    /// alive in each block, and a few lines of a component can have millions of those. Watched on Linux only.
    pub compile_memory: usize,
    /// Bytes of the component.
    pub component: usize,
    /// Bytes of linear memory, all memories of one instance together.
    pub memory: usize,
    /// Bytes that a guard is handed in one scan, and bytes of its settings.
    pub input: usize,
    /// Bytes that a guard hands back in one call, as they lie in the host's memory.
    pub output: usize,
    /// Bytes that are kept of what a guard prints in one scan; the rest is dropped.
    pub log: usize,
}

impl Limits {
    /// How long one scan may take by the clock on the wall, waiting for a place not counted.
    pub fn scan_ceiling(&self) -> Duration {
        ceiling(self.time)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            time: Duration::from_millis(50),
            load_time: Duration::from_secs(10),
            compile_time: Duration::from_secs(300),
            compile_memory: 2 << 30,
            component: 64 << 20,
            memory: 64 << 20,
            input: 4 << 20,
            output: 1 << 20,
            log: 16 << 10,
        }
    }
}

/// Time that is left to a guard.
pub(crate) struct Budget {
    ticks: u128,
    end: Instant,
}

impl Budget {
    pub(crate) fn new(time: Duration) -> Budget {
        Budget { ticks: time.as_millis().max(1), end: Instant::now() + ceiling(time) }
    }

    /// For the host's own reading of a guard's memory.
    pub(crate) fn unlimited() -> Budget {
        Budget::new(Duration::from_secs(3600))
    }

    /// Called at each tick in which the guard was running: lets others go first, or ends it.
    pub(crate) fn tick(&mut self) -> UpdateDeadline {
        self.ticks = self.ticks.saturating_sub(1);
        if self.ticks == 0 || Instant::now() >= self.end {
            return UpdateDeadline::Interrupt;
        }
        // tokio's own yield, not a plain wake-up: that one would let timers and sockets wait for many ticks.
        UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
    }
}

/// By the clock on the wall.
pub(crate) fn ceiling(time: Duration) -> Duration {
    time.saturating_mul(CEILING).min(Duration::from_secs(24 * 3600))
}

/// Counts memory and table space of one instance.
pub(crate) struct Space {
    memory: usize,
    elements: usize,
    limit: usize,
    /// Whether the guard once wanted more: when it then traps, that is why.
    pub(crate) exceeded: bool,
}

impl Space {
    pub(crate) fn new(limit: usize) -> Space {
        Space { memory: 0, elements: 0, limit, exceeded: false }
    }

    /// Bytes of memory.
    pub(crate) fn used(&self) -> usize {
        self.memory
    }

    fn grow(exceeded: &mut bool, used: &mut usize, current: usize, desired: usize, limit: usize) -> bool {
        let wanted = used.saturating_add(desired.saturating_sub(current));
        let fits = wanted <= limit;
        if fits {
            *used = wanted
        } else {
            *exceeded = true
        }
        fits
    }
}

impl ResourceLimiter for Space {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(Space::grow(&mut self.exceeded, &mut self.memory, current, desired, self.limit))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.exceeded = true;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(Space::grow(&mut self.exceeded, &mut self.elements, current, desired, TABLE_ELEMENTS))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.exceeded = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_count_together_and_a_refusal_is_remembered() {
        let mut space = Space::new(100);
        assert!(space.memory_growing(0, 60, None).expect("no error"));
        assert!(space.memory_growing(0, 40, None).expect("no error"));
        assert!(!space.exceeded);
        assert!(!space.memory_growing(60, 61, None).expect("no error"));
        assert!(space.exceeded);
    }

    #[test]
    fn only_ticks_in_which_the_guard_ran_count_until_the_ceiling() {
        let mut budget = Budget::new(Duration::from_millis(3));
        assert!(matches!(budget.tick(), UpdateDeadline::YieldCustom(1, _)));
        std::thread::sleep(Duration::from_millis(4));
        assert!(matches!(budget.tick(), UpdateDeadline::YieldCustom(1, _)), "waiting for others is free");
        assert!(matches!(budget.tick(), UpdateDeadline::Interrupt));
        let mut budget = Budget::new(Duration::from_millis(3));
        std::thread::sleep(Duration::from_millis(31));
        assert!(matches!(budget.tick(), UpdateDeadline::Interrupt), "ten times as long is too long");
    }
}
