//! Bytes by their SHA-256, in SQL.

use super::connect::within;
use super::{Postgres, digest, run_id};
use crate::blobs::{checked, needed};
use crate::columns::decode;
use crate::{Blobs, StoreError};
use aegis_core::Digest;
use async_trait::async_trait;
use futures::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use tokio_postgres::types::Type;

#[async_trait]
impl Blobs for Postgres {
    async fn blob_keep(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let key = digest.0.as_slice();
        let again = "UPDATE aegis.blob SET kept = kept + 1 WHERE digest = $1 RETURNING 1";
        if self.pool.rows_locking(again, &[(&key, Type::BYTEA)]).await?.is_empty() {
            let new =
                "INSERT INTO aegis.blob AS blob(digest, bytes) VALUES($1, $2) ON CONFLICT (digest) DO UPDATE SET kept = blob.kept + 1";
            self.pool.rows_locking(new, &[(&key, Type::BYTEA), (&bytes, Type::BYTEA)]).await?;
        }
        Ok(digest)
    }

    async fn blob_fetch(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT bytes FROM aegis.blob WHERE digest = $1";
        let found = self.pool.rows(sql, &[(&digest.0.as_slice(), Type::BYTEA)]).await?;
        found.first().map(|row| checked(digest, row.get(0))).transpose()
    }

    /// What guards other hosts have, this one does not know: something is forgotten only when it is the only one.
    async fn blob_sweep(&self, keep: &[Digest]) -> Result<Vec<Digest>, StoreError> {
        let mine = self.seat()?.id;
        let mut spare = BTreeMap::new();
        for row in self.pool.rows("SELECT digest, kept FROM aegis.blob", &[]).await? {
            spare.insert(digest(row.get(0))?, row.get::<_, i64>(1));
        }
        spare.retain(|it, _| !keep.contains(it));
        if spare.is_empty() {
            return Ok(vec![]);
        }
        self.strike_needed(&mut spare).await?;
        // A host that comes while this goes on keeps its guards again, which is seen here.
        let sql = "DELETE FROM aegis.blob USING unnest($1::bytea[], $2::bigint[]) AS spare(digest, kept)
            WHERE blob.digest = spare.digest AND blob.kept = spare.kept
                AND NOT EXISTS (SELECT FROM aegis.host WHERE id IS NOT NULL AND id <> $3) RETURNING blob.digest";
        let (digests, kept): (Vec<&[u8]>, Vec<i64>) = spare.iter().map(|(digest, kept)| (digest.0.as_slice(), *kept)).unzip();
        let gone = self.pool.rows_once(sql, &[(&digests, Type::BYTEA_ARRAY), (&kept, Type::INT8_ARRAY), (&mine, Type::INT8)]).await?;
        let gone: Result<BTreeSet<Digest>, StoreError> = gone.iter().map(|row| digest(row.get(0))).collect();
        Ok(gone?.into_iter().collect())
    }
}

impl Postgres {
    /// Strikes off what open runs need. One after the other: all of them together may be larger than memory.
    async fn strike_needed(&self, spare: &mut BTreeMap<Digest, i64>) -> Result<(), StoreError> {
        let db = self.pool.lend().await?;
        let sql = "SELECT id, checkpoint FROM aegis.run WHERE status IN ('pending', 'running', 'paused')";
        let mut open = pin!(within(db.query_typed_raw::<&str, _>(sql, [])).await?);
        while let Some(row) = within(open.try_next()).await? {
            for digest in needed(decode(run_id(row.get(0)), row.get(1))?.plan()) {
                spare.remove(&digest);
            }
        }
        Ok(())
    }
}
