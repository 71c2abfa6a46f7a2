//! `/v1/runs`: send a request on its way, look at it, decide about it, end it.

use super::error::ErrorBody;
use super::read::{Asked, Body, Caller, InPath, NoQuery, RequestKey, page};
use super::view::{RunView, UnreadableView, is_unfinished};
use super::{ApiError, Shared};
use crate::app::{LONGEST_WAIT, NewDecision, NewRun};
use crate::config::check_approver;
use aegis_core::{ApprovalId, Approver, Choice, Digest, Message, Place, Request, Rewrite, Role, Run, Status, Strict, Tool};
use aegis_store::RunFilter;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

const MESSAGES: usize = 1_000;
const TOOLS: usize = 128;
const APPROVERS: usize = 100;
const METADATA: usize = 64;
const METADATA_KEY: usize = 64;
const METADATA_VALUE: usize = 1024;
const EDITS: usize = 1_000;
/// Bytes of a comment.
pub(crate) const COMMENT: usize = 4096;

/// A request on its way to a model. Unknown fields are refused, inside messages, parts and tools too.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmitBody {
    /// The conversation in OpenAI's shape, 1 to 1 000 messages. `\u0000` is refused in every text.
    #[schema(value_type = Vec<Object>)]
    messages: Vec<Message>,
    /// The pipeline that it goes through; `default` when left out.
    #[serde(default)]
    route: Option<String>,
    /// Answer before the model does. Ingress guards have judged by then all the same.
    #[serde(default)]
    background: bool,
    /// Only these may decide: principals, `team:NAME`, `role:NAME`; 100 at most. Can only narrow what the configuration says.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    approvers: Vec<Approver>,
    /// Notes of 1 KiB at most under 64 names of 64 bytes at most; guards see them.
    #[serde(default, deserialize_with = "aegis_core::once")]
    metadata: BTreeMap<String, String>,
    /// Tools that the model may call, in OpenAI's shape; 128 at most.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    tools: Vec<Tool>,
    /// Model parameters such as `temperature`, `tool_choice` and `response_format`.
    #[serde(default, deserialize_with = "params")]
    #[schema(value_type = Object)]
    params: Map<String, Value>,
}

fn params<'de, D: Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    Ok(aegis_core::once(from)?.into_iter().map(|(name, Strict(value))| (name, value)).collect())
}

impl SubmitBody {
    fn check(self) -> Result<NewRun, ApiError> {
        let wrong = |param: &str, message: String| Err(ApiError::request(Some(param.into()), message));
        let fits = |(key, value): (&String, &String)| (1..=METADATA_KEY).contains(&key.len()) && value.len() <= METADATA_VALUE;
        match self {
            it if it.messages.is_empty() => wrong("messages", "there has to be at least one message".into()),
            it if it.messages.iter().any(says_nothing) => {
                let index = it.messages.iter().position(says_nothing).unwrap_or_default();
                wrong(&format!("messages[{index}].content"), "content is missing: write a string or a list of parts".into())
            }
            it if it.messages.len() > MESSAGES => wrong("messages", format!("{} messages: at most {MESSAGES}", it.messages.len())),
            it if it.tools.len() > TOOLS => wrong("tools", format!("{} tools: at most {TOOLS}", it.tools.len())),
            it if it.approvers.len() > APPROVERS => wrong("approvers", format!("{} approvers: at most {APPROVERS}", it.approvers.len())),
            it if let Some((index, why)) = nobody(&it.approvers) => wrong(&format!("approvers[{index}]"), why),
            it if it.metadata.len() > METADATA => wrong("metadata", format!("{} entries: at most {METADATA}", it.metadata.len())),
            it if !it.metadata.iter().all(fits) => {
                wrong("metadata", format!("names have 1 to {METADATA_KEY} bytes, values at most {METADATA_VALUE}"))
            }
            SubmitBody { messages, route, background, approvers, metadata, tools, params } => {
                let route = route.unwrap_or_else(|| "default".into());
                Ok(NewRun { route, background, request: Request { messages, tools, params, metadata, approvers } })
            }
        }
    }
}

/// The first one that nobody is found by, and why.
fn nobody(approvers: &[Approver]) -> Option<(usize, String)> {
    approvers.iter().enumerate().find_map(|(index, it)| Some((index, check_approver(&it.to_string()).err()?)))
}

/// Only an assistant may say nothing in words: it may call tools.
fn says_nothing(message: &Message) -> bool {
    message.role != Role::Assistant && message.content.is_none()
}

/// Sends a request through its route. The answer is 200 whatever the guards said: `status` tells.
#[utoipa::path(post, path = "/v1/runs", tag = "runs", request_body = SubmitBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "The client's own name for this request, 1 to 255 printable characters. Sent again with the same body it makes no second run: the answer is the first one as it stands.")),
    responses(
    (status = 200, description = "The run. `Location` and `Retry-After` come with one that still goes on.", body = RunView),
    (status = 429, description = "Too many wrong keys from this address", body = ErrorBody),
    (status = 401, description = "No key, or a wrong one", body = ErrorBody),
    (status = 403, description = "The key lacks the role `user`", body = ErrorBody),
    (status = 413, description = "The body is too large", body = ErrorBody),
    (status = 415, description = "The body has a Content-Encoding", body = ErrorBody),
    (status = 422, description = "The body cannot be read or used, or the Idempotency-Key came with another one; `param` names the place", body = ErrorBody),
    (status = 503, description = "Busy, stopping, or the store failed: nothing was begun", body = ErrorBody)))]
pub(super) async fn submit(
    State(app): State<Shared>,
    Caller(who): Caller,
    _: NoQuery,
    key: RequestKey,
    body: Body,
) -> Result<Response, ApiError> {
    let named = key.with(&body);
    let new = body.read::<SubmitBody>()?.check()?;
    let run = app.submit(&who, new, named).await?;
    Ok(answer(&run))
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only runs of this status.
    status: Option<String>,
    /// Only runs of this route.
    route: Option<String>,
    /// Only runs created by this principal.
    principal: Option<String>,
    /// 1 to 200; 50 when left out.
    limit: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
}

/// One page, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunList<'a> {
    data: Vec<RunView<'a>>,
    /// Runs of this page that the store cannot read; left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<UnreadableView>,
    /// Hand it in as `after` for the next page; null at the end.
    next: Option<String>,
}

/// The runs that the caller may see: its own, those that ask something of it, all for role `admin`.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", params(ListQuery), responses(
    (status = 200, description = "A page, newest first", body = RunList),
    (status = 429, description = "Too many wrong keys from this address", body = ErrorBody),
    (status = 401, description = "No key, or a wrong one", body = ErrorBody),
    (status = 422, description = "A parameter that cannot be used", body = ErrorBody),
    (status = 503, description = "The store failed", body = ErrorBody)))]
pub(super) async fn list(State(app): State<Shared>, Caller(who): Caller, Asked(query): Asked<ListQuery>) -> Result<Response, ApiError> {
    let status = query.status.filter(|it| !it.is_empty()).map(|it| status(&it)).transpose()?;
    let (route, principal) = (name("route", query.route)?, name("principal", query.principal)?);
    let filter = RunFilter { status, route, principal, visible_to: None };
    let found = app.list(&who, filter, &page(query.limit.as_deref(), query.after.as_deref())?).await?;
    let list = RunList {
        data: found.data.iter().map(RunView::from).collect(),
        unreadable: found.unreadable.iter().map(UnreadableView::from).collect(),
        next: found.next.map(|it| it.to_string()),
    };
    Ok(Json(list).into_response())
}

/// A name to look for. None has a control character in it, and not every store can be asked for one.
fn name(param: &str, given: Option<String>) -> Result<Option<String>, ApiError> {
    match given.filter(|it| !it.is_empty()) {
        Some(text) if text.contains(char::is_control) => Err(ApiError::request(Some(param.into()), "a name has no control characters")),
        given => Ok(given),
    }
}

fn status(text: &str) -> Result<Status, ApiError> {
    let names = Status::ALL.map(Status::name).join(", ");
    let found = Status::ALL.into_iter().find(|it| it.name() == text);
    found.ok_or_else(|| ApiError::request(Some("status".into()), format!("there is no status {text:?}: write one of {names}")))
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct FetchQuery {
    /// Hold the answer until the run is paused or over, for so long at most: `30s`, a minute at most.
    wait: Option<String>,
}

/// One run.
#[utoipa::path(get, path = "/v1/runs/{id}", tag = "runs", params(("id" = String, Path, description = "The run's id"), FetchQuery), responses(
    (status = 200, description = "The run", body = RunView),
    (status = 429, description = "Too many wrong keys from this address", body = ErrorBody),
    (status = 401, description = "No key, or a wrong one", body = ErrorBody),
    (status = 404, description = "There is no such run, or the caller may not see it", body = ErrorBody),
    (status = 422, description = "A parameter that cannot be used", body = ErrorBody),
    (status = 503, description = "The store failed", body = ErrorBody)))]
pub(super) async fn fetch(
    State(app): State<Shared>,
    Caller(who): Caller,
    InPath(id): InPath,
    Asked(query): Asked<FetchQuery>,
) -> Result<Response, ApiError> {
    let wait = query.wait.as_deref().filter(|it| !it.is_empty()).map(period).transpose()?.unwrap_or_default();
    Ok(answer(&*app.fetch(&who, id, wait).await?))
}

fn period(text: &str) -> Result<Duration, ApiError> {
    let seconds = text.parse().map(Duration::from_secs);
    seconds
        .or_else(|_| humantime::parse_duration(text))
        .map_err(|_| ApiError::request(Some("wait".into()), format!("{text:?} is no length of time: write for example 30s")))
}

/// A decision on the open question of a run. Anything but the two decisions is refused and changes nothing.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResumeBody {
    /// `approved` or `denied`.
    #[schema(value_type = String, pattern = "^(approved|denied)$")]
    decision: Choice,
    /// Why; 4 KiB at most.
    #[serde(default)]
    comment: Option<String>,
    /// The question that is meant. With it, the same decision sent again is 200.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    approval_id: Option<ApprovalId>,
    /// The digest of the question: the decision counts for nothing else than what was shown.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    digest: Option<Digest>,
    /// Only with `approved`: what is rewritten before the run goes on; 1 000 at most. Every guard of the stage judges the result, and may
    /// ask again. What would change nothing is no edit.
    #[serde(default)]
    edits: Vec<EditBody>,
}

/// A new text for one place of what the question is about: a part of a message (`message`, `part`), the arguments of a tool
/// call (`message`, `call`; they have to stay JSON), or the description of a tool (`tool`). Numbers count from 0, and the reply is the message
/// after the last. The question's `editable` lists every place there is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditBody {
    #[serde(default)]
    message: Option<u32>,
    /// 0 when left out.
    #[serde(default)]
    part: Option<u32>,
    #[serde(default)]
    call: Option<u32>,
    #[serde(default)]
    tool: Option<u32>,
    /// What stands there afterwards.
    text: String,
    /// With `end`: only the bytes from `start` to `end` of the UTF-8 text are replaced, as findings give them. Without both: all of it.
    #[serde(default)]
    start: Option<u32>,
    #[serde(default)]
    end: Option<u32>,
}

impl EditBody {
    fn read(self) -> Result<Rewrite, &'static str> {
        let at = match (self.message, self.part, self.call, self.tool) {
            (Some(message), part, None, None) => Place::Part { message, part: part.unwrap_or(0) },
            (Some(message), None, Some(call), None) => Place::Arguments { message, call },
            (None, None, None, Some(tool)) => Place::Tool(tool),
            _ => return Err("write message and part, or message and call, or tool"),
        };
        let range = match (self.start, self.end) {
            (Some(start), Some(end)) => Some((start, end)),
            (None, None) => None,
            _ => return Err("write both start and end, or none of them for the whole text"),
        };
        Ok(Rewrite { at, range, text: self.text })
    }
}

impl ResumeBody {
    fn check(self) -> Result<NewDecision, ApiError> {
        if self.comment.as_ref().is_some_and(|it| it.len() > COMMENT) {
            return Err(ApiError::request(Some("comment".into()), format!("the comment has more than {COMMENT} bytes")));
        }
        let rewrites = edits(self.edits, self.decision)?;
        Ok(NewDecision { choice: self.decision, comment: self.comment, approval: self.approval_id, digest: self.digest, rewrites })
    }
}

fn edits(edits: Vec<EditBody>, decision: Choice) -> Result<Vec<Rewrite>, ApiError> {
    let wrong = |message: String| Err(ApiError::request(Some("edits".into()), message));
    match decision {
        _ if edits.len() > EDITS => wrong(format!("{} edits: at most {EDITS}", edits.len())),
        Choice::Denied if !edits.is_empty() => wrong("edits come with an approval only: what is denied goes nowhere".into()),
        _ => {
            let read = |(n, it): (usize, EditBody)| it.read().map_err(|why| ApiError::request(Some(format!("edits[{n}]")), why));
            edits.into_iter().enumerate().map(read).collect()
        }
    }
}

/// Decides, and goes on to the end of the run or its next question; holds for a minute at most.
#[utoipa::path(post, path = "/v1/runs/{id}/resume", tag = "runs", request_body = ResumeBody,
    params(("id" = String, Path, description = "The run's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "The client's own name for this decision, 1 to 255 printable characters. Sent again with the same body it is 200 with the run as it stands.")),
    responses(
    (status = 200, description = "The run. `Location` and `Retry-After` come with one that still goes on.", body = RunView),
    (status = 429, description = "Too many wrong keys from this address", body = ErrorBody),
    (status = 401, description = "No key, or a wrong one", body = ErrorBody),
    (status = 403, description = "The caller is not an approver of this run", body = ErrorBody),
    (status = 404, description = "There is no such run", body = ErrorBody),
    (status = 409, description = "Not paused, another question, or decided already: `decision` says by whom", body = ErrorBody),
    (status = 413, description = "The body is too large", body = ErrorBody),
    (status = 415, description = "The body has a Content-Encoding", body = ErrorBody),
    (status = 422, description = "The body cannot be read, its edits cannot be made, or the Idempotency-Key came with another request; nothing has changed", body = ErrorBody),
    (status = 503, description = "Stopping, or the store failed: nothing has changed", body = ErrorBody)))]
pub(super) async fn resume(
    State(app): State<Shared>,
    Caller(who): Caller,
    InPath(id): InPath,
    no_query: Result<NoQuery, ApiError>,
    key: Result<RequestKey, ApiError>,
    body: Body,
) -> Result<Response, ApiError> {
    let read = || Ok((no_query.and(key)?, body.read::<ResumeBody>()?.check()?));
    let (key, decision) = match read() {
        Ok(read) => read,
        // Whether there is such a run comes before what is wrong with the body.
        Err(wrong) => return app.exists(id).await.map_err(ApiError::from).and(Err(wrong)),
    };
    Ok(answer(&*app.resume(&who, id, decision, key.with(&body), LONGEST_WAIT).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

/// Ends a run, for its creator and for role `admin`. Ending it twice is 200, too.
#[utoipa::path(post, path = "/v1/runs/{id}/cancel", tag = "runs", params(("id" = String, Path, description = "The run's id")), responses(
    (status = 200, description = "The run", body = RunView),
    (status = 429, description = "Too many wrong keys from this address", body = ErrorBody),
    (status = 401, description = "No key, or a wrong one", body = ErrorBody),
    (status = 403, description = "The caller sees the run, but may not end it", body = ErrorBody),
    (status = 404, description = "There is no such run, or the caller may not see it", body = ErrorBody),
    (status = 409, description = "The run is over already", body = ErrorBody),
    (status = 415, description = "The body has a Content-Encoding", body = ErrorBody),
    (status = 422, description = "A body or a query that says anything", body = ErrorBody),
    (status = 503, description = "The store failed: nothing has changed", body = ErrorBody)))]
pub(super) async fn cancel(
    State(app): State<Shared>,
    Caller(who): Caller,
    InPath(id): InPath,
    _: NoQuery,
    body: Body,
) -> Result<Response, ApiError> {
    if !body.is_empty() {
        body.read::<NoFields>()?;
    }
    Ok(answer(&*app.cancel(&who, id).await?))
}

/// A run on its way out; one that still goes on says where to ask for it again.
fn answer(run: &Run) -> Response {
    let mut answer = Json(RunView::from(run)).into_response();
    if is_unfinished(run) {
        let location = HeaderValue::from_str(&format!("/v1/runs/{}", run.id())).expect("an id fits into a header");
        answer.headers_mut().insert(header::LOCATION, location);
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}
