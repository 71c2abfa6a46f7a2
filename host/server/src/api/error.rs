//! How failures look from outside: one shape for all. The only file that knows both codes and HTTP.

use super::read::IDEMPOTENCY_KEY;
use crate::app::AppError;
use crate::auth::AuthError;
use crate::clock::rfc3339;
use aegis_core::{Code, Decided, Refused};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// A failure on its way out. Handlers return it; the outermost layer writes it down, because it knows the request's id.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: Code,
    message: String,
    param: Option<Box<str>>,
    decision: Option<Box<Decided>>,
    /// Seconds.
    retry_after: Option<u16>,
}

/// The body of every answer that is no success.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Serialize, ToSchema)]
struct ErrorDetail {
    /// `AEG-<AREA>-<NNN>`; a code never changes its meaning.
    code: &'static str,
    /// What happened.
    message: String,
    /// Why it is so.
    why: &'static str,
    /// What to do.
    fix: &'static str,
    /// The kind, in OpenAI's words.
    r#type: &'static str,
    /// The field or parameter that is wrong, such as `messages[0].content`.
    param: Option<String>,
    /// Names the request in the server's log.
    request_id: String,
    /// The decision that won, where one was made already.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionView>,
}

/// A decision that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct DecisionView {
    /// The principal's id.
    by: String,
    /// `approved` or `denied`.
    decision: &'static str,
    comment: Option<String>,
    /// RFC 3339.
    at: String,
}

impl From<Decided> for DecisionView {
    fn from(it: Decided) -> DecisionView {
        DecisionView { by: it.by, decision: it.choice.name(), comment: it.comment, at: rfc3339(it.at) }
    }
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> ApiError {
        ApiError { status, code, message: message.into(), param: None, decision: None, retry_after: None }
    }

    /// A body or a parameter that is wrong: whether it cannot be read or says something impossible, it is 422.
    pub(crate) fn request(param: Option<String>, message: impl Into<String>) -> ApiError {
        ApiError { param: param.map(String::into_boxed_str), ..ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, Code::RUN_BODY, message) }
    }

    pub(crate) fn too_large(limit: usize) -> ApiError {
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, Code::RUN_LARGE, format!("the body has more than {limit} bytes"))
    }

    pub(crate) fn encoded(encoding: &str) -> ApiError {
        let message = format!("a body in Content-Encoding {:?} is not taken: send it as it is", shortened(encoding, 40));
        ApiError { param: Some("Content-Encoding".into()), ..ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::RUN_BODY, message) }
    }

    pub(crate) fn too_slow() -> ApiError {
        ApiError::new(StatusCode::REQUEST_TIMEOUT, Code::RUN_BODY, "the body did not arrive in time")
    }

    pub(crate) fn no_path() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, Code::SRV_NOT_FOUND, "there is nothing at this path")
    }

    pub(crate) fn no_method() -> ApiError {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, Code::SRV_NOT_FOUND, "this path does not take this method")
    }

    pub(crate) fn unknown_run() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, Code::RUN_UNKNOWN, "there is no such run")
    }

    pub(crate) fn foreign(what: &str) -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, Code::AUTH_ORIGIN, what)
    }

    pub(crate) fn internal() -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, Code::SRV_INTERNAL, "something went wrong inside")
    }

    pub(crate) fn not_ready(why: &str) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Code::SRV_BUSY, why)
    }

    /// For the log.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// For people.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Seconds until it may be different.
    pub(crate) fn retry_after(&self) -> Option<u16> {
        self.retry_after.or((self.status == StatusCode::SERVICE_UNAVAILABLE).then_some(1))
    }

    /// The answer itself. Whatever `answer` says beside its body (`Allow`) stays.
    pub(crate) fn write(self, answer: &mut Response, request_id: &str) {
        let (status, retry, challenge) = (self.status, self.retry_after(), self.status == StatusCode::UNAUTHORIZED);
        let detail = ErrorDetail {
            code: self.code.id,
            message: shortened(&self.message, MESSAGE),
            why: self.code.why,
            fix: self.code.fix,
            r#type: kind(self.status),
            param: self.param.map(|it| shortened(&it, PARAM)),
            request_id: request_id.into(),
            decision: self.decision.map(|it| (*it).into()),
        };
        let (parts, body) = (status, Json(ErrorBody { error: detail })).into_response().into_parts();
        answer.headers_mut().remove(header::CONTENT_LENGTH);
        answer.headers_mut().extend(parts.headers);
        *answer.status_mut() = status;
        *answer.body_mut() = body;
        if let Some(seconds) = retry {
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if challenge {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"aegis\""));
        }
    }
}

/// Characters of a message and of a place: what a client has sent is shown to it in part, however long it was.
const MESSAGE: usize = 1000;
const PARAM: usize = 200;

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 | 405 => "not_found_error",
        409 => "conflict_error",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "server_error",
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut answer = self.status.into_response();
        answer.extensions_mut().insert(self);
        answer
    }
}

impl From<AppError> for ApiError {
    fn from(error: AppError) -> ApiError {
        let message = error.to_string();
        match error {
            AppError::UnknownRun => ApiError::unknown_run(),
            AppError::UnknownRoute { .. } => {
                ApiError { param: Some("route".into()), ..ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, Code::RUN_ROUTE, message) }
            }
            AppError::Request { param, .. } => ApiError::request(Some(param), message),
            AppError::Approvers(_) => ApiError {
                param: Some("approvers".into()),
                ..ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, Code::RUN_APPROVERS, message)
            },
            AppError::Role(_) | AppError::NotYours => ApiError::new(StatusCode::FORBIDDEN, Code::AUTH_ROLE, message),
            AppError::Refused(refused) => refused_by_run(refused, message),
            AppError::OtherRequest => {
                ApiError { param: Some(IDEMPOTENCY_KEY.into()), ..ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, Code::RUN_KEY, message) }
            }
            AppError::Finished(_) | AppError::Contended => ApiError::new(StatusCode::CONFLICT, Code::RUN_CONFLICT, message),
            AppError::Busy | AppError::Stopping => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Code::SRV_BUSY, message),
            AppError::Store(error) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.code(), message),
            AppError::Broken => ApiError::internal(),
        }
    }
}

fn refused_by_run(refused: Refused, message: String) -> ApiError {
    let conflict = |decision| ApiError { decision, ..ApiError::new(StatusCode::CONFLICT, Code::RUN_CONFLICT, message.clone()) };
    match refused {
        Refused::NotAnApprover => ApiError::new(StatusCode::FORBIDDEN, Code::AUTH_APPROVER, message),
        Refused::AlreadyDecided(decided) => conflict(Some(Box::new(decided))),
        Refused::Edits(_) => ApiError::request(Some("edits".into()), message),
        Refused::Illegal
        | Refused::NotPaused(_)
        | Refused::OtherApproval(_)
        | Refused::OtherContent(_)
        | Refused::Repeated
        | Refused::Expired => conflict(None),
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> ApiError {
        let message = error.to_string();
        match error {
            AuthError::NoKey | AuthError::WrongKey | AuthError::Shape => ApiError::new(StatusCode::UNAUTHORIZED, Code::AUTH_KEY, message),
            AuthError::TooMany(wait) => ApiError {
                retry_after: Some(u16::try_from(wait.as_secs().max(1)).unwrap_or(u16::MAX)),
                ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, Code::AUTH_GUESSES, message)
            },
            AuthError::Token => ApiError::new(StatusCode::FORBIDDEN, Code::AUTH_ORIGIN, message),
            AuthError::Store(error) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.code(), message),
        }
    }
}
