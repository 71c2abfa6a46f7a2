//! Keys and sessions, in SQL.

use super::Sqlite;
use crate::columns::{milliseconds, time};
use crate::{CommitError, Key, Keys, NewKey, Session, StoreError};
use aegis_core::{Digest, Time};
use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, params};

#[async_trait]
impl Keys for Sqlite {
    async fn key_create(&self, key: &NewKey) -> Result<(), CommitError> {
        let sql = "INSERT OR IGNORE INTO key(id, hash, principal, created_at) VALUES(?1, ?2, ?3, ?4)";
        let principal = serde_json::to_string(&key.principal).expect("a principal is texts");
        let key = key.clone();
        let created = self.write(move |batch| {
            let values = params![key.id, key.hash.0, principal, milliseconds(key.created_at)];
            Ok(batch.tx.prepare_cached(sql)?.execute(values)?)
        });
        one(created.await?)
    }

    async fn key_find(&self, hash: Digest) -> Result<Option<Key>, StoreError> {
        let sql = "SELECT id, principal, created_at, revoked_at FROM key WHERE hash = ?1 AND revoked_at IS NULL";
        let found = self.look(move |db| Ok(db.prepare_cached(sql)?.query_row([hash.0], |row| key(row, 0)).optional()?));
        found.await
    }

    async fn key_list(&self) -> Result<Vec<Key>, StoreError> {
        let sql = "SELECT id, principal, created_at, revoked_at FROM key ORDER BY seq";
        let keys = self.read(move |db| Ok(db.prepare_cached(sql)?.query_map([], |row| key(row, 0))?.collect::<Result<_, _>>()?));
        keys.await
    }

    async fn key_revoke(&self, id: &str, now: Time) -> Result<bool, StoreError> {
        let sql = "UPDATE key SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
        let id = id.to_owned();
        let revoked = self.write(move |batch| Ok(batch.tx.prepare_cached(sql)?.execute(params![id, milliseconds(now)])?));
        Ok(revoked.await? == 1)
    }

    async fn session_create(&self, session: &Session, now: Time) -> Result<(), CommitError> {
        let forget = "DELETE FROM session WHERE expires_at <= ?1";
        let sql = "INSERT OR IGNORE INTO session(hash, key, token, expires_at)
            SELECT ?1, id, ?3, ?4 FROM key WHERE id = ?2 AND revoked_at IS NULL";
        let it = session.clone();
        let created = self.write(move |batch| {
            batch.tx.prepare_cached(forget)?.execute([milliseconds(now)])?;
            Ok(batch.tx.prepare_cached(sql)?.execute(params![it.hash.0, it.key, it.token, milliseconds(it.expires_at)])?)
        });
        one(created.await?)
    }

    async fn session_find(&self, hash: Digest, now: Time) -> Result<Option<(Session, Key)>, StoreError> {
        let sql = "SELECT session.token, session.expires_at, key.id, principal, created_at, revoked_at FROM session JOIN key ON key.id = session.key
            WHERE session.hash = ?1 AND expires_at > ?2 AND revoked_at IS NULL";
        let both = move |row: &Row<'_>| {
            let key = key(row, 2)?;
            Ok((Session { hash, key: key.id.clone(), token: row.get(0)?, expires_at: time(row.get(1)?) }, key))
        };
        let found = self.look(move |db| Ok(db.prepare_cached(sql)?.query_row(params![hash.0, milliseconds(now)], both).optional()?));
        found.await
    }

    async fn session_delete(&self, hash: Digest) -> Result<(), StoreError> {
        let sql = "DELETE FROM session WHERE hash = ?1";
        let deleted = self.write(move |batch| Ok(batch.tx.prepare_cached(sql)?.execute([hash.0])?));
        deleted.await.map(drop)
    }
}

fn one(changed: usize) -> Result<(), CommitError> {
    if changed == 1 { Ok(()) } else { Err(CommitError::Conflict) }
}

/// `id, principal, created_at, revoked_at` from column `at` on.
fn key(row: &Row<'_>, at: usize) -> rusqlite::Result<Key> {
    let principal: String = row.get(at + 1)?;
    let unreadable = |error| rusqlite::Error::FromSqlConversionFailure(at + 1, rusqlite::types::Type::Text, Box::new(error));
    let principal = serde_json::from_str(&principal).map_err(unreadable)?;
    let revoked_at = row.get::<_, Option<i64>>(at + 3)?.map(time);
    Ok(Key { id: row.get(at)?, principal, created_at: time(row.get(at + 2)?), revoked_at })
}
