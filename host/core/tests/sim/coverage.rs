//! How often the worlds came where: a simulation that never pauses proves nothing.

use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    pub(crate) fn hit(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Coverage) {
        other.0.into_iter().for_each(|(what, times)| *self.0.entry(what).or_default() += times);
    }

    pub(crate) fn times(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }
}

/// Everything that the worlds together have to reach.
pub(crate) const PLACES: &[&[&str]] = &[names::PHASES, names::FACTS, names::REFUSED, names::RULINGS, names::STATUS, EVENTS];

const EVENTS: &[&str] = &[
    "counts",
    "a run goes again",
    "called",
    "a reply is read",
    "taken up",
    "conflict",
    "passed by approval",
    "one of several approved",
    "a person edits",
    "a decision that came too late",
    "approvers out of reach",
    "guard fails",
    "guard breaks the contract",
    "time jumps back",
    "time jumps forward",
    "a host stops for a while",
    "a host is taken for dead",
    "a host wakes up without its seat",
    "a host without a seat writes",
    "handed over",
    "handed what it drives",
    "a claim arrives late",
    "a claim arrives too late",
    "a commit is not answered",
    "crash before a step",
    "crash after a step",
    "crash during a call",
    "crash before a commit",
    "crash after a commit, unanswered",
];

/// A word for each variant; a new variant does not compile before it has one.
pub(crate) mod names {
    use aegis_core::{Fact, Finish, Outcome, Phase, Refused, Ruling, Stage};

    macro_rules! names {
        ($list:ident $function:ident($type:ty) $($pattern:pat => $name:literal)*) => {
            pub(crate) const $list: &[&str] = &[$($name),*];

            pub(crate) fn $function(it: &$type) -> &'static str {
                match it {
                    $($pattern => $name),*
                }
            }
        };
    }

    names! { PHASES phase(Phase)
        Phase::Judging { stage: Stage::Ingress, .. } => "phase: judging ingress"
        Phase::Judging { stage: Stage::ToolResult, .. } => "phase: judging tool_result"
        Phase::Judging { stage: Stage::ToolCall, .. } => "phase: judging tool_call"
        Phase::Judging { stage: Stage::Egress, .. } => "phase: judging egress"
        Phase::Awaiting { stage: Stage::Ingress, .. } => "phase: awaiting at ingress"
        Phase::Awaiting { stage: Stage::ToolResult, .. } => "phase: awaiting at tool_result"
        Phase::Awaiting { stage: Stage::ToolCall, .. } => "phase: awaiting at tool_call"
        Phase::Awaiting { stage: Stage::Egress, .. } => "phase: awaiting at egress"
        Phase::Calling { attempt: 1 } => "phase: calling"
        Phase::Calling { .. } => "phase: calling again"
        Phase::Backoff { .. } => "phase: backoff"
        Phase::Done(Outcome::Completed) => "phase: completed"
        Phase::Done(Outcome::Blocked { failure: None, .. }) => "phase: blocked by a verdict"
        Phase::Done(Outcome::Blocked { failure: Some(_), .. }) => "phase: blocked by a failure"
        Phase::Done(Outcome::Denied { by: Some(_), .. }) => "phase: denied"
        Phase::Done(Outcome::Denied { by: None, .. }) => "phase: expired"
        Phase::Done(Outcome::Cancelled { .. }) => "phase: cancelled"
        Phase::Done(Outcome::Failed(aegis_core::Failure::Provider(_))) => "phase: provider failed"
        Phase::Done(Outcome::Failed(aegis_core::Failure::OutcomeUnknown)) => "phase: outcome unknown"
        Phase::Done(Outcome::Failed(aegis_core::Failure::Missing(_))) => "phase: missing"
    }

    names! { FACTS fact(Fact)
        Fact::Created { .. } => "fact: created"
        Fact::Judged { .. } => "fact: judged"
        Fact::Answered { finish: Finish::Reply { .. }, .. } => "fact: replied"
        Fact::Answered { finish: Finish::Retry { .. }, .. } => "fact: to be tried again"
        Fact::Answered { finish: Finish::Failed { .. }, .. } => "fact: provider failed"
        Fact::Interrupted { .. } => "fact: interrupted"
        Fact::Resumed { .. } => "fact: resumed"
        Fact::Decided { edited: None, .. } => "fact: decided"
        Fact::Decided { edited: Some(_), .. } => "fact: decided with edits"
        Fact::Expired { .. } => "fact: expired"
        Fact::Cancelled { .. } => "fact: cancelled"
        Fact::Lost { .. } => "fact: lost"
    }

    names! { REFUSED refused(Refused)
        Refused::Illegal => "refused: Illegal"
        Refused::NotAnApprover => "NotAnApprover"
        Refused::NotPaused(_) => "NotPaused"
        Refused::OtherApproval(_) => "OtherApproval"
        Refused::OtherContent(_) => "OtherContent"
        Refused::AlreadyDecided(_) => "AlreadyDecided"
        Refused::Repeated => "Repeated"
        Refused::Expired => "Expired"
        Refused::Edits(_) => "Edits"
    }

    names! { RULINGS ruling(Ruling)
        Ruling::Allow => "ruling: allow"
        Ruling::Sanitize { .. } => "ruling: sanitize"
        Ruling::Block { .. } => "ruling: block"
        Ruling::RequireApproval { .. } => "ruling: require_approval"
        Ruling::Failed { passed: false, .. } => "ruling: failed"
        Ruling::Failed { passed: true, .. } => "ruling: failed, but allowed"
        Ruling::Monitored { .. } => "ruling: monitored"
    }

    pub(crate) const STATUS: &[&str] = &["pending", "running", "paused", "completed", "blocked", "denied", "cancelled", "error"];
}
