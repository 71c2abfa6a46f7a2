//! A route as it was when the run began: a run never sees a later configuration.

use crate::{Approver, Digest, Stage};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// Everything that decides how a run goes on, fixed at its beginning and part of its checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The route's name.
    pub route: String,
    /// The provider's name in the configuration.
    pub provider: String,
    /// Digest of what makes it that provider: of its kind and address. Under the same name there may be another one by the time it is
    /// asked. None in plans from before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_is: Option<Digest>,
    /// The model as the route names it; empty where the provider has only one.
    pub model: String,
    /// The guards in the order in which they are asked.
    pub pipeline: Stages<Vec<Guard>>,
    /// Provider calls at most, from 1, the first one and those with an unknown outcome included.
    pub attempts: u32,
    /// How long to wait between them.
    pub backoff: Backoff,
    /// What follows a call of which a crash has swallowed the outcome.
    pub on_unknown: OnUnknown,
}

/// A plan that the runs of a route share, with what would else be worked out for each of them again.
#[derive(Clone, Debug)]
pub struct SharedPlan(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    plan: Plan,
    json: OnceLock<Box<RawValue>>,
    digest: OnceLock<Digest>,
}

impl SharedPlan {
    /// Digest of everything in it, part of what an approval is about.
    pub fn digest(&self) -> Digest {
        *self.0.digest.get_or_init(|| Digest::of(self.json().get().as_bytes()))
    }

    fn json(&self) -> &RawValue {
        let json = || serde_json::value::to_raw_value(&self.0.plan).expect("a plan has no maps with keys that are not strings");
        self.0.json.get_or_init(json)
    }
}

impl From<Plan> for SharedPlan {
    fn from(plan: Plan) -> SharedPlan {
        SharedPlan(Arc::new(Shared { plan, json: OnceLock::new(), digest: OnceLock::new() }))
    }
}

impl Deref for SharedPlan {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.0.plan
    }
}

impl PartialEq for SharedPlan {
    fn eq(&self, other: &SharedPlan) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || **self == **other
    }
}

impl Serialize for SharedPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedPlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedPlan, D::Error> {
        Plan::deserialize(deserializer).map(SharedPlan::from)
    }
}

/// One value per stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names are those of `Stage`")]
pub struct Stages<T: Default> {
    pub ingress: T,
    pub tool_result: T,
    pub tool_call: T,
    pub egress: T,
}

impl<T: Default> Stages<T> {
    /// The value of one stage.
    pub fn at(&self, stage: Stage) -> &T {
        match stage {
            Stage::Ingress => &self.ingress,
            Stage::ToolResult => &self.tool_result,
            Stage::ToolCall => &self.tool_call,
            Stage::Egress => &self.egress,
        }
    }

    /// The value of one stage, to change it.
    pub fn at_mut(&mut self, stage: Stage) -> &mut T {
        match stage {
            Stage::Ingress => &mut self.ingress,
            Stage::ToolResult => &mut self.tool_result,
            Stage::ToolCall => &mut self.tool_call,
            Stage::Egress => &mut self.egress,
        }
    }
}

/// A guard as one route uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Its name in the configuration.
    pub name: String,
    /// SHA-256 of the component's bytes as they were received.
    pub component: Digest,
    /// SHA-256 of its settings, as the JSON text handed to `configure`.
    pub settings: Digest,
    /// Whether it judges messages one by one or in the light of others.
    pub scope: Scope,
    /// Whether its verdicts are acted on.
    pub mode: Mode,
    /// What follows when it fails.
    pub on_failure: OnFailure,
    /// Who decides what it asks; the guard's rule, else the route's, else the top's, per field.
    pub approval: ApprovalRule,
}

/// What a guard has to see to judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Judges each message by itself: its verdict on a message holds, and it is handed only what it has not judged yet.
    Message,
    /// Sees everything, every time.
    #[default]
    Conversation,
}

/// Whether verdicts are acted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are.
    #[default]
    Enforce,
    /// Judged, recorded, never acted on.
    Monitor,
}

/// What follows when a guard fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Nothing it should have judged may pass.
    #[default]
    Block,
    /// Goes on, and the ledger says so every time.
    Allow,
}

/// What follows a provider call of which a crash has swallowed the outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// The next attempt: a model call costs money and changes nothing.
    #[default]
    Retry,
    /// The run ends as `error`: for providers that act.
    Error,
}

/// Waiting between attempts: `first` doubled each time, at most `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Milliseconds before the second attempt.
    pub first: u64,
    /// Milliseconds; a provider that asks for a longer pause is not asked again.
    pub longest: u64,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { first: 500, longest: 30_000 }
    }
}

impl Backoff {
    /// Milliseconds before `attempt` (2 is the first that waits), or `None` when the provider wants to be left alone for longer
    /// than `longest`. Jitter spreads runs that failed together: `jitter` per mille of the pause are taken off it.
    pub fn pause(&self, attempt: u32, retry_after: Option<u64>, jitter: u16) -> Option<u64> {
        let doubled = self.first.saturating_mul(1 << attempt.saturating_sub(2).min(32)).min(self.longest);
        // The parts in turn, so that neither short pauses lose their jitter nor long ones overflow.
        let jitter = u64::from(jitter.min(500));
        let spread = doubled - doubled / 1000 * jitter - doubled % 1000 * jitter / 1000;
        let pause = retry_after.unwrap_or(0).max(spread);
        (pause <= self.longest).then_some(pause)
    }
}

/// Who decides, how many of them, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRule {
    /// Empty: whoever the other lists name, else role `approver`.
    pub approvers: Vec<Approver>,
    /// So many different people, from 1; one denial decides.
    pub required: u32,
    /// Milliseconds after which the question counts as denied.
    pub expires_after: u64,
    /// Whether the principal that created the run may decide.
    pub self_approval: bool,
}

impl Default for ApprovalRule {
    fn default() -> ApprovalRule {
        ApprovalRule { approvers: vec![], required: 1, expires_after: 24 * 60 * 60 * 1000, self_approval: true }
    }
}
