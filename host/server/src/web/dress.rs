//! What every answer of the page goes through: headers that leave a browser no room for anything but this page, and failures as
//! people read them. No content of a run stands in either.

use super::assets::Assets;
use crate::api::ApiError;
use aegis_core::Code;
use askama::Template;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    // Not `no-referrer`: with that, browsers send `Origin: null` with the page's own forms (Fetch, "append a request Origin header").
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Where a person gives a key.
#[derive(Template)]
#[template(path = "approvals/login.html")]
pub(super) struct LogInPage {
    pub(super) assets: Assets,
    /// Why the last try did not work.
    pub(super) problem: Option<ApiError>,
}

#[derive(Template)]
#[template(path = "approvals/problem.html")]
struct ProblemPage<'a> {
    assets: Assets,
    message: &'a str,
    code: Code,
    /// A server that failed may have done it before.
    unsure: bool,
}

pub(super) async fn dress(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    if let Some(error) = answer.extensions_mut().remove::<ApiError>() {
        answer = problem(error);
    }
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// A template as a page.
pub(super) fn page(template: &impl Template) -> Result<Html<String>, ApiError> {
    template.render().map(Html).map_err(|_| ApiError::internal())
}

/// Whoever is not known may log in where they stand.
fn problem(error: ApiError) -> Response {
    let (status, retry) = (error.status(), error.retry_after());
    if status.is_server_error() {
        tracing::error!(code = error.code().id, status = status.as_u16(), "the page failed: {}", error.message());
    }
    let shown = match status {
        StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => page(&LogInPage { assets: Assets, problem: Some(error) }),
        _ => page(&ProblemPage { assets: Assets, message: error.message(), code: error.code(), unsure: status.is_server_error() }),
    };
    let mut answer = (status, shown).into_response();
    if let Some(seconds) = retry {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}
