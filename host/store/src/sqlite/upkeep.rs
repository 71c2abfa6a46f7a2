//! Looking after the file.

use super::{Sqlite, runs};
use crate::blobs::checked;
use crate::{CheckReport, Description, Doomed, Gone, Held, Removals, StoreError, Upkeep, Verifier};
use aegis_core::{Digest, RunId, Time};
use async_trait::async_trait;
use rusqlite::Connection;

#[async_trait]
impl Upkeep for Sqlite {
    async fn check(&self) -> Result<CheckReport, StoreError> {
        let stream = self.stream.clone();
        let report = self.read(move |db| {
            // One transaction, so that all of it is about the same moment.
            let snapshot = db.transaction()?;
            let mut report = CheckReport::default();
            check_file(&snapshot, &mut report)?;
            let removals = check_ledger(&snapshot, &stream, &mut report)?;
            check_runs(&snapshot, removals.as_ref(), &mut report)?;
            if let Some(removals) = removals {
                check_removed(&snapshot, &removals, &mut report)?;
            }
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

/// What it says was removed, if all of it can be followed.
fn check_ledger(db: &Connection, stream: &str, report: &mut CheckReport) -> Result<Option<Removals>, StoreError> {
    let mut verifier = Verifier::default();
    let mut list = db.prepare(&format!("{} ORDER BY seq", runs::LINES))?;
    for line in list.query_map([], |row| runs::line(stream, row))? {
        report.lines += 1;
        if let Err(fault) = verifier.follow(&line?) {
            report.fault(fault);
            return Ok(None);
        }
    }
    Ok(verifier.end().map_err(|fault| report.fault(fault)).ok())
}

/// Every run that the ledger tells of is there, or the ledger says that it was removed.
fn check_removed(db: &Connection, removals: &Removals, report: &mut CheckReport) -> Result<(), StoreError> {
    let mut list = db.prepare("SELECT DISTINCT run FROM ledger WHERE length(run) = 16 AND run NOT IN (SELECT id FROM run)")?;
    for id in list.query_map([], |row| Ok(RunId::from_bytes(row.get(0)?)))? {
        removals.explain_run(id?).unwrap_or_else(|fault| report.fault(fault));
    }
    Ok(())
}

fn check_blobs(db: &Connection, report: &mut CheckReport) -> Result<(), StoreError> {
    let mut list = db.prepare("SELECT digest, bytes FROM blob")?;
    for row in list.query_map([], |row| Ok((Digest(row.get(0)?), row.get(1)?)))? {
        let (digest, bytes) = row?;
        checked(digest, bytes).map_or_else(|error| report.fault(error.to_string()), drop);
    }
    Ok(())
}

fn check_runs(db: &Connection, removals: Option<&Removals>, report: &mut CheckReport) -> Result<(), StoreError> {
    let mut list = db.prepare(
        "SELECT id, checkpoint, coalesce(lines, 0) FROM run
         LEFT JOIN (SELECT run, count(*) AS lines FROM ledger GROUP BY run) AS told ON told.run = run.id",
    )?;
    for row in list.query_map([], |row| Ok((runs::stored(row)?, row.get::<_, i64>(2)?)))? {
        let (stored, lines) = row?;
        report.runs += 1;
        match runs::decode(stored) {
            Ok(run) if run.history().len() as i64 == lines => {
                removals.map_or(Ok(()), |it| it.explain_content(&run)).unwrap_or_else(|fault| report.fault(fault));
            }
            Ok(run) => report.fault(format!("run {} has {} entries, and the ledger has {lines} of them", run.id(), run.history().len())),
            Err(error) => report.fault(error.to_string()),
        }
    }
    Ok(())
}
