//! A run is a value: it says what it wants next, and takes in what happened.
//!
//! No clock, no network, no store, no wasm and no randomness in this file.

mod again;
mod approvers;
mod content;
mod erasure;
mod facts;
mod words;

use crate::ledger::{advance, judging, replay};
use crate::{
    Approval, ApprovalId, Approver, Choice, Commit, Decided, Decision, Digest, Edit, Entry, Event, Fact, FailureKind, Guard, Message,
    Missing, Principal, PrincipalRole, Reply, ReportError, RunId, SharedPlan, Stage, Time, Tool, unreachable,
};
use again::{Original, Rewritten};
use approvers::required;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub use again::{Again, Unproved};

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Tools that the model may call.
    pub tools: Vec<Tool>,
    /// Model parameters, handed to the provider as they are.
    pub params: Map<String, Value>,
    /// The client's own notes; guards see them.
    pub metadata: BTreeMap<String, String>,
    /// Only these may decide; empty: whoever the configuration names.
    pub approvers: Vec<Approver>,
}

/// A note with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Label {
    pub key: String,
    pub value: String,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A guard has to judge.
    Judging {
        /// At this stage.
        stage: Stage,
        /// Which of the stage's guards, from 0.
        guard: usize,
    },
    /// People have to decide.
    Awaiting {
        /// Where it was asked.
        stage: Stage,
        /// Which of the stage's guards asks, from 0.
        guard: usize,
        /// The question.
        approval: ApprovalId,
        /// So many more people have to approve.
        missing: u32,
        /// From then on it counts as denied.
        expires_at: Time,
    },
    /// The provider has to answer, or may have been asked already.
    Calling {
        /// From 1.
        attempt: u32,
    },
    /// Waiting before the next attempt.
    Backoff {
        /// The attempt that follows.
        attempt: u32,
        /// No attempt before.
        until: Time,
    },
    /// It is over, for good.
    Done(Outcome),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The reply may be read.
    Completed,
    /// A guard said no, or failed.
    Blocked {
        /// Where.
        stage: Stage,
        /// Its name.
        guard: String,
        /// How it failed; none when it judged. [`Run::why_blocked`] has the words.
        failure: Option<FailureKind>,
    },
    /// A person said no, or nobody said anything in time.
    Denied {
        /// The question.
        approval: ApprovalId,
        /// Who, by id; none when it expired.
        by: Option<String>,
        /// What the person wrote.
        comment: Option<String>,
    },
    /// Ended by its creator or an admin.
    Cancelled {
        /// Who, by id.
        by: String,
    },
    /// It could not be carried out.
    Failed(Failure),
}

/// Why a run could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The provider failed for good.
    Provider(String),
    /// A crash swallowed the outcome of a call, and it may not be repeated.
    OutcomeUnknown,
    /// What the plan names is not there any more.
    Missing(Missing),
}

/// A run's state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are the contract's")]
pub enum Status {
    Pending,
    Running,
    Paused,
    Completed,
    Blocked,
    Denied,
    Cancelled,
    Error,
}

impl Status {
    /// In the order in which a run goes through them.
    pub const ALL: [Status; 8] = [
        Status::Pending,
        Status::Running,
        Status::Paused,
        Status::Completed,
        Status::Blocked,
        Status::Denied,
        Status::Cancelled,
        Status::Error,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        ["pending", "running", "paused", "completed", "blocked", "denied", "cancelled", "error"][self as usize]
    }

    /// Whether it never changes again.
    pub fn is_final(self) -> bool {
        self >= Status::Completed
    }
}

/// What has to happen for a run to go on. Derived from the phase, never stored: going on and resuming after an approval
/// are the same lines of code.
#[derive(Debug, PartialEq)]
pub enum Want<'a> {
    /// Ask a guard.
    Guard(Input<'a>),
    /// Wait for people.
    Approval(&'a Approval),
    /// Ask the provider.
    Provider(Call<'a>),
    /// Wait until then.
    Wait(Time),
    /// It is over.
    Nothing(&'a Outcome),
}

/// What a guard is handed.
#[derive(Clone, Debug, PartialEq)]
pub struct Input<'a> {
    /// Names this want; its answer has to carry it.
    pub step: u64,
    /// The guard to ask.
    pub guard: &'a Guard,
    /// Where.
    pub stage: Stage,
    /// The run.
    pub run: RunId,
    /// The route's name.
    pub route: &'a str,
    /// The model as the route names it.
    pub model: &'a str,
    /// Who asks.
    pub principal: &'a Principal,
    /// When the run came to this step.
    pub time: Time,
    /// The client's notes.
    pub metadata: &'a BTreeMap<String, String>,
    /// Further facts from the host, by name: `params` as JSON, where the request has any.
    pub context: Vec<Label>,
    /// Notes of guards that ran earlier in this run.
    pub labels: &'a [Label],
    /// What this guard kept at an earlier stage of this run.
    pub memory: Option<&'a str>,
    /// Tools that the model may call.
    pub tools: &'a [Tool],
    /// What there is to judge. At `tool_call` and `egress` the reply is the last one.
    pub messages: Vec<&'a Message>,
}

/// What the provider is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Call<'a> {
    /// Names this want; its answer has to carry it.
    pub step: u64,
    /// From 1.
    pub attempt: u32,
    /// The provider's name in the configuration.
    pub provider: &'a str,
    /// [`Plan::provider_is`]: whoever asks another one has not asked what the plan means.
    pub provider_is: Option<Digest>,
    /// The model as the route names it.
    pub model: &'a str,
    /// The conversation as the guards left it.
    pub messages: &'a [Message],
    /// Tools that the model may call.
    pub tools: &'a [Tool],
    /// Model parameters.
    pub params: &'a Map<String, Value>,
    /// The same for every attempt of this run.
    pub idempotency_key: RunId,
}

/// Why the world may not do this to this run. Nothing changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The event does not fit where the run stands, or answers what was answered already.
    #[error("this does not fit where the run stands")]
    Illegal,
    /// Who decides is not entitled to.
    #[error("not an approver of this run")]
    NotAnApprover,
    /// There is no open question, and never was one that was decided.
    #[error("the run is {}, not paused", .0.name())]
    NotPaused(Status),
    /// The open question is another one.
    #[error("the run now asks {0}")]
    OtherApproval(ApprovalId),
    /// What was decided on is not what the question is about.
    #[error("the content is not what was shown: its digest is {0}")]
    OtherContent(Digest),
    /// Someone was faster.
    #[error("already {} by {}", .0.choice.name(), .0.by)]
    AlreadyDecided(Decided),
    /// The same decision by the same person on the same question, sent again: it was counted the first time.
    #[error("this decision was counted already")]
    Repeated,
    /// Nobody decided in time.
    #[error("the question expired")]
    Expired,
    /// The edits that come with a decision cannot be made.
    #[error("the edits cannot be made: {0}")]
    Edits(ReportError),
}

/// One request on its way through a route; the unit that is checkpointed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    id: RunId,
    version: u64,
    plan: SharedPlan,
    principal: Principal,
    request: Request,
    background: bool,
    /// Keeps digests of short contents from being guessed; erased with the content.
    salt: Digest,
    created_at: Time,
    updated_at: Time,
    phase: Phase,
    reply: Option<Reply>,
    labels: Vec<Label>,
    memory: BTreeMap<String, String>,
    approvals: Vec<Approval>,
    /// How often each message was edited; the reply comes last.
    revisions: Vec<u32>,
    /// Per guard of scope `message`: the revision of each message on which its verdict holds.
    judged: BTreeMap<String, BTreeMap<usize, u32>>,
    /// What guards said, by the place of the entry that has its digest; erased with the content.
    words: BTreeMap<u32, String>,
    /// Every text that was edited, as it came in: what guards have judged can be shown again. Erased with the content.
    originals: Vec<Original>,
    /// What people wrote instead; erased with the content.
    rewritten: Vec<Rewritten>,
    /// When the content was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erased: Option<Time>,
    /// All that happened, in order; the last ones are not committed yet.
    history: Vec<Entry>,
}

impl Run {
    /// A run that stands before its first guard. `salt` is 32 random bytes.
    ///
    /// # Errors
    /// Why the lists of approvers can never be satisfied.
    pub fn new(
        id: RunId,
        plan: impl Into<SharedPlan>,
        request: Request,
        principal: Principal,
        background: bool,
        salt: [u8; 32],
        now: Time,
    ) -> Result<Run, String> {
        let plan = plan.into();
        let mut run = Run {
            id,
            version: 0,
            phase: judging(&plan, Stage::Ingress, 0),
            revisions: vec![0; request.messages.len()],
            plan,
            principal,
            request,
            background,
            salt: Digest(salt),
            created_at: now,
            updated_at: now,
            reply: None,
            labels: vec![],
            memory: BTreeMap::new(),
            approvals: vec![],
            judged: BTreeMap::new(),
            words: BTreeMap::new(),
            originals: vec![],
            rewritten: vec![],
            erased: None,
            history: vec![],
        };
        for guard in Stage::ALL.iter().flat_map(|stage| run.plan.pipeline.at(*stage)) {
            let lists = [guard.approval.approvers.clone(), run.request.approvers.clone()];
            if let Some(why) = unreachable(&lists, required(guard, 0), run.excluded(guard)) {
                return Err(why);
            }
        }
        let (plan, content) = (run.plan.digest(), run.content(Stage::Ingress));
        run.record(Fact::Created { principal: run.principal.id.clone(), route: run.plan.route.clone(), plan, content });
        Ok(run)
    }

    /// What has to happen next.
    pub fn wants(&self) -> Want<'_> {
        match &self.phase {
            Phase::Judging { stage, guard } => Want::Guard(self.input(*stage, *guard)),
            Phase::Awaiting { .. } => Want::Approval(self.approvals.last().expect("a run that waits has asked")),
            Phase::Calling { attempt } => Want::Provider(self.call(*attempt)),
            Phase::Backoff { until, .. } => Want::Wait(*until),
            Phase::Done(outcome) => Want::Nothing(outcome),
        }
    }

    /// The only place where a run changes. The time of a run never goes back.
    ///
    /// # Errors
    /// When this cannot happen to this run now; then nothing has changed.
    pub fn handle(&mut self, event: Event, now: Time) -> Result<(), Refused> {
        let now = now.max(self.updated_at);
        let fact = match (&self.phase, event) {
            (Phase::Done(_), _) => return Err(Refused::Illegal),
            (Phase::Judging { stage, guard }, Event::Judged { step, result }) if step == self.step() => {
                self.judged(*stage, *guard, result, now)
            }
            (Phase::Calling { attempt }, Event::Answered { step, result }) if step == self.step() => self.answered(*attempt, result, now),
            (Phase::Calling { attempt }, Event::Interrupted) => Fact::Interrupted { attempt: *attempt },
            (Phase::Awaiting { .. }, Event::Decided(decision)) => self.decided(decision, now)?,
            (Phase::Awaiting { approval, expires_at, .. }, Event::TimePassed) if now >= *expires_at => {
                Fact::Expired { approval: *approval }
            }
            (Phase::Backoff { attempt, until }, Event::TimePassed) if now >= *until => Fact::Resumed { attempt: *attempt },
            (_, Event::Cancelled { by }) => Fact::Cancelled { by: by.id },
            (_, Event::Lost(missing)) => Fact::Lost { missing },
            _ => return Err(Refused::Illegal),
        };
        self.phase = advance(&self.plan, &self.phase, &fact).ok_or(Refused::Illegal)?;
        self.updated_at = now;
        self.record(fact);
        Ok(())
    }

    /// Whether a commit has to come before anybody outside (provider, person, client) learns of where the run stands.
    pub fn must_be_durable(&self) -> bool {
        // A back-off, too: that the call before it failed is known, and must not become an unknown outcome after a restart.
        let outside = !matches!(self.phase, Phase::Judging { .. });
        // A decision is never asked for twice: it is kept even when only guards follow.
        let decided = matches!(self.history.last(), Some(Entry { fact: Fact::Decided { .. }, .. }));
        (outside || decided) && self.uncommitted() > 0
    }

    /// What the next transaction has to write; from here on the run counts as committed. When the transaction fails, either the
    /// same is tried again ([`Run::commit_again`]) before anything else happens to the run, or the run is fetched again.
    pub fn commit(&mut self) -> Commit {
        let entries = self.history[self.history.len() - self.uncommitted()..].to_vec();
        self.version += 1;
        Commit { checkpoint: self.checkpoint(), entries, request: None }
    }

    /// The last commit once more, for a driver whose store failed at it: what the run has learned meanwhile (what a provider
    /// answered) is nowhere else.
    pub fn commit_again(&self) -> Commit {
        let earlier = self.history.iter().rposition(|entry| entry.version < self.version);
        Commit { checkpoint: self.checkpoint(), entries: self.history[earlier.map_or(0, |it| it + 1)..].to_vec(), request: None }
    }

    /// Checks that `who` may decide the open question, and that this is the question they mean.
    ///
    /// # Errors
    /// In this order: not entitled (also when there is nothing to decide), then anything that makes it too late or meant for something else.
    #[expect(clippy::too_many_arguments, reason = "each is part of what a person decides")]
    pub fn decide(
        &self,
        who: &Principal,
        choice: Choice,
        approval: Option<ApprovalId>,
        digest: Option<Digest>,
        comment: Option<String>,
        edits: Vec<Edit>,
        now: Time,
    ) -> Result<Decision, Refused> {
        let now = now.max(self.updated_at);
        let asked = match approval {
            Some(id) => self.approvals.iter().find(|it| it.id == id),
            None => self.approvals.last(),
        };
        // Whoever decided an earlier question may say so again, although the open one is not theirs.
        if !asked.map_or_else(|| self.entitles(who), |asked| asked.entitles(who)) {
            return Err(Refused::NotAnApprover);
        }
        let mine = asked.and_then(|asked| asked.decisions.iter().find(|it| it.by == who.id));
        if mine.is_some_and(|mine| mine.choice == choice) && approval.is_some() {
            return Err(Refused::Repeated);
        }
        let Some(open) = self.approval() else {
            let decided = asked.and_then(|asked| asked.decisions.last());
            return Err(decided.map_or(Refused::NotPaused(self.status()), |it| Refused::AlreadyDecided(it.clone())));
        };
        match () {
            _ if asked.is_none_or(|asked| asked.id != open.id) => Err(Refused::OtherApproval(open.id)),
            _ if digest.is_some_and(|digest| digest != open.digest) => Err(Refused::OtherContent(open.digest)),
            _ if mine.is_some() => Err(mine.map_or(Refused::Illegal, |it| Refused::AlreadyDecided(it.clone()))),
            _ if now >= open.expires_at => Err(Refused::Expired),
            _ => {
                self.check_edits(&edits, open.stage, &self.whole(open.stage)).map_err(Refused::Edits)?;
                let comment = comment.filter(|it| !it.trim().is_empty());
                Ok(Decision { approval: open.id, digest: open.digest, by: who.id.clone(), choice, comment, edits })
            }
        }
    }

    /// Whether `who` may decide this run's question: the open one, else the last one, else any that it could ask.
    pub fn entitles(&self, who: &Principal) -> bool {
        let named = |list: &[Approver]| who.names().any(|name| list.contains(&name));
        match self.approvals.last() {
            Some(asked) => asked.entitles(who),
            None if self.request.approvers.is_empty() => who.is(PrincipalRole::Approver),
            None => named(&self.request.approvers),
        }
    }

    /// Names it.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// The number of the last commit; 0 before the first.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The route as it was when the run began.
    pub fn plan(&self) -> &SharedPlan {
        &self.plan
    }

    /// Who created it.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What was asked, as guards and people have edited it.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Whether the client did not want to wait for the model.
    pub fn background(&self) -> bool {
        self.background
    }

    /// When it was created.
    pub fn created_at(&self) -> Time {
        self.created_at
    }

    /// When it moved last.
    pub fn updated_at(&self) -> Time {
        self.updated_at
    }

    /// Where it stands.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// All that happened to it.
    pub fn history(&self) -> &[Entry] {
        &self.history
    }

    /// Every question it has asked.
    pub fn approvals(&self) -> &[Approval] {
        &self.approvals
    }

    /// The open question.
    pub fn approval(&self) -> Option<&Approval> {
        self.approvals.last().filter(|_| matches!(self.phase, Phase::Awaiting { .. }))
    }

    /// The reply, once every guard has let it through. Nobody but guards and approvers sees it before.
    pub fn response(&self) -> Option<&Reply> {
        self.reply.as_ref().filter(|_| self.phase == Phase::Done(Outcome::Completed))
    }

    /// The reply as it stands while it is judged, for those who may decide on it.
    pub fn unjudged_reply(&self) -> Option<&Reply> {
        self.reply.as_ref()
    }

    /// Where it stands, in one word.
    pub fn status(&self) -> Status {
        match &self.phase {
            Phase::Judging { .. } if self.version == 0 => Status::Pending,
            Phase::Judging { .. } | Phase::Calling { .. } | Phase::Backoff { .. } => Status::Running,
            Phase::Awaiting { .. } => Status::Paused,
            Phase::Done(Outcome::Completed) => Status::Completed,
            Phase::Done(Outcome::Blocked { .. }) => Status::Blocked,
            Phase::Done(Outcome::Denied { .. }) => Status::Denied,
            Phase::Done(Outcome::Cancelled { .. }) => Status::Cancelled,
            Phase::Done(Outcome::Failed(_)) => Status::Error,
        }
    }

    /// When it has to be woken.
    pub fn due(&self) -> Option<Time> {
        match self.phase {
            Phase::Awaiting { expires_at, .. } => Some(expires_at),
            Phase::Backoff { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Salted digest of the request (`ingress`, `tool_result`) or of the reply, as they stand.
    pub fn content(&self, stage: Stage) -> Digest {
        let bytes = match &self.reply {
            Some(reply) if stage.follows_the_reply() => serde_json::to_vec(&reply.message),
            _ => serde_json::to_vec(&(&self.request.messages, &self.request.tools, &self.request.params, &self.request.metadata)),
        };
        self.salted(&[&bytes.expect("contents have string keys only")])
    }

    /// What must hold of a checkpoint that comes from outside, so that nothing in here can panic on it.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let replied = self.reply.is_some();
        let messages = self.request.messages.len() + usize::from(replied);
        // Far from where counting would overflow.
        let countable = self.version <= COUNTABLE && self.revisions.iter().all(|it| u64::from(*it) <= COUNTABLE);
        let asks = |stage: Stage, guard: usize| guard < self.plan.pipeline.at(stage).len() && stage.follows_the_reply() == replied;
        // What comes next follows the last entry, or nobody could read the run any more.
        let goes_on = self.history.last().is_none_or(|last| last.run == self.id && last.time <= self.updated_at);
        match &self.phase {
            _ if !goes_on => Err("its history is not its own"),
            _ if self.revisions.len() != messages => Err("revisions do not fit the messages"),
            _ if !countable => Err("a number is beyond counting"),
            _ if self.erased.is_some() && !self.status().is_final() => Err("erased before it was over"),
            Phase::Judging { stage, guard } if !asks(*stage, *guard) => Err("no such guard"),
            Phase::Awaiting { stage, guard, .. } if !asks(*stage, *guard) => Err("no such guard"),
            Phase::Awaiting { approval, .. } if self.approvals.last().map(|it| it.id) != Some(*approval) => Err("no such question"),
            Phase::Calling { .. } | Phase::Backoff { .. } if replied => Err("a reply before the call"),
            Phase::Done(Outcome::Completed) if !replied => Err("completed without a reply"),
            _ => match replay(&self.plan, &self.history) {
                Ok(it) if it.phase == self.phase && it.version <= self.version + 1 => Ok(()),
                _ => Err("its history leads elsewhere"),
            },
        }
    }
}

/// Far from where counting would overflow.
const COUNTABLE: u64 = 1 << 31;
