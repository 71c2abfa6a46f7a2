//! The one task that commits. It takes whatever is waiting and commits it as one transaction of two round trips: the first takes the runs that are as they
//! should be and says which, the second seals what happened to them. Waiting for the database is the batching, and nobody is answered before it has said that
//! it has it. Whoever was faster elsewhere, what cannot be written, or what another program holds a lock on, fails alone.
//!
//! When the connection breaks in the middle of the second, nobody knows whether it was written. The ledger says so afterwards: each batch ends with a
//! line whose hash nothing else has.

use super::connect::{ANSWER, Connector, LOCK_AT_SEAT, PATIENCE, PAUSE, Param, Pool, Session, begin, within};
use super::seat::{Membership, Seat};
use super::{Lost, listener, uuid};
use crate::StoreError;
use crate::columns::{milliseconds, name};
use aegis_core::{Checkpoint, Commit, Digest, Link, Removal, RequestKey, RunId};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// More would only make the first of them wait longer.
const BATCH: usize = 512;
/// Bytes of checkpoints in one transaction.
const ROOM: usize = 16 << 20;
/// So long each of a batch is tried by itself; those that were not tried by then have to come again.
const ONE_BY_ONE: Duration = Duration::from_secs(2);
/// A transaction without an answer is waited for as long as anything is answered.
const LOCK_IN_DOUBT: Duration = ANSWER.saturating_sub(Duration::from_secs(1));

/// The way to the task. Once it is dropped, the task writes what is waiting and ends.
pub(super) struct Writer {
    tasks: mpsc::UnboundedSender<Task>,
    transactions: Arc<AtomicU64>,
    doubtful: Doubtful,
}

/// Runs of which a commit was answered by an error, and may have been written all the same.
pub(super) type Doubtful = Arc<Mutex<BTreeSet<RunId>>>;

/// What is to be done to a run.
pub(super) struct Put {
    pub(super) checkpoint: Checkpoint,
    entries: Vec<Vec<u8>>,
    request: Option<RequestKey>,
    reply: Option<oneshot::Sender<Result<(), Refusal>>>,
}

/// Why a run was not written.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// What is stored is not the version before, or the request came before.
    Late,
    Store(StoreError),
}

enum Task {
    Put(Box<Put>),
    Change(Box<dyn Change>),
}

/// Something else that is written to the ledger.
trait Change: Send {
    fn make<'a>(&'a mut self, db: &'a Client, seat: &'a Seat) -> BoxFuture<'a, Result<Option<Removal>, StoreError>>;
    fn answer(self: Box<Self>, durable: Result<(), StoreError>);
}

struct Work<T, F> {
    work: F,
    found: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Change for Work<T, F>
where
    T: Send + Sync,
    F: for<'a> Fn(&'a Client, &'a Seat) -> BoxFuture<'a, Result<(T, Option<Removal>), StoreError>> + Send + Sync,
{
    fn make<'a>(&'a mut self, db: &'a Client, seat: &'a Seat) -> BoxFuture<'a, Result<Option<Removal>, StoreError>> {
        async move {
            let (found, removal) = (self.work)(db, seat).await?;
            self.found = Some(found);
            Ok(removal)
        }
        .boxed()
    }

    fn answer(self: Box<Self>, durable: Result<(), StoreError>) {
        let found = self.found;
        drop(self.reply.send(durable.and_then(|()| found.ok_or_else(super::gone))));
    }
}

impl Writer {
    pub(super) fn start(connector: Connector, pool: Arc<Pool>, membership: Arc<Membership>) -> Writer {
        let (tasks, waiting) = mpsc::unbounded_channel();
        let (transactions, doubtful) = (Arc::new(AtomicU64::new(0)), Doubtful::default());
        let desk = Desk {
            connector,
            pool,
            membership,
            waiting,
            later: VecDeque::new(),
            connection: None,
            outage: Outage::default(),
            lost: Lost::default(),
            transactions: transactions.clone(),
            doubtful: doubtful.clone(),
        };
        tokio::spawn(desk.serve());
        Writer { tasks, transactions, doubtful }
    }

    pub(super) fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    pub(super) fn doubtful(&self) -> &Doubtful {
        &self.doubtful
    }

    pub(super) async fn put(&self, commit: Commit) -> Result<(), Refusal> {
        let (reply, done) = oneshot::channel();
        let entries = commit.entries.iter().map(crate::ledger::bytes).collect();
        let put = Put { checkpoint: commit.checkpoint, entries, request: commit.request, reply: Some(reply) };
        drop(self.tasks.send(Task::Put(Box::new(put))));
        done.await.unwrap_or_else(|_| Err(Refusal::Store(super::gone())))
    }

    /// Runs `work` in a transaction of its own, and puts what it says was removed at the end of the ledger. It may run twice, the first time for nothing.
    pub(super) async fn change<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + Sync + 'static,
        F: for<'a> Fn(&'a Client, &'a Seat) -> BoxFuture<'a, Result<(T, Option<Removal>), StoreError>> + Send + Sync + 'static,
    {
        let (reply, done) = oneshot::channel();
        drop(self.tasks.send(Task::Change(Box::new(Work { work, found: None, reply }))));
        done.await.unwrap_or_else(|_| Err(super::gone()))
    }
}

/// Where it is done.
struct Desk {
    connector: Connector,
    pool: Arc<Pool>,
    membership: Arc<Membership>,
    waiting: mpsc::UnboundedReceiver<Task>,
    later: VecDeque<Task>,
    connection: Option<Session>,
    outage: Outage,
    lost: Lost,
    transactions: Arc<AtomicU64>,
    doubtful: Doubtful,
}

/// Since when the database is away, and when it was missed last.
#[derive(Default)]
struct Outage(Option<(Instant, Instant)>);

impl Outage {
    /// It is missed: whether it is worth another attempt. Where nobody has looked for long it may have been there in between, and this is another outage.
    fn goes_on(&mut self, now: Instant) -> bool {
        let since = self.0.filter(|(_, last)| now - *last < PATIENCE).map_or(now, |(since, _)| since);
        self.0 = Some((since, now));
        now - since < PATIENCE
    }
}

/// Why a transaction was not carried out.
enum Trouble {
    /// This host has no seat any more.
    Buried(Seat),
    Store(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::Store(error)
    }
}

/// A transaction of which nobody knows whether it was written; if it was, this is the ledger's last line of it.
struct Doubt {
    stream: String,
    n: i64,
    hash: Digest,
    taken: Vec<Fate>,
}

/// What becomes of one of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Taken,
    /// What is stored is not the version before, or the request came before.
    Late,
    /// Somebody else holds its row.
    Held,
}

/// What is done about rows that somebody else holds: at first they are waited for, as another host is about to commit them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Locks {
    Wait,
    Skip,
}

/// One line of the ledger to be.
struct Line<'a> {
    run: Option<Uuid>,
    entry: &'a [u8],
}

/// What the first round trip has said.
struct Taken {
    link: Link,
    /// By the place in the batch.
    runs: Vec<Fate>,
    /// Their questions were others before.
    asked: Vec<Uuid>,
    /// Others wait for these.
    told: Vec<String>,
}

impl Desk {
    async fn serve(mut self) {
        while let Some(task) = self.next().await {
            match task {
                Task::Put(first) => {
                    let batch = self.gather(*first);
                    self.put_all(batch, Locks::Wait).await;
                }
                Task::Change(change) => self.change(change).await,
            }
        }
    }

    async fn next(&mut self) -> Option<Task> {
        match self.later.pop_front() {
            Some(task) => Some(task),
            None => self.waiting.recv().await,
        }
    }

    /// What can share a transaction with `first`: of one run, and of one request, there is no more than one in it.
    fn gather(&mut self, first: Put) -> Vec<Put> {
        let (mut runs, mut requests, mut batch, mut later) = (HashSet::new(), HashSet::new(), vec![], VecDeque::new());
        let (mut room, mut next) = (ROOM, Some(first));
        while let Some(put) = next.take() {
            let request = put.request.as_ref().map(|it| (it.principal.clone(), it.key));
            let alone = !runs.contains(&put.checkpoint.run) && request.as_ref().is_none_or(|it| !requests.contains(it));
            if alone {
                runs.insert(put.checkpoint.run);
                requests.extend(request);
                room = room.saturating_sub(put.checkpoint.bytes.len());
                batch.push(put);
            } else {
                later.push_back(Task::Put(Box::new(put)));
            }
            while next.is_none() && room > 0 && batch.len() < BATCH && later.len() < BATCH {
                match self.later.pop_front().or_else(|| self.waiting.try_recv().ok()) {
                    Some(Task::Put(put)) => next = Some(*put),
                    Some(change) => later.push_back(change),
                    None => break,
                }
            }
        }
        later.append(&mut self.later);
        self.later = later;
        batch
    }

    async fn put_all(&mut self, mut batch: Vec<Put>, locks: Locks) {
        match self.persist(&batch, locks).await {
            Ok(taken) => {
                for (put, taken) in batch.iter_mut().zip(taken) {
                    put.answer(match taken {
                        Fate::Taken => Ok(()),
                        Fate::Late => Err(Refusal::Late),
                        Fate::Held => Err(Refusal::Store(StoreError::Busy)),
                    });
                }
            }
            // One of them has words that the database does not take; alone it is known which.
            Err(Trouble::Store(StoreError::Refused(_))) if batch.len() > 1 => {
                for put in batch {
                    Box::pin(self.put_all(vec![put], locks)).await;
                }
            }
            // Something else than a run is held, such as a request: whose it is, is known alone, too. If it is this host's seat, all of them wait in vain.
            Err(Trouble::Store(StoreError::Busy)) if batch.len() > 1 => {
                let until = Instant::now() + ONE_BY_ONE;
                for mut put in batch {
                    if Instant::now() < until {
                        Box::pin(self.put_all(vec![put], Locks::Skip)).await;
                    } else {
                        put.answer(Err(Refusal::Store(StoreError::Busy)));
                    }
                }
            }
            Err(Trouble::Store(error)) => {
                tracing::error!(%error, changes = batch.len(), "the store could not commit: whoever waits for these changes is told so");
                batch.iter_mut().for_each(|put| put.answer(Err(Refusal::Store(error.clone()))));
            }
            // What this host held belongs to others now. What is new belongs to nobody, and begins at its next seat.
            Err(Trouble::Buried(seat)) => {
                batch.iter_mut().filter(|it| it.checkpoint.version > 1).for_each(|put| put.answer(Err(Refusal::Late)));
                let new = batch.into_iter().filter(|it| it.reply.is_some());
                let new: Vec<Put> = new.collect();
                match self.membership.rejoin(&self.pool, &seat).await {
                    Ok(()) => new.into_iter().for_each(|put| self.later.push_back(Task::Put(Box::new(put)))),
                    Err(error) => new.into_iter().for_each(|mut put| put.answer(Err(Refusal::Store(error.clone())))),
                }
            }
        }
    }

    /// Which of them were taken, once that is durable. Where the database is away it is tried again, for as long as somebody may wait.
    async fn persist(&mut self, batch: &[Put], mut locks: Locks) -> Result<Vec<Fate>, Trouble> {
        let (mut doubt, mut pause) = (None, PAUSE.0);
        loop {
            let error = match self.attempt(batch, locks, &mut doubt).await {
                Ok(taken) => {
                    self.is_back();
                    return Ok(taken);
                }
                Err(Trouble::Store(error)) => error,
                Err(buried) => return Err(buried),
            };
            // All the others wait, too.
            if error == StoreError::Busy && locks == Locks::Wait {
                locks = Locks::Skip;
                continue;
            }
            if !self.goes_on_after(&error) {
                if doubt.is_some() {
                    self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).extend(batch.iter().map(|it| it.checkpoint.run));
                }
                return Err(error.into());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Whether what met this error is worth another attempt.
    fn goes_on_after(&mut self, error: &StoreError) -> bool {
        match error {
            StoreError::Away(_) => {
                self.connection = None;
                self.lost.missed("writer", error);
                self.outage.goes_on(Instant::now())
            }
            _ => false,
        }
    }

    fn is_back(&mut self) {
        self.outage = Outage::default();
        self.lost.found("writer");
    }

    async fn connected(&mut self) -> Result<Session, StoreError> {
        match self.connection.take().filter(|it| !it.is_closed()) {
            Some(session) => Ok(session),
            None => self.connector.connect().await,
        }
    }

    async fn attempt(&mut self, batch: &[Put], locks: Locks, doubt: &mut Option<Doubt>) -> Result<Vec<Fate>, Trouble> {
        let db = self.connected().await?;
        if let Some(it) = doubt {
            let written = is_written(&db, it).await.map_err(Trouble::from);
            if !matches!(written, Ok(false)) {
                self.give_back(db, &written).await;
                return written.map(|_| std::mem::take(&mut it.taken));
            }
            *doubt = None;
        }
        let seat = self.membership.seat();
        let end = transact(&db, &seat, batch, locks, doubt).await;
        if end.is_ok() {
            self.transactions.fetch_add(1, Ordering::Relaxed);
        }
        self.give_back(db, &end).await;
        end
    }

    async fn change(&mut self, mut change: Box<dyn Change>) {
        let end = match self.attempt_change(&mut *change).await {
            Ok(()) => {
                self.is_back();
                Ok(())
            }
            Err(Trouble::Store(error)) => {
                self.goes_on_after(&error);
                Err(error)
            }
            Err(Trouble::Buried(seat)) => {
                let rejoined = self.membership.rejoin(&self.pool, &seat).await;
                rejoined.and(Err(StoreError::Away("it took this host for dead: try again".into())))
            }
        };
        change.answer(end);
    }

    /// Whoever asks for this asks again where it fails.
    async fn attempt_change(&mut self, change: &mut dyn Change) -> Result<(), Trouble> {
        let db = self.connected().await?;
        let seat = self.membership.seat();
        let end = transact_change(&db, &seat, change).await;
        self.give_back(db, &end).await;
        end
    }

    /// Keeps a connection on which the transaction is over.
    async fn give_back<T>(&mut self, db: Session, end: &Result<T, Trouble>) {
        let usable = match end {
            Ok(_) => true,
            Err(Trouble::Store(StoreError::Away(_))) => {
                self.connector.distrust(&db);
                false
            }
            Err(_) => within(db.batch_execute("ROLLBACK")).await.is_ok(),
        };
        self.connection = Some(db).filter(|_| usable);
    }
}

impl Put {
    fn answer(&mut self, end: Result<(), Refusal>) {
        // Whoever asked may have gone; it is written all the same.
        drop(self.reply.take().map(|it| it.send(end)));
    }
}

/// Whether that transaction was written. If it still goes on somewhere, its end is waited for. The lock makes this a transaction that writes: where there
/// are standbys, its own end, and so the answer, comes once they have all that was written before.
async fn is_written(db: &Client, doubt: &Doubt) -> Result<bool, StoreError> {
    within(db.batch_execute(&begin(LOCK_IN_DOUBT))).await?;
    let lock = "SELECT 1 FROM aegis.host WHERE stream = $1 FOR UPDATE";
    let locked = within(db.query_typed(lock, &[(&doubt.stream, Type::TEXT)])).await;
    locked.map_err(|error| if error == StoreError::Busy { still_open() } else { error })?;
    // A statement of its own: it sees what was written until now.
    let find = "SELECT 1 FROM aegis.ledger WHERE stream = $1 AND n = $2 AND hash = $3";
    let hash = doubt.hash.0.as_slice();
    let found = within(db.query_typed(find, &[(&doubt.stream, Type::TEXT), (&doubt.n, Type::INT8), (&hash, Type::BYTEA)])).await?;
    within(db.batch_execute("COMMIT")).await?;
    Ok(!found.is_empty())
}

/// It has no answer yet, and the database is not the one to blame.
fn still_open() -> StoreError {
    StoreError::Away(format!("what was sent before has been without an answer for {} seconds", LOCK_IN_DOUBT.as_secs()))
}

async fn transact(db: &Client, seat: &Seat, batch: &[Put], locks: Locks, doubt: &mut Option<Doubt>) -> Result<Vec<Fate>, Trouble> {
    let taken = take(db, seat, batch, locks).await?;
    let puts = || batch.iter().zip(&taken.runs).filter(|(_, fate)| **fate == Fate::Taken).map(|(put, _)| put);
    let lines: Vec<Line<'_>> = puts().flat_map(Put::lines).collect();
    let (rows, end) = seal(&taken.link, &lines);
    *doubt = rows.last().map(|last| Doubt { stream: seat.stream.clone(), n: last.0, hash: end.previous, taken: taken.runs.clone() });
    let questions: Vec<&Checkpoint> = puts().map(|it| &it.checkpoint).filter(|it| it.approval.is_some()).collect();
    let finished = finish(db, seat, &rows, &lines, &end, &taken, &questions).await;
    // An answer of the database is an answer: then nothing was written.
    if !matches!(finished, Err(StoreError::Away(_))) {
        *doubt = None;
    }
    finished?;
    Ok(taken.runs)
}

impl Put {
    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.entries.iter().map(|entry| Line { run: Some(uuid(self.checkpoint.run)), entry })
    }
}

/// The number and hash of each line, and the link that follows them.
fn seal(link: &Link, lines: &[Line<'_>]) -> (Vec<(i64, Digest)>, Link) {
    let (mut link, mut rows) = (link.clone(), Vec::with_capacity(lines.len()));
    for line in lines {
        let hash = link.seal(line.entry);
        rows.push((link.n.cast_signed(), hash));
        link = link.next(hash);
    }
    (rows, link)
}

/// Locks this host's seat and every run that is as it should be, and writes their new checkpoints. Runs are locked in the order of their ids,
/// so that two hosts never wait for each other. What is not taken, although it was as it should be when this began, is held by somebody.
const TAKE: &str = "
WITH me AS MATERIALIZED (
    SELECT n, hash FROM aegis.host WHERE stream = $1 AND id = $2 FOR NO KEY UPDATE
), want AS MATERIALIZED (
    SELECT * FROM unnest($3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
        $12::bytea[], $13::text[], $14::bytea[], $15::bytea[], $16::bigint[], $17::bigint[])
    AS want(id, version, status, route, principal, created_at, updated_at, due, lists, checkpoint, asker, key, body, asked_at, expires_at)
), old AS MATERIALIZED (
    SELECT run.id, run.host, run.status, run.lists IS NOT NULL AS asked, run.shared FROM aegis.run JOIN want USING(id)
    WHERE want.version > 1 AND run.version = want.version - 1 AND EXISTS (SELECT FROM me) ORDER BY run.id FOR NO KEY UPDATE OF run
), fit AS (
    SELECT id FROM old UNION ALL
    SELECT id FROM want WHERE version = 1 AND EXISTS (SELECT FROM me) AND NOT EXISTS (SELECT FROM aegis.run WHERE run.id = want.id)
), kept AS (
    INSERT INTO aegis.request AS request(principal, key, body, run, asked_at, expires_at)
    SELECT asker, key, body, id, asked_at, expires_at FROM want JOIN fit USING(id) WHERE key IS NOT NULL ORDER BY asker, key
    ON CONFLICT (principal, key) DO UPDATE
    SET body = excluded.body, run = excluded.run, asked_at = excluded.asked_at, expires_at = excluded.expires_at
    WHERE request.expires_at <= excluded.asked_at RETURNING run
), updated AS (
    UPDATE aegis.run SET version = want.version, status = want.status, host = $2, updated_at = want.updated_at, due = want.due,
        lists = want.lists, checkpoint = want.checkpoint, erased = 0, shared = old.shared OR old.host <> $2 OR want.status = 'paused'
    FROM want JOIN old USING(id) WHERE run.id = want.id AND (want.key IS NULL OR want.id IN (SELECT run FROM kept))
    RETURNING run.id, run.shared
), created AS (
    INSERT INTO aegis.run(id, version, status, route, principal, host, shared, created_at, updated_at, due, lists, checkpoint)
    SELECT id, 1, status, route, principal, $2, status = 'paused', created_at, updated_at, due, lists, checkpoint
    FROM want JOIN fit USING(id) WHERE version = 1 AND (key IS NULL OR id IN (SELECT run FROM kept))
    ON CONFLICT (id) DO NOTHING RETURNING id, shared
)
SELECT me.n, me.hash, want.id, taken.id IS NOT NULL, coalesce(old.asked, false),
    coalesce(taken.shared, false) AND (want.status NOT IN ('pending', 'running') OR old.status = 'paused'),
    old.id IS NULL AND EXISTS (SELECT FROM aegis.run WHERE run.id = want.id AND run.version = want.version - 1)
FROM me CROSS JOIN want LEFT JOIN (SELECT * FROM updated UNION ALL SELECT * FROM created) AS taken ON taken.id = want.id
LEFT JOIN old ON old.id = want.id";

/// The end of the statement that locks the runs in [`TAKE`].
const LOCK_RUNS: &str = "FOR NO KEY UPDATE OF run";

async fn take(db: &Client, seat: &Seat, batch: &[Put], locks: Locks) -> Result<Taken, Trouble> {
    let of = |value: fn(&Checkpoint) -> i64| batch.iter().map(|it| value(&it.checkpoint)).collect::<Vec<i64>>();
    let texts = |value: fn(&Checkpoint) -> &str| batch.iter().map(|it| value(&it.checkpoint)).collect::<Vec<&str>>();
    let ids: Vec<Uuid> = batch.iter().map(|it| uuid(it.checkpoint.run)).collect();
    let versions = of(|it| it.version.cast_signed());
    let (statuses, routes, principals) = (texts(|it| it.status.name()), texts(|it| &it.route), texts(|it| &it.principal));
    let (created, updated) = (of(|it| milliseconds(it.created_at)), of(|it| milliseconds(it.updated_at)));
    let due: Vec<Option<i64>> = batch.iter().map(|it| it.checkpoint.due.map(milliseconds)).collect();
    let lists: Vec<Option<i64>> = batch.iter().map(|it| it.checkpoint.approval.as_ref().map(|it| it.lists.len() as i64)).collect();
    let checkpoints: Vec<&[u8]> = batch.iter().map(|it| it.checkpoint.bytes.as_slice()).collect();
    let requests = || batch.iter().map(|it| it.request.as_ref());
    let askers: Vec<Option<&str>> = requests().map(|it| it.map(|it| it.principal.as_str())).collect();
    let keys: Vec<Option<&[u8]>> = requests().map(|it| it.map(|it| it.key.0.as_slice())).collect();
    let bodies: Vec<Option<&[u8]>> = requests().map(|it| it.map(|it| it.body.0.as_slice())).collect();
    let asked: Vec<Option<i64>> = requests().map(|it| it.map(|it| milliseconds(it.at))).collect();
    let expires: Vec<Option<i64>> = requests().map(|it| it.map(|it| milliseconds(it.expires_at))).collect();
    let params: &[Param<'_>] = &[
        (&seat.stream, Type::TEXT),
        (&seat.id, Type::INT8),
        (&ids, Type::UUID_ARRAY),
        (&versions, Type::INT8_ARRAY),
        (&statuses, Type::TEXT_ARRAY),
        (&routes, Type::TEXT_ARRAY),
        (&principals, Type::TEXT_ARRAY),
        (&created, Type::INT8_ARRAY),
        (&updated, Type::INT8_ARRAY),
        (&due, Type::INT8_ARRAY),
        (&lists, Type::INT8_ARRAY),
        (&checkpoints, Type::BYTEA_ARRAY),
        (&askers, Type::TEXT_ARRAY),
        (&keys, Type::BYTEA_ARRAY),
        (&bodies, Type::BYTEA_ARRAY),
        (&asked, Type::INT8_ARRAY),
        (&expires, Type::INT8_ARRAY),
    ];
    // Both are sent at once.
    let begin = begin(LOCK_AT_SEAT);
    let sql: Cow<'_, str> = match locks {
        Locks::Wait => TAKE.into(),
        Locks::Skip => TAKE.replace(LOCK_RUNS, &format!("{LOCK_RUNS} SKIP LOCKED")).into(),
    };
    let (begun, rows) = futures::join!(within(db.batch_execute(&begin)), within(db.query_typed(&sql, params)));
    begun?;
    let rows = rows?;
    let Some(first) = rows.first() else { return Err(Trouble::Buried(seat.clone())) };
    let mut taken =
        Taken { link: link(seat, first.get(0), first.get(1))?, runs: vec![Fate::Late; batch.len()], asked: vec![], told: vec![] };
    let places: HashMap<Uuid, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    for row in &rows {
        let id: Uuid = row.get(2);
        let fate = &mut taken.runs[places[&id]];
        if !row.get::<_, bool>(3) {
            *fate = if locks == Locks::Skip && row.get(6) { Fate::Held } else { Fate::Late };
            continue;
        }
        *fate = Fate::Taken;
        taken.asked.extend(row.get::<_, bool>(4).then_some(id));
        taken.told.extend(row.get::<_, bool>(5).then(|| id.to_string()));
    }
    Ok(taken)
}

/// What the next line follows.
fn link(seat: &Seat, n: i64, hash: &[u8]) -> Result<Link, StoreError> {
    Ok(Link { stream: seat.stream.clone(), n: n.cast_unsigned() + 1, previous: super::digest(hash)? })
}

/// Writes what follows from what was taken, and commits.
async fn finish(
    db: &Client,
    seat: &Seat,
    rows: &[(i64, Digest)],
    lines: &[Line<'_>],
    end: &Link,
    taken: &Taken,
    questions: &[&Checkpoint],
) -> Result<(), StoreError> {
    let asks = Questions::of(questions);
    let mut sent: Vec<BoxFuture<'_, Result<(), StoreError>>> = vec![];
    if !taken.asked.is_empty() {
        sent.push(forget_questions(db, &taken.asked).boxed());
    }
    if !questions.is_empty() {
        sent.push(asks.write(db).boxed());
    }
    if !lines.is_empty() {
        sent.push(append(db, seat, rows, lines, end).boxed());
    }
    sent.push(within(db.batch_execute("COMMIT")).boxed());
    sent.push(listener::tell(db, &taken.told).map(Ok).boxed());
    // In this order, without waiting for one before the next is sent: so many are asked one after the other, and each sends when it is asked first.
    join_all(sent).await.into_iter().collect()
}

async fn append(db: &Client, seat: &Seat, rows: &[(i64, Digest)], lines: &[Line<'_>], end: &Link) -> Result<(), StoreError> {
    let sql = "WITH line AS (
            INSERT INTO aegis.ledger(stream, n, run, entry, hash)
            SELECT $1, line.* FROM unnest($3::bigint[], $4::uuid[], $5::bytea[], $6::bytea[]) AS line(n, run, entry, hash)
        )
        UPDATE aegis.host SET n = $7, hash = $8 WHERE stream = $1 AND id = $2";
    let numbers: Vec<i64> = rows.iter().map(|it| it.0).collect();
    let hashes: Vec<&[u8]> = rows.iter().map(|it| it.1.0.as_slice()).collect();
    let runs: Vec<Option<Uuid>> = lines.iter().map(|it| it.run).collect();
    let entries: Vec<&[u8]> = lines.iter().map(|it| it.entry).collect();
    let (last, hash) = (end.n.cast_signed() - 1, end.previous.0.as_slice());
    let params: &[Param<'_>] = &[
        (&seat.stream, Type::TEXT),
        (&seat.id, Type::INT8),
        (&numbers, Type::INT8_ARRAY),
        (&runs, Type::UUID_ARRAY),
        (&entries, Type::BYTEA_ARRAY),
        (&hashes, Type::BYTEA_ARRAY),
        (&last, Type::INT8),
        (&hash, Type::BYTEA),
    ];
    within(db.execute_typed(sql, params)).await.map(drop)
}

async fn forget_questions(db: &Client, runs: &[Uuid]) -> Result<(), StoreError> {
    let sql = "WITH approver AS (DELETE FROM aegis.approver WHERE run = ANY($1)) DELETE FROM aegis.excluded WHERE run = ANY($1)";
    within(db.execute_typed(sql, &[(&runs, Type::UUID_ARRAY)])).await.map(drop)
}

/// Who may decide what is open, as rows.
#[derive(Default)]
struct Questions {
    runs: Vec<Uuid>,
    lists: Vec<i64>,
    names: Vec<String>,
    excluded: (Vec<Uuid>, Vec<String>),
}

impl Questions {
    fn of(checkpoints: &[&Checkpoint]) -> Questions {
        let mut all = Questions::default();
        for (run, question) in checkpoints.iter().filter_map(|it| Some((uuid(it.run), it.approval.as_ref()?))) {
            for (number, list) in (0_i64..).zip(&question.lists) {
                for approver in list {
                    all.runs.push(run);
                    all.lists.push(number);
                    all.names.push(name(approver));
                }
            }
            for principal in &question.excluded {
                all.excluded.0.push(run);
                all.excluded.1.push(principal.clone());
            }
        }
        all
    }

    async fn write(&self, db: &Client) -> Result<(), StoreError> {
        let sql = "WITH approver AS (
                INSERT INTO aegis.approver SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[]) ON CONFLICT DO NOTHING
            )
            INSERT INTO aegis.excluded SELECT * FROM unnest($4::uuid[], $5::text[]) ON CONFLICT DO NOTHING";
        let params: &[Param<'_>] = &[
            (&self.runs, Type::UUID_ARRAY),
            (&self.lists, Type::INT8_ARRAY),
            (&self.names, Type::TEXT_ARRAY),
            (&self.excluded.0, Type::UUID_ARRAY),
            (&self.excluded.1, Type::TEXT_ARRAY),
        ];
        within(db.execute_typed(sql, params)).await.map(drop)
    }
}

async fn transact_change(db: &Client, seat: &Seat, change: &mut dyn Change) -> Result<(), Trouble> {
    within(db.batch_execute(&begin(LOCK_AT_SEAT))).await?;
    let me = "SELECT n, hash FROM aegis.host WHERE stream = $1 AND id = $2 FOR NO KEY UPDATE";
    let found = within(db.query_typed(me, &[(&seat.stream, Type::TEXT), (&seat.id, Type::INT8)])).await?;
    let Some(me) = found.first() else { return Err(Trouble::Buried(seat.clone())) };
    if let Some(removal) = change.make(db, seat).await? {
        let entry = removal.to_json();
        let lines = [Line { run: None, entry: &entry }];
        let (rows, end) = seal(&link(seat, me.get(0), me.get(1))?, &lines);
        append(db, seat, &rows, &lines, &end).await?;
    }
    Ok(within(db.batch_execute("COMMIT")).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_outage_is_waited_for_and_the_next_one_as_long() {
        let (mut outage, begin) = (Outage::default(), Instant::now());
        let mut missed_at = |second: u64| outage.goes_on(begin + Duration::from_secs(second));
        let told: Vec<bool> = [0, 10, 19, 20, 30, 49, 100, 110, 119, 120].into_iter().map(&mut missed_at).collect();
        assert_eq!(told, [true, true, true, false, false, false, true, true, true, false]);
    }
}
