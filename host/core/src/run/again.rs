//! A run goes its way again: the same guards are asked about the same content, and what they say now is held against what the
//! ledger says. Nobody else is asked: replies, decisions and failures of calls are taken from the run. No I/O here, too.

use super::{Input, Phase, Run};
use crate::ledger::{advance, judging};
use crate::{Digest, Edit, Entry, Fact, FailureKind, Finish, GuardFailure, Message, Place, Reply, Report, Request, Ruling, Stage};
use serde::{Deserialize, Serialize};

/// A text as it came in, before the first edit of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Original {
    pub(super) at: Place,
    /// None for a tool that had no description.
    pub(super) text: Option<String>,
}

/// What a person wrote instead, by the place of the entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rewritten {
    pub(super) place: u32,
    pub(super) edits: Vec<Edit>,
}

/// Why it cannot be proved that guards would say the same again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// The content is not what the ledger says, or was erased.
    #[error("entry {0}: the stored content is not the one that the ledger has the digest of, or it was erased")]
    Content(u32),
    /// The guard says something else now.
    #[error("entry {place}: the guard {guard} at {stage} said {was} and says {is} now", stage = .stage.name())]
    Differs {
        /// The entry.
        place: u32,
        /// The guard.
        guard: String,
        /// Where.
        stage: Stage,
        /// A ruling in one word.
        was: &'static str,
        /// The same, with what differs where the words are the same.
        is: String,
    },
}

/// A run that goes its way again.
#[derive(Debug)]
pub struct Again<'a> {
    was: &'a Run,
    now: Run,
    reply: Option<Reply>,
    /// Verdicts that were the same.
    proved: u32,
    /// Entries that stand for time or memory that ran out: they are taken as they are.
    excused: u32,
}

impl Run {
    /// From its beginning.
    ///
    /// # Errors
    /// When the content it began with is not there any more.
    pub fn again(&self) -> Result<Again<'_>, Unproved> {
        let mut now = self.clone();
        for it in &self.originals {
            now.restore(it);
        }
        let reply = now.reply.take();
        now.revisions = vec![0; now.request.messages.len()];
        now.phase = judging(&now.plan, Stage::Ingress, 0);
        now.updated_at = now.created_at;
        now.version = 0;
        now.history.truncate(1);
        now.labels.clear();
        now.memory.clear();
        now.approvals.clear();
        now.judged.clear();
        now.words.clear();
        now.originals.clear();
        now.rewritten.clear();
        let content = now.content(Stage::Ingress);
        match now.history.first().map(|it| &it.fact) {
            Some(Fact::Created { content: was, .. }) if *was == content => Ok(Again { was: self, now, reply, proved: 0, excused: 0 }),
            _ => Err(Unproved::Content(1)),
        }
    }

    /// What came in: the request, and the model's reply where there is one, both as they were before any edit. None where that was erased. No guard
    /// may have let the reply pass: it is for those who may see everything.
    pub fn came_in(&self) -> Option<(Request, Option<Message>)> {
        let Again { now, reply, .. } = self.again().ok()?;
        Some((now.request, reply.map(|it| it.message)))
    }

    fn restore(&mut self, original: &Original) {
        match (original.at, &original.text) {
            (Place::Tool(index), text) => {
                if let Some(tool) = self.request.tools.get_mut(index as usize) {
                    tool.description.clone_from(text);
                }
            }
            (at, text) => {
                if let (Some(now), Some(text)) = (self.text_mut(at), text) {
                    now.clone_from(text);
                }
            }
        }
    }

    /// Keeps a text that is about to be edited for the first time.
    pub(super) fn keep_original(&mut self, at: Place) {
        if self.originals.iter().any(|it| it.at == at) {
            return;
        }
        let text = match at {
            Place::Tool(index) => self.request.tools.get(index as usize).and_then(|it| it.description.clone()),
            _ => self.text(at).map(String::from),
        };
        self.originals.push(Original { at, text });
    }
}

impl Again<'_> {
    /// The guard that has to be asked next, or `None` at the end of the run. Answers, decisions and whatever else is not a
    /// guard's are passed on the way.
    ///
    /// # Errors
    /// When the content on the way is not what the ledger says.
    pub fn wants(&mut self) -> Result<Option<Input<'_>>, Unproved> {
        while let Some(entry) = self.was.history.get(self.now.history.len()) {
            match &entry.fact {
                Fact::Judged { ruling, .. } => match ruling {
                    Ruling::Failed { kind, .. } if out_of_means(*kind) => {
                        self.excused += 1;
                        self.judge(entry, Err(kind.saying("")))?;
                    }
                    Ruling::Monitored { said, .. } if said == "failed" && self.ran_out(entry) => {
                        self.excused += 1;
                        self.judge(entry, Err(self.monitored_failure(entry)))?;
                    }
                    _ => break,
                },
                _ => self.pass(entry)?,
            }
        }
        match self.now.phase {
            Phase::Judging { stage, guard } if self.now.history.len() < self.was.history.len() => Ok(Some(self.now.input(stage, guard))),
            _ => Ok(None),
        }
    }

    /// What the guard that was asked says now.
    ///
    /// # Errors
    /// When it is not what it said then.
    pub fn judged(&mut self, result: Result<Report, GuardFailure>) -> Result<(), Unproved> {
        let Some(entry) = self.was.history.get(self.now.history.len()) else { return Ok(()) };
        self.judge(entry, result)?;
        self.proved += 1;
        Ok(())
    }

    /// So many verdicts were the same.
    pub fn proved(&self) -> u32 {
        self.proved
    }

    /// So many times a guard had run out of time or memory; that is not tried again.
    pub fn excused(&self) -> u32 {
        self.excused
    }

    fn judge(&mut self, entry: &Entry, result: Result<Report, GuardFailure>) -> Result<(), Unproved> {
        let (place, time) = (entry.place, entry.time);
        let Phase::Judging { stage, guard } = self.now.phase else { return Err(Unproved::Content(place)) };
        self.now.updated_at = time;
        let fact = self.now.judged(stage, guard, result, time);
        if !same(&fact, &entry.fact) && !self.both_trapped(entry) {
            let guard = self.now.plan.pipeline.at(stage)[guard].name.clone();
            let (was, is) = (word(&entry.fact), word(&fact));
            let is = if was == is { format!("{is}, but not in the same way") } else { is.into() };
            return Err(Unproved::Differs { place, guard, stage, was, is });
        }
        self.follow(entry)
    }

    /// What was not a guard's.
    fn pass(&mut self, entry: &Entry) -> Result<(), Unproved> {
        self.now.updated_at = entry.time;
        let content = match &entry.fact {
            Fact::Answered { finish: Finish::Reply { content, .. }, .. } => {
                self.now.reply = self.reply.take();
                self.now.revisions.push(0);
                Some((Stage::Egress, *content))
            }
            Fact::Decided { by, choice, comment, edited, .. } => self.decide(entry, by, *choice, comment.as_ref(), *edited)?,
            _ => None,
        };
        if content.is_some_and(|(stage, digest)| self.now.content(stage) != digest) {
            return Err(Unproved::Content(entry.place));
        }
        self.follow(entry)
    }

    /// The edits come from a checkpoint, as little trusted as the rest of it.
    fn decide(
        &mut self,
        entry: &Entry,
        by: &str,
        choice: crate::Choice,
        comment: Option<&String>,
        edited: Option<Digest>,
    ) -> Result<Option<(Stage, Digest)>, Unproved> {
        let Phase::Awaiting { stage, guard, missing, .. } = self.now.phase else { return Ok(None) };
        let edits = self.was.rewritten.iter().find(|it| it.place == entry.place).map_or(&[][..], |it| &it.edits);
        self.now.check_edits(edits, stage, &self.now.whole(stage)).map_err(|_| Unproved::Content(entry.place))?;
        let decided = crate::Decided { by: by.into(), choice, comment: comment.cloned(), at: entry.time };
        self.now.count(decided, edits, stage, guard, missing);
        Ok(edited.map(|digest| (stage, digest)))
    }

    /// Whether a monitored guard trapped both times.
    fn both_trapped(&self, entry: &Entry) -> bool {
        let said = [self.was.words(entry), self.now.words.get(&entry.place).map(String::as_str)];
        matches!(&entry.fact, Fact::Judged { ruling: Ruling::Monitored { said, .. }, .. } if said == "failed")
            && said.iter().all(|words| words.is_some_and(|it| it.starts_with("trapped: ")))
    }

    /// The phase goes on as the ledger says.
    fn follow(&mut self, entry: &Entry) -> Result<(), Unproved> {
        self.now.phase = advance(&self.now.plan, &self.now.phase, &entry.fact).ok_or(Unproved::Content(entry.place))?;
        self.now.history.push(entry.clone());
        Ok(())
    }

    /// Whether a monitored guard ran out of time or memory: its words say so, and there are no others for it.
    fn ran_out(&self, entry: &Entry) -> bool {
        [GuardFailure::Timeout, GuardFailure::Memory].iter().any(|it| self.was.words(entry) == Some(&it.to_string()))
    }

    fn monitored_failure(&self, entry: &Entry) -> GuardFailure {
        let timeout = self.was.words(entry) == Some(&GuardFailure::Timeout.to_string());
        if timeout { GuardFailure::Timeout } else { GuardFailure::Memory }
    }
}

fn out_of_means(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Timeout | FailureKind::Memory)
}

/// Whether both say the same. How a trap is worded depends on who reports it, so that its kind is enough.
fn same(is: &Fact, was: &Fact) -> bool {
    match (is, was) {
        (
            Fact::Judged { ruling: Ruling::Failed { kind: FailureKind::Trap, passed, .. }, .. },
            Fact::Judged { ruling: Ruling::Failed { kind: FailureKind::Trap, passed: before, .. }, .. },
        ) => passed == before,
        _ => is == was,
    }
}

fn word(fact: &Fact) -> &'static str {
    let Fact::Judged { ruling, .. } = fact else { return "nothing" };
    match ruling {
        Ruling::Allow => "allow",
        Ruling::Sanitize { .. } => "sanitize",
        Ruling::Block { .. } => "block",
        Ruling::RequireApproval { .. } => "require_approval",
        Ruling::Failed { kind, .. } => kind.name(),
        Ruling::Monitored { .. } => "a monitored verdict",
    }
}
