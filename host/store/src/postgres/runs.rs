//! Runs, the questions they ask and the ledger, in SQL.

use super::connect::{ANSWER, LOCK, Param, bounded};
use super::writer::Refusal;
use super::{Host, Postgres, run_id, uuid};
use crate::columns::{decode, milliseconds, name, rows};
use crate::runs::PAGE;
use crate::{ApprovalFilter, CommitError, LedgerLine, Page, Paged, Position, Requests, RunFilter, Runs, StoreError};
use aegis_core::{Commit, Principal, PrincipalRole, Run, RunId, Time};
use async_trait::async_trait;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

#[async_trait]
impl Runs for Postgres {
    async fn run_create(&self, commit: Commit) -> Result<(), CommitError> {
        let fits = commit.checkpoint.version == 1;
        self.put(commit, fits).await
    }

    async fn run_commit(&self, commit: Commit) -> Result<(), CommitError> {
        let fits = commit.checkpoint.version > 1;
        self.put(commit, fits).await
    }

    async fn run_fetch(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        let mut rows = self.pool.rows("SELECT checkpoint FROM aegis.run WHERE id = $1", &[(&uuid(id), Type::UUID)]).await?;
        if rows.is_empty() && self.host.is_some() {
            rows = self.pool.rows_locking(FETCH_FOR_SURE, &[(&uuid(id), Type::UUID), (&self.seat()?.stream, Type::TEXT)]).await?;
        }
        let stored: Option<&[u8]> = rows.first().and_then(|row| row.get(0));
        stored.map(|it| decode(id, it)).transpose()
    }

    async fn run_fetch_mine(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        let sql = "SELECT checkpoint FROM aegis.run WHERE id = $1 AND host = $2";
        let rows = self.pool.rows(sql, &[(&uuid(id), Type::UUID), (&self.seat()?.id, Type::INT8)]).await?;
        rows.first().map(|row| decode(id, row.get(0))).transpose()
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
            let me = query.bind(who.id.clone(), Type::TEXT);
            let asked = query.asks(who);
            query.any = vec![format!("principal = {me}"), asked];
        }
        self.page(&query, page.limit).await
    }

    /// Where it is not known what became of an earlier claim or commit, also runs that this host has and may be driving.
    async fn run_claim(&self, limit: usize) -> Result<Vec<RunId>, StoreError> {
        let (host, mine) = (self.host()?, self.seat()?.id);
        let mut claimed = self.doubtful(host, mine).await?;
        let claim = self.pool.once(async |db| {
            let until = host.membership.time_in(ANSWER / 2);
            let params: &[Param<'_>] = &[(&mine, Type::INT8), (&rows(limit), Type::INT8), (&until, Type::INT8)];
            bounded(db, LOCK, CLAIM, params).await
        });
        let claim = claim.await;
        host.claim_in_doubt.fetch_or(matches!(claim, Err(StoreError::Away(_))), Ordering::Relaxed);
        match claim {
            Ok(orphans) => claimed.extend(orphans.iter().map(|row| run_id(row.get(0)))),
            Err(error) if claimed.is_empty() => return Err(error),
            // Those are there all the same, and are told once.
            Err(_) => {}
        }
        if claimed.is_empty() {
            self.pool.rows_locking(FORGET_DEAD, &[]).await?;
        }
        Ok(claimed)
    }

    async fn run_due(&self, now: Time, limit: usize) -> Result<Vec<RunId>, StoreError> {
        let sql = "SELECT id FROM aegis.run WHERE status = 'paused' AND due <= $1 ORDER BY due, id LIMIT $2";
        // What never expires is never due, whatever the clock says.
        let now = milliseconds(now).min(i64::MAX - 1);
        let due = self.pool.rows(sql, &[(&now, Type::INT8), (&rows(limit), Type::INT8)]).await?;
        Ok(due.iter().map(|row| run_id(row.get(0))).collect())
    }

    async fn approval_list(&self, filter: &ApprovalFilter, page: &Page) -> Result<Paged<Run>, StoreError> {
        let who = &filter.decidable_by;
        let mut query = Query::new(page);
        let (asked, me) = (query.asks(who), query.bind(who.id.clone(), Type::TEXT));
        query.all.push(asked);
        query.all.push(format!("NOT EXISTS (SELECT FROM aegis.excluded WHERE excluded.run = run.id AND excluded.principal = {me})"));
        self.page(&query, page.limit).await
    }

    async fn ledger_list(&self, after: &Position, limit: usize) -> Result<Vec<LedgerLine>, StoreError> {
        let (streams, read): (Vec<&str>, Vec<i64>) = after.streams().map(|(stream, n)| (stream, n.cast_signed())).unzip();
        let params: &[Param<'_>] = &[(&streams, Type::TEXT_ARRAY), (&read, Type::INT8_ARRAY), (&rows(limit), Type::INT8)];
        self.pool.rows(LIST_LINES, params).await?.iter().map(line).collect()
    }
}

/// A primary that others have left behind may not know it for a while, and not know a run that they have just made. But nothing that is written to it is
/// answered any more, where a standby has to have it first: and a lock is written. One row, whether there is a run or not: only so the lock is
/// taken in any case.
const FETCH_FOR_SURE: &str = "
    WITH me AS (SELECT FROM aegis.host WHERE stream = $2 FOR KEY SHARE)
    SELECT checkpoint FROM (SELECT count(*) FROM me) AS locked LEFT JOIN aegis.run ON run.id = $1";

/// Runs of the dead, for a host that is not dead itself, and of those of which there is no trace any more, as after somebody has meddled with the tables: no
/// number is given twice. Those that another host takes at this moment are left to it. A claim that the database comes to
/// when nobody waits for its answer any more (its machine stood still) finds nothing: nobody would learn of what it found.
const CLAIM: &str = "
    WITH me AS (
        SELECT id FROM aegis.host WHERE id = $1 AND extract(epoch FROM clock_timestamp()) * 1000::numeric < $3::numeric FOR KEY SHARE
    ), gone AS MATERIALIZED (
        SELECT host FROM aegis.dead UNION
        SELECT host FROM aegis.run WHERE status IN ('pending', 'running') AND NOT EXISTS (SELECT FROM aegis.host WHERE host.id = run.host)
    ), orphan AS (
        SELECT run.id FROM gone JOIN aegis.run ON run.host = gone.host
        WHERE run.status IN ('pending', 'running') AND EXISTS (SELECT FROM me) ORDER BY run.id LIMIT $2 FOR NO KEY UPDATE OF run SKIP LOCKED
    )
    UPDATE aegis.run SET host = $1, shared = true FROM orphan WHERE run.id = orphan.id RETURNING run.id";

/// The dead write nothing more: whose last run was taken over has none for ever.
const FORGET_DEAD: &str = "
    DELETE FROM aegis.dead
    WHERE NOT EXISTS (SELECT FROM aegis.run WHERE run.host = dead.host AND run.status IN ('pending', 'running'))";

/// Each stream from where it was read to; a page ends in the middle of one, and the next goes on there.
const LIST_LINES: &str = "
    WITH page AS (
        SELECT line.stream, line.n, line.entry, line.hash, host.pruned_n, host.pruned_hash
        FROM aegis.host LEFT JOIN unnest($1::text[], $2::bigint[]) AS read(stream, n) ON read.stream = host.stream
        CROSS JOIN LATERAL (
            SELECT ledger.* FROM aegis.ledger WHERE ledger.stream = host.stream AND ledger.n > coalesce(read.n, 0) ORDER BY ledger.n LIMIT $3
        ) AS line
        ORDER BY line.stream, line.n LIMIT $3
    )
    SELECT stream, n, entry, hash,
        coalesce((SELECT before.hash FROM aegis.ledger AS before WHERE before.stream = page.stream AND before.n = page.n - 1),
            CASE WHEN pruned_n = n - 1 THEN pruned_hash END, decode(repeat('00', 32), 'hex'))
    FROM page ORDER BY stream, n";

impl Postgres {
    /// Runs of this host that perhaps nobody drives.
    async fn doubtful(&self, host: &Host, mine: i64) -> Result<Vec<RunId>, StoreError> {
        let open = "FROM aegis.run WHERE host = $1 AND status IN ('pending', 'running')";
        let claim_in_doubt = host.claim_in_doubt.load(Ordering::Relaxed);
        let doubtful: Vec<Uuid> =
            host.writer.doubtful().lock().unwrap_or_else(PoisonError::into_inner).iter().map(|it| uuid(*it)).collect();
        if !claim_in_doubt && doubtful.is_empty() {
            return Ok(vec![]);
        }
        // What had no answer may still go on (a commit waits for its standby). Until its end it holds this row, and what it has written is seen after that.
        self.pool.rows_locking("SELECT FROM aegis.host WHERE id = $1 FOR UPDATE", &[(&mine, Type::INT8)]).await?;
        if claim_in_doubt {
            let found = self.pool.rows(&format!("SELECT id {open}"), &[(&mine, Type::INT8)]).await?;
            host.claim_in_doubt.store(false, Ordering::Relaxed);
            return Ok(found.iter().map(|row| run_id(row.get(0))).collect());
        }
        let sql = format!("SELECT id {open} AND id = ANY($2)");
        let found = self.pool.rows(&sql, &[(&mine, Type::INT8), (&doubtful, Type::UUID_ARRAY)]).await?;
        host.writer.doubtful().lock().unwrap_or_else(PoisonError::into_inner).retain(|it| !doubtful.contains(&uuid(*it)));
        Ok(found.iter().map(|row| run_id(row.get(0))).collect())
    }

    async fn put(&self, commit: Commit, fits: bool) -> Result<(), CommitError> {
        let (host, request) = (self.host()?, commit.request.clone());
        let refusal = if fits { host.writer.put(commit).await } else { Err(Refusal::Late) };
        match refusal {
            Ok(()) => Ok(()),
            Err(Refusal::Store(error)) => Err(error.into()),
            // That the request came before says more.
            Err(Refusal::Late) => match &request {
                Some(request) => Err(self.request_find(request).await?.map_or(CommitError::Conflict, CommitError::Earlier)),
                None => Err(CommitError::Conflict),
            },
        }
    }

    async fn page(&self, query: &Query, limit: usize) -> Result<Paged<Run>, StoreError> {
        let params: Vec<Param<'_>> = query.values.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect();
        let found = self.pool.rows(&query.sql(), &params).await?;
        Paged::read(found.iter().map(|row| Ok((run_id(row.get(0)), row.get::<_, &[u8]>(1)))), limit)
    }
}

/// A page of runs that meet every condition of `all` and one of `any`.
struct Query {
    all: Vec<String>,
    any: Vec<String>,
    values: Vec<(Box<dyn ToSql + Send + Sync>, Type)>,
}

impl Query {
    fn new(page: &Page) -> Query {
        let mut query = Query { all: vec![], any: vec!["TRUE".into()], values: vec![] };
        query.bind(rows(page.limit.saturating_add(1)), Type::INT8);
        if let Some(after) = page.after {
            let after = query.bind(uuid(after), Type::UUID);
            query.all.push(format!("id < {after}"));
        }
        query
    }

    /// The placeholder under which SQL finds `value`.
    fn bind(&mut self, value: impl ToSql + Send + Sync + 'static, kind: Type) -> String {
        self.values.push((Box::new(value), kind));
        format!("${}", self.values.len())
    }

    fn equal(&mut self, column: &str, value: Option<&String>) {
        if let Some(value) = value {
            let value = self.bind(value.clone(), Type::TEXT);
            self.all.push(format!("{column} = {value}"));
        }
    }

    /// The condition that every list of the open question names `who`.
    fn asks(&mut self, who: &Principal) -> String {
        let names: Vec<String> = who.names().map(|it| name(&it)).collect();
        let names = self.bind(names, Type::TEXT_ARRAY);
        format!(
            "status = 'paused' AND lists = (SELECT pg_catalog.count(DISTINCT list) FROM aegis.approver WHERE approver.run = run.id AND approver.name = ANY({names}))"
        )
    }

    /// Each way to be on the page is a query of its own, so that each has its index; the page is the newest of all of them. What follows a full page of
    /// bytes is not sent.
    fn sql(&self) -> String {
        let arm = |any: &String| {
            let all = self.all.iter().chain([any]).map(String::as_str).collect::<Vec<_>>().join(" AND ");
            format!("(SELECT id FROM aegis.run WHERE {all} ORDER BY id DESC LIMIT $1)")
        };
        let arms = self.any.iter().map(arm).collect::<Vec<_>>().join(" UNION ");
        format!(
            "WITH page AS (SELECT id FROM ({arms}) AS found ORDER BY id DESC LIMIT $1),
            sized AS (SELECT id, sum(octet_length(checkpoint)) OVER (ORDER BY id DESC) - octet_length(checkpoint) AS before FROM aegis.run JOIN page USING(id))
            SELECT id, checkpoint FROM aegis.run JOIN sized USING(id) WHERE before <= {PAGE} ORDER BY id DESC"
        )
    }
}

/// `stream, n, entry, hash, hash of the line before`.
pub(super) fn line(row: &Row) -> Result<LedgerLine, StoreError> {
    let (previous, hash) = (super::digest(row.get(4))?, super::digest(row.get(3))?);
    Ok(LedgerLine { stream: row.get(0), n: row.get::<_, i64>(1).cast_unsigned(), previous, entry: row.get(2), hash })
}
