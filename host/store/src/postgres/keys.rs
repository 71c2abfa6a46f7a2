//! Keys and sessions, in SQL.

use super::Postgres;
use super::connect::Param;
use crate::columns::{milliseconds, time};
use crate::{CommitError, Key, Keys, NewKey, Session, StoreError};
use aegis_core::{Digest, Time};
use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

#[async_trait]
impl Keys for Postgres {
    async fn key_create(&self, key: &NewKey) -> Result<(), CommitError> {
        let sql = "INSERT INTO aegis.key(id, hash, principal, created_at) VALUES($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING 1";
        let principal = serde_json::to_string(&key.principal).expect("a principal is texts");
        let (hash, created) = (key.hash.0.as_slice(), milliseconds(key.created_at));
        let params: &[Param<'_>] = &[(&key.id, Type::TEXT), (&hash, Type::BYTEA), (&principal, Type::TEXT), (&created, Type::INT8)];
        one(&self.pool.rows_once(sql, params).await?)
    }

    async fn key_find(&self, hash: Digest) -> Result<Option<Key>, StoreError> {
        let sql = "SELECT id, principal, created_at, revoked_at FROM aegis.key WHERE hash = $1 AND revoked_at IS NULL";
        let found = self.pool.rows(sql, &[(&hash.0.as_slice(), Type::BYTEA)]).await?;
        found.first().map(|row| key(row, 0)).transpose()
    }

    async fn key_list(&self) -> Result<Vec<Key>, StoreError> {
        let sql = "SELECT id, principal, created_at, revoked_at FROM aegis.key ORDER BY seq";
        self.pool.rows(sql, &[]).await?.iter().map(|row| key(row, 0)).collect()
    }

    async fn key_revoke(&self, id: &str, now: Time) -> Result<bool, StoreError> {
        let sql = "UPDATE aegis.key SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING 1";
        let revoked = self.pool.rows_once(sql, &[(&id, Type::TEXT), (&milliseconds(now), Type::INT8)]).await?;
        Ok(!revoked.is_empty())
    }

    async fn session_create(&self, session: &Session, now: Time) -> Result<(), CommitError> {
        self.pool.rows_locking("DELETE FROM aegis.session WHERE expires_at <= $1", &[(&milliseconds(now), Type::INT8)]).await?;
        // The key's row is held, so that it is not revoked at the same moment.
        let sql = "WITH valid AS (SELECT id FROM aegis.key WHERE id = $2 AND revoked_at IS NULL FOR SHARE)
            INSERT INTO aegis.session(hash, key, token, expires_at) SELECT $1, id, $3, $4 FROM valid ON CONFLICT DO NOTHING RETURNING 1";
        let (hash, expires) = (session.hash.0.as_slice(), milliseconds(session.expires_at));
        let params: &[Param<'_>] =
            &[(&hash, Type::BYTEA), (&session.key, Type::TEXT), (&session.token, Type::TEXT), (&expires, Type::INT8)];
        one(&self.pool.rows_once(sql, params).await?)
    }

    async fn session_find(&self, hash: Digest, now: Time) -> Result<Option<(Session, Key)>, StoreError> {
        let sql = "SELECT session.token, session.expires_at, key.id, principal, created_at, revoked_at
            FROM aegis.session JOIN aegis.key ON key.id = session.key
            WHERE session.hash = $1 AND expires_at > $2 AND revoked_at IS NULL";
        let found = self.pool.rows(sql, &[(&hash.0.as_slice(), Type::BYTEA), (&milliseconds(now), Type::INT8)]).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let key = key(row, 2)?;
        Ok(Some((Session { hash, key: key.id.clone(), token: row.get(0), expires_at: time(row.get(1)) }, key)))
    }

    async fn session_delete(&self, hash: Digest) -> Result<(), StoreError> {
        self.pool.rows_locking("DELETE FROM aegis.session WHERE hash = $1", &[(&hash.0.as_slice(), Type::BYTEA)]).await.map(drop)
    }
}

fn one(changed: &[Row]) -> Result<(), CommitError> {
    if changed.len() == 1 { Ok(()) } else { Err(CommitError::Conflict) }
}

/// `id, principal, created_at, revoked_at` from column `at` on.
fn key(row: &Row, at: usize) -> Result<Key, StoreError> {
    let id: String = row.get(at);
    let principal = serde_json::from_str(row.get(at + 1))
        .map_err(|error| StoreError::Damaged(format!("the database is damaged: the principal of key {id} cannot be read: {error}")))?;
    Ok(Key { id, principal, created_at: time(row.get(at + 2)), revoked_at: row.get::<_, Option<i64>>(at + 3).map(time) })
}
