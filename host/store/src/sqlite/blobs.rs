//! Bytes by their SHA-256, in SQL.

use super::{Sqlite, runs};
use crate::blobs::{checked, needed};
use crate::columns::decode;
use crate::{Blobs, StoreError};
use aegis_core::Digest;
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

#[async_trait]
impl Blobs for Sqlite {
    async fn blob_keep(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let there = self.read(move |db| {
            let mut find = db.prepare_cached("SELECT 1 FROM blob WHERE digest = ?1")?;
            Ok(find.exists([digest.0])?)
        });
        if !there.await? {
            let bytes = bytes.to_vec();
            let keep = move |batch: &mut super::Batch<'_>| {
                batch.tx.execute("INSERT OR IGNORE INTO blob(digest, bytes) VALUES(?1, ?2)", params![digest.0, bytes])?;
                Ok(())
            };
            self.write(keep).await?;
        }
        Ok(digest)
    }

    async fn blob_fetch(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.read(move |db| {
            let mut find = db.prepare_cached("SELECT bytes FROM blob WHERE digest = ?1")?;
            Ok(find.query_row([digest.0], |row| row.get(0)).optional()?)
        });
        found.await?.map(|bytes| checked(digest, bytes)).transpose()
    }

    async fn blob_sweep(&self, keep: &[Digest]) -> Result<Vec<Digest>, StoreError> {
        self.host.ok_or(StoreError::NotHost)?;
        let keep: BTreeSet<Digest> = keep.iter().copied().collect();
        let spare = self.read(move |db| spare(db, &keep)).await?;
        if !spare.is_empty() {
            let gone = spare.clone();
            let forget = move |batch: &mut super::Batch<'_>| {
                let mut delete = batch.tx.prepare_cached("DELETE FROM blob WHERE digest = ?1")?;
                Ok(gone.iter().try_for_each(|it| delete.execute([it.0]).map(drop))?)
            };
            self.write(forget).await?;
        }
        Ok(spare)
    }
}

fn spare(db: &mut Connection, keep: &BTreeSet<Digest>) -> Result<Vec<Digest>, StoreError> {
    // One transaction, so that no run is missed because it moves meanwhile.
    let snapshot = db.transaction()?;
    let mut list = snapshot.prepare("SELECT digest FROM blob")?;
    let mut spare = BTreeSet::new();
    for digest in list.query_map([], |row| Ok(Digest(row.get(0)?)))? {
        spare.extend(Some(digest?).filter(|it| !keep.contains(it)));
    }
    for status in ["status IN ('pending', 'running')", "status = 'paused'"] {
        if spare.is_empty() {
            break;
        }
        let mut open = snapshot.prepare(&format!("SELECT id, checkpoint FROM run WHERE {status}"))?;
        for run in open.query_map([], runs::stored)? {
            let (id, checkpoint) = run?;
            for digest in needed(decode(id, &checkpoint)?.plan()) {
                spare.remove(&digest);
            }
        }
    }
    Ok(spare.into_iter().collect())
}
