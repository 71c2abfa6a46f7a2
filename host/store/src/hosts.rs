//! What a store is to the hosts that share it. A host that is alone on its store has none of this to do, and the defaults say so.

use crate::StoreError;
use aegis_core::RunId;
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::time::Duration;

/// How often a run is looked at that may be moved by somebody of whom nobody tells.
const LOOK: Duration = Duration::from_millis(100);

/// Hosts that share a store keep out of each other's way, take over from those that die, and go by one clock.
#[async_trait]
pub trait Hosts: Send + Sync {
    /// Milliseconds by which the clock that all hosts share is ahead of this machine's, as it was measured last.
    fn clock_offset(&self) -> i64 {
        0
    }

    /// Comes back when another host may have moved this run, and after a moment in any case. A move that comes after this was called is not missed,
    /// however late it is waited for.
    fn run_moved(&self, _run: RunId) -> BoxFuture<'static, ()> {
        tokio::time::sleep(LOOK).boxed()
    }

    /// Comes back when [`crate::Runs::run_claim`] may find more than it has found before.
    async fn orphaned(&self) {
        std::future::pending().await
    }

    /// Whether this host is in touch with the others: where it is not, what it is asked to write is not written in time either.
    ///
    /// # Errors
    /// Since when it is not.
    fn in_touch(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Leaves: others need not wait until they take this host for dead. Nothing is written after this. After a crash they wait.
    async fn leave(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
