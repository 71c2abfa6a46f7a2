//! Who looks at the page, and whether a form is the page's own. What a visitor may decide is the core's.

use crate::api::{ApiError, Shared, cookie, session_cookie};
use crate::auth::same;
use crate::clock;
use aegis_core::{Code, Principal};
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use std::sync::Arc;

/// Somebody who is logged in, or anybody where no authentication is configured.
pub(super) struct Visitor {
    pub(super) who: Principal,
    /// Every form carries it: another web page cannot know it.
    pub(super) token: String,
    /// Whether there is a session to end.
    pub(super) logged_in: bool,
}

/// The token of forms where nobody logs in; new whenever the server starts.
#[derive(Clone)]
pub(super) struct CommonToken(Arc<str>);

impl CommonToken {
    pub(super) fn new() -> CommonToken {
        CommonToken(clock::random_hex::<32>().into())
    }
}

impl Visitor {
    /// Refuses a form that is not from this visitor's page.
    pub(super) fn check(&self, token: &str) -> Result<(), ApiError> {
        let why = "this form is older than your log-in, or than the server's last start: go back to the approvals and decide there";
        if same(token, &self.token) { Ok(()) } else { Err(ApiError::foreign(why)) }
    }
}

impl FromRequestParts<Shared> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Visitor, ApiError> {
        if !app.auth().required() {
            let CommonToken(token) = parts.extensions.get().cloned().expect("the page's router brings it along");
            return Ok(Visitor { who: Principal::anonymous(), token: token.to_string(), logged_in: false });
        }
        let session = match cookie(&parts.headers, session_cookie(app.settings())) {
            Some(cookie) => app.auth().session(cookie).await?,
            None => None,
        };
        let nobody = || ApiError::new(StatusCode::UNAUTHORIZED, Code::AUTH_KEY, "you are not logged in, or not any more");
        let session = session.ok_or_else(nobody)?;
        Ok(Visitor { who: session.principal, token: session.token, logged_in: true })
    }
}
