//! Runs that come from outside, and what may happen to them.

use crate::dice::Dice;
use crate::said;
use aegis_core::{
    Backoff, Choice, Event, FailureKind, Finding, GuardFailure, Label, Message, Missing, OnUnknown, Plan, Principal, ProviderFailure,
    Question, Report, Rewrite, Role, Run, SharedPlan, Stage, Stages, Time, ToolCall, Verdict, Want,
};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// The checkpoints of every version, plain.
static FIXTURES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/core/tests/checkpoints");
    let mut paths: Vec<_> = std::fs::read_dir(folder).expect("the fixtures").map(|it| it.expect("a file").path()).collect();
    paths.retain(|it| it.extension().is_some_and(|it| it == "json"));
    paths.sort();
    paths.iter().map(|it| serde_json::from_slice(&std::fs::read(it).expect("a file")).expect("JSON")).collect()
});

/// A plan without guards.
pub(crate) fn plan() -> Plan {
    Plan {
        route: "default".into(),
        provider: "main".into(),
        provider_is: None,
        model: "m".into(),
        pipeline: Stages::default(),
        attempts: 3,
        backoff: Backoff::default(),
        on_unknown: OnUnknown::Retry,
    }
}

/// A checkpoint, packed or plain, and what follows for the run in it.
pub fn checkpoint(bytes: &[u8]) {
    if let Ok(run) = Run::decode(bytes) {
        drive(run, &mut Dice::new(bytes.get(..64).unwrap_or(bytes)));
    }
}

/// A checkpoint that was changed by somebody who knows what may stand where, and then anything that may happen to its run.
pub fn run(bytes: &[u8]) {
    let dice = &mut Dice::new(bytes);
    let mut json = dice.of(&FIXTURES).clone();
    if dice.byte() % 4 > 0 {
        dice.change(&mut json);
    }
    if let Ok(plan) = serde_json::from_value::<Plan>(json["run"]["plan"].clone()) {
        put(&mut json, "plan", &SharedPlan::from(plan).digest().to_string());
    }
    if let Ok(run) = Run::decode(json.to_string().as_bytes()) {
        // Whoever changes the content knows how to make its digest.
        put(&mut json, "content", &run.content(Stage::Ingress).to_string());
    }
    if let Ok(run) = Run::decode(json.to_string().as_bytes()) {
        drive(run, dice);
    }
}

fn put(json: &mut Value, name: &str, digest: &str) {
    if let Some(place) = json.pointer_mut("/run/history/0/fact").and_then(|it| it.get_mut(name)) {
        *place = json!(digest);
    }
}

fn drive(mut run: Run, dice: &mut Dice<'_>) {
    must_read_back(&mut run);
    for _ in 0..12 {
        let before = run.clone();
        let now = Time(run.updated_at().0.saturating_add(u64::from(dice.number())));
        let event = event(&run, dice, now);
        match run.handle(event, now) {
            Ok(()) => must_read_back(&mut run),
            Err(_) => assert_eq!(run, before, "what was refused has changed something"),
        }
        if dice.is_empty() {
            break;
        }
    }
    again(&run, dice);
    if run.erase(Time(u64::MAX)).is_ok() {
        must_read_back(&mut run);
        again(&run, dice);
    }
}

/// What is written of it is read as the same, and all that a server shows of it can be shown.
pub(crate) fn must_read_back(run: &mut Run) {
    look(run);
    if run.must_be_durable() {
        assert_eq!(run.commit().checkpoint.bytes, run.commit_again().checkpoint.bytes);
    }
    if run.version() > 1 << 30 {
        return; // No run is committed so often, and soon after that no checkpoint says so any more.
    }
    for bytes in [run.packed(), run.encode()] {
        match Run::decode(&bytes) {
            Ok(read) => assert_eq!(read, *run),
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&run.encode())),
        }
    }
}

fn look(run: &Run) {
    let _ = (run.status(), run.due(), run.response().is_some(), run.entitles(&Principal::anonymous()), run.why_blocked(), run.came_in());
    run.history().iter().for_each(|entry| drop((run.words(entry), run.failure(entry))));
    let places = run.editable();
    assert!(places.iter().all(|at| run.text(*at).is_some()), "{places:?}");
    let all = places.iter().take(9).map(|at| Rewrite { at: *at, range: None, text: "{}".into() });
    run.amend(&all.collect::<Vec<_>>()).expect("what is called editable can be edited");
}

fn event(run: &Run, dice: &mut Dice<'_>, now: Time) -> Event {
    match (run.wants(), dice.byte() % 16) {
        (_, 0) => Event::Cancelled { by: Principal::anonymous() },
        (_, 1) => Event::Lost(Missing::Provider(dice.text())),
        (_, 2) => Event::Interrupted,
        (Want::Guard(input), _) => Event::Judged { step: input.step, result: judged(dice) },
        (Want::Provider(call), _) => Event::Answered { step: call.step, result: answered(dice) },
        (Want::Approval(_), 3) => Event::TimePassed,
        (Want::Approval(_), _) => decided(run, dice, now).unwrap_or(Event::TimePassed),
        _ => Event::TimePassed,
    }
}

fn decided(run: &Run, dice: &mut Dice<'_>, now: Time) -> Option<Event> {
    let choice = if dice.byte() % 4 == 0 { Choice::Denied } else { Choice::Approved };
    let rewrite = |dice: &mut Dice<'_>| Rewrite {
        at: dice.at(),
        range: (dice.byte() % 2 == 0).then(|| (dice.number(), dice.number())),
        text: dice.text(),
    };
    let edits = match dice.byte() % 3 {
        0 => vec![],
        1 => dice.edits(),
        _ => run.amend(&dice.many(3, rewrite)).ok()?,
    };
    let comment = (dice.byte() % 2 == 0).then(|| dice.text());
    let who = Principal { id: ["ada", "bo", "cy", "anonymous"][dice.below(4)].into(), ..Principal::anonymous() };
    run.decide(&who, choice, None, None, comment, edits, now).ok().map(Event::Decided)
}

fn judged(dice: &mut Dice<'_>) -> Result<Report, GuardFailure> {
    let verdict = match dice.byte() % 8 {
        0 => return Err(FailureKind::ALL[dice.below(6)].saying(&dice.text())),
        1 => Verdict::Block(dice.text()),
        2 | 3 => Verdict::Sanitize(dice.edits()),
        4 | 5 => {
            let approvers = if dice.byte() % 2 == 0 { vec![] } else { dice.many(2, Dice::text) };
            Verdict::RequireApproval(Question { prompt: dice.text(), approvers, required: dice.number() })
        }
        _ => Verdict::Allow,
    };
    let finding = |dice: &mut Dice<'_>| Finding {
        rule: dice.text(),
        at: dice.at(),
        start: dice.number(),
        end: dice.number(),
        score: [None, Some(0.5), Some(f32::NAN), Some(-0.0), Some(2.0)][dice.below(5)],
    };
    let findings = dice.many(2, finding);
    let labels = dice.many(2, |dice| Label { key: dice.text(), value: dice.text() });
    Ok(Report { verdict, findings, labels, memory: (dice.byte() % 2 == 0).then(|| dice.text()) })
}

fn answered(dice: &mut Dice<'_>) -> Result<aegis_core::Answer, ProviderFailure> {
    match dice.byte() % 4 {
        0 => Err(ProviderFailure::Permanent { message: dice.text() }),
        1 => {
            let retry_after = (dice.byte() % 2 == 0).then(|| u64::from(dice.number()) << dice.below(32));
            Err(ProviderFailure::Transient { message: dice.text(), retry_after, jitter: dice.number() as u16 })
        }
        _ => {
            let tool_calls = dice.many(2, |dice| ToolCall { id: dice.text(), name: dice.text(), arguments: dice.text() });
            Ok(said(Message { tool_calls, ..Message::text(Role::Assistant, dice.text()) }))
        }
    }
}

/// The same guards once more, which say what they like.
fn again(run: &Run, dice: &mut Dice<'_>) {
    let Ok(mut again) = run.again() else { return };
    for _ in 0..run.history().len() {
        let asked = again.wants().is_ok_and(|it| it.is_some());
        if !asked || again.judged(ruled(run, dice)).is_err() {
            break;
        }
    }
}

fn ruled(run: &Run, dice: &mut Dice<'_>) -> Result<Report, GuardFailure> {
    match dice.byte() % 4 {
        0 => judged(dice),
        1 => Ok(Report::of(Verdict::RequireApproval(Question {
            prompt: run.approvals().last().map_or(String::new(), |it| it.prompt.clone()),
            ..Question::default()
        }))),
        _ => Ok(Report::of(Verdict::Allow)),
    }
}
