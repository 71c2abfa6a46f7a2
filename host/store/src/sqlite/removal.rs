//! Removing what is over, in SQL. What has to go is looked for, read and emptied by a reader, so that the writer only puts it down.

use super::runs::stored;
use super::writer::Batch;
use super::{Sqlite, file, lines};
use crate::columns::{decode, milliseconds, rows};
use crate::{Doomed, Gone, Held, StoreError};
use aegis_core::{Record, Removal, Removed, RunId, Time};
use rusqlite::{Connection, Params, params};
use std::time::Duration;

/// Word for word that of the index `run_over`, so that it is used. What is over never changes again.
const OVER: &str = "status IN ('completed', 'blocked', 'denied', 'cancelled', 'error')";
/// Bytes of checkpoints that one step reads or frees: many large runs must not hold up the writer, either.
const STEP: usize = 4 << 20;
/// Pages that one step gives back.
const PAGES: u32 = 256;
/// How often the log is tried to be emptied while another program reads, and how long the others may commit between two attempts.
const FOLDS: u32 = 25;
const BETWEEN_FOLDS: Duration = Duration::from_millis(200);
/// One free page in so many is not worth giving back: the next run takes it.
const SLACK: i64 = 20;

/// A run whose content is out of it.
struct Emptied {
    /// May be another run's by the time of the transaction: SQLite gives the number of the last row again when that is gone.
    seq: i64,
    id: RunId,
    bytes: Vec<u8>,
}

impl Sqlite {
    pub(super) async fn remove_some(&self, doomed: &Doomed, now: Time, limit: usize) -> Result<Gone, StoreError> {
        self.host.ok_or(StoreError::NotHost)?;
        match doomed.clone() {
            Doomed::Content { ended_before } => {
                let found = self.long_over(ended_before, now, rows(limit)).await?;
                self.empty(found, now, move |runs| Removed::Content { runs, ended_before }).await
            }
            Doomed::ContentOf { principal, by, after } => {
                let whose = principal.clone();
                let after = after.map_or(vec![], |it| it.as_bytes().to_vec());
                let find = move |db: &mut Connection| {
                    let sql = format!(
                        "SELECT id, checkpoint, seq FROM run WHERE principal = ?1 AND id > ?3 AND {OVER} AND erased = 0 ORDER BY id LIMIT ?2"
                    );
                    emptied(db, &sql, params![whose, rows(limit), after], now)
                };
                let Looked { found, last, .. } = self.read(find).await?;
                let gone =
                    self.empty(found, now, move |runs| Removed::Erased { runs, principal: principal.clone(), by: by.clone() }).await?;
                Ok(Gone { last, ..gone })
            }
            Doomed::Runs { ended_before } => self.remove_runs(ended_before, now, limit).await,
            Doomed::Lines { written_before } => self.remove_lines(written_before, now, limit).await,
        }
    }

    /// Those that cannot be read are passed over: however many they are, the others behind them go.
    async fn long_over(&self, ended_before: Time, now: Time, limit: i64) -> Result<Vec<Emptied>, StoreError> {
        let (before, mut passed) = (milliseconds(ended_before), 0);
        loop {
            let find = move |db: &mut Connection| {
                let sql = format!(
                    "SELECT id, checkpoint, seq FROM run WHERE {OVER} AND erased = 0 AND updated_at < ?1 ORDER BY updated_at, seq LIMIT ?2 OFFSET ?3"
                );
                emptied(db, &sql, params![before, limit, passed], now)
            };
            let Looked { found, count, .. } = self.read(find).await?;
            if count == 0 || !found.is_empty() {
                return Ok(found);
            }
            passed += count;
        }
    }

    async fn empty(
        &self,
        found: Vec<Emptied>,
        now: Time,
        what: impl Fn(Vec<RunId>) -> Removed + Send + 'static,
    ) -> Result<Gone, StoreError> {
        if found.is_empty() {
            return Ok(Gone::default());
        }
        let written = self.write(move |batch| {
            let mut runs = vec![];
            for it in &found {
                let sql = format!("UPDATE run SET checkpoint = ?2, erased = 1 WHERE seq = ?1 AND id = ?3 AND erased = 0 AND {OVER}");
                if batch.tx.prepare_cached(&sql)?.execute(params![it.seq, it.bytes, it.id.as_bytes()])? == 1 {
                    batch.tx.prepare_cached("DELETE FROM request WHERE run = ?1")?.execute([it.seq])?;
                    runs.push(it.id);
                }
            }
            told(batch, runs, now, &what)
        });
        written.await
    }

    async fn remove_runs(&self, ended_before: Time, now: Time, limit: usize) -> Result<Gone, StoreError> {
        let before = milliseconds(ended_before);
        let found = self.read(move |db| {
            let sql = format!("SELECT seq, id, length(checkpoint) FROM run WHERE {OVER} AND erased IN (0, 1) AND updated_at < ?1 LIMIT ?2");
            let (mut find, mut found, mut room) = (db.prepare_cached(&sql)?, vec![], STEP);
            let mut rows = find.query(params![before, rows(limit)])?;
            while let Some(row) = rows.next()?.filter(|_| room > 0) {
                room = room.saturating_sub(usize::try_from(row.get::<_, i64>(2)?).unwrap_or(usize::MAX));
                found.push((row.get::<_, i64>(0)?, RunId::from_bytes(row.get(1)?)));
            }
            Ok(found)
        });
        let found = found.await?;
        if found.is_empty() {
            return Ok(Gone::default());
        }
        let removed = self.write(move |batch| {
            let mut runs = vec![];
            for &(seq, id) in &found {
                let sql = format!("DELETE FROM run WHERE seq = ?1 AND id = ?3 AND updated_at < ?2 AND {OVER}");
                let deleted = batch.tx.prepare_cached(&sql)?.execute(params![seq, before, id.as_bytes()])?;
                runs.extend((deleted == 1).then_some(id));
            }
            told(batch, runs, now, |runs| Removed::Runs { runs, ended_before })
        });
        removed.await
    }

    async fn remove_lines(&self, written_before: Time, now: Time, limit: usize) -> Result<Gone, StoreError> {
        let stream = self.stream.clone();
        let Some(first) = self.read(move |db| first_line_to_stay(db, &stream, written_before, limit)).await? else {
            return Ok(Gone::default());
        };
        let removed = self.write(move |batch| {
            // A row begins before the line that follows it.
            let end = lines::end_before(&batch.tx, first)?.filter(|(n, _)| n.cast_signed() == first);
            let Some((first, hash)) = end else { return Ok(Gone::default()) };
            let gone = "DELETE FROM ledger WHERE seq < ?1 RETURNING length(hash) / 32";
            let counts =
                batch.tx.prepare(gone)?.query_map([first.cast_signed()], |row| row.get::<_, u32>(0))?.collect::<Result<Vec<_>, _>>()?;
            let count = counts.into_iter().map(|it| it as usize).sum();
            batch.tx.execute("INSERT OR REPLACE INTO pruned(one, n, hash) VALUES(1, ?1, ?2)", params![first.cast_signed() - 1, hash.0])?;
            let what = Removed::Lines { first, previous: hash, written_before };
            batch.append(&Removal { time: now, what }.to_json());
            Ok(Gone { count, last: None })
        });
        removed.await
    }

    pub(super) async fn held_by(&self, principal: &str) -> Result<Held, StoreError> {
        let principal = principal.to_owned();
        let held = self.read(move |db| {
            let count = |condition: &str| {
                let sql = format!("SELECT count(*) FROM run WHERE principal = ?1 AND {condition}");
                db.query_row(&sql, [&principal], |row| row.get::<_, i64>(0))
            };
            let sql = format!("SELECT id FROM run WHERE principal = ?1 AND NOT {OVER} ORDER BY id LIMIT ?2");
            let mut list = db.prepare(&sql)?;
            let ids = list.query_map(params![principal, rows(Held::LISTED)], |row| Ok(RunId::from_bytes(row.get(0)?)))?;
            let open_runs = ids.collect::<Result<_, _>>()?;
            let (erasable, open) = (count(&format!("{OVER} AND erased = 0"))?, count(&format!("NOT {OVER}"))?);
            Ok(Held { erasable: erasable.cast_unsigned(), open: open.cast_unsigned(), open_runs })
        });
        held.await
    }

    pub(super) async fn shrink_some(&self) -> Result<bool, StoreError> {
        self.host.ok_or(StoreError::NotHost)?;
        let worth_it = self.read(|db| {
            let number = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            // Without room for it in the file nothing can be moved: see `schema::make_shrinkable`.
            Ok(number("auto_vacuum")? == 2 && number("freelist_count")? > number("page_count")? / SLACK)
        });
        if !worth_it.await? {
            return Ok(false);
        }
        let given_back = self.write(|batch| {
            let mut vacuum = batch.tx.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
            let mut pages = vacuum.query([])?;
            while pages.next()?.is_some() {}
            Ok(true)
        });
        given_back.await
    }

    /// Deleted bytes are overwritten as they are deleted (`secure_delete`), but when SQLite moves rows to another page, it leaves a copy in the
    /// part of the first one that counts as unused; so all pages are written anew, and then the log has nothing to keep.
    pub(super) async fn write_anew(&self) -> Result<(), StoreError> {
        self.host.ok_or(StoreError::NotHost)?;
        self.alone(|db| Ok(db.execute_batch("VACUUM")?)).await?;
        for _ in 1..FOLDS {
            match self.alone(fold).await {
                Err(StoreError::Busy) => tokio::time::sleep(BETWEEN_FOLDS).await,
                other => return other,
            }
        }
        self.alone(fold).await
    }
}

/// Leaves nothing in the log. Whoever commits waits meanwhile, so it waits for other programs that read only for a moment.
fn fold(db: &Connection) -> Result<(), StoreError> {
    db.busy_timeout(Duration::from_millis(20))?;
    let busy = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    db.busy_timeout(file::PATIENCE)?;
    if busy? { Err(StoreError::Busy) } else { Ok(()) }
}

/// What a step has looked at.
struct Looked {
    /// Without their content.
    found: Vec<Emptied>,
    /// So many runs, those that cannot be read too.
    count: i64,
    /// The last of them.
    last: Option<RunId>,
}

/// One that cannot be read is left as it is: a check names it.
fn emptied(db: &Connection, sql: &str, values: impl Params, now: Time) -> Result<Looked, StoreError> {
    let (mut find, mut room) = (db.prepare_cached(sql)?, STEP);
    let mut looked = Looked { found: vec![], count: 0, last: None };
    let mut rows = find.query(values)?;
    while let Some(row) = rows.next()?.filter(|_| room > 0) {
        let (seq, (id, checkpoint)) = (row.get(2)?, stored(row)?);
        room = room.saturating_sub(checkpoint.len());
        (looked.last, looked.count) = (Some(id), looked.count + 1);
        match decode(id, &checkpoint).map(|mut run| run.erase(now).map(|()| run)) {
            Ok(Ok(run)) => looked.found.push(Emptied { seq, id, bytes: run.packed() }),
            Ok(Err(error)) => tracing::error!(run = %id, %error, "the content of a run cannot be removed"),
            Err(error) => tracing::error!(run = %id, %error, "the content of a run cannot be removed"),
        }
    }
    Ok(looked)
}

/// Writes down what has gone, if anything has.
fn told(batch: &mut Batch<'_>, runs: Vec<RunId>, now: Time, what: impl FnOnce(Vec<RunId>) -> Removed) -> Result<Gone, StoreError> {
    let count = runs.len();
    if count > 0 {
        batch.append(&Removal { time: now, what: what(runs) }.to_json());
    }
    Ok(Gone { count, last: None })
}

/// The line after the first rows whose lines are all old enough and of no run that is there; they end with the row of line `limit`. Removals alone
/// are no reason to begin: each would be followed by the next.
fn first_line_to_stay(db: &Connection, stream: &str, written_before: Time, limit: usize) -> Result<Option<i64>, StoreError> {
    let mut there = db.prepare_cached("SELECT 1 FROM run WHERE id = ?1")?;
    let (mut first, mut count, mut worth_it) = (None, 0, false);
    lines::each_row(db, stream, 0, |row| {
        let mut tells_of_a_run = false;
        for line in &row {
            let record = Record::read(&line.entry).map_err(|error| crate::ledger::unreadable(line, &error))?;
            if record.time() >= written_before {
                return Ok(false);
            }
            if let Record::Run(entry) = &record {
                if there.exists([entry.run.as_bytes()])? {
                    return Ok(false);
                }
                tells_of_a_run = true;
            }
        }
        worth_it |= tells_of_a_run;
        (first, count) = (row.last().map(|it| it.n.cast_signed() + 1), count + row.len());
        Ok(count < limit)
    })?;
    Ok(first.filter(|_| worth_it || count >= limit))
}
