//! Looking after a store.

use crate::StoreError;
use aegis_core::{RunId, Time};
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

    /// Removes up to `limit` of what `doomed` names, writes into the ledger what that was, and says how much: in one small transaction, so that
    /// nobody waits for long. Whoever wants all of it asks again until it is nothing. A run that is not over is never touched. After a
    /// crash either both are written, what is gone and that it is, or neither.
    ///
    /// # Errors
    /// [`StoreError::NotHost`] where it was opened for a command; else it failed, and nothing is gone.
    async fn remove(&self, doomed: &Doomed, now: Time, limit: usize) -> Result<Gone, StoreError>;

    /// What there is of one principal's that could be erased, and what could not. A crash changes nothing here.
    async fn held(&self, principal: &str) -> Result<Held, StoreError>;

    /// Gives a little of what removed things took up back to the disk; whether there is more worth giving back. A crash changes nothing
    /// here but the size of files.
    ///
    /// # Errors
    /// [`StoreError::NotHost`] where it was opened for a command; else it failed, and can be tried again.
    async fn shrink(&self) -> Result<bool, StoreError>;

    /// After this returns nothing that was removed before is to be found anywhere in the store's files, in no free or half-filled place
    /// and in no log. It writes all of the store anew, and whoever commits waits until it is done. A crash leaves it as it was; do it again.
    ///
    /// # Errors
    /// [`StoreError::NotHost`] where it was opened for a command, [`StoreError::Busy`] while somebody reads, [`StoreError::Full`] where the disk
    /// has no room for a second copy. Then bytes of what was removed may still be there: do it again.
    async fn scrub(&self) -> Result<(), StoreError>;

    /// Transactions with the disk so far. Commits that wait at the same time share one, and each waits for the disk once.
    fn transactions(&self) -> u64;

    /// What this is.
    fn describe(&self) -> Description;
}

/// What is to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doomed {
    /// The content of runs that were over before that; their idempotency keys go with it.
    Content {
        /// Then.
        ended_before: Time,
    },
    /// The same of all runs of one principal that are over.
    ContentOf {
        /// Whose, by id.
        principal: String,
        /// Who asks for it, by id.
        by: String,
        /// Only runs with a greater id: [`Gone::last`] of the step before.
        after: Option<RunId>,
    },
    /// Runs that were over before that, and all that belongs to them but what the ledger says.
    Runs {
        /// Then.
        ended_before: Time,
    },
    /// The first lines of the ledger as far as they were written before that and are about runs that are not there any more: never a line
    /// that explains a run.
    Lines {
        /// Then.
        written_before: Time,
    },
}

/// What one step has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// So many runs or lines; nothing when there is no more.
    pub count: usize,
    /// The run with the greatest id of [`Doomed::ContentOf`].
    pub last: Option<RunId>,
}

/// What there is of one principal's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// So many runs that are over and whose content is there.
    pub erasable: u64,
    /// So many runs that are not over.
    pub open: u64,
    /// The oldest of those, [`Held::LISTED`] at most.
    pub open_runs: Vec<RunId>,
}

impl Held {
    /// So many are named.
    pub const LISTED: usize = 100;
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
    /// `memory`, `sqlite` or `postgres`.
    pub kind: &'static str,
    /// Its file.
    pub path: Option<PathBuf>,
    /// Its ledger's stream.
    pub stream: String,
}
