//! `/v1/ledger` and `/v1/runs/{id}/ledger`: what happened, without content. Nothing is decided here.

use super::error::ErrorBody;
use super::read::{Asked, Caller, InPath, page};
use super::{ApiError, Shared};
use aegis_store::Position;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct LedgerQuery {
    /// 1 to 200; 50 when left out.
    limit: Option<String>,
    /// `next` or `position` of the page before; from the beginning when left out.
    after: Option<String>,
}

/// One page, in the order in which it was written.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written by hand: entries stand in it byte for byte as they were sealed")]
pub(crate) struct LedgerPage {
    /// Lines: `stream`, `n`, `previous`, `hash`, `entry`. `docs/ledger.md` says how they are verified.
    #[schema(value_type = Vec<Object>)]
    data: Vec<Value>,
    /// Where this page ends: handed in as `after`, it leads to what was written since.
    position: String,
    /// The same, where there is more already; null at the end.
    next: Option<String>,
}

/// The entries of one run, oldest first.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written by hand: entries stand in it byte for byte as they were sealed")]
pub(crate) struct RunLedger {
    /// Entries: `run`, `place`, `version`, `time` in milliseconds, `fact`.
    #[schema(value_type = Vec<Object>)]
    data: Vec<Value>,
    /// Always null: all are on this page.
    next: Option<String>,
}

/// The ledger of all runs, for role `admin`.
#[utoipa::path(get, path = "/v1/ledger", tag = "ledger", params(LedgerQuery), responses(
    (status = 200, description = "A page, oldest first", body = LedgerPage),
    (status = 401, description = "No key, or a wrong one", body = ErrorBody),
    (status = 403, description = "The key lacks the role `admin`", body = ErrorBody),
    (status = 422, description = "A parameter that cannot be used", body = ErrorBody),
    (status = 503, description = "The store failed", body = ErrorBody)))]
pub(super) async fn list(State(app): State<Shared>, Caller(who): Caller, Asked(query): Asked<LedgerQuery>) -> Result<Response, ApiError> {
    let limit = page(query.limit.as_deref(), None)?.limit;
    let unknown = || ApiError::request(Some("after".into()), "after is no `next` or `position` of a page before");
    let mut position = Position::from_text(query.after.as_deref().unwrap_or_default()).ok_or_else(unknown)?;
    let mut lines = app.ledger(&who, &position, limit + 1).await?;
    let more = lines.len() > limit;
    lines.truncate(limit);
    lines.iter().for_each(|line| position.pass(line));
    let position = Value::from(position.to_text());
    let next = if more { position.clone() } else { Value::Null };
    let rest = format!("],\"position\":{position},\"next\":{next}}}");
    Ok(written(lines.iter().map(|line| line.to_json()), &rest))
}

/// What the ledger says of one run, for those who may see it.
#[utoipa::path(get, path = "/v1/runs/{id}/ledger", tag = "ledger", params(("id" = String, Path, description = "The run's id")), responses(
    (status = 200, description = "All entries, oldest first", body = RunLedger),
    (status = 401, description = "No key, or a wrong one", body = ErrorBody),
    (status = 404, description = "There is no such run, or the caller may not see it", body = ErrorBody),
    (status = 503, description = "The store failed", body = ErrorBody)))]
pub(super) async fn of_run(State(app): State<Shared>, Caller(who): Caller, InPath(id): InPath) -> Result<Response, ApiError> {
    let run = app.fetch(&who, id, Duration::ZERO).await?;
    let entries = run.history().iter().map(|entry| serde_json::to_vec(entry).expect("an entry has string keys only"));
    Ok(written(entries, "],\"next\":null}"))
}

fn written(data: impl Iterator<Item = Vec<u8>>, rest: &str) -> Response {
    let mut body = b"{\"data\":[".to_vec();
    for (index, json) in data.enumerate() {
        body.extend_from_slice(if index > 0 { b"," } else { b"" });
        body.extend_from_slice(&json);
    }
    body.extend_from_slice(rest.as_bytes());
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
