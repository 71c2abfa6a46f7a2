//! A host's place among others: it takes a seat, says again and again that it is alive, and takes those for dead that do not. Leases are compared by
//! the database alone, by its own clock.
//!
//! Who has a seat is a number in its row, and every transaction that commits runs locks that row and finds its own number in it. So once another
//! host has taken the number out, nothing more is written by whoever had it, however late it wakes up. It then takes a seat like a new one.

use super::Lost;
use super::connect::{Connector, LOCK_AT_SEAT, PAUSE, Pool, Session, bounded, within_time};
use crate::StoreError;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio_postgres::types::Type;

/// A host that is silent for longer may be taken for dead.
pub(super) const LEASE: Duration = Duration::from_secs(5);
/// A sign of life that is not answered for so long is given elsewhere: it has to be, before the lease ends.
const ANSWERED: Duration = Duration::from_secs(2);
/// And waits no longer for its row, which a commit holds no longer than [`LOCK_AT_SEAT`].
const HELD: Duration = Duration::from_millis(1500);
const _: () = assert!(LOCK_AT_SEAT.as_millis() < HELD.as_millis() && HELD.as_millis() < ANSWERED.as_millis());
/// Between two signs of life.
const BEAT: Duration = Duration::from_millis(500);
/// Whose last sign of life was answered longer ago is out of touch.
const TOUCH: Duration = Duration::from_secs(3);

/// One host's number and its stream of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) stream: String,
    pub(super) id: i64,
}

/// What a host knows of itself among others.
pub(super) struct Membership {
    seat: Mutex<Seat>,
    /// Held by whoever takes another one.
    joining: tokio::sync::Mutex<()>,
    name: String,
    /// Of the database's clock before this machine's, in milliseconds.
    offset: AtomicI64,
    /// When its last sign of life was answered, which is as durable as a run that is committed.
    beat: Mutex<Instant>,
    /// It has given its seat back, and takes no other.
    left: AtomicBool,
    /// Somebody has died.
    pub(super) orphans: Notify,
}

impl Membership {
    /// Takes a seat.
    pub(super) async fn join(pool: &Pool, name: String) -> Result<Membership, StoreError> {
        let seat = take_seat(pool, &name).await?;
        let before = machine_time();
        let read = pool.rows("SELECT (extract(epoch FROM clock_timestamp()) * 1000::numeric)::bigint", &[]).await?;
        let offset = ahead(before, read[0].get(0));
        Ok(Membership {
            seat: Mutex::new(seat),
            joining: tokio::sync::Mutex::default(),
            name,
            offset: AtomicI64::new(offset),
            beat: Mutex::new(Instant::now()),
            left: AtomicBool::new(false),
            orphans: Notify::new(),
        })
    }

    pub(super) fn seat(&self) -> Seat {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// See [`crate::Hosts::in_touch`].
    pub(super) fn in_touch(&self) -> Result<(), StoreError> {
        let silent = self.beat.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        let away = || StoreError::Away(format!("it has not answered this host's signs of life for {} seconds", silent.as_secs()));
        if silent > TOUCH { Err(away()) } else { Ok(()) }
    }

    /// What time it will be to the database, in milliseconds.
    pub(super) fn time_in(&self, span: Duration) -> i64 {
        let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        machine_time().saturating_add(self.offset()).saturating_add(span)
    }

    /// Takes another seat, unless that was done since `lost` was had.
    pub(super) async fn rejoin(&self, pool: &Pool, lost: &Seat) -> Result<(), StoreError> {
        let _alone = self.joining.lock().await;
        if self.left.load(Ordering::Relaxed) {
            return Err(StoreError::Away("this host has left it".into()));
        }
        if self.seat() != *lost {
            return Ok(());
        }
        let seat = take_seat(pool, &self.name).await?;
        tracing::warn!(was = lost.id, is = seat.id, "other hosts took this one for dead; it goes on as a new one");
        *self.seat.lock().unwrap_or_else(PoisonError::into_inner) = seat;
        self.orphans.notify_one();
        Ok(())
    }

    /// Leaves its seat to the next one.
    pub(super) async fn leave(&self, pool: &Pool) -> Result<(), StoreError> {
        // One that is being taken at this moment is given back, too.
        let _alone = self.joining.lock().await;
        self.left.store(true, Ordering::Relaxed);
        pool.rows_locking(LEAVE, &[(&self.seat().id, Type::INT8)]).await.map(drop)
    }

    /// Says that it is alive, for ever, and takes the seats of those that do not.
    pub(super) async fn live(&self, connector: &Connector, pool: &Pool) {
        let (mut touch, mut connection) = (Touch::new(Instant::now()), None);
        let (mut pause, mut lost) = (PAUSE.0, Lost::default());
        loop {
            match self.beat(connector, pool, &mut connection, &mut touch).await {
                Ok(()) => {
                    pause = PAUSE.0;
                    lost.found("heartbeat");
                    tokio::time::sleep(BEAT).await;
                }
                // Somebody holds its row. It stays in line for it, so that it has it before others may take it for dead.
                Err(error @ StoreError::Busy) => {
                    lost.missed("heartbeat", &error);
                    tokio::time::sleep(PAUSE.0).await;
                }
                Err(error) => {
                    lost.missed("heartbeat", &error);
                    connection.take().inspect(|it| connector.distrust(it));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }

    async fn beat(
        &self,
        connector: &Connector,
        pool: &Pool,
        connection: &mut Option<Session>,
        touch: &mut Touch,
    ) -> Result<(), StoreError> {
        let db = match connection {
            Some(db) => db,
            None => connection.insert(connector.connect().await?),
        };
        let (seat, before) = (self.seat(), machine_time());
        let beat = "UPDATE aegis.host SET lease = clock_timestamp() + make_interval(secs => $2) WHERE id = $1
            RETURNING (extract(epoch FROM clock_timestamp()) * 1000::numeric)::bigint";
        let params = [(&seat.id as _, Type::INT8), (&LEASE.as_secs_f64() as _, Type::FLOAT8)];
        let alive = within_time(ANSWERED, bounded(db, HELD, beat, &params)).await?;
        match alive.first() {
            Some(row) => {
                self.offset.store(ahead(before, row.get(0)), Ordering::Relaxed);
                *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            }
            None => self.rejoin(pool, &seat).await?,
        }
        if touch.felt(Instant::now()) { self.bury(db).await } else { Ok(()) }
    }

    async fn bury(&self, db: &Session) -> Result<(), StoreError> {
        // The next sign of life waits for this.
        let buried = within_time(ANSWERED / 2, bounded(db, ANSWERED / 4, BURY, &[])).await?;
        for row in &buried {
            tracing::warn!(host = row.get::<_, i64>(0), name = row.get::<_, String>(1), "a host is silent: its runs are taken over");
        }
        if !buried.is_empty() {
            self.orphans.notify_one();
        }
        Ok(())
    }
}

/// Since when this host has been in touch with the database without a gap, and when it was last.
struct Touch {
    since: Instant,
    last: Instant,
}

impl Touch {
    fn new(now: Instant) -> Touch {
        Touch { since: now, last: now }
    }

    /// It is in touch: whether for so long that it can say who is not. Where nobody could reach the database nobody is dead yet: who has just come back
    /// gives the others time to do so, too, however long it was away.
    fn felt(&mut self, now: Instant) -> bool {
        if now - self.last > LEASE / 2 {
            self.since = now;
        }
        self.last = now;
        now - self.since > LEASE
    }
}

/// Takes those for dead whose lease has ended. Those whose row somebody holds are looked at again the next time: they may be in the middle of a commit, which
/// then is the last.
const BURY: &str = "
    WITH late AS (
        SELECT stream, id, name FROM aegis.host
        WHERE id IS NOT NULL AND lease < clock_timestamp() ORDER BY stream FOR UPDATE SKIP LOCKED
    ), noted AS (
        INSERT INTO aegis.dead SELECT id FROM late ON CONFLICT DO NOTHING
    )
    UPDATE aegis.host SET id = NULL FROM late WHERE host.stream = late.stream RETURNING late.id, late.name";

const LEAVE: &str = "
    WITH mine AS (SELECT stream, id FROM aegis.host WHERE id = $1 FOR UPDATE),
    noted AS (INSERT INTO aegis.dead SELECT id FROM mine ON CONFLICT DO NOTHING)
    UPDATE aegis.host SET id = NULL FROM mine WHERE host.stream = mine.stream";

async fn take_seat(pool: &Pool, name: &str) -> Result<Seat, StoreError> {
    let free = "
        WITH free AS (SELECT stream FROM aegis.host WHERE id IS NULL ORDER BY stream FOR UPDATE SKIP LOCKED LIMIT 1)
        UPDATE aegis.host SET id = nextval('aegis.hosts'::regclass), name = $1, lease = clock_timestamp() + make_interval(secs => $2)
        FROM free WHERE host.stream = free.stream RETURNING host.stream, host.id";
    let new = "INSERT INTO aegis.host(stream, id, name, lease)
        VALUES(replace(gen_random_uuid()::text, '-'::text, ''::text), nextval('aegis.hosts'::regclass), $1, clock_timestamp() + make_interval(secs => $2))
        RETURNING stream, id";
    let params = [(&name as _, Type::TEXT), (&LEASE.as_secs_f64() as _, Type::FLOAT8)];
    let mut rows = pool.rows_locking(free, &params).await?;
    if rows.is_empty() {
        rows = pool.rows_locking(new, &params).await?;
    }
    Ok(Seat { stream: rows[0].get(0), id: rows[0].get(1) })
}

/// How far the database's clock is ahead, which was read between then and now.
fn ahead(before: i64, read: i64) -> i64 {
    read - (before + machine_time()) / 2
}

fn machine_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_out_of_touch_says_of_nobody_that_he_is_dead_before_a_lease_has_passed() {
        let begin = Instant::now();
        let mut touch = Touch::new(begin);
        let mut at = |tenths: u64| touch.felt(begin + Duration::from_millis(tenths * 100));
        let first: Vec<u64> = (5..=60).step_by(5).filter(|it| at(*it)).collect();
        assert_eq!(first, [55, 60]);
        let then: Vec<u64> = (90..=160).step_by(5).filter(|it| at(*it)).collect();
        assert_eq!(then, [145, 150, 155, 160], "three seconds without an answer are a gap, whether it was asked for meanwhile or not");
    }
}
