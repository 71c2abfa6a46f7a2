//! Runs as a store sees them: checkpoints with versions, and the few facts by which they are found.

use crate::columns::decode;
use crate::{CommitError, LedgerLine, Position, StoreError};
use aegis_core::{Commit, Principal, Run, RunId, Status, Time, unpacked_len};
use async_trait::async_trait;

/// Keeps runs and their ledger. Every method happens completely or not at all, also when its future is dropped: what was
/// handed over may still be written.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Writes a run's first checkpoint and entries. After this returns the run survives a crash; before, it may never have existed.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when there is such a run, or the version is not 1; [`CommitError::Earlier`] when `commit.request` names one
    /// that came before: of two that come at the same moment, one makes a run, and the other is told which.
    async fn run_create(&self, commit: Commit) -> Result<(), CommitError>;

    /// Replaces the checkpoint of the version before and appends the entries, together. After this returns both survive a
    /// crash; a crash before leaves either both or neither, so the run is fetched again and goes on from there. The run
    /// counts as this host's from here on.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when what is stored is not the version before: exactly one of several drivers wins;
    /// [`CommitError::Earlier`] when `commit.request` names one that came before.
    async fn run_commit(&self, commit: Commit) -> Result<(), CommitError>;

    /// The run as it was committed last. A crash changes nothing here.
    async fn run_fetch(&self, id: RunId) -> Result<Option<Run>, StoreError>;

    /// The same, if it is still this host's to go on with: one that it was handed by [`Runs::run_claim`] may have been taken over by another one since.
    async fn run_fetch_mine(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        self.run_fetch(id).await
    }

    /// A page of runs, newest first, that is, by id downwards. A run that is created meanwhile moves no other to another page.
    async fn run_list(&self, filter: &RunFilter, page: &Page) -> Result<Paged<Run>, StoreError>;

    /// Unfinished runs (`pending`, `running`) that another, dead host left behind; they are this host's from here on, and are
    /// handed out once. Paused runs belong to nobody. After a crash the next host finds them again.
    async fn run_claim(&self, limit: usize) -> Result<Vec<RunId>, StoreError>;

    /// Paused runs whose question has expired by `now`, those that expired first first. They stay in this list until they are
    /// committed as something else.
    async fn run_due(&self, now: Time, limit: usize) -> Result<Vec<RunId>, StoreError>;

    /// A page of the paused runs on which `filter.decidable_by` may decide now, newest first: its names are in every list, and
    /// it has neither approved already nor is the creator where that one may not decide.
    async fn approval_list(&self, filter: &ApprovalFilter, page: &Page) -> Result<Paged<Run>, StoreError>;

    /// The lines after `after`, in order. By position, never by time: a page fetched twice is the same page, or a longer one
    /// when it ended at the end. A crash takes away no line that was ever read.
    async fn ledger_list(&self, after: &Position, limit: usize) -> Result<Vec<LedgerLine>, StoreError>;
}

/// Which runs to list; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Where they stand.
    pub status: Option<Status>,
    /// The route's name.
    pub route: Option<String>,
    /// The creator's id.
    pub principal: Option<String>,
    /// Only what this one may see: what it created, what asks something of it, and everything for role `admin`.
    pub visible_to: Option<Principal>,
}

/// Which open questions to list.
#[derive(Clone, Debug)]
pub struct ApprovalFilter {
    /// Who wants to decide.
    pub decidable_by: Principal,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// So many at most; fewer where they are large.
    pub limit: usize,
    /// What follows this one: [`Paged::next`] of the page before.
    pub after: Option<RunId>,
}

/// One part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Paged<T> {
    /// The page.
    pub data: Vec<T>,
    /// What belongs on it and cannot be read. One that is damaged hides no other.
    pub unreadable: Vec<Unreadable>,
    /// Where the next one begins; none at the end.
    pub next: Option<RunId>,
}

/// A run that is stored and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// It.
    pub run: RunId,
    /// Why not.
    pub why: StoreError,
}

/// Bytes of checkpoints on one page: a request for many large runs must not take the host's memory. Read, a checkpoint of many small parts takes
/// forty times as much.
pub(crate) const PAGE: usize = 4 << 20;

impl Paged<Run> {
    /// A page of `limit`, or of fewer where they are large, but of one at least. `rows` go on for one more than that where there are more.
    pub(crate) fn read<B: AsRef<[u8]>>(
        rows: impl Iterator<Item = Result<(RunId, B), StoreError>>,
        limit: usize,
    ) -> Result<Paged<Run>, StoreError> {
        let mut page = Paged { data: vec![], unreadable: vec![], next: None };
        let (mut last, mut room) = (None, PAGE);
        for row in rows {
            let (id, bytes) = row?;
            let bytes = bytes.as_ref();
            let len = unpacked_len(bytes);
            if page.data.len() + page.unreadable.len() >= limit || (last.is_some() && len > room) {
                page.next = last;
                break;
            }
            room = room.saturating_sub(len);
            last = Some(id);
            match decode(id, bytes) {
                Ok(run) => page.data.push(run),
                Err(why) => page.unreadable.push(Unreadable { run: id, why }),
            }
        }
        Ok(page)
    }
}
