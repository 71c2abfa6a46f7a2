//! A guard on trial: a run with this guard alone, at one stage. The same core as a server's judges what the guard says; only
//! nobody acts on it.

use aegis_core::{
    Answer, ApprovalRule, Backoff, Digest, Event, Guard, GuardFailure, Input, Label, Message, Mode, OnFailure, OnUnknown, Plan, Principal,
    Report, Request, Role, RunId, Scope, Stage, Stages, Time, Tool, ToolCall, Usage, Want,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What `--input` holds: one text, or the content of a `POST /v1/runs`, and what else a guard is told.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    pub(super) messages: Vec<Message>,
    #[serde(default)]
    pub(super) tools: Vec<Tool>,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) params: Map<String, Value>,
    /// What this guard handed back at an earlier stage.
    #[serde(default)]
    pub(super) memory: Option<String>,
    /// Notes of guards before it.
    #[serde(default)]
    pub(super) labels: Vec<Label>,
    #[serde(default)]
    pub(super) principal: Option<Principal>,
    /// Milliseconds since the Unix epoch.
    #[serde(default)]
    pub(super) time: Option<u64>,
    #[serde(default)]
    pub(super) model: String,
}

impl Content {
    /// One text, as it comes along at `stage`: said by a user, by a tool, or by the model, in its reply or as what it wants to do.
    pub(super) fn of_text(stage: Stage, text: String) -> Content {
        let call = |arguments| ToolCall { id: "call-1".into(), name: "tool".into(), arguments };
        let message = match stage {
            Stage::Ingress => Message::text(Role::User, text),
            Stage::ToolResult => Message { tool_call_id: Some("call-1".into()), ..Message::text(Role::Tool, text) },
            Stage::ToolCall => {
                Message { content: aegis_core::Content::None, tool_calls: vec![call(text)], ..Message::text(Role::Assistant, "") }
            }
            Stage::Egress => Message::text(Role::Assistant, text),
        };
        Content { messages: vec![message], ..Content::default() }
    }

    /// # Errors
    /// What is wrong with the JSON.
    pub(super) fn read(stage: Stage, json: &[u8]) -> Result<Content, String> {
        let json: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        match json {
            Value::String(text) => Ok(Content::of_text(stage, text)),
            content @ Value::Object(_) => serde_json::from_value(content).map_err(|error| error.to_string()),
            _ => Err("expected a text, or an object with messages".into()),
        }
    }
}

/// A run that stands before the guard.
pub(super) struct Trial {
    run: aegis_core::Run,
    memory: Option<String>,
    labels: Vec<Label>,
}

impl Trial {
    /// # Errors
    /// Why this content never comes to this stage.
    pub(super) fn new(
        name: &str,
        component: Digest,
        settings: Digest,
        stage: Stage,
        mut content: Content,
        now: Time,
    ) -> Result<Trial, String> {
        let reply = if stage.follows_the_reply() { Some(reply(&mut content, stage)?) } else { None };
        let Content { messages, tools, metadata, params, memory, labels, principal, time, model } = content;
        let (now, principal) = (time.map_or(now, Time), principal.unwrap_or_else(Principal::anonymous));
        let request = Request { messages, tools, params, metadata, approvers: vec![] };
        let plan = Plan { model, ..plan(name, component, settings, stage) };
        let mut run = aegis_core::Run::new(RunId::new(now, [0; 10]), plan, request, principal, false, [0; 32], now)?;
        let asked = if let Want::Provider(call) = run.wants() { Some(call.step) } else { None };
        if let (Some(reply), Some(step)) = (reply, asked) {
            let result = Ok(Answer { message: reply, finish_reason: None, usage: Usage::default() });
            run.handle(Event::Answered { step, result }, now).expect("the run has just asked for this");
        }
        Ok(Trial { run, memory, labels })
    }

    /// What the guard is handed.
    pub(super) fn input(&self) -> Input<'_> {
        match self.run.wants() {
            Want::Guard(input) => Input { memory: self.memory.as_deref(), labels: &self.labels, ..input },
            other => unreachable!("the plan has one guard, and it has not judged: {other:?}"),
        }
    }

    /// # Errors
    /// How the guard failed, also when what it said breaks the contract.
    pub(super) fn judge(mut self, result: Result<Report, GuardFailure>, now: Time) -> Result<Judged, GuardFailure> {
        let (before, report) = (self.run.clone(), result.clone());
        let event = Event::Judged { step: self.input().step, result };
        self.run.handle(event, now).expect("the run has just asked for this");
        match self.run.history().last().and_then(|it| self.run.failure(it)) {
            Some(failure) => Err(failure),
            None => Ok(Judged { report: report?, before, after: self.run }),
        }
    }
}

/// What the guard said, and the content before and after its edits.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) report: Report,
    pub(super) before: aegis_core::Run,
    pub(super) after: aegis_core::Run,
}

fn reply(content: &mut Content, stage: Stage) -> Result<Message, String> {
    let reply = content.messages.pop().filter(|it| it.role == Role::Assistant);
    reply.ok_or_else(|| format!("at {} the last message is the model's reply: it needs the role \"assistant\"", stage.name()))
}

fn plan(name: &str, component: Digest, settings: Digest, stage: Stage) -> Plan {
    let guard = Guard {
        name: name.into(),
        component,
        settings,
        // It gets to see everything: so places mean the same whatever its scope is.
        scope: Scope::Conversation,
        mode: Mode::Enforce,
        on_failure: OnFailure::Block,
        approval: ApprovalRule::default(),
    };
    let mut pipeline: Stages<Vec<Guard>> = Stages::default();
    pipeline.at_mut(stage).push(guard);
    Plan {
        route: "default".into(),
        provider: String::new(),
        provider_is: None,
        model: String::new(),
        pipeline,
        attempts: 1,
        backoff: Backoff::default(),
        on_unknown: OnUnknown::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::{Edit, Finding, Place, Verdict};

    fn trial(stage: Stage, content: Content) -> Result<Trial, String> {
        Trial::new("g", Digest::of(b"c"), Digest::of(b"s"), stage, content, Time(7))
    }

    #[test]
    fn a_text_is_handed_over_at_every_stage() {
        for stage in Stage::ALL {
            let trial = trial(stage, Content::of_text(stage, "hello".into())).unwrap();
            let input = trial.input();
            assert_eq!((input.stage, input.time, input.messages.len()), (stage, Time(7), 1));
            let message = input.messages[0];
            let said = if stage == Stage::ToolCall { message.tool_calls[0].arguments.clone() } else { message.joined() };
            assert_eq!(said, "hello", "{stage:?}");
        }
    }

    #[test]
    fn a_conversation_ends_with_the_reply_that_is_judged() {
        let json = br#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"metadata":{"k":"v"}}"#;
        let judged = trial(Stage::Egress, Content::read(Stage::Egress, json).unwrap()).unwrap();
        assert_eq!(judged.input().messages.len(), 2);
        assert_eq!(judged.input().metadata["k"], "v");
        let user_last = Content::read(Stage::Egress, br#"{"messages":[{"role":"user","content":"a"}]}"#).unwrap();
        assert!(trial(Stage::Egress, user_last).err().unwrap().contains("assistant"));
    }

    #[test]
    fn an_input_with_a_typo_is_refused_with_its_name() {
        assert_eq!(Content::read(Stage::Ingress, br#""hi""#).unwrap(), Content::of_text(Stage::Ingress, "hi".into()));
        for (json, named) in [(r#"{"message":[]}"#, "message"), ("[]", "messages"), ("{", "EOF"), (r#"{"messages":[{"role":"x"}]}"#, "x")] {
            let error = Content::read(Stage::Ingress, json.as_bytes()).unwrap_err();
            assert!(error.contains(named), "{json}: {error}");
        }
    }

    #[test]
    fn edits_are_made_and_checked_as_a_server_does() {
        let edit = |start, end| {
            let at = Place::Part { message: 0, part: 0 };
            Report::of(Verdict::Sanitize(vec![Edit { at, start, end, text: "*".into() }]))
        };
        let judge = |report| trial(Stage::Ingress, Content::of_text(Stage::Ingress, "hello".into())).unwrap().judge(Ok(report), Time(8));
        let judged = judge(edit(0, 4)).unwrap();
        assert_eq!(judged.before.text(Place::Part { message: 0, part: 0 }), Some("hello"));
        assert_eq!(judged.after.text(Place::Part { message: 0, part: 0 }), Some("*o"));
        assert!(matches!(judge(edit(0, 6)), Err(GuardFailure::Contract(_))));
    }

    #[test]
    fn evidence_may_stand_in_a_part_of_another_kind_and_edits_may_not() {
        let json = br#"{"messages":[{"role":"user","content":[{"type":"file","file":{"title":"bad"}}]}]}"#;
        let judge = |report| trial(Stage::Ingress, Content::read(Stage::Ingress, json).unwrap()).unwrap().judge(Ok(report), Time(8));
        let at = Place::Part { message: 0, part: 0 };
        let finding =
            |end| Report { findings: vec![Finding { rule: "r".into(), at, start: 32, end, score: None }], ..Report::of(Verdict::Allow) };
        assert_eq!(judge(finding(35)).unwrap().before.seen(at).unwrap().get(32..35), Some("bad"));
        assert!(matches!(judge(finding(99)), Err(GuardFailure::Contract(_))));
        let edit = Edit { at, start: 32, end: 35, text: "***".into() };
        assert!(matches!(judge(Report::of(Verdict::Sanitize(vec![edit]))), Err(GuardFailure::Contract(_))));
    }

    #[test]
    fn a_guard_that_failed_has_no_verdict() {
        let judged =
            trial(Stage::Ingress, Content::of_text(Stage::Ingress, "hello".into())).unwrap().judge(Err(GuardFailure::Timeout), Time(8));
        assert_eq!(judged.unwrap_err(), GuardFailure::Timeout);
    }
}
