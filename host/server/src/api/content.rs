//! `/v1/runs/{id}/content`: all that came in with a run, before any guard's edits. Nothing of it is in any other answer.

use super::error::ErrorBody;
use super::read::{Caller, InPath, NoQuery};
use super::{ApiError, Shared};
use aegis_core::{Message, Principal, Run, RunId, Time, Tool};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What came in with a run.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunContent {
    #[schema(value_type = String)]
    run_id: RunId,
    route: String,
    /// As the route names it.
    model: String,
    /// Who created it, with teams and roles.
    #[schema(value_type = Object)]
    principal: Principal,
    /// Milliseconds since the Unix epoch.
    #[schema(value_type = u64)]
    time: Time,
    /// Null where it was erased.
    content: Option<CameIn>,
}

/// As it was before any edit, in OpenAI's shape.
#[derive(Serialize, ToSchema)]
struct CameIn {
    #[schema(value_type = Vec<Object>)]
    messages: Vec<Message>,
    #[schema(value_type = Vec<Object>)]
    tools: Vec<Tool>,
    #[schema(value_type = Object)]
    params: Map<String, Value>,
    metadata: BTreeMap<String, String>,
    /// What the model said, whether or not guards let it pass; null where it said nothing.
    #[schema(value_type = Option<Object>)]
    reply: Option<Message>,
}

/// What came in with one run, for role `admin`.
#[utoipa::path(get, path = "/v1/runs/{id}/content", tag = "runs", params(("id" = String, Path, description = "The run's id")), responses(
    (status = 200, description = "What came in", body = RunContent),
    (status = 429, description = "Too many wrong keys from this address", body = ErrorBody),
    (status = 401, description = "No key, or a wrong one", body = ErrorBody),
    (status = 403, description = "The key lacks the role `admin`", body = ErrorBody),
    (status = 404, description = "There is no such run", body = ErrorBody),
    (status = 422, description = "A parameter: there are none", body = ErrorBody),
    (status = 503, description = "The store failed", body = ErrorBody)))]
pub(super) async fn fetch(State(app): State<Shared>, Caller(who): Caller, InPath(id): InPath, _: NoQuery) -> Result<Response, ApiError> {
    Ok(Json(view(&app.content(&who, id).await?)).into_response())
}

fn view(run: &Run) -> RunContent {
    let content = run.came_in().map(|(request, reply)| CameIn {
        messages: request.messages,
        tools: request.tools,
        params: request.params,
        metadata: request.metadata,
        reply,
    });
    RunContent {
        run_id: run.id(),
        route: run.plan().route.clone(),
        model: run.plan().model.clone(),
        principal: run.principal().clone(),
        time: run.created_at(),
        content,
    }
}
