//! Requests that their clients may send again: each leads to one run, however often it comes.

use crate::StoreError;
use aegis_core::{RequestKey, RunId, Time};
use async_trait::async_trait;

/// Remembers requests by the keys that their clients gave them. What is kept here is kept by [`crate::Runs::run_create`] and
/// [`crate::Runs::run_commit`], together with what the request led to: after a crash both are there, or neither.
#[async_trait]
pub trait Requests: Send + Sync {
    /// What an earlier request with this key led to; nothing when there was none, or its time is over. A crash changes nothing here.
    async fn request_find(&self, request: &RequestKey) -> Result<Option<Earlier>, StoreError>;

    /// Forgets so many of those whose time is over by `now`, at most, and says how many. After a crash they are forgotten later.
    async fn request_forget(&self, now: Time, limit: usize) -> Result<usize, StoreError>;
}

/// What an earlier request with the same key led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// This run.
    pub run: RunId,
    /// Whether it asked for the same.
    pub same: bool,
}
