//! Requests that may come again, in SQL.

use super::Sqlite;
use crate::columns::{milliseconds, rows};
use crate::{Earlier, Requests, StoreError};
use aegis_core::{RequestKey, RunId, Time};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

#[async_trait]
impl Requests for Sqlite {
    async fn request_find(&self, request: &RequestKey) -> Result<Option<Earlier>, StoreError> {
        let request = request.clone();
        self.read(move |db| Ok(find(db, &request)?)).await
    }

    async fn request_forget(&self, now: Time, limit: usize) -> Result<usize, StoreError> {
        self.host.ok_or(StoreError::NotHost)?;
        let (now, limit) = (milliseconds(now), rows(limit));
        // Looked for first: a transaction that finds nothing to do would wait for the disk all the same.
        let some = self.read(move |db| {
            let mut any = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM request WHERE expires_at <= ?1)")?;
            Ok(any.query_row([now], |row| row.get::<_, bool>(0))?)
        });
        if !some.await? {
            return Ok(0);
        }
        let forgotten = self.write(move |batch| {
            let sql = "DELETE FROM request WHERE (principal, key) IN
                (SELECT principal, key FROM request WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";
            Ok(batch.tx.prepare_cached(sql)?.execute(params![now, limit])?)
        });
        forgotten.await
    }
}

/// What came of the request with this key, if its time is not over.
pub(super) fn find(db: &Connection, request: &RequestKey) -> rusqlite::Result<Option<Earlier>> {
    let sql = "SELECT run.id, request.body = ?3 FROM request JOIN run ON run.seq = request.run
        WHERE request.principal = ?1 AND request.key = ?2 AND request.expires_at > ?4";
    let values = params![request.principal, request.key.0, request.body.0, milliseconds(request.at)];
    let earlier = |row: &rusqlite::Row<'_>| Ok(Earlier { run: RunId::from_bytes(row.get(0)?), same: row.get(1)? });
    db.prepare_cached(sql)?.query_row(values, earlier).optional()
}

/// That it led to the run with this number. One that is there already is over.
pub(super) fn keep(db: &Connection, request: &RequestKey, run: i64) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO request(principal, key, body, run, expires_at) VALUES(?1, ?2, ?3, ?4, ?5)";
    let values = params![request.principal, request.key.0, request.body.0, run, milliseconds(request.expires_at)];
    db.prepare_cached(sql)?.execute(values)?;
    Ok(())
}
