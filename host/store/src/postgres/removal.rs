//! Removing what is over, in SQL. What has to go is looked for, read and emptied before, so that the transaction only puts it down. Of hosts that do so at
//! once, each leaves to the other what that one has begun.

use super::connect::{Param, within};
use super::{Postgres, run_id, uuid};
use crate::columns::{decode, milliseconds, rows};
use crate::{Doomed, Gone, Held, StoreError};
use aegis_core::{Record, Removal, Removed, RunId, Time};
use futures::FutureExt;
use std::sync::Arc;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

/// Word for word that of the index `run_over`, so that it is used. What is over never changes again.
const OVER: &str = "status IN ('completed', 'blocked', 'denied', 'cancelled', 'error')";
/// Bytes of checkpoints that one step reads or frees: many large runs must not hold up the writer.
const STEP: usize = 4 << 20;

impl Postgres {
    pub(super) async fn remove_some(&self, doomed: &Doomed, now: Time, limit: usize) -> Result<Gone, StoreError> {
        self.host()?;
        let limit = rows(limit);
        match doomed.clone() {
            Doomed::Content { ended_before } => {
                let found = self.long_over(ended_before, now, limit).await?;
                self.empty(found, now, move |runs| Removed::Content { runs, ended_before }).await
            }
            Doomed::ContentOf { principal, by, after } => {
                let find = step(&format!("principal = $1 AND id > $3 AND {OVER} AND erased = 0"), "id", "LIMIT $2");
                let after = after.map_or(Uuid::nil(), uuid);
                let params: &[Param<'_>] = &[(&principal, Type::TEXT), (&limit, Type::INT8), (&after, Type::UUID)];
                let found = self.pool.rows(&find, params).await?;
                let last = found.last().map(|row| run_id(row.get(0)));
                let erased = move |runs| Removed::Erased { runs, principal: principal.clone(), by: by.clone() };
                Ok(Gone { last, ..self.empty(emptied(&found, now), now, erased).await? })
            }
            Doomed::Runs { ended_before } => self.remove_runs(ended_before, now, limit).await,
            Doomed::Lines { written_before } => self.remove_lines(written_before, now, limit).await,
        }
    }

    /// Those that cannot be read are passed over: however many they are, the others behind them go.
    async fn long_over(&self, ended_before: Time, now: Time, limit: i64) -> Result<Vec<(Uuid, Vec<u8>)>, StoreError> {
        let find = step(&format!("{OVER} AND erased = 0 AND updated_at < $1"), "updated_at, id", "LIMIT $2 OFFSET $3");
        let (before, mut passed) = (milliseconds(ended_before), 0_i64);
        loop {
            let params: &[Param<'_>] = &[(&before, Type::INT8), (&limit, Type::INT8), (&passed, Type::INT8)];
            let rows = self.pool.rows(&find, params).await?;
            let found = emptied(&rows, now);
            if rows.is_empty() || !found.is_empty() {
                return Ok(found);
            }
            passed += rows.len() as i64;
        }
    }

    async fn empty(
        &self,
        found: Vec<(Uuid, Vec<u8>)>,
        now: Time,
        what: impl Fn(Vec<RunId>) -> Removed + Send + Sync + 'static,
    ) -> Result<Gone, StoreError> {
        if found.is_empty() {
            return Ok(Gone::default());
        }
        let given = Arc::new((found, what));
        let written = self.host()?.writer.change(move |db, _| {
            let given = given.clone();
            async move {
                let (ids, bytes): (Vec<Uuid>, Vec<&[u8]>) = given.0.iter().map(|(id, bytes)| (*id, bytes.as_slice())).unzip();
                let sql = format!(
                    "WITH free AS (SELECT id FROM aegis.run WHERE id = ANY($1) AND erased = 0 AND {OVER} ORDER BY id FOR UPDATE SKIP LOCKED)
                    UPDATE aegis.run SET checkpoint = emptied.bytes, erased = 1 FROM free JOIN unnest($1, $2::bytea[]) AS emptied(id, bytes) USING(id)
                    WHERE run.id = free.id RETURNING run.id"
                );
                told(db, &sql, &[(&ids, Type::UUID_ARRAY), (&bytes, Type::BYTEA_ARRAY)], now, &given.1).await
            }
            .boxed()
        });
        written.await
    }

    async fn remove_runs(&self, ended_before: Time, now: Time, limit: i64) -> Result<Gone, StoreError> {
        let before = milliseconds(ended_before);
        let find = format!(
            "WITH found AS (
                SELECT id, octet_length(checkpoint) AS size FROM aegis.run
                WHERE {OVER} AND erased IN (0, 1) AND updated_at < $1 ORDER BY updated_at LIMIT $2
            )
            SELECT id FROM (SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM found) AS sized WHERE before < {STEP}"
        );
        let found = self.pool.rows(&find, &[(&before, Type::INT8), (&limit, Type::INT8)]).await?;
        let found: Vec<Uuid> = found.iter().map(|row| row.get(0)).collect();
        if found.is_empty() {
            return Ok(Gone::default());
        }
        let found = Arc::new(found);
        let removed = self.host()?.writer.change(move |db, _| {
            let found = found.clone();
            async move {
                let sql = format!(
                    "WITH free AS (SELECT id FROM aegis.run WHERE id = ANY($1) AND updated_at < $2 AND {OVER} ORDER BY id FOR UPDATE SKIP LOCKED)
                    DELETE FROM aegis.run USING free WHERE run.id = free.id RETURNING run.id"
                );
                let what = &move |runs| Removed::Runs { runs, ended_before };
                told(db, &sql, &[(&*found, Type::UUID_ARRAY), (&before, Type::INT8)], now, what).await
            }
            .boxed()
        });
        removed.await
    }

    /// Those of this host's own stream.
    async fn remove_lines(&self, written_before: Time, now: Time, limit: i64) -> Result<Gone, StoreError> {
        let stream = self.seat()?.stream;
        let Some(last) = self.last_line_to_go(&stream, written_before, limit).await? else { return Ok(Gone::default()) };
        let removed = self.host()?.writer.change(move |db, seat| {
            let mine = Some(stream.clone()).filter(|it| *it == seat.stream);
            async move {
                match mine {
                    Some(stream) => cut(db, &stream, last, now, written_before).await,
                    None => Ok((Gone::default(), None)),
                }
            }
            .boxed()
        });
        removed.await
    }

    /// The last of the first `limit` lines that are all old enough and of no run that is there. Removals alone are no reason to begin: each
    /// would be followed by the next. What a removal explains may be told by another stream: it stays until that one has nothing as old.
    async fn last_line_to_go(&self, stream: &str, written_before: Time, limit: i64) -> Result<Option<i64>, StoreError> {
        let others = self.oldest_line_of_others(stream).await?;
        let sql = "SELECT n, entry, EXISTS (SELECT FROM aegis.run WHERE run.id = ledger.run) FROM aegis.ledger WHERE stream = $1 ORDER BY n LIMIT $2";
        let lines = self.pool.rows(sql, &[(&stream, Type::TEXT), (&limit, Type::INT8)]).await?;
        let (mut last, mut count, mut worth_it) = (None, 0, false);
        for row in &lines {
            let n: i64 = row.get(0);
            let record = record(stream, n, row.get(1))?;
            let needed = match &record {
                Record::Run(_) => row.get(2),
                Record::Removal(_) => others.is_some_and(|oldest| oldest <= record.time()),
            };
            if record.time() >= written_before || needed {
                break;
            }
            worth_it |= matches!(record, Record::Run(_));
            (last, count) = (Some(n), count + 1);
        }
        Ok(last.filter(|_| worth_it || count == limit))
    }

    async fn oldest_line_of_others(&self, stream: &str) -> Result<Option<Time>, StoreError> {
        let sql = "SELECT line.stream, line.n, line.entry FROM aegis.host
            CROSS JOIN LATERAL (SELECT * FROM aegis.ledger WHERE ledger.stream = host.stream ORDER BY n LIMIT 1) AS line WHERE host.stream <> $1";
        let mut oldest = None;
        for row in self.pool.rows(sql, &[(&stream, Type::TEXT)]).await? {
            let time = record(row.get(0), row.get(1), row.get(2))?.time();
            oldest = Some(oldest.map_or(time, |it: Time| it.min(time)));
        }
        Ok(oldest)
    }

    pub(super) async fn held_by(&self, principal: &str) -> Result<Held, StoreError> {
        let counts = format!(
            "SELECT count(*) FILTER (WHERE {OVER} AND erased = 0), count(*) FILTER (WHERE NOT {OVER}) FROM aegis.run WHERE principal = $1"
        );
        let counted = self.pool.rows(&counts, &[(&principal, Type::TEXT)]).await?;
        let list = format!("SELECT id FROM aegis.run WHERE principal = $1 AND NOT {OVER} ORDER BY id LIMIT $2");
        let open = self.pool.rows(&list, &[(&principal, Type::TEXT), (&rows(Held::LISTED), Type::INT8)]).await?;
        Ok(Held {
            erasable: counted[0].get::<_, i64>(0).cast_unsigned(),
            open: counted[0].get::<_, i64>(1).cast_unsigned(),
            open_runs: open.iter().map(|row| run_id(row.get(0))).collect(),
        })
    }
}

/// The first runs by this order, as far as one step goes.
fn step(condition: &str, order: &str, limit: &str) -> String {
    format!(
        "WITH found AS (
            SELECT id, updated_at, octet_length(checkpoint) AS size FROM aegis.run WHERE {condition} ORDER BY {order} {limit}
        ), sized AS (SELECT id, sum(size) OVER (ORDER BY {order}) - size AS before FROM found)
        SELECT id, checkpoint FROM aegis.run JOIN sized USING(id) WHERE before < {STEP} ORDER BY before"
    )
}

/// Runs without their content. One that cannot be read is left as it is: a check names it.
fn emptied(rows: &[Row], now: Time) -> Vec<(Uuid, Vec<u8>)> {
    let mut found = vec![];
    for row in rows {
        let id: Uuid = row.get(0);
        match decode(run_id(id), row.get(1)).map(|mut run| run.erase(now).map(|()| run)) {
            Ok(Ok(run)) => found.push((id, run.packed())),
            Ok(Err(error)) => tracing::error!(run = %run_id(id), %error, "the content of a run cannot be removed"),
            Err(error) => tracing::error!(run = %run_id(id), %error, "the content of a run cannot be removed"),
        }
    }
    found
}

/// Does it to the runs that `sql` returns, forgets the requests that led to them, and writes down what has gone, if anything has.
async fn told(
    db: &Client,
    sql: &str,
    params: &[Param<'_>],
    now: Time,
    what: &(dyn Fn(Vec<RunId>) -> Removed + Send + Sync),
) -> Result<(Gone, Option<Removal>), StoreError> {
    let mut gone: Vec<Uuid> = within(db.query_typed(sql, params)).await?.iter().map(|row| row.get(0)).collect();
    gone.sort();
    let forget = "DELETE FROM aegis.request WHERE run = ANY($1)";
    within(db.execute_typed(forget, &[(&gone, Type::UUID_ARRAY)])).await?;
    let (count, runs) = (gone.len(), gone.into_iter().map(run_id).collect());
    Ok((Gone { count, last: None }, (count > 0).then(|| Removal { time: now, what: what(runs) })))
}

/// Takes the lines up to `last` off the stream.
async fn cut(db: &Client, stream: &str, last: i64, now: Time, written_before: Time) -> Result<(Gone, Option<Removal>), StoreError> {
    let sql = "WITH last AS (SELECT n, hash FROM aegis.ledger WHERE stream = $1 AND n = $2),
        gone AS (DELETE FROM aegis.ledger USING last WHERE ledger.stream = $1 AND ledger.n <= last.n RETURNING 1),
        noted AS (UPDATE aegis.host SET pruned_n = last.n, pruned_hash = last.hash FROM last WHERE host.stream = $1)
        SELECT hash, (SELECT count(*) FROM gone) FROM last";
    let rows = within(db.query_typed(sql, &[(&stream, Type::TEXT), (&last, Type::INT8)])).await?;
    let Some(row) = rows.first() else { return Ok((Gone::default(), None)) };
    let what = Removed::Lines { first: last.cast_unsigned() + 1, previous: super::digest(row.get(0))?, written_before };
    let count = usize::try_from(row.get::<_, i64>(1)).unwrap_or(usize::MAX);
    Ok((Gone { count, last: None }, Some(Removal { time: now, what })))
}

fn record(stream: &str, n: i64, entry: &[u8]) -> Result<Record, StoreError> {
    Record::read(entry).map_err(|error| StoreError::Damaged(format!("ledger {stream}: line {n} cannot be read: {error}")))
}
