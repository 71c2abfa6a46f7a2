//! What the page's forms send, read within the limits of every request. A form says nothing that its page did not ask for.

use crate::api::{ApiError, Body, COMMENT, Shared, unreadable};
use crate::app::NewDecision;
use aegis_core::{ApprovalId, Choice, Digest};
use axum::Form;
use axum::extract::{FromRequest, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Bytes of a form: a comment with every byte of it escaped, and room to spare. Anybody may send the one for logging in, and what has arrived of it is kept.
const LARGEST: usize = 32 << 10;

/// A form that was sent.
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Sent<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Shared) -> Result<Sent<T>, ApiError> {
        form(request, app, LARGEST).await.map(Sent)
    }
}

/// A form with texts in it, which may be as large as any request. Whoever sends it has to be known before it is read.
pub(super) struct SentTexts<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for SentTexts<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Shared) -> Result<SentTexts<T>, ApiError> {
        form(request, app, usize::MAX).await.map(SentTexts)
    }
}

async fn form<T: DeserializeOwned>(request: Request, app: &Shared, largest: usize) -> Result<T, ApiError> {
    let (parts, body) = request.into_parts();
    let head = Request::from_parts(parts.clone(), body);
    let bytes = Body::within(largest.min(app.settings().body_limit), head, app).await?.bytes();
    let whole = Request::from_parts(parts, bytes.into());
    Form::from_request(whole, app).await.map(|Form(it)| it).map_err(|error| unreadable(&error))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogInForm {
    pub(super) key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogOutForm {
    pub(super) token: String,
}

/// All of it is needed: what somebody has not seen they cannot decide.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DecisionForm {
    pub(super) token: String,
    pub(super) approval_id: ApprovalId,
    pub(super) digest: Digest,
    pub(super) decision: Choice,
    pub(super) comment: String,
}

impl DecisionForm {
    pub(super) fn read(self) -> Result<NewDecision, ApiError> {
        // Browsers send line breaks as Windows writes them.
        let comment = self.comment.replace("\r\n", "\n");
        let wrong = |message: String| Err(ApiError::request(Some("comment".into()), message));
        match () {
            _ if comment.len() > COMMENT => wrong(format!("the comment has more than {COMMENT} bytes: write less")),
            _ if comment.contains('\0') => wrong("a text may not contain U+0000".into()),
            _ => Ok(NewDecision {
                choice: self.decision,
                comment: Some(comment),
                approval: Some(self.approval_id),
                digest: Some(self.digest),
                rewrites: vec![],
            }),
        }
    }
}
