//! How a guard is doing: counters, no history and no contents.

use aegis_core::{FailureKind, GuardFailure, Report};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a guard has been doing since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Scans that ended, failed ones included.
    pub scans: u64,
    /// Failures by [`GuardFailure::kind`], those of which there was none included.
    pub failures: BTreeMap<&'static str, u64>,
    /// The most recent of them.
    pub last_failure: Option<GuardFailure>,
}

#[derive(Default)]
pub(crate) struct Counters {
    scans: AtomicU64,
    failed: Mutex<Failed>,
}

#[derive(Default)]
struct Failed {
    by_kind: BTreeMap<&'static str, u64>,
    last: Option<GuardFailure>,
}

impl Counters {
    pub(crate) fn note(&self, result: &Result<Report, GuardFailure>) {
        self.scans.fetch_add(1, Ordering::Relaxed);
        if let Err(failure) = result {
            let mut failed = self.failed.lock().expect("nobody panics with it");
            *failed.by_kind.entry(failure.kind().name()).or_default() += 1;
            failed.last = Some(failure.clone());
        }
    }

    pub(crate) fn read(&self) -> Health {
        let failed = self.failed.lock().expect("nobody panics with it");
        let none = FailureKind::ALL.map(|kind| (kind.name(), 0));
        Health {
            scans: self.scans.load(Ordering::Relaxed),
            failures: none.into_iter().chain(failed.by_kind.clone()).collect(),
            last_failure: failed.last.clone(),
        }
    }
}
