//! `/v1/erasures`: takes what one principal has said out of the store. Nothing is decided here.

use super::error::ErrorBody;
use super::read::{Body, Caller, NoQuery};
use super::{ApiError, Shared};
use crate::app::{Erasure, NewErasure};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Bytes of a principal's id.
const ID: usize = 256;

/// Whose content is to be erased.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErasureBody {
    /// The id of whoever created the runs.
    principal: String,
    /// End runs that are not over, and erase those, too. Otherwise they are listed, and left as they are.
    #[serde(default)]
    cancel: bool,
    /// Only say what would be erased.
    #[serde(default)]
    dry_run: bool,
}

/// What was erased, or with `dry_run` what would be.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErasureView {
    principal: String,
    dry_run: bool,
    /// So many runs have lost their content.
    erased: u64,
    /// So many of them were ended for it.
    cancelled: u64,
    /// So many runs are not over, and were not touched.
    open: u64,
    /// The oldest of those, 100 at most.
    open_runs: Vec<String>,
}

/// Erases the content of every run of one principal that is over, for role `admin`: what was asked and answered, what guards said, and the salt of the
/// digests. The runs, their digests and their entries in the ledger stay. Comes back when no byte of it is left in the store's files; meanwhile runs wait.
#[utoipa::path(post, path = "/v1/erasures", tag = "runs", request_body = ErasureBody, responses(
    (status = 200, description = "It is erased", body = ErasureView),
    (status = 429, description = "Too many wrong keys from this address", body = ErrorBody),
    (status = 401, description = "No key, or a wrong one", body = ErrorBody),
    (status = 403, description = "The key lacks the role `admin`", body = ErrorBody),
    (status = 413, description = "The body is too large", body = ErrorBody),
    (status = 415, description = "The body has a Content-Encoding", body = ErrorBody),
    (status = 422, description = "The body cannot be read", body = ErrorBody),
    (status = 503, description = "The store failed: some of it may be erased already; send it again", body = ErrorBody)))]
pub(super) async fn create(State(app): State<Shared>, Caller(who): Caller, _: NoQuery, body: Body) -> Result<Response, ApiError> {
    let ErasureBody { principal, cancel, dry_run } = body.read()?;
    if principal.is_empty() || principal.len() > ID {
        return Err(ApiError::request(Some("principal".into()), format!("a principal's id has 1 to {ID} bytes")));
    }
    let Erasure { erased, cancelled, open, open_runs } =
        app.erase(&who, NewErasure { principal: principal.clone(), cancel, dry_run }).await?;
    let open_runs = open_runs.iter().map(ToString::to_string).collect();
    Ok(Json(ErasureView { principal, dry_run, erased, cancelled, open, open_runs }).into_response())
}
