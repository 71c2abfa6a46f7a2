//! What can go wrong in a store. Whatever it was, nothing is half done.

use crate::Earlier;
use aegis_core::{Code, DecodeError, RunId};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

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
    /// The file or its folder is not there, or not ours to write.
    #[error("{0}")]
    Place(String),
    /// Another program holds a lock on it.
    #[error("another program has locked the database, or a part of it, for seconds: end it, or wait for it, and try again")]
    Busy,
    /// No room: make some, and do it again.
    #[error("the disk is full: make room, and send the request again")]
    Full,
    /// A database elsewhere cannot be reached, or is not ready. It is tried again for some time before this is said, and what was to be written may have been.
    #[error("the database cannot be reached: {0}")]
    Away(String),
    /// The database does not take these words or this number of them; others are taken.
    #[error("the database does not take this: {0}")]
    Refused(String),
    /// Only a host creates, moves and claims runs; this store was opened for a command.
    #[error("the store was opened for a command, which does not move runs: only a server does")]
    NotHost,
    /// Anything else: the disk fails, a file is gone.
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
            StoreError::Place(_) => Code::STO_PLACE,
            StoreError::Busy => Code::STO_BUSY,
            StoreError::Away(_) => Code::STO_AWAY,
            StoreError::Full | StoreError::Refused(_) | StoreError::NotHost | StoreError::Io(_) => Code::STO_FAILED,
        }
    }

    /// The file at `path` cannot be opened or made.
    pub(crate) fn place(path: &Path, error: &io::Error) -> StoreError {
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let path_is_link = path.is_symlink();
        let (path, missing) = (path.display(), !folder.is_dir() && error.kind() != ErrorKind::PermissionDenied);
        let say = |what: &str| StoreError::Place(format!("cannot open {path}: {what}"));
        match error.kind() {
            _ if missing => StoreError::Place(format!("there is no folder {}: create it first", folder.display())),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full,
            ErrorKind::PermissionDenied => say("whoever runs Aegis may not write it, or not create files in its folder"),
            ErrorKind::ReadOnlyFilesystem => say("it is on a file system that is mounted read-only"),
            ErrorKind::NotFound if path_is_link => say("it is a link to a file that is not there"),
            ErrorKind::IsADirectory => say("it is a folder, and should be a file"),
            _ => say(&error.to_string()),
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
    /// The client has sent a request with this key before, and that has been carried out.
    #[error("a request with this key was carried out before")]
    Earlier(Earlier),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
