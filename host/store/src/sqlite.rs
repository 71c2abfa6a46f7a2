//! A store in one SQLite file: one thread writes and makes many commits durable at once, a few others read. No method
//! blocks the executor; only [`Sqlite::open`] and dropping do.

mod file;
mod keys;
mod readers;
mod runs;
mod schema;
mod upkeep;
mod writer;

use crate::StoreError;
use file::HostLock;
use readers::Readers;
use rusqlite::{Connection, ErrorCode};
use std::path::{Path, PathBuf};
use tokio::sync::oneshot;
use writer::{Batch, Writer};

/// What a database is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To move runs. One host per file: the lock file beside it, `PATH.lock`, is held until this is dropped or the process ends.
    Host,
    /// To look at it and to change keys, also beside a running host. Runs can be read, but not created, moved or claimed.
    Command,
}

/// Runs, ledger, keys and sessions in one file.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    stream: String,
    host: Option<i64>,
    // In this order: the writer closes the database last, which folds the write-ahead log into it, and then lets go of the lock.
    readers: Readers,
    writer: Writer,
}

impl Sqlite {
    /// Opens the database at `path`, and creates it where there is none; blocks. Files are created for their owner alone.
    ///
    /// # Errors
    /// The folder is missing, another host has it, a newer version wrote it, or it is no database of Aegis; then it is unchanged.
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Sqlite, StoreError> {
        let path = file::create(path.as_ref())?;
        let lock = (access == Access::Host).then(|| HostLock::take(&path)).transpose()?;
        let mut db = file::connect(&path)?;
        schema::bring_up(&mut db, &path)?;
        let host = lock.is_some().then(|| schema::next_host(&db)).transpose()?;
        let link = schema::end_of_ledger(&db)?;
        let stream = link.stream.clone();
        let readers = Readers::start(&path)?;
        Ok(Sqlite { path, stream, host, readers, writer: Writer::start(db, link, lock)? })
    }

    /// Runs `work` in a transaction with whatever else is waiting, and returns when that is durable.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, done) = oneshot::channel();
        self.writer.submit(work, reply);
        done.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, done) = oneshot::channel();
        self.readers.submit(Box::new(move |db| drop(reply.send(work(db)))));
        done.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// What was asked was dropped without an answer: the thread panicked.
fn gone() -> StoreError {
    StoreError::Io("the store's thread failed on this: a fault in Aegis, the log has more".into())
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged(format!("the database is damaged: {error}")),
            Some(ErrorCode::DatabaseBusy) => StoreError::Io("another process has locked the database for more than 5 seconds".into()),
            _ => StoreError::Io(format!("the database failed: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use crate::conformance::{Place, conformance};
    use std::sync::Arc;
    use tempfile::TempDir;

    impl Place for TempDir {
        fn open(&self) -> Arc<dyn Store> {
            Arc::new(Sqlite::open(self.path().join("test.db"), Access::Host).expect("a database"))
        }
    }

    conformance!(TempDir::new().expect("a folder"));
}
