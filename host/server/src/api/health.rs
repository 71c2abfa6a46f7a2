//! `/healthz`, `/readyz` and `/metrics`: for whoever keeps the server running. No names, no contents.

use super::error::ErrorBody;
use super::read::Caller;
use super::{ApiError, Shared};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

/// Alive: the process answers. Needs no key.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, description = "`ok`", body = String)))]
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Ready: guards are loaded, the store answers and takes what is written to it, and the server is not stopping. Needs no key.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, description = "`ready`", body = String),
    (status = 503, description = "Send requests elsewhere", body = ErrorBody)))]
pub(super) async fn ready(State(app): State<Shared>) -> Result<&'static str, ApiError> {
    match app.ready().await {
        Ok(()) => Ok("ready\n"),
        // Nobody has shown a key: where the database is stays in the log.
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Err(ApiError::not_ready("not ready"))
        }
    }
}

/// Counters for Prometheus, in the OpenMetrics text format. Any key will do.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text"),
    (status = 429, description = "Too many wrong keys from this address", body = ErrorBody),
    (status = 401, description = "No key, or a wrong one", body = ErrorBody)))]
pub(super) async fn metrics(State(app): State<Shared>, _: Caller) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], app.counted())
}
