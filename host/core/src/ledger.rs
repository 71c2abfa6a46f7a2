//! What a run did, as facts without content: each entry says what happened, and [`advance`] says where that leads.
//! A run moves by the same function as a replay of its ledger, so a run that its ledger does not explain cannot come about.

use crate::{
    ApprovalId, Choice, Digest, FailureKind, Finding, Missing, OnUnknown, Outcome, Phase, Plan, RunId, SharedPlan, Stage, Time, Usage,
    run::Failure,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Whose line it is.
    pub run: RunId,
    /// Its place among the lines of its run, from 1.
    pub place: u32,
    /// The version of the checkpoint with which it is committed.
    pub version: u64,
    /// When it happened.
    pub time: Time,
    /// What happened.
    pub fact: Fact,
}

/// Something that happened to a run. Digests of content and of guards' words are salted per run: the content can be erased with its
/// salt, and what is left here verifies as before. What people decide and with which comment stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fact {
    /// The run began.
    Created {
        /// Who asks, by id.
        principal: String,
        /// The route's name.
        route: String,
        /// [`Plan::digest`].
        plan: Digest,
        /// Digest of the request.
        content: Digest,
    },
    /// A guard judged or failed.
    Judged {
        /// Where.
        stage: Stage,
        /// Its name.
        guard: String,
        /// SHA-256 of its component.
        component: Digest,
        /// SHA-256 of its settings.
        settings: Digest,
        /// What was made of it.
        ruling: Ruling,
        /// Its evidence, as places of the whole conversation.
        findings: Vec<Finding>,
    },
    /// The provider answered or failed.
    Answered {
        /// Which attempt, from 1.
        attempt: u32,
        /// What came of it.
        finish: Finish,
    },
    /// A driver took up a run whose call may or may not have been made.
    Interrupted {
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Back-off is over.
    Resumed {
        /// The attempt that follows.
        attempt: u32,
    },
    /// Someone entitled decided.
    Decided {
        /// Which question.
        approval: ApprovalId,
        /// Who, by id.
        by: String,
        /// Which way.
        choice: Choice,
        /// What the person wrote.
        comment: Option<String>,
        /// Digest of the content as the person's edits left it; none when nothing was edited.
        edited: Option<Digest>,
    },
    /// Nobody decided in time.
    Expired {
        /// Which question.
        approval: ApprovalId,
    },
    /// Someone ended the run.
    Cancelled {
        /// Who, by id.
        by: String,
    },
    /// What the plan names is not there any more.
    Lost {
        /// What.
        missing: Missing,
    },
}

/// What the core made of a guard's report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ruling {
    /// `allow`.
    Allow,
    /// `sanitize`: the edits were made.
    Sanitize {
        /// How many.
        edits: u32,
        /// Digest of the content (request or reply) as they left it.
        content: Digest,
    },
    /// `block`.
    Block {
        /// Digest of the guard's reason.
        words: Digest,
    },
    /// `require_approval`.
    RequireApproval {
        /// The question's name.
        approval: ApprovalId,
        /// Digest of exactly what is shown.
        digest: Digest,
        /// Digest of what is asked.
        words: Digest,
        /// So many people have to approve.
        required: u32,
        /// From then on it counts as denied.
        expires_at: Time,
    },
    /// The guard failed.
    Failed {
        /// How.
        kind: FailureKind,
        /// Digest of what is said of it.
        words: Option<Digest>,
        /// Whether its configuration lets the run go on all the same.
        passed: bool,
    },
    /// The guard is only monitored: what it would have done.
    Monitored {
        /// A verdict's name, or `failed`.
        said: String,
        /// Digest of its reason, where it gave one.
        words: Option<Digest>,
    },
}

/// What came of a provider call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case", deny_unknown_fields)]
pub enum Finish {
    /// A reply.
    Reply {
        /// Its digest.
        content: Digest,
        /// What it cost.
        usage: Usage,
    },
    /// A failure after which another attempt follows.
    Retry {
        /// For people.
        message: String,
        /// No attempt before.
        until: Time,
    },
    /// A failure that ends the run.
    Failed {
        /// For people.
        message: String,
    },
}

/// Where `fact` leads from `phase`, or `None` when it cannot have happened there.
pub(crate) fn advance(plan: &Plan, phase: &Phase, fact: &Fact) -> Option<Phase> {
    let next = match (phase, fact) {
        (Phase::Done(_), _) => return None,
        (_, Fact::Cancelled { by }) => Phase::Done(Outcome::Cancelled { by: by.clone() }),
        (_, Fact::Lost { missing }) => Phase::Done(Outcome::Failed(Failure::Missing(missing.clone()))),
        (Phase::Judging { stage, guard }, Fact::Judged { stage: at, guard: name, component, settings, ruling, .. }) => {
            let asked = plan.pipeline.at(*stage).get(*guard)?;
            let same = (&asked.name, &asked.component, &asked.settings) == (name, component, settings);
            (stage == at && same).then(|| judged(plan, *stage, *guard, name, ruling))?
        }
        (Phase::Awaiting { approval, .. }, Fact::Expired { approval: about }) if approval == about => {
            Phase::Done(Outcome::Denied { approval: *approval, by: None, comment: None })
        }
        (Phase::Awaiting { approval, .. }, Fact::Decided { approval: about, .. }) if approval == about => decided(plan, phase, fact)?,
        (Phase::Calling { attempt }, Fact::Answered { attempt: of, finish }) if attempt == of => match finish {
            Finish::Reply { .. } => judging(plan, Stage::ToolCall, 0),
            Finish::Retry { .. } if *attempt >= plan.attempts => return None,
            Finish::Retry { until, .. } => Phase::Backoff { attempt: attempt + 1, until: *until },
            Finish::Failed { message } => Phase::Done(Outcome::Failed(Failure::Provider(message.clone()))),
        },
        (Phase::Calling { attempt }, Fact::Interrupted { attempt: of }) if attempt == of => match plan.on_unknown {
            OnUnknown::Retry if *attempt < plan.attempts => Phase::Calling { attempt: attempt + 1 },
            _ => Phase::Done(Outcome::Failed(Failure::OutcomeUnknown)),
        },
        (Phase::Backoff { attempt, .. }, Fact::Resumed { attempt: of }) if attempt == of => Phase::Calling { attempt: *attempt },
        _ => return None,
    };
    Some(next)
}

fn judged(plan: &Plan, stage: Stage, guard: usize, name: &str, ruling: &Ruling) -> Phase {
    let blocked = |failure| Phase::Done(Outcome::Blocked { stage, guard: name.into(), failure });
    match ruling {
        Ruling::Allow | Ruling::Sanitize { .. } | Ruling::Monitored { .. } | Ruling::Failed { passed: true, .. } => {
            judging(plan, stage, guard + 1)
        }
        Ruling::Block { .. } => blocked(None),
        // A guard that failed has not looked: nothing it should have judged may pass.
        Ruling::Failed { kind, passed: false, .. } => blocked(Some(*kind)),
        Ruling::RequireApproval { approval, required, expires_at, .. } => {
            Phase::Awaiting { stage, guard, approval: *approval, missing: *required, expires_at: *expires_at }
        }
    }
}

fn decided(plan: &Plan, phase: &Phase, fact: &Fact) -> Option<Phase> {
    let Phase::Awaiting { stage, guard, approval, missing, expires_at } = *phase else { return None };
    let Fact::Decided { by, choice, comment, edited, .. } = fact else { return None };
    Some(match choice {
        Choice::Denied => Phase::Done(Outcome::Denied { approval, by: Some(by.clone()), comment: comment.clone() }),
        // What a person wrote is judged like anything else.
        Choice::Approved if edited.is_some() => judging(plan, stage, 0),
        Choice::Approved if missing > 1 => Phase::Awaiting { stage, guard, approval, missing: missing - 1, expires_at },
        Choice::Approved => judging(plan, stage, guard + 1),
    })
}

/// The phase that asks the next guard at or after `guard` of `stage`, or leaves the stage.
pub(crate) fn judging(plan: &Plan, stage: Stage, guard: usize) -> Phase {
    let asked = guard < plan.pipeline.at(stage).len();
    match stage {
        _ if asked => Phase::Judging { stage, guard },
        Stage::Ingress => judging(plan, Stage::ToolResult, 0),
        Stage::ToolResult => Phase::Calling { attempt: 1 },
        Stage::ToolCall => judging(plan, Stage::Egress, 0),
        Stage::Egress => Phase::Done(Outcome::Completed),
    }
}

/// What a ledger says of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// Where the run stands.
    pub phase: Phase,
    /// The version of its checkpoint.
    pub version: u64,
    /// Digest of the request as edits left it.
    pub request: Digest,
    /// Digest of the reply as edits left it.
    pub reply: Option<Digest>,
}

/// Why a run's entries do not explain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The first entry is not `created`, or is of another plan.
    #[error("the first entry does not create a run of this plan")]
    Beginning,
    /// An entry of another run, or not the next one of this one.
    #[error("entry {0} is not the next one of its run")]
    Order(u32),
    /// What the entry says cannot have happened there.
    #[error("entry {0} cannot have happened where the run stood")]
    Impossible(u32),
}

/// Goes through the entries of one run, in order.
///
/// # Errors
/// Where they do not follow from each other and from `plan`.
pub fn replay(plan: &SharedPlan, entries: &[Entry]) -> Result<Replayed, LedgerError> {
    let first = entries.first().ok_or(LedgerError::Beginning)?;
    let Fact::Created { plan: digest, content, .. } = &first.fact else { return Err(LedgerError::Beginning) };
    if *digest != plan.digest() || first.place != 1 {
        return Err(LedgerError::Beginning);
    }
    let mut now = Replayed { phase: judging(plan, Stage::Ingress, 0), version: first.version, request: *content, reply: None };
    for (place, pair) in (2..).zip(entries.windows(2)) {
        let [before, entry] = pair else { continue };
        if entry.run != first.run || entry.place != place || before.version > entry.version || before.time > entry.time {
            return Err(LedgerError::Order(place));
        }
        now.edit(&entry.fact);
        now.phase = advance(plan, &now.phase, &entry.fact).ok_or(LedgerError::Impossible(place))?;
        now.version = entry.version;
    }
    Ok(now)
}

impl Replayed {
    fn edit(&mut self, fact: &Fact) {
        let (stage, content) = match (fact, &self.phase) {
            (Fact::Answered { finish: Finish::Reply { content, .. }, .. }, _) => (Stage::Egress, content),
            (Fact::Judged { stage, ruling: Ruling::Sanitize { content, .. }, .. }, _) => (*stage, content),
            (Fact::Decided { edited: Some(content), .. }, Phase::Awaiting { stage, .. }) => (*stage, content),
            _ => return,
        };
        if stage.follows_the_reply() { self.reply = Some(*content) } else { self.request = *content }
    }
}

/// Where an entry stands in a stream, and what it follows: with the entry itself, all that its hash covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The stream's name; one writer per stream.
    pub stream: String,
    /// The entry's number in it, from 1.
    pub n: u64,
    /// The hash of the entry before; zeros before the first.
    pub previous: Digest,
}

impl Link {
    /// The first link of a stream.
    pub fn first(stream: impl Into<String>) -> Link {
        Link { stream: stream.into(), n: 1, previous: Digest([0; 32]) }
    }

    /// The hash of `entry` (its bytes as they are stored) at this place: SHA-256 over the version of this format, the
    /// stream, the number, the hash before and the entry, each length-prefixed with eight bytes, big end first.
    pub fn seal(&self, entry: &[u8]) -> Digest {
        let mut hash = Sha256::new();
        for field in [b"aegis-ledger-1".as_slice(), self.stream.as_bytes(), &self.n.to_be_bytes(), &self.previous.0, entry] {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        Digest(hash.finalize().into())
    }

    /// Becomes the link after an entry with this hash.
    pub fn pass(&mut self, hash: Digest) {
        (self.n, self.previous) = (self.n + 1, hash);
    }

    /// The link after an entry with this hash.
    pub fn next(mut self, hash: Digest) -> Link {
        self.pass(hash);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_covers_stream_number_predecessor_and_entry() {
        let link = Link::first("a");
        let hash = link.seal(b"x");
        let others = [
            Link::first("b").seal(b"x"),
            Link { n: 2, ..link.clone() }.seal(b"x"),
            Link { previous: Digest([1; 32]), ..link.clone() }.seal(b"x"),
            link.seal(b"y"),
            Link::first("ax").seal(b""),
        ];
        assert!(others.iter().all(|other| *other != hash));
        assert_eq!(link.clone().next(hash), Link { stream: "a".into(), n: 2, previous: hash });
    }
}
