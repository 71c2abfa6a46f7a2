//! Every hostile guest, from its file to what a run makes of it: nothing that it does is worse than its own failure.

use crate::{SANDBOX, ask, source};
use aegis_core::*;
use aegis_programs::{Ends, Program, TEXT};
use aegis_wasm::{LoadError, LoadedGuard, Source};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Far beyond every limit of a test's guest, also on a busy machine: whoever takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(180);

fn hostile(program: Program) -> Source {
    let mut source = Source { name: program.name().into(), ..source(program.bytes(), json!({})) };
    // What something else than the time has to end gets there on a busy machine, too.
    if !matches!(program.ends(), Ends::Fails("AEG-GRD-008", _)) {
        source.limits.time = Duration::from_secs(5);
    }
    source
}

fn load(program: Program) -> Result<Arc<LoadedGuard>, LoadError> {
    SANDBOX.load(hostile(program), &|_| ())
}

/// A run that stands before this guard, at the first of its stages.
fn run(guard: &LoadedGuard) -> Run {
    let (stage, scope) = (guard.manifest().stages[0], guard.manifest().scope);
    let mut pipeline: Stages<Vec<Guard>> = Stages::default();
    let (mode, on_failure, approval) = (Mode::Enforce, OnFailure::Block, ApprovalRule::default());
    let (name, component, settings) = (guard.name().to_owned(), guard.component(), guard.settings());
    pipeline.at_mut(stage).push(Guard { name, component, settings, scope, mode, on_failure, approval });
    let (route, provider, model) = ("default".into(), "main".into(), String::new());
    let plan = Plan {
        route,
        provider,
        provider_is: None,
        model,
        pipeline,
        attempts: 1,
        backoff: Backoff::default(),
        on_unknown: OnUnknown::Retry,
    };
    let request = Request { messages: vec![Message::text(Role::User, TEXT)], ..Request::default() };
    let (id, now) = (RunId::new(Time(1_000), [7; 10]), Time(1_000));
    let mut run = Run::new(id, plan, request, Principal::anonymous(), false, [1; 32], now).expect("a plan");
    if let Want::Provider(call) = run.wants() {
        let step = call.step;
        let answer = Answer { message: Message::text(Role::Assistant, TEXT), finish_reason: None, usage: Usage::default() };
        run.handle(Event::Answered { step, result: Ok(answer) }, now).expect("it was asked");
    }
    run
}

/// What the run says of the guard, asked anew, and how it failed, in words.
async fn ruling(guard: &LoadedGuard) -> (Ruling, Option<GuardFailure>) {
    let mut run = run(guard);
    let (step, result) = match run.wants() {
        Want::Guard(input) => (input.step, guard.scan(&input).await),
        other => panic!("it wants {other:?}"),
    };
    run.handle(Event::Judged { step, result }, Time(1_000)).expect("it was asked");
    let last = run.history().last().expect("a run has a history");
    let Fact::Judged { ruling, .. } = &last.fact else { panic!("no ruling") };
    (ruling.clone(), run.failure(last))
}

/// How it ended: what was done, the code, and the words.
async fn ended(program: Program) -> (&'static str, &'static str, String) {
    let guard = match load(program) {
        Ok(guard) => guard,
        Err(error) => return ("refused", error.code().id, error.to_string()),
    };
    match (ruling(&guard).await, ruling(&guard).await) {
        ((Ruling::Failed { kind, passed: false, .. }, Some(failure)), (Ruling::Failed { kind: again, .. }, _)) if kind == again => {
            ("fails", kind.code().id, failure.to_string())
        }
        ((first, None), (again, None)) if first == again => ("judges", "", format!("{first:?}")),
        (first, again) => ("changes its mind", "", format!("{first:?}, then {again:?}")),
    }
}

#[tokio::test]
async fn every_hostile_guest_ends_as_it_must_within_its_limits() {
    let mut wrong = vec![];
    for program in Program::ALL {
        let begin = Instant::now();
        let (how, code, words) = ended(*program).await;
        let took = begin.elapsed();
        let expected = match program.ends() {
            Ends::Refused(code, words) => ("refused", code, words),
            Ends::Fails(code, words) => ("fails", code, words),
            Ends::Judges(words) => ("judges", "", words),
        };
        if (how, code) != (expected.0, expected.1) || !words.contains(expected.2) || took > PATIENCE {
            wrong.push(format!("{}: {how} {code} {words:?} in {took:?}, and not {expected:?}", program.name()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn beside_every_hostile_guest_others_judge_as_ever() {
    let honest = SANDBOX.load(source(aegis_programs::assemble(";; Allows everything."), json!({})), &|_| ()).expect("a guard");
    let hostile: Vec<_> = Program::ALL.iter().filter(|it| matches!(it.ends(), Ends::Fails(..))).collect();
    for program in hostile {
        let guard = load(*program).unwrap_or_else(|error| panic!("{}: {error}", program.name()));
        let beside = tokio::spawn(async move { ruling(&guard).await });
        assert_eq!(ask(&honest, TEXT).await, Ok(Report::of(Verdict::Allow)), "beside {}", program.name());
        assert!(matches!(beside.await.expect("no panic").0, Ruling::Failed { .. }), "{}", program.name());
        assert_eq!(ask(&honest, TEXT).await, Ok(Report::of(Verdict::Allow)), "after {}", program.name());
    }
}

/// What compiles it is left to itself: it ends by itself after some seconds.
#[test]
fn a_guard_that_takes_the_compiler_too_long_or_too_much_is_given_up() {
    let mut slow = hostile(Program::IsSlowToCompile);
    slow.limits.compile_time = Duration::from_millis(300);
    let begin = Instant::now();
    assert_eq!(SANDBOX.load(slow, &|_| ()).err(), Some(LoadError::Gave("takes too long")));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    let mut large = hostile(Program::IsSlowToCompile);
    large.limits.compile_memory = 0;
    assert_eq!(SANDBOX.load(large, &|_| ()).err(), Some(LoadError::Gave("takes too much memory")));
}
