//! Requests that may come again, in SQL. The writer keeps them.

use super::connect::Param;
use super::{Postgres, run_id};
use crate::columns::{milliseconds, rows};
use crate::{Earlier, Requests, StoreError};
use aegis_core::{RequestKey, Time};
use async_trait::async_trait;
use tokio_postgres::types::Type;

#[async_trait]
impl Requests for Postgres {
    async fn request_find(&self, request: &RequestKey) -> Result<Option<Earlier>, StoreError> {
        let sql = "SELECT run, body = $3 FROM aegis.request WHERE principal = $1 AND key = $2 AND expires_at > $4";
        let (key, body, at) = (request.key.0.as_slice(), request.body.0.as_slice(), milliseconds(request.at));
        let params: &[Param<'_>] = &[(&request.principal, Type::TEXT), (&key, Type::BYTEA), (&body, Type::BYTEA), (&at, Type::INT8)];
        let found = self.pool.rows(sql, params).await?;
        Ok(found.first().map(|row| Earlier { run: run_id(row.get(0)), same: row.get(1) }))
    }

    async fn request_forget(&self, now: Time, limit: usize) -> Result<usize, StoreError> {
        self.host()?;
        let sql = "WITH over AS (
                SELECT principal, key FROM aegis.request WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
            )
            DELETE FROM aegis.request USING over WHERE request.principal = over.principal AND request.key = over.key RETURNING 1";
        let params: &[Param<'_>] = &[(&milliseconds(now), Type::INT8), (&rows(limit), Type::INT8)];
        Ok(self.pool.rows_once(sql, params).await?.len())
    }
}
