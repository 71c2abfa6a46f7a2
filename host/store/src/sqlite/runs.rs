//! Runs, the questions they ask and the ledger, in SQL.

use super::lines::{self, Entries};
use super::writer::Batch;
use super::{Sqlite, requests};
use crate::columns::{decode, milliseconds, name, rows};
use crate::{ApprovalFilter, CommitError, LedgerLine, Page, Paged, Position, RunFilter, Runs, StoreError};
use aegis_core::{ApprovalRow, Checkpoint, Commit, Principal, PrincipalRole, RequestKey, Run, RunId, Time};
use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

#[async_trait]
impl Runs for Sqlite {
    async fn run_create(&self, commit: Commit) -> Result<(), CommitError> {
        self.put(commit, insert).await
    }

    async fn run_commit(&self, commit: Commit) -> Result<(), CommitError> {
        self.put(commit, update).await
    }

    async fn run_fetch(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        let found = self.look(move |db| {
            let mut find = db.prepare_cached("SELECT id, checkpoint FROM run WHERE id = ?1")?;
            Ok(find.query_row([id.as_bytes()], stored).optional()?)
        });
        found.await?.map(|(id, checkpoint)| decode(id, &checkpoint)).transpose()
    }

    async fn run_list(&self, filter: &RunFilter, page: &Page) -> Result<Paged<Run>, StoreError> {
        let mut query = Query::new(page);
        if let Some(status) = filter.status {
            // As a literal, so that the indexes on open runs are used.
            query.all.push(format!("status = '{}'", status.name()));
        }
        query.equal("route", filter.route.as_ref());
        query.equal("principal", filter.principal.as_ref());
        if let Some(who) = filter.visible_to.as_ref().filter(|who| !who.is(PrincipalRole::Admin)) {
            let me = query.bind(who.id.clone());
            let asked = query.asks(who);
            query.any = asked;
            query.any.push(Way::Condition(format!("principal = {me}")));
        }
        self.page(query, page.limit).await
    }

    async fn run_claim(&self, limit: usize) -> Result<Vec<RunId>, StoreError> {
        let host = self.host.ok_or(StoreError::NotHost)?;
        let claim = "UPDATE run SET host = ?1 WHERE seq IN
            (SELECT seq FROM run WHERE status IN ('pending', 'running') AND host <> ?1 ORDER BY id LIMIT ?2) RETURNING id";
        let claimed = self.write(move |batch| ids(&batch.tx, claim, host, limit));
        claimed.await
    }

    async fn run_due(&self, now: Time, limit: usize) -> Result<Vec<RunId>, StoreError> {
        let due = "SELECT id FROM run WHERE status = 'paused' AND due <= ?1 ORDER BY due, id LIMIT ?2";
        self.read(move |db| ids(db, due, milliseconds(now), limit)).await
    }

    async fn approval_list(&self, filter: &ApprovalFilter, page: &Page) -> Result<Paged<Run>, StoreError> {
        let who = &filter.decidable_by;
        let mut query = Query::new(page);
        let (asked, me) = (query.asks(who), query.bind(who.id.clone()));
        query.any = asked;
        query.all.push(format!("NOT EXISTS (SELECT 1 FROM excluded WHERE excluded.run = run.seq AND excluded.principal = {me})"));
        self.page(query, page.limit).await
    }

    async fn ledger_list(&self, after: &Position, limit: usize) -> Result<Vec<LedgerLine>, StoreError> {
        let (stream, after) = (self.stream.clone(), after.of(&self.stream));
        let lines = self.read(move |db| {
            let mut found = vec![];
            lines::each_row(db, &stream, after.saturating_add(1), |row| {
                found.extend(row.into_iter().filter(|line| line.n > after).take(limit - found.len()));
                Ok(found.len() < limit)
            })?;
            Ok(found)
        });
        lines.await
    }
}

impl Sqlite {
    async fn put(&self, commit: Commit, put: Put) -> Result<(), CommitError> {
        let host = self.host.ok_or(StoreError::NotHost)?;
        let entries = Entries::of(&commit.entries);
        let Commit { checkpoint, request, .. } = commit;
        let written = self.write(move |batch| write(batch, &checkpoint, &entries, request.as_ref(), host, put));
        written.await?.map_or(Ok(()), Err)
    }

    async fn page(&self, query: Query, limit: usize) -> Result<Paged<Run>, StoreError> {
        let found = self.read(move |db| {
            let mut list = db.prepare_cached(&query.sql())?;
            let runs = list.query_map(params_from_iter(&query.values), stored)?;
            Paged::read(runs.map(|found| Ok(found?)), limit)
        });
        found.await
    }
}

/// Where the run stands in its table, or `None` for a conflict; it changes one row or nothing, so that a conflict of one
/// run does not spoil the transaction for the others.
type Put = fn(&Batch<'_>, &Checkpoint, i64) -> rusqlite::Result<Option<i64>>;

/// Why nothing was written, if nothing was.
fn write(
    batch: &mut Batch<'_>,
    it: &Checkpoint,
    entries: &Entries,
    request: Option<&RequestKey>,
    host: i64,
    put: Put,
) -> Result<Option<CommitError>, StoreError> {
    if let Some(earlier) = request.map(|it| requests::find(&batch.tx, it)).transpose()?.flatten() {
        return Ok(Some(CommitError::Earlier(earlier)));
    }
    let Some(seq) = put(batch, it, host)? else { return Ok(Some(CommitError::Conflict)) };
    if let Some(request) = request {
        requests::keep(&batch.tx, request, seq)?;
    }
    if let Some(question) = &it.approval {
        ask(batch, seq, it.run, question)?;
    }
    entries.iter().for_each(|entry| batch.append(entry));
    Ok(None)
}

// No RETURNING: SQLite implements it as a trigger, and keeps a journal of each such statement.
fn insert(batch: &Batch<'_>, it: &Checkpoint, host: i64) -> rusqlite::Result<Option<i64>> {
    if it.version != 1 {
        return Ok(None);
    }
    let sql = "INSERT INTO run(id, version, status, route, principal, host, created_at, updated_at, due, lists, checkpoint)
        VALUES(?1, 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT(id) DO NOTHING";
    let (created, updated, due) = (milliseconds(it.created_at), milliseconds(it.updated_at), it.due.map(milliseconds));
    let (id, status, lists) = (it.run.as_bytes(), it.status.name(), lists(it));
    let values = params![id, status, it.route, it.principal, host, created, updated, due, lists, it.bytes];
    let inserted = batch.tx.prepare_cached(sql)?.execute(values)? == 1;
    Ok(inserted.then(|| batch.tx.last_insert_rowid()))
}

fn update(batch: &Batch<'_>, it: &Checkpoint, host: i64) -> rusqlite::Result<Option<i64>> {
    let before = "SELECT seq, lists IS NOT NULL FROM run WHERE id = ?1 AND version = ?2";
    let values = params![it.run.as_bytes(), it.version.cast_signed() - 1];
    let before = batch.tx.prepare_cached(before)?.query_row(values, |row| Ok((row.get(0)?, row.get(1)?)));
    let Some::<(i64, bool)>((seq, asked)) = before.optional()? else { return Ok(None) };
    let sql = "UPDATE run SET version = ?2, status = ?3, host = ?4, updated_at = ?5, due = ?6, lists = ?7, checkpoint = ?8, erased = 0 WHERE seq = ?1";
    let (updated, due) = (milliseconds(it.updated_at), it.due.map(milliseconds));
    let (version, status) = (it.version.cast_signed(), it.status.name());
    batch.tx.prepare_cached(sql)?.execute(params![seq, version, status, host, updated, due, lists(it), it.bytes])?;
    if asked {
        batch.tx.prepare_cached("DELETE FROM approver WHERE run = ?1")?.execute([seq])?;
        batch.tx.prepare_cached("DELETE FROM excluded WHERE run = ?1")?.execute([seq])?;
    }
    Ok(Some(seq))
}

fn lists(it: &Checkpoint) -> Option<i64> {
    it.approval.as_ref().map(|question| question.lists.len() as i64)
}

fn ask(batch: &Batch<'_>, seq: i64, id: RunId, question: &ApprovalRow) -> rusqlite::Result<()> {
    let mut approver = batch.tx.prepare_cached("INSERT OR IGNORE INTO approver(run, list, name, id) VALUES(?1, ?2, ?3, ?4)")?;
    for (number, list) in (0_i64..).zip(&question.lists) {
        for it in list {
            approver.execute(params![seq, number, name(it), id.as_bytes()])?;
        }
    }
    let mut excluded = batch.tx.prepare_cached("INSERT OR IGNORE INTO excluded(run, principal) VALUES(?1, ?2)")?;
    question.excluded.iter().try_for_each(|principal| excluded.execute(params![seq, principal]).map(drop))
}

/// A page of runs that meet every condition of `all` and are found in one of these ways.
struct Query {
    /// The run that all on the page come after.
    after: Option<String>,
    all: Vec<String>,
    any: Vec<Way>,
    values: Vec<Value>,
}

/// A caller of more names is looked for in every open question: SQLite unites no more than 500 queries.
const NAMES: usize = 100;

/// Where a run of the page is looked for, newest first, each by an index.
enum Way {
    /// Among all runs, by one more condition.
    Condition(String),
    /// Among the questions whose first list has this name, by the condition that all of them name the caller.
    Named { name: String, asks: String },
}

impl Query {
    fn new(page: &Page) -> Query {
        let mut query = Query {
            after: None,
            all: vec![],
            any: vec![Way::Condition("TRUE".into())],
            values: vec![Value::Integer(rows(page.limit.saturating_add(1)))],
        };
        if let Some(after) = page.after {
            let after = query.bind(after.as_bytes().to_vec());
            query.after = Some(after);
        }
        query
    }

    /// The placeholder under which SQL finds `value`.
    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    fn equal(&mut self, column: &str, value: Option<&String>) {
        if let Some(value) = value {
            let value = self.bind(value.clone());
            self.all.push(format!("{column} = {value}"));
        }
    }

    /// The ways to what asks something of `who`, by each of its names: every list of the open question names it, so the first one does.
    fn asks(&mut self, who: &Principal) -> Vec<Way> {
        let names: Vec<String> = who.names().map(|it| name(&it)).collect();
        let all = self.bind(serde_json::Value::from(names.clone()).to_string());
        let asks = format!(
            "lists = (SELECT count(DISTINCT list) FROM approver AS named
                WHERE named.run = run.seq AND named.name IN (SELECT value FROM json_each({all})))"
        );
        if names.len() > NAMES {
            return vec![Way::Condition(format!("status = 'paused' AND {asks}"))];
        }
        names.into_iter().map(|name| Way::Named { name: self.bind(name), asks: asks.clone() }).collect()
    }

    /// Each way to be on the page is a query of its own, so that each has its index; the page is the newest of all of them.
    fn sql(&self) -> String {
        let arms = self.any.iter().map(|way| self.arm(way)).collect::<Vec<_>>().join(" UNION ");
        format!("SELECT id, checkpoint FROM run WHERE id IN ({arms}) ORDER BY id DESC LIMIT ?1")
    }

    fn arm(&self, way: &Way) -> String {
        let all = |id: &str, more: &str| {
            let after = self.after.iter().map(|after| format!("{id} < {after}"));
            after.chain(self.all.iter().cloned()).chain([more.into()]).collect::<Vec<_>>().join(" AND ")
        };
        match way {
            Way::Condition(condition) => {
                format!("SELECT id FROM (SELECT id FROM run WHERE {} ORDER BY id DESC LIMIT ?1)", all("id", condition))
            }
            // CROSS: in this order. SQLite would rather begin with the runs, of which there are more.
            Way::Named { name, asks } => format!(
                "SELECT id FROM (SELECT approver.id FROM approver CROSS JOIN run ON run.seq = approver.run
                    WHERE approver.name = {name} AND approver.list = 0 AND {} ORDER BY approver.id DESC LIMIT ?1)",
                all("approver.id", asks)
            ),
        }
    }
}

fn ids(db: &Connection, sql: &str, value: i64, limit: usize) -> Result<Vec<RunId>, StoreError> {
    let mut list = db.prepare_cached(sql)?;
    let ids = list.query_map(params![value, rows(limit)], |row| Ok(RunId::from_bytes(row.get(0)?)))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// `id, checkpoint`.
pub(super) fn stored(row: &Row<'_>) -> rusqlite::Result<(RunId, Vec<u8>)> {
    Ok((RunId::from_bytes(row.get(0)?), row.get(1)?))
}
