//! What the world says, turned into facts and into changes of content. Where a fact leads is settled in `ledger`.

use super::{Phase, Refused, Run, again::Rewritten, approvers::required};
use crate::{
    Answer, Approval, ApprovalId, Choice, Decided, Decision, Edit, Entry, Fact, Finding, Finish, Guard, GuardFailure, Mode, OnFailure,
    ProviderFailure, Question, Report, Ruling, Stage, Time, Verdict,
};

/// What the world said, turned into facts and into changes of content.
impl Run {
    /// Every accepted event makes one entry: their number names what is wanted next.
    pub(super) fn step(&self) -> u64 {
        self.history.len() as u64
    }

    pub(super) fn record(&mut self, fact: Fact) {
        let place = self.history.len() as u32 + 1;
        self.history.push(Entry { run: self.id, place, version: self.version + 1, time: self.updated_at, fact });
    }

    pub(super) fn uncommitted(&self) -> usize {
        self.history.iter().rev().take_while(|entry| entry.version > self.version).count()
    }

    pub(super) fn judged(&mut self, stage: Stage, index: usize, result: Result<Report, GuardFailure>, now: Time) -> Fact {
        let guard = self.plan.pipeline.at(stage)[index].clone();
        let view = self.view(stage, &guard);
        let checked =
            result.and_then(|report| self.place(report, stage, &guard, &view).map_err(|error| GuardFailure::Contract(error.to_string())));
        let looked = checked.is_ok();
        let (ruling, findings) = match checked {
            Err(failure) => (self.failed(failure, &guard), vec![]),
            Ok(report) => {
                let findings = report.findings.clone();
                (self.ruled(report, stage, &guard, now), findings)
            }
        };
        if looked && matches!(ruling, Ruling::Allow | Ruling::Sanitize { .. } | Ruling::Monitored { .. }) {
            self.verdict_holds(&guard, &view);
        }
        Fact::Judged { stage, guard: guard.name, component: guard.component, settings: guard.settings, ruling, findings }
    }

    pub(super) fn failed(&mut self, failure: GuardFailure, guard: &Guard) -> Ruling {
        match guard.mode {
            Mode::Monitor => Ruling::Monitored { said: "failed".into(), words: Some(self.say(failure.to_string())) },
            Mode::Enforce => {
                let words = failure.words().map(|words| self.say(words.into()));
                Ruling::Failed { kind: failure.kind(), words, passed: guard.on_failure == OnFailure::Allow }
            }
        }
    }

    pub(super) fn ruled(&mut self, report: Report, stage: Stage, guard: &Guard, now: Time) -> Ruling {
        if let Some(memory) = report.memory {
            self.memory.insert(guard.name.clone(), memory);
        }
        if guard.mode == Mode::Monitor {
            let (said, why) = match report.verdict {
                Verdict::Allow => ("allow", None),
                Verdict::Sanitize(edits) => ("sanitize", Some(format!("{} edits", edits.len()))),
                Verdict::Block(why) => ("block", Some(why)),
                Verdict::RequireApproval(question) => ("require_approval", Some(question.prompt)),
            };
            return Ruling::Monitored { said: said.into(), words: why.map(|why| self.say(why)) };
        }
        self.labels.extend(report.labels);
        match report.verdict {
            Verdict::Allow => Ruling::Allow,
            Verdict::Block(why) => Ruling::Block { words: self.say(why) },
            Verdict::Sanitize(edits) => {
                self.edit(&edits);
                Ruling::Sanitize { edits: edits.len() as u32, content: self.content(stage) }
            }
            Verdict::RequireApproval(question) => self.ask(question, report.findings, stage, guard, now),
        }
    }

    pub(super) fn ask(&mut self, question: Question, findings: Vec<Finding>, stage: Stage, guard: &Guard, now: Time) -> Ruling {
        let approval = Approval {
            id: ApprovalId { run: self.id, number: self.approvals.len() as u32 + 1 },
            guard: guard.name.clone(),
            stage,
            findings,
            approvers: self.lists(guard, &question).expect("`place` has read them"),
            required: required(guard, question.required),
            prompt: question.prompt,
            excluded: self.excluded(guard).map(String::from),
            decisions: vec![],
            requested_at: now,
            expires_at: now.after(guard.approval.expires_after),
            digest: self.shown(stage, guard),
        };
        let (id, digest, required, expires_at) = (approval.id, approval.digest, approval.required, approval.expires_at);
        let words = self.spoken(&approval.prompt);
        self.approvals.push(approval);
        Ruling::RequireApproval { approval: id, digest, words, required, expires_at }
    }

    pub(super) fn decided(&mut self, decision: Decision, now: Time) -> Result<Fact, Refused> {
        let Phase::Awaiting { stage, guard, missing, .. } = self.phase else { return Err(Refused::Illegal) };
        let open = self.approval().ok_or(Refused::Illegal)?;
        // The proof may be older than the run as it stands now.
        if open.id != decision.approval
            || open.digest != decision.digest
            || now >= open.expires_at
            || open.decisions.iter().any(|it| it.by == decision.by)
        {
            return Err(Refused::Illegal);
        }
        let Decision { approval, by, choice, comment, edits, .. } = decision;
        let edits = if choice == Choice::Approved { edits } else { vec![] };
        let decided = Decided { by: by.clone(), choice, comment: comment.clone(), at: now };
        self.count(decided, &edits, stage, guard, missing);
        let edited = (!edits.is_empty()).then(|| self.content(stage));
        if edited.is_some() {
            self.rewritten.push(Rewritten { place: self.history.len() as u32 + 1, edits });
        }
        Ok(Fact::Decided { approval, by, choice, comment, edited })
    }

    /// What a decision does to the open question and to the content.
    pub(super) fn count(&mut self, decided: Decided, edits: &[Edit], stage: Stage, guard: usize, missing: u32) {
        let choice = decided.choice;
        if let Some(open) = self.approvals.last_mut() {
            open.decisions.push(decided);
        }
        self.edit(edits);
        if choice == Choice::Approved && edits.is_empty() && missing <= 1 {
            let guard = self.plan.pipeline.at(stage)[guard].clone();
            let view = self.view(stage, &guard);
            self.verdict_holds(&guard, &view);
        }
    }

    pub(super) fn answered(&mut self, attempt: u32, result: Result<Answer, ProviderFailure>, now: Time) -> Fact {
        let finish = match result {
            Ok(answer) => {
                let usage = answer.usage;
                self.reply = Some(answer);
                self.revisions.push(0);
                Finish::Reply { content: self.content(Stage::Egress), usage }
            }
            Err(ProviderFailure::Permanent { message }) => Finish::Failed { message },
            Err(ProviderFailure::Transient { message, retry_after, jitter }) => {
                let pause =
                    self.plan.backoff.pause(attempt.saturating_add(1), retry_after, jitter).filter(|_| attempt < self.plan.attempts);
                pause.map_or(Finish::Failed { message: message.clone() }, |pause| Finish::Retry { message, until: now.after(pause) })
            }
        };
        Fact::Answered { attempt, finish }
    }
}
