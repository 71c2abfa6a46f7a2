//! The database's files: created for their owner alone, one host at a time, each connection set up the same way.

use crate::StoreError;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long is waited for other programs that have locked the database.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The database at `path`, created with `fill` where there is none, under its one true name: two hosts that reach it by
/// different links must find the same lock.
///
/// A new database is made beside its place and put there whole. So an empty file there is one that was lost, and not one that a
/// crash has left half made: it is refused, and never taken for a new one.
pub(super) fn create(path: &Path, fill: impl FnOnce(&mut Connection) -> Result<(), StoreError>) -> Result<PathBuf, StoreError> {
    if is_missing(path) {
        make(path, fill)?;
    }
    there(path)
}

/// The database at `path`, which has to be there, under its one true name.
pub(super) fn there(path: &Path) -> Result<PathBuf, StoreError> {
    let size = open(path, false)?.metadata().map_err(|error| StoreError::place(path, &error))?.len();
    if size == 0 {
        let why = "is empty, and a database never is: restore a backup, or delete the file if there was nothing in it";
        return Err(StoreError::Damaged(format!("{} {why}", path.display())));
    }
    path.canonicalize().map_err(|error| StoreError::place(path, &error))
}

fn is_missing(path: &Path) -> bool {
    path.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn make(path: &Path, fill: impl FnOnce(&mut Connection) -> Result<(), StoreError>) -> Result<(), StoreError> {
    let log = beside(path, "-wal");
    if log.metadata().is_ok_and(|it| it.len() > 0) {
        let why = "is gone, and what was written last is still beside it";
        return Err(StoreError::Damaged(format!("{} {why} ({}): restore both, or delete that one, too", path.display(), log.display())));
    }
    let new = beside(path, &format!(".new-{}", std::process::id()));
    let clear = || ["", "-journal"].iter().for_each(|end| drop(std::fs::remove_file(beside(&new, end))));
    clear();
    let made = open(&new, true).and_then(|_| connect(&new)).and_then(|mut db| fill(&mut db)).and_then(|()| put(&new, path));
    clear();
    made
}

/// Puts it where nobody else has put one meanwhile.
fn put(new: &Path, path: &Path) -> Result<(), StoreError> {
    let put = std::fs::hard_link(new, path);
    match put {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // Some file systems have no hard links.
        Err(_) => std::fs::rename(new, path).map_err(|error| StoreError::place(path, &error)),
        Ok(()) => {
            tracing::info!(path = %path.display(), "there was no database: made a new one");
            Ok(())
        }
    }
}

fn open(path: &Path, create: bool) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| StoreError::place(path, &error))
}

/// A file that was not there, for its owner alone.
pub(super) fn open_new(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The one that `path` is in.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
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
    db.busy_timeout(PATIENCE)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Folds what an earlier process has left in the log into the database, and begins a new log.
///
/// When a sync fails, the kernel forgets what it could not write, goes on showing it to whoever reads, and says nothing at the next sync. A process that
/// is killed then leaves a log of which the disk may have less than can be read: what is appended to that would be lost with it when the
/// power goes. Written anew, into the database, it is there or is an error.
pub(super) fn settle(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let busy: bool = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        tracing::warn!(path = %path.display(), "another program reads the database: what an earlier process has left in its log stays there for now");
    }
    Ok(())
}

/// Proof that no other host has this database. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct HostLock {
    _file: File,
}

impl HostLock {
    /// Takes `PATH.lock`, and leaves the process id in it for the message of the next one.
    pub(super) fn take(path: &Path) -> Result<HostLock, StoreError> {
        let beside = beside(path, ".lock");
        let failed = |error: std::io::Error| StoreError::place(&beside, &error);
        let mut file = open(&beside, true)?;
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
