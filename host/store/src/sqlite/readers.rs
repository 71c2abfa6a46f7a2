//! Reading, on connections of their own that see what was committed and never wait for the writer: lists and checks on a few
//! threads, single rows on the thread that asks, where waking another one would cost more than the look-up.

use super::file;
use crate::StoreError;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// One long list or check must not hold up the others.
const THREADS: usize = 4;
/// Single rows that are looked up at once; one more is left to the threads.
const LOOKS: usize = 4;

pub(super) type Read = Box<dyn FnOnce(&mut Connection) + Send>;

/// The way to the threads. Dropping it answers what is waiting, and waits for that.
#[derive(Debug)]
pub(super) struct Readers {
    reads: Option<Sender<Read>>,
    threads: Vec<JoinHandle<()>>,
    looks: Vec<Mutex<Connection>>,
}

impl Readers {
    pub(super) fn start(path: &Path) -> Result<Readers, StoreError> {
        let (reads, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let mut readers = Readers { reads: Some(reads), threads: vec![], looks: vec![] };
        for _ in 0..LOOKS {
            let db = file::connect_to_read(path)?;
            // Whoever asks must not sleep: a database that is locked is left to the threads.
            db.busy_timeout(Duration::ZERO)?;
            readers.looks.push(Mutex::new(db));
        }
        for _ in 0..THREADS {
            let (db, waiting) = (file::connect_to_read(path)?, waiting.clone());
            let thread = std::thread::Builder::new().name("store-reader".into()).spawn(move || serve(db, &waiting));
            readers.threads.push(thread.map_err(|error| StoreError::Io(format!("cannot start a thread: {error}")))?);
        }
        Ok(readers)
    }

    /// What `look` finds, at once; nothing when it would have to wait, or failed.
    pub(super) fn try_look<T>(&self, look: impl FnOnce(&mut Connection) -> Result<T, StoreError>) -> Option<T> {
        let mut db = self.looks.iter().find_map(|it| it.try_lock().ok())?;
        look(&mut db).ok()
    }

    pub(super) fn submit(&self, read: Read) {
        // When the threads are gone, dropping `read` drops the sender of its answer, which says so.
        drop(self.reads.as_ref().map(|reads| reads.send(read)));
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.reads = None;
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn serve(mut db: Connection, waiting: &Mutex<Receiver<Read>>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(read) = next else { return };
        // A panic drops the sender of the answer, which says so; transactions of readers roll back by themselves.
        drop(catch_unwind(AssertUnwindSafe(|| read(&mut db))));
    }
}
