//! How a guard is doing: counters, no history and no contents.

use aegis_core::{GuardFailure, Report};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a guard has been doing since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Scans that ended, failed ones included.
    pub scans: u64,
    /// Failures by kind: `declined`, `trap`, `timeout`, `memory`, `output`, `contract`.
    pub failures: BTreeMap<&'static str, u64>,
    /// The most recent of them.
    pub last_failure: Option<GuardFailure>,
}

const KINDS: [&str; 6] = ["declined", "trap", "timeout", "memory", "output", "contract"];

#[derive(Default)]
pub(crate) struct Counters {
    scans: AtomicU64,
    failures: [AtomicU64; KINDS.len()],
    last: Mutex<Option<GuardFailure>>,
}

impl Counters {
    pub(crate) fn note(&self, result: &Result<Report, GuardFailure>) {
        self.scans.fetch_add(1, Ordering::Relaxed);
        if let Err(failure) = result {
            self.failures[kind(failure)].fetch_add(1, Ordering::Relaxed);
            *self.last.lock().expect("nobody panics with it") = Some(failure.clone());
        }
    }

    pub(crate) fn read(&self) -> Health {
        Health {
            scans: self.scans.load(Ordering::Relaxed),
            failures: KINDS.into_iter().zip(self.failures.iter().map(|it| it.load(Ordering::Relaxed))).collect(),
            last_failure: self.last.lock().expect("nobody panics with it").clone(),
        }
    }
}

fn kind(failure: &GuardFailure) -> usize {
    match failure {
        GuardFailure::Declined(_) => 0,
        GuardFailure::Trap(_) => 1,
        GuardFailure::Timeout => 2,
        GuardFailure::Memory => 3,
        GuardFailure::Output => 4,
        GuardFailure::Contract(_) => 5,
    }
}
