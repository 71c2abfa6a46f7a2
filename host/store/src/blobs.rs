//! Components and settings of guards by their SHA-256: a run goes on under the guards with which it began, whatever became of their
//! files since.

use crate::StoreError;
use aegis_core::{Digest, Plan, Stage};
use async_trait::async_trait;

/// Keeps bytes by their SHA-256. Every method happens completely or not at all.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// After this returns the bytes are found under their SHA-256 and survive a crash. Keeping them again changes nothing.
    async fn blob_keep(&self, bytes: &[u8]) -> Result<Digest, StoreError>;

    /// The bytes with this SHA-256.
    ///
    /// # Errors
    /// Also when what is kept under it is something else by now.
    async fn blob_fetch(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// Forgets, and returns, what is neither in `keep` nor named by the plan of an open run (`pending`, `running`, `paused`). What
    /// runs that begin meanwhile need has to be in `keep`. Reads every open run when there is something that `keep` does not name.
    ///
    /// # Errors
    /// Also when an open run cannot be read: then what it needs is not known, and nothing is forgotten.
    async fn blob_sweep(&self, keep: &[Digest]) -> Result<Vec<Digest>, StoreError>;
}

/// What the guards of a plan are made of.
pub(crate) fn needed(plan: &Plan) -> impl Iterator<Item = Digest> + '_ {
    Stage::ALL.into_iter().flat_map(|stage| plan.pipeline.at(stage)).flat_map(|guard| [guard.component, guard.settings])
}

/// The bytes, if they are what they are kept as.
pub(crate) fn checked(digest: Digest, bytes: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    let sound = Digest::of(&bytes) == digest;
    if sound { Ok(bytes) } else { Err(StoreError::Damaged(format!("the bytes kept as {digest} were changed"))) }
}
