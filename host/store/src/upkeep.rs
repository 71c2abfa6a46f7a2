//! Looking after a store.

use crate::StoreError;
use async_trait::async_trait;
use std::path::PathBuf;

/// What an operator does with a store.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Reads everything: that the store is sound, that the ledger's chain is unbroken, that every run can be read and has all its
    /// entries in the ledger. Changes nothing; takes as long as it takes to read it all.
    ///
    /// # Errors
    /// When it cannot be read at all. What is wrong with it is no error but a fault in the report.
    async fn check(&self) -> Result<CheckReport, StoreError>;

    /// Transactions with the disk so far. Commits that wait at the same time share one, and each waits for the disk once.
    fn transactions(&self) -> u64;

    /// What this is.
    fn describe(&self) -> Description;
}

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// So many runs.
    pub runs: u64,
    /// So many lines in the ledger.
    pub lines: u64,
    /// What is wrong, for people; empty when all is well, a hundred at most.
    pub faults: Vec<String>,
}

impl CheckReport {
    /// Notes one more fault, as long as there are fewer than a hundred.
    pub(crate) fn fault(&mut self, what: String) {
        if self.faults.len() < 100 {
            self.faults.push(what);
        }
    }
}

/// What a store is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// `memory` or `sqlite`.
    pub kind: &'static str,
    /// Its file.
    pub path: Option<PathBuf>,
    /// Its ledger's stream.
    pub stream: String,
}
