//! Looking after the file.

use super::{Sqlite, lines, runs};
use crate::blobs::checked;
use crate::columns::decode;
use crate::{CheckReport, Description, Doomed, Gone, Held, Removals, StoreError, Upkeep, Verifier};
use aegis_core::{Digest, RunId, Time};
use async_trait::async_trait;
use rusqlite::Connection;
use serde::Deserialize;
use std::collections::HashMap;

#[async_trait]
impl Upkeep for Sqlite {
    async fn check(&self) -> Result<CheckReport, StoreError> {
        let stream = self.stream.clone();
        let report = self.read(move |db| {
            // One transaction, so that all of it is about the same moment.
            let snapshot = db.transaction()?;
            let mut report = CheckReport::default();
            check_file(&snapshot, &mut report)?;
            let told = check_ledger(&snapshot, &stream, &mut report)?;
            check_runs(&snapshot, told, &mut report)?;
            check_blobs(&snapshot, &mut report)?;
            Ok(report)
        });
        report.await
    }

    async fn remove(&self, doomed: &Doomed, now: Time, limit: usize) -> Result<Gone, StoreError> {
        self.remove_some(doomed, now, limit).await
    }

    async fn held(&self, principal: &str) -> Result<Held, StoreError> {
        self.held_by(principal).await
    }

    async fn shrink(&self) -> Result<bool, StoreError> {
        self.shrink_some().await
    }

    async fn scrub(&self) -> Result<(), StoreError> {
        self.write_anew().await
    }

    fn transactions(&self) -> u64 {
        self.writer.transactions()
    }

    fn describe(&self) -> Description {
        Description { kind: "sqlite", path: Some(self.path.clone()), stream: self.stream.clone() }
    }
}

fn check_file(db: &Connection, report: &mut CheckReport) -> Result<(), StoreError> {
    let mut check = db.prepare("PRAGMA integrity_check")?;
    for fault in check.query_map([], |row| row.get::<_, String>(0))? {
        Some(fault?).filter(|it| it != "ok").into_iter().for_each(|it| report.fault(it));
    }
    Ok(())
}

/// What the ledger tells.
#[derive(Default)]
struct Told {
    /// So many lines of each run.
    lines: HashMap<RunId, usize>,
    /// What it says was removed, if all of it can be followed.
    removals: Option<Removals>,
}

#[derive(Deserialize)]
struct Whose {
    run: RunId,
}

/// Nothing, if it cannot be taken apart.
fn check_ledger(db: &Connection, stream: &str, report: &mut CheckReport) -> Result<Option<Told>, StoreError> {
    let (mut verifier, mut told) = (Some(Verifier::default()), Told::default());
    let read = lines::each_row(db, stream, 0, |row| {
        for line in row {
            report.lines += 1;
            if let Ok(Whose { run }) = serde_json::from_slice(&line.entry) {
                *told.lines.entry(run).or_default() += 1;
            }
            if let Some(fault) = verifier.as_mut().and_then(|it| it.follow(&line).err()) {
                report.fault(fault);
                verifier = None;
            }
        }
        Ok(true)
    });
    match read {
        Err(StoreError::Damaged(fault)) => {
            report.fault(fault);
            Ok(None)
        }
        read => {
            told.removals = verifier.and_then(|it| it.end().map_err(|fault| report.fault(fault)).ok());
            read.map(|()| Some(told))
        }
    }
}

fn check_blobs(db: &Connection, report: &mut CheckReport) -> Result<(), StoreError> {
    let mut list = db.prepare("SELECT digest, bytes FROM blob")?;
    for row in list.query_map([], |row| Ok((Digest(row.get(0)?), row.get(1)?)))? {
        let (digest, bytes) = row?;
        checked(digest, bytes).map_or_else(|error| report.fault(error.to_string()), drop);
    }
    Ok(())
}

/// Every run can be read and is what the ledger tells of it, and every one that the ledger tells of is there, or the ledger says that it was removed.
fn check_runs(db: &Connection, told: Option<Told>, report: &mut CheckReport) -> Result<(), StoreError> {
    let mut list = db.prepare("SELECT id, checkpoint FROM run")?;
    let (known, Told { mut lines, removals }) = (told.is_some(), told.unwrap_or_default());
    for row in list.query_map([], runs::stored)? {
        let (id, checkpoint) = row?;
        report.runs += 1;
        let lines = lines.remove(&id).unwrap_or(0);
        match decode(id, &checkpoint) {
            Ok(run) if known && run.history().len() != lines => {
                report.fault(format!("run {} has {} entries, and the ledger has {lines} of them", run.id(), run.history().len()));
            }
            Ok(run) => removals.as_ref().map_or(Ok(()), |it| it.explain_content(&run)).unwrap_or_else(|fault| report.fault(fault)),
            Err(error) => report.fault(error.to_string()),
        }
    }
    if let Some(removals) = removals {
        lines.into_keys().for_each(|id| removals.explain_run(id).unwrap_or_else(|fault| report.fault(fault)));
    }
    Ok(())
}
