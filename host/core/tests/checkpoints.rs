//! Checkpoints outlive the version that wrote them, and what is damaged is refused without a panic. `UPDATE_CHECKPOINTS=1` writes
//! fixtures of phases that have none yet; those that are there are never written again.

#![expect(clippy::disallowed_methods, reason = "the core does no I/O, but its fixtures are files")]

use aegis_core::{
    Answer, ApprovalRule, Backoff, Choice, Content, DecodeError, Digest, Edit, Event, Guard, GuardFailure, Message, Mode, OnFailure,
    OnUnknown, Part, Place, Plan, Principal, ProviderFailure, Question, Report, Request, Role, Run, RunId, Scope, Stage, Stages, Time,
    Tool, ToolCall, Usage, Verdict, Want,
};
use std::path::{Path, PathBuf};

const NOW: Time = Time(1_700_000_000_000);

fn guard(name: &str, scope: Scope) -> Guard {
    Guard {
        name: name.into(),
        component: Digest::of(name.as_bytes()),
        settings: Digest::of(b"{}"),
        scope,
        mode: Mode::Enforce,
        on_failure: OnFailure::Allow,
        approval: ApprovalRule { required: 2, self_approval: false, ..ApprovalRule::default() },
    }
}

fn begin() -> Run {
    let plan = Plan {
        route: "default".into(),
        provider: "main".into(),
        provider_is: None,
        model: "m".into(),
        pipeline: Stages {
            ingress: vec![guard("words", Scope::Message), guard("people", Scope::Conversation)],
            egress: vec![guard("words", Scope::Message)],
            ..Stages::default()
        },
        attempts: 3,
        backoff: Backoff::default(),
        on_unknown: OnUnknown::Retry,
    };
    let parts = vec![Part::Text("héllo".into()), Part::Other(serde_json::json!({"type": "file", "file": {"n": 1.5}}))];
    let user = Message { content: Content::Parts(parts), ..Message::text(Role::User, "") };
    let request = Request {
        messages: vec![Message::text(Role::System, "be good"), user],
        tools: vec![Tool {
            name: "f".into(),
            description: None,
            parameters: Some(serde_json::json!({"type": "object"})),
            strict: Some(true),
        }],
        params: serde_json::json!({"temperature": 0.1, "n": 1}).as_object().expect("it is one").clone(),
        metadata: [("ticket".to_owned(), "T-1".to_owned())].into(),
        approvers: vec!["role:approver".parse().expect("an approver")],
    };
    Run::new(RunId::new(NOW, [7; 10]), plan, request, person("cy"), true, [1; 32], NOW).expect("a good plan")
}

fn person(id: &str) -> Principal {
    Principal { id: id.into(), ..Principal::anonymous() }
}

/// One step on, as `way` says where there is a choice.
fn step(run: &mut Run, way: u64) {
    let later = run.updated_at().after(1_000);
    let event = match run.wants() {
        Want::Guard(input) => {
            let at = Place::Part { message: 0, part: 0 };
            let verdict = match way % 4 {
                0 => Verdict::Allow,
                1 => Verdict::RequireApproval(Question { prompt: "may it?".into(), ..Question::default() }),
                2 => Verdict::Sanitize(vec![Edit { at, start: 0, end: 0, text: "x".into() }]),
                _ => Verdict::Block("no".into()),
            };
            let memory = Some("seen".into());
            let report = Report { labels: vec![aegis_core::Label { key: "k".into(), value: "v".into() }], memory, ..Report::of(verdict) };
            Event::Judged { step: input.step, result: if way == 9 { Err(GuardFailure::Timeout) } else { Ok(report) } }
        }
        Want::Provider(call) => {
            let message = Message {
                tool_calls: vec![ToolCall { id: "1".into(), name: "f".into(), arguments: "{}".into() }],
                ..Message::text(Role::Assistant, "hello")
            };
            let answer = Answer { message, finish_reason: Some("stop".into()), usage: Usage::default() };
            let busy = ProviderFailure::Transient { message: "busy".into(), retry_after: None, jitter: 100 };
            Event::Answered { step: call.step, result: if way.is_multiple_of(2) { Ok(answer) } else { Err(busy) } }
        }
        Want::Approval(_) => {
            let choice = if way % 4 == 3 { Choice::Denied } else { Choice::Approved };
            let who = ["ada", "bo"].map(person);
            let may = who.iter().find_map(|it| run.decide(it, choice, None, None, None, vec![], later).ok());
            may.map_or(Event::Cancelled { by: person("root") }, Event::Decided)
        }
        Want::Wait(_) | Want::Nothing(_) => Event::TimePassed,
    };
    // A damaged checkpoint may refuse what fits: it may only not panic.
    let _ = run.handle(event, later);
    if run.must_be_durable() {
        run.commit();
    }
}

fn after(ways: &[u64]) -> Run {
    let mut run = begin();
    ways.iter().for_each(|way| step(&mut run, *way));
    run
}

/// A run in every phase, by the ways that lead there.
fn phases() -> Vec<(&'static str, Run)> {
    vec![
        ("judging", after(&[2])),
        ("awaiting", after(&[2, 1])),
        ("awaiting-second", after(&[2, 1, 0])),
        ("approved-calling", after(&[2, 1, 0, 0])),
        ("failed-but-allowed", after(&[9, 0])),
        ("backoff", after(&[0, 0, 1])),
        ("calling-again", after(&[0, 0, 1, 0])),
        ("judging-egress", after(&[0, 0, 0])),
        ("awaiting-egress", after(&[0, 0, 0, 1])),
        ("completed", after(&[0, 2, 0, 0])),
        ("blocked", after(&[3])),
        ("denied", after(&[0, 1, 3])),
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checkpoints")
}

#[test]
fn checkpoints_of_every_version_can_be_read_and_are_written_back_equal() {
    for (name, run) in phases() {
        for (ending, bytes) in [("json", run.encode()), ("packed", run.commit_again().checkpoint.bytes)] {
            let path = folder().join(format!("v1-{name}.{ending}"));
            if std::env::var_os("UPDATE_CHECKPOINTS").is_some() && !path.exists() {
                std::fs::write(&path, bytes).expect("fixtures can be written");
            }
            assert!(path.exists(), "{} is missing: run this test with UPDATE_CHECKPOINTS=1", path.display());
        }
    }
    for file in std::fs::read_dir(folder()).expect("there are fixtures") {
        let path = file.expect("an entry can be read").path();
        let read = |path: &Path| std::fs::read(path).expect("a fixture can be read");
        let run = Run::decode(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(run.encode() == read(&path.with_extension("json")), "{} is not written back as it was", path.display());
        assert_eq!(Run::decode(&run.encode()).expect("its own bytes"), run);
        assert_eq!(Run::decode(&run.commit_again().checkpoint.bytes).expect("its own bytes"), run);
    }
}

#[test]
fn what_is_foreign_newer_or_cut_is_refused_with_a_reason() {
    assert!(matches!(Run::decode(br#"{"format":2,"run":{}}"#), Err(DecodeError::Format(2))));
    assert!(matches!(Run::decode(br#"{"format":0,"run":{}}"#), Err(DecodeError::Format(0))));
    for foreign in [&b""[..], b"{}", b"null", b"\xff\xfe", br#"{"format":1}"#, br#"{"format":1,"run":{}}"#, b"SQLite format 3\0"] {
        assert!(matches!(Run::decode(foreign), Err(DecodeError::Damaged(_))), "{foreign:?}");
    }
    let named = Run::decode(br#"{"format":1,"run":{"id":"a secret"}}"#).expect_err("that is no id").to_string();
    assert!(named.contains("at byte") && !named.contains("a secret"), "{named}");
    let run = after(&[2, 1]);
    for bytes in [run.encode(), run.commit_again().checkpoint.bytes] {
        assert!((0..bytes.len()).all(|end| Run::decode(&bytes[..end]).is_err()));
    }
}

#[test]
fn a_checkpoint_in_which_no_run_can_stand_is_refused() {
    let calling = String::from_utf8(after(&[0, 0]).encode()).expect("JSON");
    let awaiting = String::from_utf8(after(&[2, 1]).encode()).expect("JSON");
    for (text, from, to) in [
        (&calling, r#""phase":{"calling":{"attempt":1}}"#, r#""phase":{"calling":{"attempt":4294967295}}"#),
        (&calling, r#""phase":{"calling":{"attempt":1}}"#, r#""phase":{"done":"completed"}"#),
        (&calling, r#""phase":{"calling":{"attempt":1}}"#, r#""phase":{"judging":{"stage":"egress","guard":0}}"#),
        (&calling, r#""phase":{"calling":{"attempt":1}}"#, r#""phase":{"judging":{"stage":"ingress","guard":7}}"#),
        (&calling, r#""phase":{"calling":{"attempt":1}}"#, r#""phase":{"backoff":{"attempt":2,"until":0}}"#),
        (&calling, r#""revisions":[0,0]"#, r#""revisions":[0]"#),
        (&calling, r#""revisions":[0,0]"#, r#""revisions":[0,4294967295]"#),
        (&calling, r#""version":1,"plan""#, r#""version":18446744073709551615,"plan""#),
        (&calling, r#""attempts":3"#, r#""attempts":4"#),
        (&calling, r#"{"id":"018bcfe5-6800-7707-8707-070707070707""#, r#"{"id":"018bcfe5-6800-7707-8707-070707070703""#),
        (&calling, r#""updated_at":1700000002000"#, r#""updated_at":1700000000000"#),
        (&awaiting, r#""missing":2,"expires_at":1"#, r#""missing":1,"expires_at":1"#),
        (&awaiting, r#""phase":{"awaiting":{"stage":"ingress","guard":1"#, r#""phase":{"awaiting":{"stage":"egress","guard":0"#),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        let decoded = Run::decode(text.replace(from, to).as_bytes());
        assert!(matches!(decoded, Err(DecodeError::Impossible(_))), "{to}: {decoded:?}");
    }
}

/// Goes the run's way again, as far as its damage lets it.
fn go_again(run: &Run) {
    let Ok(mut again) = run.again() else { return };
    let mut way = 0;
    while let Ok(Some(_)) = again.wants() {
        let said = [Verdict::Allow, Verdict::Block("no".into())][way % 2].clone();
        way += 1;
        if again.judged(Ok(Report::of(said))).is_err() {
            return;
        }
    }
}

#[test]
fn edits_of_a_person_that_are_damaged_prove_nothing() {
    let mut run = after(&[0, 1]);
    let edit = Edit { at: Place::Part { message: 0, part: 0 }, start: 1, end: 2, text: "x".into() };
    let decision = run.decide(&person("ada"), Choice::Approved, None, None, None, vec![edit], NOW).expect("ada may");
    run.handle(Event::Decided(decision), NOW).expect("it is open");
    let text = String::from_utf8(run.encode()).expect("JSON");
    let asks = Verdict::RequireApproval(Question { prompt: "may it?".into(), ..Question::default() });
    let whole = (r#""start":1,"end":2"#, r#""start":1,"end":2"#);
    for (from, to) in [
        whole,
        (whole.0, r#""start":9,"end":3"#),
        (whole.0, r#""start":0,"end":4294967295"#),
        (r#""edits":[{"at":{"part":{"message":0"#, r#""edits":[{"at":{"part":{"message":9"#),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        let run = Run::decode(text.replace(from, to).as_bytes()).expect("it reads");
        let mut again = run.again().expect("its beginning is there");
        for said in [Verdict::Allow, asks.clone()] {
            assert!(again.wants().expect("so far it is sound").is_some());
            again.judged(Ok(Report::of(said))).expect("they said that");
        }
        let decided = Err(aegis_core::Unproved::Content(4));
        assert_eq!(again.wants().map(|it| it.is_some()), if to == whole.1 { Ok(false) } else { decided }, "{to}");
    }
}

#[test]
fn damaged_checkpoints_never_panic_whatever_is_done_with_them() {
    let mut state = 1_u64;
    let mut roll = |sides: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % sides
    };
    let originals: Vec<Vec<u8>> = phases().into_iter().flat_map(|(_, run)| [run.encode(), run.commit_again().checkpoint.bytes]).collect();
    let mut read = 0;
    for _ in 0..30_000 {
        let mut bytes = originals[roll(originals.len())].clone();
        for _ in 0..1 + roll(3) {
            let at = roll(bytes.len());
            match roll(4) {
                // Numbers are where a checkpoint can lie and still be read.
                0 | 1 => {
                    let digits: Vec<usize> = (0..bytes.len()).filter(|it| bytes[*it].is_ascii_digit()).collect();
                    let Some(at) = digits.get(roll(digits.len().max(1))).copied() else { continue };
                    bytes.splice(at..=at, [&b"0"[..], b"1", b"7", b"4294967295", b"18446744073709551615"][roll(5)].iter().copied());
                }
                2 => bytes[at] ^= 1 << roll(8),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let Ok(mut run) = Run::decode(&bytes) else { continue };
        read += 1;
        go_again(&run);
        for _ in 0..6 {
            let way = roll(10) as u64;
            step(&mut run, way);
            let _ = (run.status(), run.due(), run.response().is_some(), run.entitles(&person("ada")), run.text(Place::Tool(0)).is_some());
            let _ = (run.content(Stage::Egress), run.handle(Event::Interrupted, Time(u64::MAX)));
        }
    }
    assert!(read > 500, "only {read} damaged checkpoints could be read at all: this proves little");
}
