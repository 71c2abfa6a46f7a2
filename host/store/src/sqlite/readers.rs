//! A few threads that read, each on a connection of its own: they see what was committed and never wait for the writer.

use super::file;
use crate::StoreError;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// One long list or check must not hold up the others.
const THREADS: usize = 4;

pub(super) type Read = Box<dyn FnOnce(&mut Connection) + Send>;

/// The way to the threads. Dropping it answers what is waiting, and waits for that.
#[derive(Debug)]
pub(super) struct Readers {
    reads: Option<Sender<Read>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(super) fn start(path: &Path) -> Result<Readers, StoreError> {
        let (reads, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let mut readers = Readers { reads: Some(reads), threads: vec![] };
        for _ in 0..THREADS {
            let (db, waiting) = (file::connect_to_read(path)?, waiting.clone());
            let thread = std::thread::Builder::new().name("store-reader".into()).spawn(move || serve(db, &waiting));
            readers.threads.push(thread.map_err(|error| StoreError::Io(format!("cannot start a thread: {error}")))?);
        }
        Ok(readers)
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
