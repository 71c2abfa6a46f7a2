//! API keys and the page's sessions. A key is never stored, only its SHA-256: whoever reads the store cannot call.

use crate::{CommitError, StoreError};
use aegis_core::{Digest, Principal, Time};
use async_trait::async_trait;

/// Keeps keys and sessions. Every method happens completely or not at all.
#[async_trait]
pub trait Keys: Send + Sync {
    /// After this returns the key is valid and survives a crash.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when its id or hash is taken.
    async fn key_create(&self, key: &NewKey) -> Result<(), CommitError>;

    /// The key with this hash, unless it was revoked. The lookup is by hash: its time says nothing about keys.
    async fn key_find(&self, hash: Digest) -> Result<Option<Key>, StoreError>;

    /// All keys, revoked ones too, oldest first.
    async fn key_list(&self) -> Result<Vec<Key>, StoreError>;

    /// Whether there was such a key to revoke. After this returns neither it nor its sessions are found again, crash or not.
    async fn key_revoke(&self, id: &str, now: Time) -> Result<bool, StoreError>;

    /// After this returns the session survives a crash; those that have expired by `now` are forgotten.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when its key is not valid any more, or its hash is taken.
    async fn session_create(&self, session: &Session, now: Time) -> Result<(), CommitError>;

    /// The session with this hash and its key, unless it has expired by `now` or its key was revoked.
    async fn session_find(&self, hash: Digest, now: Time) -> Result<Option<(Session, Key)>, StoreError>;

    /// After this returns the session is gone, crash or not; also when there was none.
    async fn session_delete(&self, hash: Digest) -> Result<(), StoreError>;
}

/// A key to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Names it in lists and when it is revoked; no secret.
    pub id: String,
    /// SHA-256 of the key.
    pub hash: Digest,
    /// Who calls with it.
    pub principal: Principal,
    /// When.
    pub created_at: Time,
}

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Names it in lists and when it is revoked; no secret.
    pub id: String,
    /// Who calls with it.
    pub principal: Principal,
    /// When it was created.
    pub created_at: Time,
    /// Not valid any more since then.
    pub revoked_at: Option<Time>,
}

/// Somebody is logged in on the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the cookie.
    pub hash: Digest,
    /// The id of the key that opened it.
    pub key: String,
    /// What the page's forms have to carry.
    pub token: String,
    /// Not valid from then on.
    pub expires_at: Time,
}
