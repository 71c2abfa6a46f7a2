//! Facts about runs that the simulated world is too coarse for, each told once.

use aegis_core::{
    Answer, ApprovalId, ApprovalRule, Approver, Backoff, Choice, Content, Digest, Edit, Event, Fact, FailureKind, Finding, Guard, Label,
    Message, Mode, OnFailure, OnUnknown, Outcome, Part, Phase, Place, Plan, Principal, PrincipalRole, Question, Refused, Report,
    ReportError, Request, Role, Run, RunId, Scope, Stage, Stages, Status, Time, Tool, ToolCall, Usage, Verdict, Want, replay,
};

const NOW: Time = Time(1_000);

fn guard(name: &str) -> Guard {
    Guard {
        name: name.into(),
        component: Digest::of(name.as_bytes()),
        settings: Digest::of(b"{}"),
        scope: Scope::Conversation,
        mode: Mode::Enforce,
        on_failure: OnFailure::Block,
        approval: ApprovalRule::default(),
    }
}

fn plan(guards: &[(Stage, Guard)]) -> Plan {
    let mut pipeline: Stages<Vec<Guard>> = Stages::default();
    guards.iter().for_each(|(stage, guard)| pipeline.at_mut(*stage).push(guard.clone()));
    Plan {
        route: "default".into(),
        provider: "main".into(),
        provider_is: None,
        model: String::new(),
        pipeline,
        attempts: 3,
        backoff: Backoff::default(),
        on_unknown: OnUnknown::Retry,
    }
}

fn person(id: &str) -> Principal {
    Principal { id: id.into(), teams: vec![], roles: vec![PrincipalRole::User, PrincipalRole::Approver] }
}

/// A system message, a user's, a tool's answer; one tool.
fn request() -> Request {
    let messages = [(Role::System, "be good"), (Role::User, "héllo"), (Role::Tool, "42")];
    Request {
        messages: messages.map(|(role, text)| Message::text(role, text)).to_vec(),
        tools: vec![Tool { name: "f".into(), description: None, parameters: None, strict: None }],
        ..Request::default()
    }
}

fn create(plan: Plan, request: Request) -> Result<Run, String> {
    Run::new(RunId::new(NOW, [7; 10]), plan, request, person("cy"), false, [1; 32], NOW)
}

fn run(guards: &[(Stage, Guard)]) -> Run {
    create(plan(guards), request()).expect("a good plan")
}

fn judge(run: &mut Run, verdict: Verdict) {
    let Want::Guard(input) = run.wants() else { panic!("it wants {:?}", run.wants()) };
    let step = input.step;
    run.handle(Event::Judged { step, result: Ok(Report::of(verdict)) }, NOW).expect("it fits");
}

fn answer(run: &mut Run) {
    let Want::Provider(call) = run.wants() else { panic!("it wants {:?}", run.wants()) };
    let step = call.step;
    let call = ToolCall { id: "1".into(), name: "f".into(), arguments: "{}".into() };
    let message = Message { tool_calls: vec![call], ..Message::text(Role::Assistant, "hello") };
    let result = Ok(Answer { message, finish_reason: None, usage: Usage::default() });
    run.handle(Event::Answered { step, result }, NOW).expect("it fits");
}

fn question() -> Verdict {
    Verdict::RequireApproval(Question { prompt: "may it?".into(), ..Question::default() })
}

fn edit(at: Place, start: u32, end: u32, text: &str) -> Edit {
    Edit { at, start, end, text: text.into() }
}

const fn part(message: u32) -> Place {
    Place::Part { message, part: 0 }
}

fn approve(run: &mut Run, who: &str, edits: Vec<Edit>) -> Result<(), Refused> {
    let decision = run.decide(&person(who), Choice::Approved, None, None, None, edits, NOW)?;
    run.handle(Event::Decided(decision), NOW)
}

/// A run that stands before its only guard, of this stage.
fn before(stage: Stage) -> Run {
    let mut run = run(&[(stage, guard("g"))]);
    if stage.follows_the_reply() {
        answer(&mut run);
    }
    run
}

#[test]
fn each_stage_may_edit_what_the_contract_says() {
    let arguments = Place::Arguments { message: 3, call: 0 };
    for (stage, places) in [
        (Stage::Ingress, vec![part(0), part(1), part(2), Place::Tool(0)]),
        (Stage::ToolResult, vec![part(2)]),
        (Stage::ToolCall, vec![arguments]),
        (Stage::Egress, vec![part(3)]),
    ] {
        for place in [part(0), part(1), part(2), part(3), Place::Tool(0), arguments, Place::Tool(1), part(9)] {
            let mut by_guard = before(stage);
            judge(&mut by_guard, Verdict::Sanitize(vec![edit(place, 0, 0, "new ")]));
            let made = by_guard.text(place).is_some_and(|it| it.starts_with("new "));
            let blocked = matches!(by_guard.phase(), Phase::Done(Outcome::Blocked { failure: Some(_), .. }));
            assert_eq!((made, blocked), (places.contains(&place), !places.contains(&place)), "a guard edits {place:?} at {stage:?}");

            let mut by_person = before(stage);
            judge(&mut by_person, question());
            let answer = approve(&mut by_person, "ada", vec![edit(place, 0, 0, "new ")]);
            assert_eq!(answer.is_ok(), places.contains(&place), "a person edits {place:?} at {stage:?}: {answer:?}");
            assert_eq!(by_person.text(place).is_some_and(|it| it.starts_with("new ")), places.contains(&place));
        }
    }
}

#[test]
fn edits_that_do_not_fit_together_are_refused_and_change_nothing() {
    let over = |error: &ReportError| matches!(error, ReportError::Overlap(_));
    let range = |error: &ReportError| matches!(error, ReportError::Range { .. });
    type Fits = fn(&ReportError) -> bool;
    type Case<'a> = (&'a [(u32, u32, &'a str)], Option<Fits>);
    let cases: [Case<'_>; 10] = [
        (&[(0, 1, "a"), (1, 3, "b")], None),
        (&[(1, 3, "b"), (0, 1, "a")], None),
        (&[(0, 0, "a"), (1, 1, "b")], None),
        (&[(0, 2, "a"), (1, 3, "b")], Some(range)), // byte 2 is inside é
        (&[(0, 3, "a"), (1, 4, "b")], Some(over)),
        (&[(3, 3, "a"), (3, 3, "b")], Some(over)),
        (&[(3, 3, "a"), (3, 4, "b")], Some(over)),
        (&[(0, 6, "a"), (1, 3, "b"), (4, 5, "c")], Some(over)),
        (&[(5, 7, "a")], Some(range)),
        (&[(4, 3, "a")], Some(range)),
    ];
    for (edits, refused) in cases {
        let mut run = before(Stage::Ingress);
        judge(&mut run, question());
        let shown = run.clone();
        let answer = approve(&mut run, "ada", edits.iter().map(|it| edit(part(1), it.0, it.1, it.2)).collect());
        match (answer, refused) {
            (Ok(()), None) => {}
            (Err(Refused::Edits(error)), Some(fits)) if fits(&error) => assert_eq!(run, shown),
            (answer, _) => panic!("{edits:?}: {answer:?}"),
        }
    }
    let mut run = before(Stage::Ingress);
    judge(&mut run, Verdict::Sanitize(vec![edit(part(1), 3, 6, "LLO"), edit(part(1), 0, 1, "Hey, h"), edit(part(0), 0, 2, "stay")]));
    assert_eq!((run.text(part(1)), run.text(part(0))), (Some("Hey, héLLO"), Some("stay good")));
}

fn report(run: &mut Run, report: Report) -> bool {
    let Want::Guard(input) = run.wants() else { panic!("it wants {:?}", run.wants()) };
    let step = input.step;
    run.handle(Event::Judged { step, result: Ok(report) }, NOW).expect("it fits");
    !matches!(run.phase(), Phase::Done(Outcome::Blocked { failure: Some(FailureKind::Contract), .. }))
}

/// Each limit with the most that is allowed, and with one more.
#[test]
fn a_report_that_is_too_much_to_keep_makes_its_guard_a_failed_one() {
    let x = |bytes: usize| "x".repeat(bytes);
    let allow = || Report::of(Verdict::Allow);
    let finding = |rule: String| Finding { rule, at: part(1), start: 0, end: 1, score: None };
    let label = |key: String, value: String| Label { key, value };
    let ask = |prompt: String, approvers: usize, required: u32| {
        Report::of(Verdict::RequireApproval(Question { prompt, approvers: vec!["team:risk".into(); approvers], required }))
    };
    let edits = |count: u32| Verdict::Sanitize((0..count).map(|n| edit(part(1), n, n, "")).collect());
    type Sized<'a> = (&'a str, usize, &'a dyn Fn(usize) -> Report);
    let cases: [Sized<'_>; 9] = [
        ("findings", 4_096, &|n| Report { findings: vec![finding(x(1)); n], ..allow() }),
        ("rule", 128, &|n| Report { findings: vec![finding(x(n))], ..allow() }),
        ("labels", 32, &|n| Report { labels: vec![label(x(1), x(1)); n], ..allow() }),
        ("label's name", 128, &|n| Report { labels: vec![label(x(n), x(1))], ..allow() }),
        ("label", 4_096, &|n| Report { labels: vec![label(x(1), x(n))], ..allow() }),
        ("memory", 65_536, &|n| Report { memory: Some(x(n)), ..allow() }),
        ("prompt", 8_192, &|n| ask(x(n), 0, 0)),
        ("approvers", 64, &|n| ask(x(1), n, 0)),
        ("required", 64, &|n| ask(x(1), 1, n as u32)),
    ];
    for (what, most, sized) in cases {
        assert!(report(&mut before(Stage::Ingress), sized(most)), "{most} {what}");
        assert!(!report(&mut before(Stage::Ingress), sized(most + 1)), "{} {what}", most + 1);
    }
    let long = || Request { messages: vec![Message::text(Role::User, x(20_000)); 2], ..Request::default() };
    for (count, fits) in [(16_384, true), (16_385, false)] {
        let mut run = create(plan(&[(Stage::Ingress, guard("g"))]), long()).expect("a good plan");
        assert_eq!(report(&mut run, Report::of(edits(count))), fits, "{count} edits");
    }
    assert!(report(&mut before(Stage::Ingress), Report::of(Verdict::Block(x(8_192)))), "a reason may be long");
    assert!(!report(&mut before(Stage::Ingress), Report::of(Verdict::Block(x(8_193)))), "but not that long");
}

#[test]
fn no_text_of_a_report_carries_a_nul() {
    let nul = || "a\0b".to_string();
    let allow = || Report::of(Verdict::Allow);
    for bad in [
        Report { findings: vec![Finding { rule: nul(), at: part(1), start: 0, end: 1, score: None }], ..allow() },
        Report { labels: vec![Label { key: nul(), value: String::new() }], ..allow() },
        Report { labels: vec![Label { key: "k".into(), value: nul() }], ..allow() },
        Report { memory: Some(nul()), ..allow() },
        Report::of(Verdict::Block(nul())),
        Report::of(Verdict::RequireApproval(Question { prompt: nul(), ..Question::default() })),
    ] {
        assert!(!report(&mut before(Stage::Ingress), bad.clone()), "{bad:?}");
    }
}

/// One large part that is no text is shown to guards as JSON; thousands of findings in it, or of edits in one text, must not cost
/// thousands of times its size.
#[test]
#[expect(clippy::disallowed_methods, reason = "that it takes no time is what is tested")]
fn thousands_of_findings_and_edits_cost_little_more_than_one() {
    let begin = std::time::Instant::now();
    let large = serde_json::json!({"type": "file", "file": "x".repeat(8 << 20)});
    let messages = vec![
        Message { content: Content::Parts(vec![Part::Other(large)]), ..Message::text(Role::User, "") },
        Message::text(Role::User, "y".repeat(8 << 20)),
    ];
    let begin_with = || create(plan(&[(Stage::Ingress, guard("g"))]), Request { messages: messages.clone(), ..Request::default() });
    let findings = (0..4_096).map(|n| Finding { rule: "r".into(), at: part(0), start: n, end: n + 1, score: None }).collect();
    assert!(report(&mut begin_with().expect("a good plan"), Report { findings, ..Report::of(Verdict::Allow) }));
    let edits = (0..16_384).map(|n| edit(part(1), 2 * n, 2 * n + 1, "")).collect();
    let mut run = begin_with().expect("a good plan");
    assert!(report(&mut run, Report::of(Verdict::Sanitize(edits))));
    assert_eq!(run.text(part(1)).map(str::len), Some((8 << 20) - 16_384));
    let took = begin.elapsed();
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_guard_of_scope_message_sees_again_only_what_was_edited() {
    let message = Guard { scope: Scope::Message, ..guard("m") };
    let mut run = run(&[(Stage::Ingress, message.clone()), (Stage::Ingress, guard("asks")), (Stage::ToolResult, message)]);
    let seen = |run: &Run| -> Vec<String> {
        let Want::Guard(input) = run.wants() else { panic!("it wants {:?}", run.wants()) };
        input.messages.iter().map(|it| it.joined()).collect()
    };
    assert_eq!(seen(&run), ["be good", "héllo", "42"]);
    judge(&mut run, Verdict::Allow);
    judge(&mut run, question());
    approve(&mut run, "ada", vec![edit(part(1), 0, 6, "bye")]).expect("a good edit");
    assert_eq!(seen(&run), ["bye"], "what a person wrote is judged, what was judged is not judged again");
    judge(&mut run, Verdict::Sanitize(vec![edit(part(0), 0, 3, "BYE")]));
    judge(&mut run, Verdict::Sanitize(vec![edit(part(2), 0, 2, "43")]));
    assert_eq!(seen(&run), ["43"], "at tool_result only tool messages, and only what changed since");
}

#[test]
fn refusals_come_in_the_order_of_the_contract() {
    let rule = ApprovalRule {
        approvers: vec![Approver::Principal("ada".into()), Approver::Principal("bo".into())],
        required: 2,
        ..ApprovalRule::default()
    };
    let mut run = run(&[(Stage::Ingress, Guard { approval: rule, ..guard("g") })]);
    judge(&mut run, question());
    let open = run.approval().expect("it asks").clone();
    let other = Some(ApprovalId { number: 9, ..open.id });
    let (mine, wrong) = (Some(open.digest), Some(Digest::of(b"?")));
    approve(&mut run, "ada", vec![]).expect("the first of two");
    let bad = vec![edit(part(9), 0, 0, "")];
    let expect = |run: &Run, who: &str, choice, approval, digest, now: Time, word: &str| {
        let answer = run.decide(&person(who), choice, approval, digest, None, bad.clone(), now);
        assert!(format!("{answer:?}").starts_with(&format!("Err({word}")), "{who}: {answer:?} instead of {word}");
    };
    let (yes, no, late) = (Choice::Approved, Choice::Denied, open.expires_at);
    expect(&run, "eve", yes, other, wrong, late, "NotAnApprover");
    expect(&run, "ada", yes, Some(open.id), wrong, late, "Repeated");
    expect(&run, "bo", yes, other, wrong, late, "OtherApproval");
    expect(&run, "bo", yes, None, wrong, late, "OtherContent");
    expect(&run, "ada", no, Some(open.id), mine, late, "AlreadyDecided");
    expect(&run, "ada", yes, None, mine, late, "AlreadyDecided");
    expect(&run, "bo", yes, Some(open.id), mine, late, "Expired");
    expect(&run, "bo", yes, Some(open.id), mine, NOW, "Edits");
    approve(&mut run, "bo", vec![]).expect("the second of two");
    assert_eq!(run.phase(), &Phase::Calling { attempt: 1 });
    expect(&run, "ada", no, Some(open.id), None, NOW, "AlreadyDecided");
    expect(&run, "bo", yes, Some(open.id), None, NOW, "Repeated");
    expect(&run, "eve", no, None, None, NOW, "NotAnApprover");
}

#[test]
fn a_decision_sent_again_is_no_conflict_although_another_question_is_open() {
    let list = |name: &str| ApprovalRule { approvers: vec![Approver::Principal(name.into())], ..ApprovalRule::default() };
    let guards =
        [(Stage::Ingress, Guard { approval: list("ada"), ..guard("a") }), (Stage::Ingress, Guard { approval: list("bo"), ..guard("b") })];
    let mut run = run(&guards);
    judge(&mut run, question());
    let first = run.approval().expect("it asks").id;
    approve(&mut run, "ada", vec![]).expect("hers");
    judge(&mut run, question());
    let again = |choice, approval| run.decide(&person("ada"), choice, approval, None, None, vec![], NOW);
    assert_eq!(again(Choice::Approved, Some(first)), Err(Refused::Repeated));
    assert_eq!(again(Choice::Approved, None), Err(Refused::NotAnApprover), "the open question is not hers");
    assert!(matches!(again(Choice::Denied, Some(first)), Err(Refused::OtherApproval(_))));
}

#[test]
fn an_edit_starts_the_stage_again_and_earlier_approvals_do_not_count_for_it() {
    let rule = ApprovalRule { required: 2, ..ApprovalRule::default() };
    let mut run = run(&[(Stage::Ingress, guard("first")), (Stage::Ingress, Guard { approval: rule, ..guard("asks") })]);
    judge(&mut run, Verdict::Allow);
    judge(&mut run, question());
    approve(&mut run, "ada", vec![]).expect("one of two");
    approve(&mut run, "bo", vec![edit(part(1), 0, 0, "oh, ")]).expect("a good edit");
    assert_eq!(run.phase(), &Phase::Judging { stage: Stage::Ingress, guard: 0 });
    judge(&mut run, Verdict::Allow);
    judge(&mut run, question());
    let [before, now] = run.approvals() else { panic!("two questions") };
    assert_ne!(before.digest, now.digest, "what is shown has changed");
    assert!(matches!(run.phase(), Phase::Awaiting { missing: 2, .. }));
    approve(&mut run, "ada", vec![]).expect("she has not decided this one");
    approve(&mut run, "bo", vec![]).expect("nor has he");
    assert_eq!(run.phase(), &Phase::Calling { attempt: 1 });
}

#[test]
fn a_decision_checked_before_somebody_edited_counts_no_more() {
    let mut run = run(&[(Stage::Ingress, guard("asks"))]);
    judge(&mut run, question());
    let proof = run.decide(&person("bo"), Choice::Approved, None, None, None, vec![], NOW).expect("he may");
    approve(&mut run, "ada", vec![edit(part(1), 0, 0, "pay, ")]).expect("a good edit");
    judge(&mut run, question());
    assert_eq!(run.handle(Event::Decided(proof), NOW), Err(Refused::Illegal));
}

#[test]
fn runs_that_nobody_could_approve_are_refused_at_once() {
    let names = |it: &[&str]| it.iter().map(|it| it.parse().expect("an approver")).collect::<Vec<Approver>>();
    for (configured, asked, required, self_approval, good) in [
        (&["ada"][..], &[][..], 0, true, true),
        (&["ada"], &["bo"], 0, true, false),
        (&["ada"], &["bo"], 1, true, false),
        (&["ada", "bo"], &["bo", "cy"], 1, true, true),
        (&["cy"], &[], 1, false, false),
        (&["cy", "team:x"], &[], 3, false, true),
        (&["ada", "ada"], &[], 2, true, false),
    ] {
        let approval = ApprovalRule { approvers: names(configured), required, self_approval, ..ApprovalRule::default() };
        let made = create(plan(&[(Stage::Egress, Guard { approval, ..guard("g") })]), Request { approvers: names(asked), ..request() });
        assert_eq!(made.is_ok(), good, "{configured:?} and {asked:?}, {required} of them: {made:?}");
    }
}

#[test]
fn an_allowed_run_is_committed_twice_a_pause_and_a_block_once() {
    let stages = Stage::ALL.map(|stage| (stage, guard(stage.name())));
    let drive = |stop: Option<(Stage, Verdict)>| {
        let (mut run, mut commits) = (run(&stages), vec![]);
        loop {
            if run.must_be_durable() {
                commits.push(run.commit().checkpoint.status);
            }
            match run.wants() {
                Want::Provider(_) => answer(&mut run),
                Want::Guard(input) => {
                    let here = stop.as_ref().filter(|it| it.0 == input.stage);
                    judge(&mut run, here.map_or(Verdict::Allow, |it| it.1.clone()));
                }
                Want::Approval(_) | Want::Wait(_) | Want::Nothing(_) => break,
            }
        }
        assert!(!run.must_be_durable(), "nothing is left to commit");
        let replayed = replay(run.plan(), run.history()).expect("its own ledger");
        assert_eq!((&replayed.phase, replayed.version), (run.phase(), run.version()));
        assert_eq!(Run::decode(&run.encode()).expect("its own bytes"), run);
        commits
    };
    assert_eq!(drive(None), [Status::Running, Status::Completed]);
    assert_eq!(drive(Some((Stage::Ingress, Verdict::Block("no".into())))), [Status::Blocked]);
    assert_eq!(drive(Some((Stage::ToolResult, question()))), [Status::Paused]);
    assert_eq!(drive(Some((Stage::Egress, Verdict::Block("no".into())))), [Status::Running, Status::Blocked]);
}

#[test]
fn the_digest_of_a_question_covers_everything_that_is_shown() {
    type Change<'a> = &'a dyn Fn(&mut Plan, &mut Request);
    let asked = |change: Change<'_>| {
        let (mut plan, mut request) = (plan(&[(Stage::Ingress, guard("g"))]), request());
        change(&mut plan, &mut request);
        let mut run = create(plan, request).expect("a good plan");
        judge(&mut run, question());
        run.approval().expect("it asks").digest
    };
    let changes: [Change<'_>; 9] = [
        &|_, _| {},
        &|plan, _| plan.route.push('x'),
        &|plan, _| plan.pipeline.ingress[0].settings = Digest::of(b"other"),
        &|plan, _| plan.pipeline.ingress[0].component = Digest::of(b"other"),
        &|plan, _| plan.pipeline.egress.push(guard("h")),
        &|_, request| request.messages[1] = Message::text(Role::User, "other"),
        &|_, request| request.tools[0].name.push('x'),
        &|_, request| request.params = serde_json::json!({"n": 1}).as_object().expect("it is one").clone(),
        &|_, request| request.metadata = [("a".to_owned(), "b".to_owned())].into(),
    ];
    let digests: std::collections::BTreeSet<Digest> = changes.iter().map(|it| asked(*it)).collect();
    assert_eq!(digests.len(), changes.len());
    assert_eq!(asked(&|_, _| {}), asked(&|_, _| {}));
}

#[test]
fn pauses_double_are_jittered_and_never_longer_than_allowed() {
    let backoff = Backoff { first: 500, longest: 3_000 };
    for (attempt, retry_after, jitter, pause) in [
        (2, None, 0, Some(500)),
        (3, None, 0, Some(1_000)),
        (9, None, 0, Some(3_000)),
        (u32::MAX, None, 0, Some(3_000)),
        (2, None, 100, Some(450)),
        (2, None, 500, Some(250)),
        (2, None, u16::MAX, Some(250)),
        (2, Some(2_000), 500, Some(2_000)),
        (2, Some(3_000), 0, Some(3_000)),
        (2, Some(3_001), 0, None),
        (2, Some(u64::MAX), 0, None),
    ] {
        assert_eq!(backoff.pause(attempt, retry_after, jitter), pause, "{attempt} {retry_after:?} {jitter}");
    }
    let endless = Backoff { first: u64::MAX, longest: u64::MAX };
    assert_eq!(endless.pause(40, None, 500), Some(u64::MAX - u64::MAX / 1_000 * 500 - u64::MAX % 1_000 * 500 / 1_000));
}

#[test]
fn a_ledger_that_does_not_explain_itself_is_refused() {
    let mut run = run(&[(Stage::Ingress, guard("g"))]);
    judge(&mut run, Verdict::Allow);
    let good = run.history().to_vec();
    assert!(replay(run.plan(), &good).is_ok());
    let broken = |change: &dyn Fn(&mut Vec<aegis_core::Entry>)| {
        let mut entries = good.clone();
        change(&mut entries);
        replay(run.plan(), &entries).is_err()
    };
    assert!(broken(&|it| it.clear()));
    assert!(broken(&|it| drop(it.remove(0))));
    assert!(broken(&|it| it[0].place = 5));
    assert!(broken(&|it| it[1].place = 3));
    assert!(broken(&|it| it[1].time = Time(1)));
    assert!(broken(&|it| it[1].version = 0));
    assert!(broken(&|it| it[1].run = RunId::new(NOW, [8; 10])));
    assert!(broken(&|it| it.push(it[1].clone())));
    assert!(broken(&|it| if let Fact::Judged { component, .. } = &mut it[1].fact {
        *component = Digest::of(b"other")
    }));
    assert!(broken(&|it| if let Fact::Created { plan, .. } = &mut it[0].fact {
        *plan = Digest::of(b"other")
    }));
}

#[test]
fn a_commit_made_again_is_the_same_commit() {
    let mut run = run(&[(Stage::Ingress, guard("a"))]);
    judge(&mut run, Verdict::Allow);
    assert_eq!(run.commit(), run.commit_again());
    answer(&mut run);
    let second = run.commit();
    assert_eq!(second, run.commit_again());
    assert_eq!((second.checkpoint.version, second.entries.len()), (2, 1));
    assert_eq!(Run::decode(&second.checkpoint.bytes).expect("a checkpoint"), run, "what is stored is the run that was committed");
}

/// A run in whose every corner somebody has written `SECRET`, up to the reply.
fn full_of_secrets() -> Run {
    let secret = |what: &str| format!("SECRET {what}");
    let request = Request {
        messages: vec![Message::text(Role::User, secret("question"))],
        tools: vec![Tool { name: secret("tool"), description: Some(secret("tool")), parameters: None, strict: None }],
        params: serde_json::json!({"user": secret("parameter")}).as_object().expect("it is one").clone(),
        metadata: [(secret("name"), secret("note"))].into(),
        approvers: vec!["role:approver".parse().expect("an approver")],
    };
    let guards = [(Stage::Ingress, guard("asks")), (Stage::Egress, Guard { scope: Scope::Message, ..guard("blocks") })];
    let mut run = create(plan(&guards), request).expect("a good plan");
    let label = Label { key: secret("key"), value: secret("label") };
    let question = Verdict::RequireApproval(Question { prompt: secret("prompt"), ..Question::default() });
    let asks = Report { labels: vec![label], memory: Some(secret("memory")), ..Report::of(question) };
    assert!(report(&mut run, asks));
    approve(&mut run, "bob", vec![edit(part(0), 0, 3, &secret("edit"))]).expect("he may");
    judge(&mut run, Verdict::Allow);
    let Want::Provider(call) = run.wants() else { panic!("it wants {:?}", run.wants()) };
    let (step, usage) = (call.step, Usage { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 });
    let answer = Answer { message: Message::text(Role::Assistant, secret("reply")), finish_reason: Some(secret("stop")), usage };
    run.handle(Event::Answered { step, result: Ok(answer) }, NOW).expect("it fits");
    run
}

#[test]
fn what_is_erased_leaves_no_content_and_all_that_the_ledger_tells() {
    for (verdict, status) in
        [(Verdict::Allow, Status::Completed), (Verdict::Block("SECRET reason".into()), Status::Blocked), (question(), Status::Cancelled)]
    {
        let mut run = full_of_secrets();
        judge(&mut run, verdict);
        if status == Status::Cancelled {
            run.handle(Event::Cancelled { by: person("cy") }, NOW).expect("it is open");
        }
        let entries = run.commit().entries;
        let before = run.clone();
        run.erase(Time(2_000)).expect("it is over");
        let bytes = String::from_utf8(run.encode()).expect("JSON");
        assert!(!bytes.contains("SECRET") && !bytes.contains("may it?"), "{status:?}: {bytes}");
        assert!(!bytes.contains(&Digest([1; 32]).hex()), "the salt is still there");
        assert_eq!(Run::decode(run.encode().as_slice()).expect("it can stand there"), run);
        assert_eq!((run.erased(), run.status(), run.version()), (Some(Time(2_000)), status, before.version()));
        assert_eq!((run.history(), run.phase(), run.updated_at()), (&entries[..], before.phase(), before.updated_at()));
        assert_eq!(run.unjudged_reply().map(|it| it.usage.total_tokens), Some(7), "what it cost is no content");
        assert!(run.approvals().iter().map(|it| &it.digest).eq(before.approvals().iter().map(|it| &it.digest)));
        assert!(replay(run.plan(), run.history()).is_ok() && run.again().is_err(), "it verifies, and can be proved no more");
        assert!(run.entitles(&person("bob")), "whoever was asked may still see it");
        let once = run.clone();
        run.erase(Time(3_000)).expect("again");
        assert_eq!(run, once, "erasing it again changes nothing");
    }
}

#[test]
fn what_is_not_over_is_never_erased() {
    let mut run = full_of_secrets();
    for _ in 0..2 {
        let before = run.clone();
        assert_eq!(run.erase(NOW), Err(Refused::Illegal));
        assert_eq!(run, before);
        run.commit();
    }
    judge(&mut run, Verdict::Allow);
    assert_eq!((run.status(), run.erase(NOW)), (Status::Completed, Err(Refused::Illegal)), "its end is not committed yet");
    run.commit();
    run.erase(NOW).expect("now it is");
}
