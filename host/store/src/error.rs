//! What can go wrong in a store. Whatever it was, nothing is half done.

use aegis_core::{Code, DecodeError, RunId};
use std::path::PathBuf;

/// Why a store could not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another host has this file.
    #[error("{} is in use by another server{}: stop that one, or give this one a file of its own", .path.display(), pid(.by))]
    Locked {
        /// The database.
        path: PathBuf,
        /// The other host's process id, where it could be read.
        by: Option<u32>,
    },
    /// A later version of Aegis wrote it.
    #[error("the database has format {found}, and this version knows up to {known}: use the version that wrote it, or a newer one")]
    Newer {
        /// Its format.
        found: u32,
        /// The newest that this version knows.
        known: u32,
    },
    /// It is no database of Aegis, or part of it cannot be read.
    #[error("{0}")]
    Damaged(String),
    /// No room: make some, and do it again.
    #[error("the disk is full: make room, and send the request again")]
    Full,
    /// Only a host creates, moves and claims runs; this store was opened for a command.
    #[error("the store was opened for a command, which does not move runs: only a server does")]
    NotHost,
    /// Anything else: the folder is missing, the disk fails, somebody holds a lock for too long.
    #[error("{0}")]
    Io(String),
}

fn pid(by: &Option<u32>) -> String {
    by.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

impl StoreError {
    /// The code that users look it up by.
    pub fn code(&self) -> Code {
        match self {
            StoreError::Locked { .. } => Code::STO_LOCKED,
            StoreError::Newer { .. } => Code::STO_NEWER,
            StoreError::Damaged(_) => Code::STO_DAMAGED,
            StoreError::Full | StoreError::NotHost | StoreError::Io(_) => Code::STO_FAILED,
        }
    }

    /// A checkpoint that is there and cannot be read.
    pub(crate) fn unreadable(run: RunId, error: DecodeError) -> StoreError {
        StoreError::Damaged(format!("run {run} cannot be read: {error}"))
    }
}

/// Why nothing was committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Someone was faster: what is stored is not what this was to replace. Fetch it again.
    #[error("someone else was faster")]
    Conflict,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
