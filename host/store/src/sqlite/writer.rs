//! The one thread that writes. It takes whatever is waiting and commits it as one transaction: waiting for the disk is
//! the batching, and nobody is answered before the disk has it. What one of them cannot have fails alone.

use super::file::HostLock;
use super::lines::Row;
use crate::StoreError;
use aegis_core::Link;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// More would only make the first of them wait longer.
const BATCH: usize = 512;

/// The way to the thread. Dropping it writes what is waiting, closes the database and waits for that.
#[derive(Debug)]
pub(super) struct Writer {
    tasks: Option<Sender<Task>>,
    transactions: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// One transaction, as the works in it see it.
pub(super) struct Batch<'a> {
    pub(super) tx: Transaction<'a>,
    link: Link,
    row: &'a mut Row,
}

/// Work outside of any transaction.
type Alone = Box<dyn FnOnce(&Connection) + Send>;

/// What the thread does next.
enum Task {
    /// In a transaction with whatever else is waiting.
    Shared(Box<dyn Job>),
    /// Outside of any transaction.
    Alone(Alone),
}

/// Something to write and somebody who waits for it.
trait Job: Send {
    /// Once for all, and once more alone where that has failed.
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError>;
    fn answer(self: Box<Self>, durable: Result<(), StoreError>);
}

struct Work<T, F> {
    work: F,
    /// What the last try has found.
    found: Result<T, StoreError>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: Fn(&mut Batch<'_>) -> Result<T, StoreError> + Send> Job for Work<T, F> {
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        // A panic counts against the job that it happens in.
        let found = catch_unwind(AssertUnwindSafe(|| (self.work)(batch)));
        self.found = found.unwrap_or_else(|_| Err(super::gone()));
        self.found.as_ref().map(drop).map_err(Clone::clone)
    }

    fn answer(self: Box<Self>, durable: Result<(), StoreError>) {
        let Work { found, reply, .. } = *self;
        // Whoever asked may have gone; it is written all the same.
        drop(reply.send(durable.and(found)));
    }
}

impl Writer {
    /// A thread that owns the database and the lock on it.
    pub(super) fn start(db: Connection, link: Link, lock: Option<HostLock>) -> Result<Writer, StoreError> {
        let (tasks, waiting) = channel();
        let transactions = Arc::new(AtomicU64::new(0));
        let counted = transactions.clone();
        let write = move || {
            serve(db, link, &waiting, &counted);
            drop(lock);
        };
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(write);
        let thread = thread.map_err(|error| StoreError::Io(format!("cannot start a thread: {error}")))?;
        Ok(Writer { tasks: Some(tasks), transactions, thread: Some(thread) })
    }

    /// So many have been committed.
    pub(super) fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Hands over. An error of `work` undoes all that it did and nothing else; but then the whole transaction is gone through again, so what
    /// may often be refused is better a value than an error.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
        reply: oneshot::Sender<Result<T, StoreError>>,
    ) {
        let job = Box::new(Work { work, found: Err(super::gone()), reply });
        self.send(Task::Shared(job));
    }

    /// Hands over what is no part of a transaction; it may not write to the ledger.
    pub(super) fn submit_alone(&self, work: impl FnOnce(&Connection) + Send + 'static) {
        self.send(Task::Alone(Box::new(work)));
    }

    fn send(&self, task: Task) {
        // When the thread is gone, dropping the sender of the answer says so.
        drop(self.tasks.as_ref().map(|tasks| tasks.send(task)));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.tasks = None;
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn serve(mut db: Connection, mut link: Link, waiting: &Receiver<Task>, transactions: &AtomicU64) {
    let (mut queue, mut row) = (Queue { waiting, alone: None }, Row::new());
    while let Some(first) = queue.first() {
        let mut jobs = match first {
            Task::Shared(job) => vec![job],
            Task::Alone(work) => {
                // A panic drops the sender of the answer, which says so.
                drop(catch_unwind(AssertUnwindSafe(|| work(&db))));
                continue;
            }
        };
        let durable = transact(&mut db, &mut row, &link, &mut jobs, &mut queue).map(|next| link = next);
        match &durable {
            Ok(()) => drop(transactions.fetch_add(1, Ordering::Relaxed)),
            Err(error) => {
                tracing::error!(%error, changes = jobs.len(), "the store could not commit: whoever waits for these changes is told so");
            }
        }
        jobs.into_iter().for_each(|job| job.answer(durable.clone()));
    }
}

/// What waits to be done.
struct Queue<'a> {
    waiting: &'a Receiver<Task>,
    /// Came while a transaction was being made, and ends the taking of jobs for it: nobody waits longer than those who came later.
    alone: Option<Alone>,
}

impl Queue<'_> {
    /// Waits for it. `None` when nobody will ask any more.
    fn first(&mut self) -> Option<Task> {
        self.alone.take().map(Task::Alone).or_else(|| self.waiting.recv().ok())
    }

    /// Another job for the same transaction, if one waits by now.
    fn more(&mut self) -> Option<Box<dyn Job>> {
        match self.alone.is_none().then(|| self.waiting.try_recv().ok())?? {
            Task::Shared(job) => Some(job),
            Task::Alone(work) => {
                self.alone = Some(work);
                None
            }
        }
    }
}

/// Commits all jobs that succeed, those that come while the first of them run among them, and returns the link that follows; or none, when the
/// transaction itself fails.
fn transact(
    db: &mut Connection,
    row: &mut Row,
    link: &Link,
    jobs: &mut Vec<Box<dyn Job>>,
    queue: &mut Queue<'_>,
) -> Result<Link, StoreError> {
    let mut batch = Batch::begin(db, row, link)?;
    if run_all(&mut batch, jobs, queue).is_err() {
        drop(batch);
        batch = Batch::begin(db, row, link)?;
        jobs.iter_mut().try_for_each(|job| batch.alone(job).and_then(|()| batch.put_if_full()))?;
    }
    batch.commit()
}

fn run_all(batch: &mut Batch<'_>, jobs: &mut Vec<Box<dyn Job>>, queue: &mut Queue<'_>) -> Result<(), StoreError> {
    let mut done = 0;
    loop {
        for job in &mut jobs[done..] {
            job.run(batch)?;
            batch.put_if_full()?;
        }
        done = jobs.len();
        let more = iter::from_fn(|| queue.more());
        jobs.extend(more.take(BATCH - done));
        if jobs.len() == done {
            return Ok(());
        }
    }
}

impl<'a> Batch<'a> {
    fn begin(db: &'a mut Connection, row: &'a mut Row, link: &Link) -> Result<Batch<'a>, StoreError> {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        row.begin(link);
        Ok(Batch { tx, row, link: link.clone() })
    }

    /// Runs `job` so that it can be undone alone. An error is not its own any more, but that of all.
    fn alone(&mut self, job: &mut Box<dyn Job>) -> Result<(), StoreError> {
        let (link, mark) = (self.link.clone(), self.row.mark());
        self.tx.execute_batch("SAVEPOINT job")?;
        match job.run(self) {
            Ok(()) => Ok(self.tx.execute_batch("RELEASE job")?),
            // Where the disk fails, SQLite may have undone everything already.
            Err(error) if self.tx.is_autocommit() => Err(error),
            Err(error) => {
                tracing::warn!(%error, "the store refused one of several changes");
                self.link = link;
                self.row.go_back(mark);
                Ok(self.tx.execute_batch("ROLLBACK TO job; RELEASE job")?)
            }
        }
    }

    /// Not in the middle of a job: what is put down already is not taken back with it.
    fn put_if_full(&mut self) -> Result<(), StoreError> {
        if self.row.is_full() {
            self.row.put(&self.tx)?;
            self.row.begin(&self.link);
        }
        Ok(())
    }

    fn commit(self) -> Result<Link, StoreError> {
        self.row.put(&self.tx)?;
        self.tx.commit()?;
        Ok(self.link)
    }
}

impl Batch<'_> {
    /// Puts `entry`, JSON in one line, at the end of the ledger; what fails after that takes it back.
    pub(super) fn append(&mut self, entry: &[u8]) {
        let hash = self.link.seal(entry);
        self.row.push(entry, hash);
        self.link.pass(hash);
    }
}
