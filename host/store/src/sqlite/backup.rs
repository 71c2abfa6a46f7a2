//! A copy of the database at one moment, while others write to it; and which version a database has. Neither changes it.

use super::{file, schema};
use crate::StoreError;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Pages of a step, 4 MiB: progress is told, and the rest of the machine gets its turn, between two of them.
const STEP: i32 = 1024;

/// Why there is no backup. Nothing is left where it should have been.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is something already at the place of the backup.
    #[error("{} is there already: give another name, or move it away", .0.display())]
    Exists(PathBuf),
    /// The backup cannot be written.
    #[error("{} cannot be written: {error}", .path.display())]
    Write {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// Copies the database at `from` to `to` as it is at one moment, whoever writes to it meanwhile, and whatever version it has; blocks.
/// `progress` is told how many of how many bytes are done. When this returns, the copy is on the disk, for its owner alone; a crash
/// before leaves `to` as it was, and at most a file `to` with `.new-` and a number behind it, which is no backup.
///
/// # Errors
/// The database cannot be read, was written by a newer version, or `to` is there already or cannot be written.
pub fn backup(from: &Path, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<u64, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.into()));
    }
    let from = looked_at(from)?;
    let new = file::beside(to, &format!(".new-{}", std::process::id()));
    let made = copy(&from, &new, to, progress).and_then(|bytes| put(&new, to).map(|()| bytes));
    drop(std::fs::remove_file(&new));
    made
}

/// The version of the database at `path`, and the newest that this program knows; blocks.
///
/// # Errors
/// It is missing, it is no database of Aegis, or a newer version wrote it.
pub fn versions(path: &Path) -> Result<(u32, u32), StoreError> {
    let db = looked_at(path)?;
    Ok((schema::look(&db, path)?, schema::NEWEST))
}

/// A connection to a database of Aegis that is there, brought up or not.
fn looked_at(path: &Path) -> Result<Connection, StoreError> {
    let path = &file::there(path)?;
    let db = file::connect(path)?;
    schema::look(&db, path)?;
    Ok(db)
}

fn copy(from: &Connection, new: &Path, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<u64, BackupError> {
    let failed = |error| BackupError::Write { path: to.into(), error };
    let file = file::open_new(new).map_err(failed)?;
    // As long as this transaction is open, every step sees the same moment: a copy that began anew at each commit would never end under load.
    let moment = from.unchecked_transaction().map_err(StoreError::from)?;
    let page = moment.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0)).map_err(StoreError::from)?;
    moment.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(StoreError::from)?;
    let mut copy = file::connect(new)?;
    // What a crash leaves half written is no backup and has no name: there is nothing to roll back.
    copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;").map_err(StoreError::from)?;
    let bytes = fill(&moment, &mut copy, page, progress).map_err(|error| in_copy(error, to))?;
    copy.close().map_err(|(_, error)| in_copy(error, to))?;
    file.sync_all().map_err(failed)?;
    Ok(bytes)
}

fn fill(from: &Connection, copy: &mut Connection, page: u32, progress: &mut dyn FnMut(u64, u64)) -> rusqlite::Result<u64> {
    let backup = Backup::new(from, copy)?;
    let bytes = |pages: i32| u64::from(pages.unsigned_abs()) * u64::from(page);
    loop {
        let end = backup.step(STEP)?;
        let seen = backup.progress();
        progress(bytes(seen.pagecount - seen.remaining), bytes(seen.pagecount));
        match end {
            StepResult::Done => return Ok(bytes(seen.pagecount)),
            StepResult::More => {}
            // Another program has locked the whole database.
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// SQLite does not say which of the two files has failed; that there is no room can only be the new one's.
fn in_copy(error: rusqlite::Error, to: &Path) -> BackupError {
    match StoreError::from(error) {
        StoreError::Full => BackupError::Write { path: to.into(), error: ErrorKind::StorageFull.into() },
        other => other.into(),
    }
}

/// Gives it its name, where nobody has taken that meanwhile.
fn put(new: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::AlreadyExists => BackupError::Exists(to.into()),
        _ => BackupError::Write { path: to.into(), error },
    };
    std::fs::hard_link(new, to)
        .or_else(|error| match error.kind() {
            ErrorKind::AlreadyExists => Err(error),
            // Some file systems have no hard links.
            _ => std::fs::rename(new, to),
        })
        .map_err(failed)?;
    File::open(file::folder(to)).and_then(|it| it.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::plain;
    use crate::{Access, Blobs, Runs, Sqlite, Upkeep};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tempfile::TempDir;

    /// A database of a few MiB, so that a copy takes more than one step.
    async fn filled(folder: &TempDir) -> Arc<Sqlite> {
        let store = Arc::new(Sqlite::open(folder.path().join("test.db"), Access::Host).expect("a database"));
        for n in 0..6_u8 {
            store.blob_keep(&vec![n; 1 << 20]).await.expect("kept");
        }
        store
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_copy_made_under_load_is_of_one_moment_and_ends() {
        let folder = TempDir::new().expect("a folder");
        let store = filled(&folder).await;
        let stop = Arc::new(AtomicBool::new(false));
        let (writer, halt) = (store.clone(), stop.clone());
        let load = tokio::spawn(async move {
            let mut made = 0_u16;
            while !halt.load(Ordering::Relaxed) {
                made += 1;
                writer.run_create(plain(made).commit()).await.expect("a new run");
            }
            made
        });
        let (from, to) = (folder.path().join("test.db"), folder.path().join("copy.db"));
        while store.transactions() < 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (at_begin, copied) = tokio::task::block_in_place(|| {
            let (mut told, begin) = (vec![], store.transactions());
            let bytes = backup(&from, &to, &mut |done, all| {
                assert!(
                    told.last().is_none_or(|last: &(u64, u64)| last.0 < done && last.1 == all),
                    "it began anew: {told:?}, {done} of {all}"
                );
                told.push((done, all));
                // Somebody writes between any two steps.
                let before = store.transactions();
                while store.transactions() == before {
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let bytes = bytes.expect("a copy");
            assert!(told.len() > 1, "{told:?}");
            assert_eq!(told.last(), Some(&(bytes, bytes)));
            (begin, bytes)
        });
        stop.store(true, Ordering::Relaxed);
        let made = load.await.expect("no panic");
        assert_eq!(to.metadata().expect("a copy").len(), copied);
        let report = Sqlite::open(&to, Access::Host).expect("it opens").check().await.expect("a report");
        assert_eq!(report.faults, Vec::<String>::new());
        assert!(report.runs > 0 && report.runs < made.into() && at_begin > 0, "{} of {made}", report.runs);
    }

    #[tokio::test]
    async fn a_copy_is_for_its_owner_and_takes_no_place_that_is_taken() {
        let folder = TempDir::new().expect("a folder");
        let store = filled(&folder).await;
        let (from, to) = (folder.path().join("test.db"), folder.path().join("copy.db"));
        std::fs::write(&to, "mine").expect("a file");
        assert!(matches!(backup(&from, &to, &mut |_, _| {}), Err(BackupError::Exists(path)) if path == to));
        assert_eq!(std::fs::read(&to).expect("it is there"), b"mine");
        let nowhere = folder.path().join("nowhere/copy.db");
        assert!(matches!(backup(&from, &nowhere, &mut |_, _| {}), Err(BackupError::Write { .. })));
        std::fs::remove_file(&to).expect("it is ours");
        backup(&from, &to, &mut |_, _| {}).expect("a copy");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(to.metadata().expect("a copy").permissions().mode() & 0o777, 0o600);
        }
        let taken = |_, _| drop(std::fs::write(folder.path().join("late.db"), "mine"));
        assert!(matches!(backup(&from, &folder.path().join("late.db"), &mut { taken }), Err(BackupError::Exists(_))), "meanwhile");
        let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|it| it.file_name()).collect();
        assert!(left.iter().all(|it| !it.to_string_lossy().contains(".new-")), "{left:?}");
        drop(store);
    }

    #[test]
    fn a_database_is_copied_in_the_version_that_it_has_and_one_of_a_newer_program_is_not() {
        let folder = TempDir::new().expect("a folder");
        let (from, to) = (folder.path().join("test.db"), folder.path().join("copy.db"));
        schema::make_older(&from, 2);
        assert_eq!(versions(&from), Ok((2, schema::NEWEST)));
        backup(&from, &to, &mut |_, _| {}).expect("a copy");
        assert_eq!((versions(&from), versions(&to)), (Ok((2, schema::NEWEST)), Ok((2, schema::NEWEST))), "nobody has brought it up");
        let newest = "PRAGMA user_version = 99";
        Connection::open(&from).and_then(|it| it.execute_batch(newest)).expect("it may");
        let newer = StoreError::Newer { found: 99, known: schema::NEWEST };
        assert_eq!(versions(&from), Err(newer.clone()));
        assert!(matches!(backup(&from, &folder.path().join("other.db"), &mut |_, _| {}), Err(BackupError::Store(it)) if it == newer));
    }

    #[test]
    fn a_command_brings_no_database_up_on_which_a_host_of_an_older_program_runs() {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("test.db");
        schema::make_older(&file, 2);
        let older_host = file::HostLock::take(&file).expect("nobody has it");
        assert!(matches!(Sqlite::open(&file, Access::Command), Err(StoreError::Locked { .. })));
        assert_eq!(versions(&file), Ok((2, schema::NEWEST)));
        drop(older_host);
        let command = Sqlite::open(&file, Access::Command).expect("nobody runs on it");
        assert_eq!(versions(&file), Ok((schema::NEWEST, schema::NEWEST)));
        let host = Sqlite::open(&file, Access::Host).expect("a command does not keep the lock");
        drop((host, command));
    }
}
