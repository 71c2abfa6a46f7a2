//! The database's files: created for their owner alone, one host at a time, each connection set up the same way.

use crate::StoreError;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file at `path`, created where there is none, under its one true name: two hosts that reach it by different links
/// must find the same lock.
pub(super) fn create(path: &Path) -> Result<PathBuf, StoreError> {
    open(path)?;
    path.canonicalize().map_err(|error| StoreError::Io(format!("{}: {error}", path.display())))
}

fn open(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| {
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        match folder {
            Some(folder) if !folder.is_dir() => StoreError::Io(format!("there is no folder {}: create it first", folder.display())),
            _ => StoreError::Io(format!("cannot open {}: {error}", path.display())),
        }
    })
}

/// A connection that writes, beside other processes that may do so too.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    connection(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

/// A connection that cannot write.
pub(super) fn connect_to_read(path: &Path) -> Result<Connection, StoreError> {
    connection(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn connection(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    // Each connection belongs to one thread, so SQLite needs no locks of its own.
    let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Proof that no other host has this database. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct HostLock {
    _file: File,
}

impl HostLock {
    /// Takes `PATH.lock`, and leaves the process id in it for the message of the next one.
    pub(super) fn take(path: &Path) -> Result<HostLock, StoreError> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".lock");
        let beside = PathBuf::from(beside);
        let failed = |error: std::io::Error| StoreError::Io(format!("{}: {error}", beside.display()));
        let mut file = open(&beside)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path: path.into(), by: holder(&mut file) }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(HostLock { _file: file })
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
