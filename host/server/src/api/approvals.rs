//! `/v1/approvals`: what waits for the caller to decide, with all that has to be judged.

use super::error::ErrorBody;
use super::read::{Asked, Caller, page};
use super::view::{PendingView, UnreadableView};
use super::{ApiError, Shared};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ApprovalsQuery {
    /// 1 to 200; 50 when left out.
    limit: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// Only the question of this run.
    run: Option<String>,
}

/// One page, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct PendingList {
    data: Vec<PendingView>,
    /// Paused runs of this page that the store cannot read; left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<UnreadableView>,
    /// Hand it in as `after` for the next page; null at the end.
    next: Option<String>,
}

/// The open questions that the caller may decide.
#[utoipa::path(get, path = "/v1/approvals", tag = "approvals", params(ApprovalsQuery), responses(
    (status = 200, description = "A page, newest first", body = PendingList),
    (status = 429, description = "Too many wrong keys from this address", body = ErrorBody),
    (status = 401, description = "No key, or a wrong one", body = ErrorBody),
    (status = 422, description = "A parameter that cannot be used", body = ErrorBody),
    (status = 503, description = "The store failed", body = ErrorBody)))]
pub(super) async fn list(
    State(app): State<Shared>,
    Caller(who): Caller,
    Asked(query): Asked<ApprovalsQuery>,
) -> Result<Json<PendingList>, ApiError> {
    if let Some(id) = query.run.filter(|it| !it.is_empty()) {
        let id = id.parse().map_err(|error| ApiError::request(Some("run".into()), format!("{error}")))?;
        let run = app.approval(&who, id).await?;
        return Ok(Json(PendingList { data: run.iter().filter_map(PendingView::of).collect(), unreadable: vec![], next: None }));
    }
    let found = app.approvals(&who, &page(query.limit.as_deref(), query.after.as_deref())?).await?;
    Ok(Json(PendingList {
        data: found.data.iter().filter_map(PendingView::of).collect(),
        unreadable: found.unreadable.iter().map(UnreadableView::from).collect(),
        next: found.next.map(|it| it.to_string()),
    }))
}
