//! What clients read: runs and questions as they are written on the wire. Nothing is decided here.

use super::event::EventView;
use crate::clock::{as_rfc3339, rfc3339};
use aegis_core::{
    Approval, Approver, Code, Failure, FailureKind, Finding, Message, Missing, Outcome, Phase, Place, Run, RunId, Stage, Status, Time,
    Tool, ToolCall, Usage,
};
use aegis_store::Unreadable;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A run.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunView<'a> {
    #[schema(value_type = String)]
    run_id: RunId,
    route: &'a str,
    /// `pending`, `running`, `paused`, `completed`, `blocked`, `denied`, `cancelled` or `error`.
    status: &'static str,
    /// What the model said; null unless `completed`.
    response: Option<String>,
    /// Who created it.
    principal_id: &'a str,
    /// What the model wants to do, in OpenAI's shape; empty unless `completed`.
    #[schema(value_type = Vec<Object>)]
    tool_calls: &'a [ToolCall],
    #[schema(value_type = UsageSchema)]
    usage: Usage,
    /// The open question; null unless `paused`.
    approval: Option<ApprovalView>,
    /// Why it is `blocked`, `denied` or `error`.
    error: Option<RunError>,
    /// When its content was erased, by retention or because somebody asked for it: then `response`, `tool_calls` and what guards said are
    /// not there any more. Left out while it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    content_erased_at: Option<String>,
    /// All that happened, oldest first: `time`, `type`, and what belongs to the type.
    #[schema(value_type = Vec<Object>)]
    events: Vec<EventView<'a>>,
    #[serde(serialize_with = "as_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    #[serde(serialize_with = "as_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    updated_at: Time,
}

/// Tokens, as the provider counts them.
#[derive(ToSchema)]
#[schema(as = Usage)]
#[expect(dead_code, reason = "describes the core's type, which knows no OpenAPI")]
struct UsageSchema {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

/// Why a run did not complete.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunError {
    code: &'static str,
    message: String,
    why: &'static str,
    fix: &'static str,
    /// The guard that blocked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<String>,
    /// Where it was blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
}

/// A question to people.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApprovalView {
    id: String,
    guard: String,
    /// `ingress`, `tool_result`, `tool_call` or `egress`.
    stage: &'static str,
    prompt: String,
    /// Who decides must be in every one of these lists; without any, role `approver` decides.
    #[schema(value_type = Vec<Vec<String>>)]
    approvers: Vec<Vec<Approver>>,
    /// So many different people have to approve.
    required: u32,
    approved_by: Vec<String>,
    #[serde(serialize_with = "as_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    requested_at: Time,
    /// From then on it counts as denied.
    #[serde(serialize_with = "as_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    expires_at: Time,
    /// Over exactly what is shown; a decision that carries it counts for nothing else.
    digest: String,
}

/// A question with what has to be judged.
#[derive(Serialize, ToSchema)]
pub(crate) struct PendingView {
    run_id: String,
    route: String,
    /// Who created the run.
    principal_id: String,
    approval: ApprovalView,
    /// What made the guard ask: rule, place, and bytes from `start` to `end`.
    #[schema(value_type = Vec<Object>)]
    findings: Vec<Finding>,
    /// The places that may be rewritten by whoever approves, as `edits` names them.
    editable: Vec<PlaceView>,
    content: ContentView,
    #[serde(serialize_with = "as_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
}

/// A place as `edits` names it; numbers count from 0, and the reply is the message after the last.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum PlaceView {
    /// A part of a message.
    Part { message: u32, part: u32 },
    /// The arguments of a tool call.
    Call { message: u32, call: u32 },
    /// The description of a tool.
    Tool { tool: u32 },
}

impl From<Place> for PlaceView {
    fn from(at: Place) -> PlaceView {
        match at {
            Place::Part { message, part } => PlaceView::Part { message, part },
            Place::Arguments { message, call } => PlaceView::Call { message, call },
            Place::Tool(tool) => PlaceView::Tool { tool },
        }
    }
}

/// What an approver lets through.
#[derive(Serialize, ToSchema)]
struct ContentView {
    /// The conversation as guards and people have left it.
    #[schema(value_type = Vec<Object>)]
    messages: Vec<Message>,
    #[schema(value_type = Vec<Object>)]
    tools: Vec<Tool>,
    #[schema(value_type = Object)]
    params: Map<String, Value>,
    metadata: BTreeMap<String, String>,
    /// The model's reply, where it is what has to be judged.
    #[schema(value_type = Option<Object>)]
    reply: Option<Message>,
}

impl<'a> From<&'a Run> for RunView<'a> {
    fn from(run: &'a Run) -> RunView<'a> {
        let reply = run.response();
        RunView {
            run_id: run.id(),
            route: &run.plan().route,
            status: run.status().name(),
            response: reply.filter(|it| !it.message.content.is_none() || it.message.refusal.is_some()).map(|it| it.message.joined()),
            principal_id: &run.principal().id,
            tool_calls: reply.map(|it| it.message.tool_calls.as_slice()).unwrap_or_default(),
            usage: run.unjudged_reply().map(|it| it.usage).unwrap_or_default(),
            approval: run.approval().map(ApprovalView::from),
            error: error_of(run),
            content_erased_at: run.erased().map(rfc3339),
            events: run.history().iter().map(|entry| EventView { run, entry }).collect(),
            created_at: run.created_at(),
            updated_at: run.updated_at(),
        }
    }
}

impl From<&Approval> for ApprovalView {
    fn from(it: &Approval) -> ApprovalView {
        ApprovalView {
            id: it.id.to_string(),
            guard: it.guard.clone(),
            stage: it.stage.name(),
            prompt: it.prompt.clone(),
            approvers: it.approvers.clone(),
            required: it.required,
            approved_by: it.approved_by().map(String::from).collect(),
            requested_at: it.requested_at,
            expires_at: it.expires_at,
            digest: it.digest.to_string(),
        }
    }
}

impl PendingView {
    /// Of a paused run.
    pub(super) fn of(run: &Run) -> Option<PendingView> {
        let asked = run.approval()?;
        let request = run.request();
        Some(PendingView {
            run_id: run.id().to_string(),
            route: run.plan().route.clone(),
            principal_id: run.principal().id.clone(),
            approval: asked.into(),
            findings: asked.findings.clone(),
            editable: run.editable().into_iter().map(PlaceView::from).collect(),
            content: ContentView {
                messages: request.messages.clone(),
                tools: request.tools.clone(),
                params: request.params.clone(),
                metadata: request.metadata.clone(),
                reply: run.unjudged_reply().map(|it| it.message.clone()),
            },
            created_at: run.created_at(),
        })
    }
}

/// A run that is stored and cannot be read, in its place on a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct UnreadableView {
    #[schema(value_type = String)]
    run_id: RunId,
    /// `unreadable`, which no other run is.
    status: &'static str,
    /// The code of what is wrong.
    code: &'static str,
    /// For people.
    message: String,
    fix: &'static str,
}

impl From<&Unreadable> for UnreadableView {
    fn from(it: &Unreadable) -> UnreadableView {
        let code = it.why.code();
        UnreadableView { run_id: it.run, status: "unreadable", code: code.id, message: it.why.to_string(), fix: code.fix }
    }
}

/// Whether a client has to come back for the rest.
pub(super) fn is_unfinished(run: &Run) -> bool {
    matches!(run.status(), Status::Pending | Status::Running)
}

fn error_of(run: &Run) -> Option<RunError> {
    let Phase::Done(outcome) = run.phase() else { return None };
    let (code, message, at) = match outcome {
        Outcome::Completed | Outcome::Cancelled { .. } => return None,
        Outcome::Blocked { stage, guard, failure } => {
            let code = failure.map_or(Code::RUN_BLOCKED, FailureKind::code);
            (code, run.why_blocked().unwrap_or_default(), Some((guard.clone(), *stage)))
        }
        Outcome::Denied { by: None, .. } => (Code::RUN_DENIED, "expired: nobody decided in time".into(), None),
        Outcome::Denied { by: Some(by), comment, .. } => {
            let comment = comment.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
            (Code::RUN_DENIED, format!("denied by {by}{comment}"), None)
        }
        Outcome::Failed(failure) => {
            let (code, message) = failed(failure);
            (code, message, None)
        }
    };
    let (guard, stage): (Option<String>, Option<Stage>) = at.unzip();
    Some(RunError { code: code.id, message, why: code.why, fix: code.fix, guard, stage: stage.map(Stage::name) })
}

fn failed(failure: &Failure) -> (Code, String) {
    match failure {
        Failure::Provider(message) => (Code::PRV_FAILED, message.clone()),
        Failure::OutcomeUnknown => (Code::PRV_UNKNOWN, Code::PRV_UNKNOWN.what.into()),
        Failure::Missing(Missing::Guard(name)) => {
            (Code::RUN_GUARD_GONE, format!("the guard {name:?} cannot be had any more as it was when the run began"))
        }
        Failure::Missing(Missing::OtherProvider(name)) => {
            (Code::PRV_MISSING, format!("the provider {name:?} was changed since the run began: it is another kind, or at another address"))
        }
        Failure::Missing(Missing::Provider(name)) => (Code::PRV_MISSING, format!("the provider {name:?} is not configured any more")),
    }
}
