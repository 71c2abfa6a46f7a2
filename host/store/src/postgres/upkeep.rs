//! Looking after the database, as far as that is not its owner's business: its files, its log, its copies and its backups are.

use super::{Postgres, digest, failed, run_id, runs};
use crate::blobs::checked;
use crate::columns::decode;
use crate::{CheckReport, Description, Doomed, Gone, Held, Removals, StoreError, Upkeep, Verifier};
use aegis_core::Time;
use async_trait::async_trait;
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::pin::pin;
use tokio_postgres::{Client, Row};

#[async_trait]
impl Upkeep for Postgres {
    async fn check(&self) -> Result<CheckReport, StoreError> {
        let db = self.pool.lend().await?;
        // One transaction, so that all of it is about the same moment.
        let report = async {
            db.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(failed)?;
            let report = check_all(&db).await?;
            db.batch_execute("COMMIT").await.map_err(failed)?;
            Ok(report)
        };
        let report = report.await;
        if report.is_ok() {
            db.give_back();
        }
        report
    }

    async fn remove(&self, doomed: &Doomed, now: Time, limit: usize) -> Result<Gone, StoreError> {
        self.remove_some(doomed, now, limit).await
    }

    async fn held(&self, principal: &str) -> Result<Held, StoreError> {
        self.held_by(principal).await
    }

    /// Postgres does so by itself (`autovacuum`).
    async fn shrink(&self) -> Result<bool, StoreError> {
        self.host()?;
        Ok(false)
    }

    /// The tables; all hosts wait. Postgres's log, its standbys, archives and backups keep what they have.
    async fn scrub(&self) -> Result<(), StoreError> {
        self.host()?;
        let db = self.pool.lend().await?;
        for table in ["run", "approver", "excluded", "request"] {
            db.batch_execute(&format!("VACUUM (FULL) aegis.{table}")).await.map_err(failed)?;
        }
        Ok(())
    }

    fn transactions(&self) -> u64 {
        self.host.as_ref().map_or(0, |it| it.writer.transactions())
    }

    fn describe(&self) -> Description {
        Description { kind: "postgres", path: None, stream: self.seat().map(|it| it.stream).unwrap_or_default() }
    }
}

/// Hands on every row of what may be larger than memory, however long it takes.
async fn each(db: &Client, sql: &str, mut see: impl FnMut(Row) -> Result<(), StoreError>) -> Result<(), StoreError> {
    let mut rows = pin!(db.query_typed_raw::<&str, _>(sql, []).await.map_err(failed)?);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        see(row)?;
    }
    Ok(())
}

async fn check_all(db: &Client) -> Result<CheckReport, StoreError> {
    let mut report = CheckReport::default();
    let removals = check_ledger(db, &mut report).await?;
    check_hosts(db, &mut report).await?;
    check_runs(db, removals.as_ref(), &mut report).await?;
    if let Some(removals) = removals {
        let sql =
            "SELECT DISTINCT run FROM aegis.ledger WHERE run IS NOT NULL AND NOT EXISTS (SELECT FROM aegis.run WHERE run.id = ledger.run)";
        let missing = |row: Row| {
            removals.explain_run(run_id(row.get(0))).unwrap_or_else(|fault| report.fault(fault));
            Ok(())
        };
        each(db, sql, missing).await?;
    }
    let blob = |row: Row| {
        checked(digest(row.get(0))?, row.get(1)).map_or_else(|error| report.fault(error.to_string()), drop);
        Ok(())
    };
    each(db, "SELECT digest, bytes FROM aegis.blob", blob).await?;
    Ok(report)
}

/// What it says was removed, if all of it can be followed, and ends where the hosts have left it.
async fn check_ledger(db: &Client, report: &mut CheckReport) -> Result<Option<Removals>, StoreError> {
    let (mut verifier, mut ends, mut sound) = (Verifier::default(), BTreeMap::new(), true);
    let lines = "SELECT ledger.stream, ledger.n, entry, ledger.hash,
            coalesce(pg_catalog.lag(ledger.hash) OVER (PARTITION BY ledger.stream ORDER BY ledger.n), host.pruned_hash)
        FROM aegis.ledger JOIN aegis.host USING(stream) ORDER BY ledger.stream, ledger.n";
    let follow = |row: Row| {
        let line = runs::line(&row)?;
        report.lines += 1;
        if sound && let Err(fault) = verifier.follow(&line) {
            report.fault(fault);
            sound = false;
        }
        ends.insert(line.stream, (line.n.cast_signed(), line.hash));
        Ok(())
    };
    each(db, lines, follow).await?;
    let end = |row: Row| {
        let (stream, n): (String, i64) = (row.get(0), row.get(1));
        let found = ends.get(&stream).copied().unwrap_or((row.get(3), digest(row.get(4))?));
        if found != (n, digest(row.get(2))?) {
            report.fault(format!("ledger {stream}: it should end with line {n}, and ends with line {}", found.0));
        }
        Ok(())
    };
    each(db, "SELECT stream, n, hash, pruned_n, pruned_hash FROM aegis.host", end).await?;
    Ok(Some(verifier).filter(|_| sound).and_then(|it| it.end().map_err(|fault| report.fault(fault)).ok()))
}

/// Every stream of the ledger is some seat's, and every open run some host's, were it a dead one: what is nobody's is passed over by all of them.
async fn check_hosts(db: &Client, report: &mut CheckReport) -> Result<(), StoreError> {
    let streams = "SELECT DISTINCT stream FROM aegis.ledger WHERE NOT EXISTS (SELECT FROM aegis.host WHERE host.stream = ledger.stream)";
    let lost = |row: Row| {
        report.fault(format!(
            "ledger {}: no seat has this stream, and nobody reads it: its row in aegis.host is gone",
            row.get::<_, &str>(0)
        ));
        Ok(())
    };
    each(db, streams, lost).await?;
    let runs = "SELECT id, host FROM aegis.run WHERE status IN ('pending', 'running')
        AND NOT EXISTS (SELECT FROM aegis.host WHERE host.id = run.host) AND NOT EXISTS (SELECT FROM aegis.dead WHERE dead.host = run.host)
        ORDER BY id";
    let orphan = |row: Row| {
        let (id, host) = (run_id(row.get(0)), row.get::<_, i64>(1));
        report.fault(format!("run {id} is open, and its host {host} has neither a seat nor is it among the dead"));
        Ok(())
    };
    each(db, runs, orphan).await
}

async fn check_runs(db: &Client, removals: Option<&Removals>, report: &mut CheckReport) -> Result<(), StoreError> {
    let sql = "SELECT id, checkpoint, coalesce(lines, 0) FROM aegis.run
        LEFT JOIN (SELECT run, count(*) AS lines FROM aegis.ledger GROUP BY run) AS told ON told.run = run.id";
    let check = |row: Row| {
        let (id, lines) = (run_id(row.get(0)), row.get::<_, i64>(2));
        report.runs += 1;
        match decode(id, row.get(1)) {
            Ok(run) if run.history().len() as i64 == lines => {
                removals.map_or(Ok(()), |it| it.explain_content(&run)).unwrap_or_else(|fault| report.fault(fault));
            }
            Ok(run) => report.fault(format!("run {id} has {} entries, and the ledger has {lines} of them", run.history().len())),
            Err(error) => report.fault(error.to_string()),
        }
        Ok(())
    };
    each(db, sql, check).await
}
