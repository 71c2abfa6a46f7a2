//! A store that keeps everything, and fails when it is told to.

use aegis_core::{Commit, Digest, RequestKey, Run, RunId, Time};
use aegis_store::{
    ApprovalFilter, Blobs, CheckReport, CommitError, Description, Doomed, Earlier, Gone, Held, Hosts, Key, Keys, LedgerLine, Memory,
    NewKey, Page, Paged, Position, Requests, RunFilter, Runs, Session, StoreError, Upkeep,
};
use async_trait::async_trait;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

pub(super) struct Moody {
    memory: Arc<Memory>,
    /// Numbers of commits, from 1.
    fails: &'static [usize],
    commits: AtomicUsize,
    buried: Mutex<Buried>,
}

/// What follows when others take the host for dead that drives this run: it is handed out to that host again, and a commit that is under way
/// comes too late.
#[derive(Default)]
struct Buried {
    /// Again and again: so often.
    handed_out: Vec<RunId>,
    late: Option<RunId>,
}

impl Moody {
    pub(super) fn new(memory: Arc<Memory>, fails: &'static [usize]) -> Moody {
        Moody { memory, fails, commits: AtomicUsize::new(0), buried: Mutex::default() }
    }

    pub(super) fn bury(&self, run: RunId) {
        *self.buried() = Buried { handed_out: vec![run; 3], late: Some(run) };
    }

    fn buried(&self) -> MutexGuard<'_, Buried> {
        self.buried.lock().expect("no panics")
    }

    fn mood(&self) -> Result<(), CommitError> {
        let number = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        if self.fails.contains(&number) { Err(StoreError::Full.into()) } else { Ok(()) }
    }
}

#[async_trait]
impl Runs for Moody {
    async fn run_create(&self, commit: Commit) -> Result<(), CommitError> {
        self.mood()?;
        self.memory.run_create(commit).await
    }

    async fn run_commit(&self, commit: Commit) -> Result<(), CommitError> {
        self.mood()?;
        if self.buried().late.take_if(|it| *it == commit.checkpoint.run).is_some() {
            return Err(CommitError::Conflict);
        }
        self.memory.run_commit(commit).await
    }

    async fn run_fetch(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        self.memory.run_fetch(id).await
    }

    async fn run_list(&self, filter: &RunFilter, page: &Page) -> Result<Paged<Run>, StoreError> {
        self.memory.run_list(filter, page).await
    }

    async fn run_claim(&self, limit: usize) -> Result<Vec<RunId>, StoreError> {
        if let Some(run) = self.buried().handed_out.pop() {
            return Ok(vec![run]);
        }
        self.memory.run_claim(limit).await
    }

    async fn run_due(&self, now: Time, limit: usize) -> Result<Vec<RunId>, StoreError> {
        self.memory.run_due(now, limit).await
    }

    async fn approval_list(&self, filter: &ApprovalFilter, page: &Page) -> Result<Paged<Run>, StoreError> {
        self.memory.approval_list(filter, page).await
    }

    async fn ledger_list(&self, after: &Position, limit: usize) -> Result<Vec<LedgerLine>, StoreError> {
        self.memory.ledger_list(after, limit).await
    }
}

#[async_trait]
impl Requests for Moody {
    async fn request_find(&self, request: &RequestKey) -> Result<Option<Earlier>, StoreError> {
        self.memory.request_find(request).await
    }

    async fn request_forget(&self, now: Time, limit: usize) -> Result<usize, StoreError> {
        self.memory.request_forget(now, limit).await
    }
}

#[async_trait]
impl Keys for Moody {
    async fn key_create(&self, key: &NewKey) -> Result<(), CommitError> {
        self.memory.key_create(key).await
    }

    async fn key_find(&self, hash: Digest) -> Result<Option<Key>, StoreError> {
        self.memory.key_find(hash).await
    }

    async fn key_list(&self) -> Result<Vec<Key>, StoreError> {
        self.memory.key_list().await
    }

    async fn key_revoke(&self, id: &str, now: Time) -> Result<bool, StoreError> {
        self.memory.key_revoke(id, now).await
    }

    async fn session_create(&self, session: &Session, now: Time) -> Result<(), CommitError> {
        self.memory.session_create(session, now).await
    }

    async fn session_find(&self, hash: Digest, now: Time) -> Result<Option<(Session, Key)>, StoreError> {
        self.memory.session_find(hash, now).await
    }

    async fn session_delete(&self, hash: Digest) -> Result<(), StoreError> {
        self.memory.session_delete(hash).await
    }
}

#[async_trait]
impl Blobs for Moody {
    async fn blob_keep(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.memory.blob_keep(bytes).await
    }

    async fn blob_fetch(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.memory.blob_fetch(digest).await
    }

    async fn blob_sweep(&self, keep: &[Digest]) -> Result<Vec<Digest>, StoreError> {
        self.memory.blob_sweep(keep).await
    }
}

impl Hosts for Moody {}

#[async_trait]
impl Upkeep for Moody {
    async fn check(&self) -> Result<CheckReport, StoreError> {
        self.memory.check().await
    }

    async fn remove(&self, doomed: &Doomed, now: Time, limit: usize) -> Result<Gone, StoreError> {
        self.memory.remove(doomed, now, limit).await
    }

    async fn held(&self, principal: &str) -> Result<Held, StoreError> {
        self.memory.held(principal).await
    }

    async fn shrink(&self) -> Result<bool, StoreError> {
        self.memory.shrink().await
    }

    async fn scrub(&self) -> Result<(), StoreError> {
        self.memory.scrub().await
    }

    fn transactions(&self) -> u64 {
        self.memory.transactions()
    }

    fn describe(&self) -> Description {
        self.memory.describe()
    }
}
