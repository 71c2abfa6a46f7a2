//! The HTTP interface. The router is a table of contents; each resource has its file. Rules about runs are not made here.

mod approvals;
mod content;
mod erasures;
mod error;
mod event;
mod guards;
mod health;
mod layers;
mod ledger;
mod openapi;
mod read;
mod runs;
mod view;

pub(crate) use error::ApiError;
#[cfg(test)]
pub(crate) use layers::around;
pub(crate) use layers::cookie;
pub(crate) use read::{Body, InPath, page as page_of, peer, session_cookie, unreadable};
pub(crate) use runs::COMMENT;

use crate::app::App;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use std::sync::Arc;

/// What every handler is handed.
pub(crate) type Shared = Arc<App>;

/// Every path of the API with its methods. `/openapi.json` describes exactly these.
fn table() -> [(&'static str, MethodRouter<Shared>); 15] {
    [
        ("/v1/runs", post(runs::submit).get(runs::list)),
        ("/v1/runs/{id}", get(runs::fetch)),
        ("/v1/runs/{id}/content", get(content::fetch)),
        ("/v1/runs/{id}/resume", post(runs::resume)),
        ("/v1/runs/{id}/cancel", post(runs::cancel)),
        ("/v1/runs/{id}/ledger", get(ledger::of_run)),
        ("/v1/erasures", post(erasures::create)),
        ("/v1/ledger", get(ledger::list)),
        ("/v1/approvals", get(approvals::list)),
        ("/v1/guards", get(guards::list)),
        ("/v1/guards/{name}", get(guards::fetch)),
        ("/healthz", get(health::live)),
        ("/readyz", get(health::ready)),
        ("/metrics", get(health::metrics)),
        ("/openapi.json", get(openapi::document)),
    ]
}

/// The whole service: the API, the page, and what every request goes through.
pub(crate) fn router(app: Shared) -> Router {
    let api = table().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    api.merge(crate::web::router())
        .fallback(|| async { ApiError::no_path() })
        .method_not_allowed_fallback(|| async { ApiError::no_method() })
        .layer(from_fn_with_state(app.clone(), layers::around))
        .with_state(app)
}
