//! Runs that nobody asked for: moved by the core and committed to a store like any other, many at a time.

use aegis_core::{
    Answer, ApprovalRule, Backoff, Digest, Event, Guard, Message, Mode, OnFailure, OnUnknown, Plan, Principal, Question, Report, Request,
    Role, Run, RunId, Scope, SharedPlan, Stages, Time, Usage, Verdict, Want,
};
use aegis_store::{Access, Runs as _, Sqlite};
use indicatif::ProgressBar;
use std::io::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;

/// Commits that wait together: more than the store puts into one transaction.
const AT_ONCE: usize = 1_024;

/// Where a run stands when it is put into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Completed,
    /// Whoever has the role `approver` may decide.
    Paused,
    /// Its provider call may have been made, and has no answer.
    Calling,
}

/// The runs that are made of one bench.
pub(crate) struct Maker {
    bare: SharedPlan,
    guarded: SharedPlan,
    begun: u64,
}

impl Maker {
    pub(crate) fn new() -> Maker {
        // An hour old, so that nothing of it expires.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_millis() as u64);
        Maker { bare: plan("bare", vec![]).into(), guarded: plan("hold", vec![guard()]).into(), begun: now.saturating_sub(3_600_000) }
    }

    pub(crate) fn run(&self, number: u64, stand: Stand) -> Run {
        let plan = if stand == Stand::Paused { &self.guarded } else { &self.bare };
        let mut random = [0; 10];
        random[..8].copy_from_slice(&number.to_be_bytes());
        let time = Time(self.begun + number / 1_000);
        let request = Request {
            messages: vec![Message::text(Role::User, "A question of the usual length, as people write them.")],
            ..Request::default()
        };
        let run = Run::new(RunId::new(time, random), plan.clone(), request, Principal::anonymous(), false, [3; 32], time);
        let mut run = run.expect("somebody may decide");
        match stand {
            Stand::Completed => answer(&mut run),
            Stand::Paused => {
                judge(&mut run, Verdict::RequireApproval(Question { prompt: "May it?".into(), approvers: vec![], required: 0 }))
            }
            Stand::Calling => {}
        }
        run
    }
}

/// A new store with so many runs, closed again.
pub(crate) async fn store(file: &Path, count: u64, stand: impl Fn(u64) -> Stand, bar: &ProgressBar) -> Result<()> {
    let store = Arc::new(Sqlite::open(file, Access::Host).map_err(Error::other)?);
    let (maker, mut waiting) = (Maker::new(), JoinSet::new());
    for number in 0..count {
        let commit = maker.run(number, stand(number)).commit();
        let store = store.clone();
        waiting.spawn(async move { store.run_create(commit).await });
        if waiting.len() >= AT_ONCE
            && let Some(created) = waiting.join_next().await
        {
            created?.map_err(Error::other)?;
            bar.inc(1);
        }
    }
    while let Some(created) = waiting.join_next().await {
        created?.map_err(Error::other)?;
    }
    Ok(())
}

pub(crate) fn judge(run: &mut Run, verdict: Verdict) {
    let Want::Guard(input) = run.wants() else { unreachable!("its plan has a guard") };
    let step = input.step;
    run.handle(Event::Judged { step, result: Ok(Report::of(verdict)) }, run.created_at()).expect("it is asked");
}

fn answer(run: &mut Run) {
    let message = Message::text(Role::Assistant, "An answer that is about as long as the question.");
    let answer = Answer { message, finish_reason: None, usage: Usage::default() };
    let step = run.history().len() as u64;
    run.handle(Event::Answered { step, result: Ok(answer) }, run.created_at()).expect("a call that is under way");
}

pub(crate) fn plan(route: &str, ingress: Vec<Guard>) -> Plan {
    Plan {
        route: route.into(),
        provider: "fake".into(),
        provider_is: None,
        model: "m".into(),
        pipeline: Stages { ingress, ..Stages::default() },
        attempts: 3,
        backoff: Backoff::default(),
        on_unknown: OnUnknown::Retry,
    }
}

pub(crate) fn guard() -> Guard {
    Guard {
        name: "hold".into(),
        component: Digest([1; 32]),
        settings: Digest([2; 32]),
        scope: Scope::Conversation,
        mode: Mode::Enforce,
        on_failure: OnFailure::Block,
        approval: ApprovalRule::default(),
    }
}
