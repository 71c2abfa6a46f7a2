//! Times and page faults.

use std::time::Duration;

/// Times of many scans.
#[derive(Default)]
pub(crate) struct Measured(Vec<Duration>);

impl Measured {
    pub(crate) fn add(&mut self, times: Vec<Duration>) {
        self.0.extend(times);
        self.0.sort_unstable();
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Microseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        self.0.get(self.0.len() * percent / 100).map_or(f64::NAN, |it| it.as_secs_f64() * 1e6)
    }

    pub(crate) fn text(&self) -> String {
        if self.0.is_empty() { "–".into() } else { format!("{:.1} / {:.1}", self.percentile(50), self.percentile(99)) }
    }
}

/// Page faults of this process so far, as Linux counts them (proc(5): the tenth field of stat, the eighth after the name).
pub(crate) fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(7)?.parse().ok()).unwrap_or(0)
}
