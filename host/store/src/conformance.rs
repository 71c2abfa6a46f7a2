//! What every store has to keep to, as tests over a place where stores can be opened: [`conformance!`] makes them for one.

use crate::{
    ApprovalFilter, CommitError, Doomed, Earlier, Fault, Filter, Gone, Held, NewKey, Page, Position, RunFilter, Session, Store, Verifier,
    export, verify,
};
use aegis_core::{
    Answer, ApprovalRule, Approver, Backoff, Choice, Commit, Digest, Entry, Event, Guard, Message, Mode, OnFailure, OnUnknown, Plan,
    Principal, PrincipalRole, Question, Record, Removal, Removed, Report, Request, RequestKey, Role, Run, RunId, Scope, Stages, Status,
    Time, Usage, Verdict,
};
use std::sync::Arc;

/// Where a store lives. Opening it again is what the next host does after the one before has died.
pub(crate) trait Place {
    fn open(&self) -> Arc<dyn Store>;
}

macro_rules! conformance {
    ($place:expr) => {
        $crate::conformance::conformance!($place;
            a_created_run_is_fetched_as_it_was
            a_commit_replaces_the_version_before_and_no_other
            of_many_commits_of_one_version_one_wins
            a_conflict_changes_nothing_and_spoils_nothing
            what_was_committed_is_there_for_the_next_host
            pages_go_from_new_to_old_and_stay_the_same
            pages_of_large_runs_are_shorter_and_the_rest_follows
            lists_are_filtered
            runs_are_listed_for_those_who_may_see_them
            open_questions_are_listed_for_those_who_may_decide
            the_next_question_is_not_asked_of_those_of_the_last
            a_team_is_not_a_principal_of_that_name
            unfinished_runs_are_claimed_once_by_the_next_host
            due_are_paused_runs_whose_question_has_expired
            the_ledger_is_one_chain_over_all_runs_and_hosts
            a_page_of_the_ledger_is_the_same_when_fetched_twice
            of_many_requests_with_one_key_one_makes_a_run
            a_request_leads_to_what_it_led_to_until_its_time_is_over
            a_request_is_kept_with_what_it_led_to_or_not_at_all
            keys_are_found_until_they_are_revoked
            sessions_end_by_themselves_and_with_their_key
            blobs_are_kept_for_the_next_host_until_no_open_run_needs_them
            a_check_of_a_sound_store_finds_nothing
            the_content_of_runs_that_are_long_over_goes_in_small_steps_and_the_rest_stays
            runs_that_are_long_over_go_and_those_that_are_not_over_never
            the_ledger_loses_its_first_lines_and_none_that_explains_a_run
            a_pruned_ledger_is_exported_and_verifies_and_goes_on_for_the_next_host
            what_one_principal_has_said_is_erased_and_nothing_of_others
        );
    };
    ($place:expr; $($test:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            $crate::conformance::$test(&$place).await;
        }
    )*};
}
pub(crate) use conformance;

const ALL: Page = Page { limit: 1000, after: None };

fn principal(id: &str, teams: &[&str], roles: &[PrincipalRole]) -> Principal {
    Principal { id: id.into(), teams: teams.iter().map(|it| it.to_string()).collect(), roles: roles.to_vec() }
}

fn guard(required: u32, self_approval: bool) -> Guard {
    let approval = ApprovalRule { approvers: vec![], required, expires_after: 1000, self_approval };
    let (component, settings) = (Digest::of(b"component"), Digest::of(b"{}"));
    let (scope, mode, on_failure) = (Scope::Conversation, Mode::Enforce, OnFailure::Block);
    Guard { name: "careful".into(), component, settings, scope, mode, on_failure, approval }
}

fn plan(route: &str, ingress: Vec<Guard>) -> Plan {
    Plan {
        route: route.into(),
        provider: "fake".into(),
        provider_is: None,
        model: String::new(),
        pipeline: Stages { ingress, ..Stages::default() },
        attempts: 1,
        backoff: Backoff::default(),
        on_unknown: OnUnknown::Retry,
    }
}

/// The `n`th run, created by `who` at `n` milliseconds, before its guard or, without one, before its provider.
fn run(n: u16, who: &str, plan: Plan, approvers: &[&str]) -> Run {
    let mut random = [0; 10];
    random[8..].copy_from_slice(&n.to_be_bytes());
    let approvers = approvers.iter().map(|it| it.parse().expect("an approver")).collect();
    let messages = vec![Message::text(Role::User, format!("message {n}"))];
    let request = Request { messages, approvers, ..Request::default() };
    let now = Time(u64::from(n));
    let who = principal(who, &[], &[PrincipalRole::User]);
    Run::new(RunId::new(now, random), plan, request, who, false, [7; 32], now).expect("approvers who can be found")
}

/// Without guards: it wants its provider, and is committed as `running`.
pub(crate) fn plain(n: u16) -> Run {
    run(n, "ada", plan("default", vec![]), &[])
}

/// Its guard has asked.
fn asking(n: u16, who: &str, guard: Guard, approvers: &[&str], more: &[&str]) -> Run {
    let mut run = run(n, who, plan("default", vec![guard]), approvers);
    ask(&mut run, more);
    run
}

/// The guard whose turn it is asks a question of these.
fn ask(run: &mut Run, approvers: &[&str]) {
    let approvers = approvers.iter().map(|it| it.to_string()).collect();
    let question = Question { prompt: "May it?".into(), approvers, required: 0 };
    let step = run.history().len() as u64;
    run.handle(Event::Judged { step, result: Ok(Report::of(Verdict::RequireApproval(question))) }, run.created_at()).expect("a question");
    assert_eq!(run.status(), Status::Paused);
}

fn paused(n: u16) -> Run {
    asking(n, "ada", guard(1, true), &[], &[])
}

/// The same, for these to decide.
pub(crate) fn paused_for(n: u16, approvers: &[&str]) -> Run {
    asking(n, "ada", guard(1, true), &[], approvers)
}

fn decide(run: &mut Run, who: &Principal) {
    let decision = run.decide(who, Choice::Approved, None, None, None, vec![], run.created_at()).expect("who may decide");
    run.handle(Event::Decided(decision), run.created_at()).expect("an open question");
}

fn answer(run: &mut Run) {
    let answer = Answer { message: Message::text(Role::Assistant, "yes"), finish_reason: None, usage: Usage::default() };
    let step = run.history().len() as u64;
    run.handle(Event::Answered { step, result: Ok(answer) }, run.created_at()).expect("a call that is under way");
}

async fn create(store: &Arc<dyn Store>, run: &mut Run) -> RunId {
    store.run_create(run.commit()).await.expect("a new run");
    run.id()
}

async fn commit(store: &Arc<dyn Store>, run: &mut Run) {
    store.run_commit(run.commit()).await.expect("nobody was faster");
}

async fn listed(store: &Arc<dyn Store>, filter: RunFilter) -> Vec<RunId> {
    store.run_list(&filter, &ALL).await.expect("a list").data.iter().map(Run::id).collect()
}

async fn seen_by(store: &Arc<dyn Store>, who: &Principal) -> Vec<RunId> {
    listed(store, RunFilter { visible_to: Some(who.clone()), ..RunFilter::default() }).await
}

async fn asked_of(store: &Arc<dyn Store>, who: &Principal) -> Vec<RunId> {
    let filter = ApprovalFilter { decidable_by: who.clone() };
    store.approval_list(&filter, &ALL).await.expect("a list").data.iter().map(Run::id).collect()
}

pub(crate) async fn a_created_run_is_fetched_as_it_was(place: &impl Place) {
    let (store, mut run) = (place.open(), paused(1));
    assert_eq!(store.run_fetch(run.id()).await, Ok(None));
    create(&store, &mut run).await;
    assert_eq!(store.run_fetch(run.id()).await, Ok(Some(run)));
}

pub(crate) async fn a_commit_replaces_the_version_before_and_no_other(place: &impl Place) {
    let (store, mut run) = (place.open(), plain(1));
    let mut early = run.clone();
    early.commit();
    assert_eq!(store.run_commit(early.commit()).await, Err(CommitError::Conflict), "there is nothing to replace");
    assert_eq!(store.run_create(early.commit()).await, Err(CommitError::Conflict), "a run begins with version 1");
    let first = run.commit();
    store.run_create(first.clone()).await.expect("a new run");
    assert_eq!(store.run_create(first.clone()).await, Err(CommitError::Conflict), "created twice");
    assert_eq!(store.run_commit(first).await, Err(CommitError::Conflict), "that version is there already");
    answer(&mut run);
    let mut skipping = run.clone();
    skipping.commit();
    assert_eq!(store.run_commit(skipping.commit()).await, Err(CommitError::Conflict), "a version is missing");
    commit(&store, &mut run).await;
    assert_eq!(run.status(), Status::Completed);
    assert_eq!(store.run_fetch(run.id()).await, Ok(Some(run)));
}

pub(crate) async fn of_many_commits_of_one_version_one_wins(place: &impl Place) {
    let (store, mut run) = (place.open(), plain(1));
    create(&store, &mut run).await;
    answer(&mut run);
    let commit = run.commit();
    let rivals = (0..64).map(|_| {
        let (store, commit) = (store.clone(), commit.clone());
        tokio::spawn(async move { store.run_commit(commit).await })
    });
    let mut won = 0;
    for rival in rivals.collect::<Vec<_>>() {
        match rival.await.expect("no panic") {
            Ok(()) => won += 1,
            Err(error) => assert_eq!(error, CommitError::Conflict),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(ledger(&store).await.len(), 2, "the losers wrote nothing");
}

pub(crate) async fn a_conflict_changes_nothing_and_spoils_nothing(place: &impl Place) {
    let store = place.open();
    let mut first = plain(0);
    create(&store, &mut first).await;
    let doomed = { plain(0).commit() };
    let works = (1..=100).map(|n| {
        let (store, commit) = (store.clone(), if n % 2 == 0 { plain(n).commit() } else { doomed.clone() });
        tokio::spawn(async move { store.run_create(commit).await })
    });
    for (n, work) in (1..).zip(works.collect::<Vec<_>>()) {
        let expected = if n % 2 == 0 { Ok(()) } else { Err(CommitError::Conflict) };
        assert_eq!(work.await.expect("no panic"), expected, "{n}");
    }
    assert_eq!(listed(&store, RunFilter::default()).await.len(), 51);
    assert_eq!(ledger(&store).await.len(), 51);
}

pub(crate) async fn what_was_committed_is_there_for_the_next_host(place: &impl Place) {
    let store = place.open();
    let mut runs = [plain(1), paused(2)];
    create(&store, &mut runs[0]).await;
    create(&store, &mut runs[1]).await;
    drop(store);
    let store = place.open();
    for run in runs {
        assert_eq!(store.run_fetch(run.id()).await, Ok(Some(run)));
    }
}

pub(crate) async fn pages_go_from_new_to_old_and_stay_the_same(place: &impl Place) {
    let store = place.open();
    let mut ids = vec![];
    for n in 1..=7 {
        ids.push(create(&store, &mut plain(n)).await);
    }
    let page = |after| {
        let store = store.clone();
        async move {
            let page = store.run_list(&RunFilter::default(), &Page { limit: 3, after }).await.expect("a page");
            (page.data.iter().map(Run::id).collect::<Vec<_>>(), page.next)
        }
    };
    ids.reverse();
    assert_eq!(page(None).await, (ids[..3].to_vec(), Some(ids[2])));
    assert_eq!(page(Some(ids[2])).await, (ids[3..6].to_vec(), Some(ids[5])));
    assert_eq!(page(Some(ids[5])).await, (ids[6..].to_vec(), None));
    create(&store, &mut plain(8)).await;
    assert_eq!(page(Some(ids[2])).await, (ids[3..6].to_vec(), Some(ids[5])), "a new run moves no other");
    assert_eq!(page(Some(ids[6])).await, (vec![], None));
    assert_eq!(page(Some(ids[3])).await, (ids[4..].to_vec(), None), "a full last page is the last");
}

pub(crate) async fn pages_of_large_runs_are_shorter_and_the_rest_follows(place: &impl Place) {
    let store = place.open();
    for n in 1..=5 {
        let request = Request { messages: vec![Message::text(Role::User, "x".repeat(3 << 19))], ..Request::default() };
        let id = plain(n).id();
        let large = Run::new(id, plan("default", vec![]), request, Principal::anonymous(), false, [7; 32], Time(u64::from(n)));
        create(&store, &mut large.expect("a run")).await;
    }
    let (mut after, mut pages) = (None, vec![]);
    loop {
        let page = store.run_list(&RunFilter::default(), &Page { after, ..ALL }).await.expect("a page");
        pages.push(page.data.len());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [2, 2, 1]);
}

pub(crate) async fn lists_are_filtered(place: &impl Place) {
    let store = place.open();
    let a = create(&store, &mut plain(1)).await;
    let b = create(&store, &mut run(2, "bob", plan("payments", vec![]), &[])).await;
    let c = create(&store, &mut paused(3)).await;
    let none = RunFilter::default();
    for (filter, expected) in [
        (none.clone(), vec![c, b, a]),
        (RunFilter { status: Some(Status::Running), ..none.clone() }, vec![b, a]),
        (RunFilter { status: Some(Status::Paused), ..none.clone() }, vec![c]),
        (RunFilter { status: Some(Status::Denied), ..none.clone() }, vec![]),
        (RunFilter { route: Some("payments".into()), ..none.clone() }, vec![b]),
        (RunFilter { principal: Some("ada".into()), ..none.clone() }, vec![c, a]),
        (RunFilter { principal: Some("ada".into()), status: Some(Status::Running), ..none.clone() }, vec![a]),
        (RunFilter { route: Some("' OR 1 --".into()), ..none }, vec![]),
    ] {
        assert_eq!(listed(&store, filter.clone()).await, expected, "{filter:?}");
    }
}

pub(crate) async fn runs_are_listed_for_those_who_may_see_them(place: &impl Place) {
    let store = place.open();
    let risk = principal("rita", &["risk"], &[PrincipalRole::User]);
    let mut asks_risk = asking(2, "ada", guard(1, true), &["team:risk"], &[]);
    let (a, b) = (create(&store, &mut plain(1)).await, create(&store, &mut asks_risk).await);
    let c = create(&store, &mut run(3, "rita", plan("default", vec![]), &[])).await;
    assert_eq!(seen_by(&store, &principal("ada", &[], &[PrincipalRole::User])).await, [b, a]);
    assert_eq!(seen_by(&store, &risk).await, [c, b]);
    assert_eq!(seen_by(&store, &principal("eve", &[], &[PrincipalRole::User, PrincipalRole::Approver])).await, []);
    assert_eq!(seen_by(&store, &principal("root", &[], &[PrincipalRole::Admin])).await, [c, b, a]);
    let filter = RunFilter { visible_to: Some(risk.clone()), status: Some(Status::Paused), ..RunFilter::default() };
    assert_eq!(listed(&store, filter).await, [b]);
    let filter = RunFilter { visible_to: Some(risk.clone()), ..RunFilter::default() };
    let page = store.run_list(&filter, &Page { limit: 1, after: None }).await.expect("a page");
    assert_eq!((page.data[0].id(), page.next), (c, Some(c)));
    let page = store.run_list(&filter, &Page { limit: 1, after: page.next }).await.expect("a page");
    assert_eq!((page.data[0].id(), page.next), (b, None), "what the caller may not see takes no place on a page");
    decide(&mut asks_risk, &risk);
    commit(&store, &mut asks_risk).await;
    assert_eq!(seen_by(&store, &risk).await, [c], "nothing is asked of the team any more");
}

pub(crate) async fn open_questions_are_listed_for_those_who_may_decide(place: &impl Place) {
    let store = place.open();
    let (user, approver) = ([PrincipalRole::User], [PrincipalRole::User, PrincipalRole::Approver]);
    let a = create(&store, &mut asking(1, "ada", guard(1, false), &[], &[])).await;
    let b = create(&store, &mut asking(2, "ada", guard(1, true), &["team:risk", "bob"], &["role:approver"])).await;
    let mut two = asking(3, "eve", guard(2, true), &[], &["bob", "cid"]);
    let c = create(&store, &mut two).await;
    create(&store, &mut plain(4)).await;
    for (who, expected) in [
        (principal("ada", &[], &approver), vec![]),
        (principal("ada", &["risk"], &approver), vec![b]),
        (principal("bob", &[], &approver), vec![c, b, a]),
        (principal("bob", &[], &user), vec![c]),
        (principal("rita", &["risk"], &user), vec![]),
        (principal("rita", &["risk", "legal"], &approver), vec![b, a]),
        (principal("root", &[], &[PrincipalRole::Admin]), vec![]),
        (principal("eve", &[], &[]), vec![]),
    ] {
        assert_eq!(asked_of(&store, &who).await, expected, "{who:?}");
    }
    let bob = principal("bob", &[], &approver);
    let page =
        store.approval_list(&ApprovalFilter { decidable_by: bob.clone() }, &Page { limit: 1, after: Some(c) }).await.expect("a page");
    assert_eq!((page.data[0].id(), page.next), (b, Some(b)));
    decide(&mut two, &bob);
    commit(&store, &mut two).await;
    assert_eq!(asked_of(&store, &bob).await, [b, a], "who has approved is not asked again");
    assert_eq!(asked_of(&store, &principal("cid", &[], &user)).await, [c]);
    decide(&mut two, &principal("cid", &[], &user));
    commit(&store, &mut two).await;
    assert_eq!(asked_of(&store, &principal("cid", &[], &user)).await, [], "nothing is asked any more");
}

pub(crate) async fn the_next_question_is_not_asked_of_those_of_the_last(place: &impl Place) {
    let (store, ada, bob) = (place.open(), principal("ada", &[], &[]), principal("bob", &[], &[]));
    let mut run = run(1, "cy", plan("default", vec![guard(1, true), guard(1, true)]), &[]);
    ask(&mut run, &["ada"]);
    let id = create(&store, &mut run).await;
    decide(&mut run, &ada);
    commit(&store, &mut run).await;
    ask(&mut run, &["bob"]);
    commit(&store, &mut run).await;
    assert_eq!((asked_of(&store, &ada).await, asked_of(&store, &bob).await), (vec![], vec![id]));
}

pub(crate) async fn a_team_is_not_a_principal_of_that_name(place: &impl Place) {
    let store = place.open();
    create(&store, &mut asking(1, "ada", guard(1, true), &["team:risk"], &[])).await;
    let b = create(&store, &mut asking(2, "ada", guard(1, true), &["risk"], &[])).await;
    assert_eq!(asked_of(&store, &principal("team:risk", &[], &[])).await, []);
    assert_eq!(asked_of(&store, &principal("risk", &[], &[])).await, [b]);
    assert_eq!(
        Approver::Principal("team:risk".into()).to_string(),
        Approver::Team("risk".into()).to_string(),
        "as text they look the same"
    );
}

pub(crate) async fn unfinished_runs_are_claimed_once_by_the_next_host(place: &impl Place) {
    let store = place.open();
    let (mut done, mut resumed) = (plain(3), paused(4));
    let a = create(&store, &mut plain(1)).await;
    let b = create(&store, &mut run(2, "ada", plan("default", vec![guard(1, true)]), &[])).await;
    create(&store, &mut done).await;
    let d = create(&store, &mut resumed).await;
    create(&store, &mut paused(5)).await;
    answer(&mut done);
    commit(&store, &mut done).await;
    assert_eq!(store.run_claim(10).await, Ok(vec![]), "this host is alive");
    drop(store);
    let store = place.open();
    let mut claimed = store.run_claim(1).await.expect("claims");
    claimed.extend(store.run_claim(10).await.expect("claims"));
    claimed.sort();
    assert_eq!(claimed, [a, b]);
    assert_eq!(store.run_claim(10).await, Ok(vec![]), "handed out once");
    decide(&mut resumed, &principal("bob", &[], &[PrincipalRole::Approver]));
    commit(&store, &mut resumed).await;
    assert_eq!(store.run_claim(10).await, Ok(vec![]), "what this host has resumed is its own");
    drop(store);
    let mut claimed = place.open().run_claim(10).await.expect("claims");
    claimed.sort();
    assert_eq!(claimed, [a, b, d], "the next host finds them again");
}

pub(crate) async fn due_are_paused_runs_whose_question_has_expired(place: &impl Place) {
    let store = place.open();
    let (mut first, mut second) = (paused(1), paused(2));
    let (a, b) = (create(&store, &mut first).await, create(&store, &mut second).await);
    create(&store, &mut plain(3)).await;
    let mut endless = guard(1, true);
    endless.approval.expires_after = u64::MAX;
    create(&store, &mut asking(4, "ada", endless, &[], &[])).await;
    assert_eq!(store.run_due(Time(1000), 10).await, Ok(vec![]));
    assert_eq!(store.run_due(Time(1001), 10).await, Ok(vec![a]));
    assert_eq!(store.run_due(Time(1 << 50), 10).await, Ok(vec![a, b]), "what never expires is never due");
    assert_eq!(store.run_due(Time(1 << 50), 1).await, Ok(vec![a]));
    first.handle(Event::TimePassed, Time(1001)).expect("it has expired");
    commit(&store, &mut first).await;
    assert_eq!(store.run_due(Time(1 << 50), 10).await, Ok(vec![b]));
}

/// The whole ledger, which follows from its beginning.
async fn ledger(store: &Arc<dyn Store>) -> Vec<Entry> {
    let (mut position, mut verifier, mut entries) = (Position::default(), Verifier::default(), vec![]);
    loop {
        let lines = store.ledger_list(&position, 7).await.expect("lines");
        for line in &lines {
            verifier.follow(line).expect("an unbroken chain");
            position.pass(line);
            entries.push(serde_json::from_slice(&line.entry).expect("an entry"));
        }
        if lines.is_empty() {
            verifier.end().expect("it begins at its beginning");
            return entries;
        }
    }
}

pub(crate) async fn the_ledger_is_one_chain_over_all_runs_and_hosts(place: &impl Place) {
    let mut store = place.open();
    let mut expected = vec![];
    let mut write = |run: &mut Run| {
        let Commit { checkpoint, entries, request } = run.commit();
        expected.extend(entries.clone());
        Commit { checkpoint, entries, request }
    };
    for n in 1..=10 {
        let (mut one, mut other) = (plain(n), paused(100 + n));
        store.run_create(write(&mut one)).await.expect("a new run");
        store.run_create(write(&mut other)).await.expect("a new run");
        answer(&mut one);
        store.run_commit(write(&mut one)).await.expect("nobody was faster");
        if n % 4 == 0 {
            drop(store);
            store = place.open();
        }
    }
    assert_eq!(ledger(&store).await, expected);
}

pub(crate) async fn a_page_of_the_ledger_is_the_same_when_fetched_twice(place: &impl Place) {
    let store = place.open();
    for n in 1..=5 {
        create(&store, &mut plain(n)).await;
    }
    let mut position = Position::default();
    let first = store.ledger_list(&position, 2).await.expect("lines");
    create(&store, &mut plain(6)).await;
    assert_eq!(store.ledger_list(&position, 2).await, Ok(first.clone()));
    first.iter().for_each(|line| position.pass(line));
    let rest = store.ledger_list(&position, 100).await.expect("lines");
    assert_eq!(rest.iter().map(|line| line.n).collect::<Vec<_>>(), [3, 4, 5, 6]);
    assert_eq!(rest[0].stream, store.describe().stream);
}

fn key(n: u8) -> NewKey {
    let principal = principal(&format!("user-{n}"), &["risk"], &[PrincipalRole::User, PrincipalRole::Approver]);
    NewKey { id: format!("key-{n}"), hash: Digest([n; 32]), principal, created_at: Time(u64::from(n)) }
}

/// Sent at `at`, and remembered for 100 ms.
fn keyed(run: &mut Run, key: &str, body: &str, at: u64) -> Commit {
    Commit { request: Some(request_key(key, body, at)), ..run.commit() }
}

fn request_key(key: &str, body: &str, at: u64) -> RequestKey {
    RequestKey::new("ada", key, &[body.as_bytes()], Time(at), 100)
}

pub(crate) async fn of_many_requests_with_one_key_one_makes_a_run(place: &impl Place) {
    let store = place.open();
    let rivals = (1..=64).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { (plain(n).id(), store.run_create(keyed(&mut plain(n), "k", "hello", 1)).await) })
    });
    let (mut made, mut told) = (vec![], vec![]);
    for rival in rivals.collect::<Vec<_>>() {
        match rival.await.expect("no panic") {
            (id, Ok(())) => made.push(id),
            (_, Err(CommitError::Earlier(earlier))) => told.push(earlier),
            (id, other) => panic!("{id}: {other:?}"),
        }
    }
    assert_eq!(listed(&store, RunFilter::default()).await, made);
    assert_eq!((made.len(), told), (1, vec![Earlier { run: made[0], same: true }; 63]));
    assert_eq!(ledger(&store).await.len(), 1, "the others wrote nothing");
}

pub(crate) async fn a_request_leads_to_what_it_led_to_until_its_time_is_over(place: &impl Place) {
    let store = place.open();
    store.run_create(keyed(&mut plain(1), "k", "hello", 1)).await.expect("a new run");
    drop(store);
    let (store, first) = (place.open(), plain(1).id());
    let find = |request: RequestKey| {
        let store = store.clone();
        async move { store.request_find(&request).await.expect("an answer").map(|it| (it.run, it.same)) }
    };
    assert_eq!(find(request_key("k", "hello", 50)).await, Some((first, true)), "also for the next host");
    assert_eq!(find(request_key("k", "other", 50)).await, Some((first, false)));
    assert_eq!(find(request_key("other", "hello", 50)).await, None);
    assert_eq!(find(RequestKey { principal: "bob".into(), ..request_key("k", "hello", 50) }).await, None, "the key of somebody else");
    let other = Err(CommitError::Earlier(Earlier { run: first, same: false }));
    assert_eq!(store.run_create(keyed(&mut plain(2), "k", "other", 100)).await, other);
    assert_eq!(store.run_fetch(plain(2).id()).await, Ok(None));
    assert_eq!((find(request_key("k", "hello", 100)).await, find(request_key("k", "hello", 101)).await), (Some((first, true)), None));
    store.run_create(keyed(&mut plain(2), "k", "other", 101)).await.expect("the key is free again");
    assert_eq!(find(request_key("k", "other", 102)).await, Some((plain(2).id(), true)));
    for n in 3..=7 {
        store.run_create(keyed(&mut plain(n), &format!("k{n}"), "hello", 1)).await.expect("a new run");
    }
    let forget = |now, limit| store.request_forget(Time(now), limit);
    assert_eq!((forget(100, 9).await, forget(101, 3).await, forget(101, 9).await, forget(101, 9).await), (Ok(0), Ok(3), Ok(2), Ok(0)));
    assert_eq!(find(request_key("k", "other", 102)).await, Some((plain(2).id(), true)), "its time is not over");
    assert_eq!(find(request_key("k5", "hello", 50)).await, None, "forgotten, whatever the clock says");
}

pub(crate) async fn a_request_is_kept_with_what_it_led_to_or_not_at_all(place: &impl Place) {
    let (store, mut run) = (place.open(), paused(1));
    create(&store, &mut run).await;
    let conflict = Err(CommitError::Conflict);
    assert_eq!(store.run_create(keyed(&mut paused(1), "k", "hello", 1)).await, conflict);
    assert_eq!(store.request_find(&request_key("k", "hello", 2)).await, Ok(None));
    decide(&mut run, &principal("bob", &[], &[PrincipalRole::Approver]));
    let commit = keyed(&mut run, "d", "approved", 1);
    store.run_commit(commit.clone()).await.expect("nobody was faster");
    let earlier = Earlier { run: run.id(), same: true };
    assert_eq!(store.request_find(&request_key("d", "approved", 2)).await, Ok(Some(earlier)));
    assert_eq!(store.run_commit(commit).await, Err(CommitError::Earlier(earlier)), "which says more than that someone was faster");
    assert_eq!(store.check().await.expect("a report").faults, Vec::<String>::new());
}

pub(crate) async fn keys_are_found_until_they_are_revoked(place: &impl Place) {
    let store = place.open();
    for n in [2, 1] {
        store.key_create(&key(n)).await.expect("a new key");
    }
    let same_id = NewKey { hash: Digest([9; 32]), ..key(1) };
    let same_hash = NewKey { id: "other".into(), ..key(1) };
    assert_eq!(store.key_create(&same_id).await, Err(CommitError::Conflict));
    assert_eq!(store.key_create(&same_hash).await, Err(CommitError::Conflict));
    let found = store.key_find(key(1).hash).await.expect("an answer").expect("a key");
    assert_eq!((found.id, found.principal, found.revoked_at), (key(1).id, key(1).principal, None));
    assert_eq!(store.key_find(Digest([9; 32])).await, Ok(None));
    assert_eq!(store.key_revoke("key-1", Time(5)).await, Ok(true));
    assert_eq!(store.key_revoke("key-1", Time(6)).await, Ok(false), "it was revoked already");
    assert_eq!(store.key_revoke("key-9", Time(6)).await, Ok(false));
    assert_eq!(store.key_find(key(1).hash).await, Ok(None));
    drop(store);
    let keys = place.open().key_list().await.expect("a list");
    let short: Vec<_> = keys.iter().map(|it| (it.id.as_str(), it.created_at, it.revoked_at)).collect();
    assert_eq!(short, [("key-2", Time(2), None), ("key-1", Time(1), Some(Time(5)))]);
}

pub(crate) async fn sessions_end_by_themselves_and_with_their_key(place: &impl Place) {
    let store = place.open();
    store.key_create(&key(1)).await.expect("a new key");
    let session = |n: u8, key: &str| Session { hash: Digest([n; 32]), key: key.into(), token: format!("token {n}"), expires_at: Time(100) };
    let found = |n: u8, now: u64| {
        let store = store.clone();
        async move { store.session_find(Digest([n; 32]), Time(now)).await.expect("an answer").map(|(session, key)| (session, key.id)) }
    };
    for n in [1, 2] {
        store.session_create(&session(n, "key-1"), Time(0)).await.expect("a new session");
    }
    assert_eq!(store.session_create(&session(1, "key-1"), Time(0)).await, Err(CommitError::Conflict));
    assert_eq!(store.session_create(&session(3, "key-9"), Time(0)).await, Err(CommitError::Conflict), "there is no such key");
    assert_eq!(found(1, 99).await, Some((session(1, "key-1"), "key-1".into())));
    assert_eq!(found(1, 100).await, None, "it has expired");
    assert_eq!(found(3, 0).await, None);
    store.session_delete(Digest([1; 32])).await.expect("deleted");
    store.session_delete(Digest([1; 32])).await.expect("deleted again");
    assert_eq!(found(1, 0).await, None);
    store.session_create(&session(1, "key-1"), Time(100)).await.expect("a new session");
    assert_eq!(found(2, 0).await, None, "what had expired was forgotten");
    assert!(found(1, 0).await.is_some());
    store.key_revoke("key-1", Time(1)).await.expect("revoked");
    assert_eq!(found(1, 0).await, None, "its key was revoked");
    assert_eq!(store.session_create(&session(4, "key-1"), Time(0)).await, Err(CommitError::Conflict), "its key was revoked");
}

pub(crate) async fn blobs_are_kept_for_the_next_host_until_no_open_run_needs_them(place: &impl Place) {
    let store = place.open();
    let (component, settings) = (store.blob_keep(b"component").await.expect("kept"), store.blob_keep(b"{}").await.expect("kept"));
    assert_eq!((component, settings), (Digest::of(b"component"), Digest::of(b"{}")));
    assert_eq!(store.blob_keep(b"{}").await, Ok(settings), "keeping it again changes nothing");
    let other = store.blob_keep(b"a guard of today").await.expect("kept");
    let spare = store.blob_keep(b"a guard of yesterday").await.expect("kept");
    let (mut first, mut second) = (paused(1), paused(2));
    create(&store, &mut first).await;
    create(&store, &mut second).await;
    drop(store);

    let store = place.open();
    assert_eq!(store.blob_fetch(component).await, Ok(Some(b"component".to_vec())));
    assert_eq!(store.blob_fetch(Digest::of(b"never kept")).await, Ok(None));
    assert_eq!(store.blob_sweep(&[other]).await, Ok(vec![spare]), "of no open run, and not named");
    assert_eq!(store.blob_fetch(spare).await, Ok(None));
    decide(&mut first, &principal("bob", &[], &[PrincipalRole::Approver]));
    commit(&store, &mut first).await;
    second.handle(Event::TimePassed, Time(1 << 50)).expect("it has expired");
    commit(&store, &mut second).await;
    assert_eq!(store.blob_sweep(&[other]).await, Ok(vec![]), "the first run still goes on");
    answer(&mut first);
    commit(&store, &mut first).await;
    assert_eq!(first.status(), Status::Completed);
    let mut gone = vec![component, settings];
    gone.sort();
    assert_eq!(store.blob_sweep(&[other]).await, Ok(gone), "nothing needs them any more");
    assert_eq!(store.blob_fetch(other).await, Ok(Some(b"a guard of today".to_vec())));
}

pub(crate) async fn a_check_of_a_sound_store_finds_nothing(place: &impl Place) {
    let store = place.open();
    for n in 1..=3 {
        let mut run = plain(n);
        create(&store, &mut run).await;
        answer(&mut run);
        commit(&store, &mut run).await;
    }
    let report = store.check().await.expect("a report");
    assert_eq!((report.runs, report.lines, report.faults), (3, 6, vec![]));
}

/// The `n`th run of `who`, which was over at `n` milliseconds; its request has the key `n`, and is remembered until the end of time.
async fn over(store: &Arc<dyn Store>, n: u16, who: &str) -> RunId {
    let mut run = run(n, who, plan("default", vec![]), &[]);
    let key = RequestKey::new(who, &n.to_string(), &[], Time(0), u64::MAX);
    store.run_create(Commit { request: Some(key), ..run.commit() }).await.expect("a new run");
    answer(&mut run);
    commit(store, &mut run).await;
    run.id()
}

async fn fetched(store: &Arc<dyn Store>, id: RunId) -> Run {
    store.run_fetch(id).await.expect("an answer").expect("it is there")
}

async fn gone(store: &Arc<dyn Store>, doomed: Doomed, limit: usize) -> usize {
    store.remove(&doomed, NOW, limit).await.expect("it goes").count
}

async fn removals(store: &Arc<dyn Store>) -> Vec<Removal> {
    let lines = store.ledger_list(&Position::default(), usize::MAX).await.expect("lines");
    let records = lines.iter().map(|line| Record::read(&line.entry).expect("a line"));
    records.filter_map(|it| if let Record::Removal(removal) = it { Some(removal) } else { None }).collect()
}

async fn faults(store: &Arc<dyn Store>) -> Vec<String> {
    store.check().await.expect("a report").faults
}

async fn remembered(store: &Arc<dyn Store>, n: u16, who: &str) -> bool {
    let key = RequestKey::new(who, &n.to_string(), &[], Time(0), u64::MAX);
    store.request_find(&key).await.expect("an answer").is_some()
}

const NOW: Time = Time(1_000_000);

pub(crate) async fn the_content_of_runs_that_are_long_over_goes_in_small_steps_and_the_rest_stays(place: &impl Place) {
    let store = place.open();
    let mut old = vec![];
    for n in 1..=5 {
        old.push(over(&store, n, "ada").await);
    }
    let young = over(&store, 100, "ada").await;
    let (mut open, mut waits) = (plain(6), paused(7));
    create(&store, &mut open).await;
    create(&store, &mut waits).await;
    let doomed = || Doomed::Content { ended_before: Time(100) };
    assert_eq!(gone(&store, doomed(), 2).await, 2, "no more at once");
    assert_eq!(faults(&store).await, Vec::<String>::new(), "in the middle, too, the ledger says what is gone");
    assert_eq!((gone(&store, doomed(), 2).await, gone(&store, doomed(), 2).await, gone(&store, doomed(), 2).await), (2, 1, 0));
    for (n, id) in (1..).zip(&old) {
        let run = fetched(&store, *id).await;
        assert_eq!((run.erased(), run.status(), run.history().len()), (Some(NOW), Status::Completed, 2));
        assert!(!String::from_utf8(run.encode()).expect("JSON").contains(&format!("message {n}")), "{run:?}");
        assert!(!remembered(&store, n, "ada").await);
    }
    assert!(remembered(&store, 100, "ada").await);
    assert!(fetched(&store, young).await.erased().is_none());
    assert_eq!((fetched(&store, open.id()).await, fetched(&store, waits.id()).await), (open, waits), "what is not over stays as it is");
    let removals = removals(&store).await;
    assert_eq!(removals.iter().flat_map(Removal::runs).copied().collect::<std::collections::BTreeSet<_>>(), old.into_iter().collect());
    assert!(removals.iter().all(|it| it.time == NOW && matches!(it.what, Removed::Content { ended_before: Time(100), .. })));
    assert_eq!(faults(&store).await, Vec::<String>::new());
}

pub(crate) async fn runs_that_are_long_over_go_and_those_that_are_not_over_never(place: &impl Place) {
    let store = place.open();
    let (a, b, young) = (over(&store, 1, "ada").await, over(&store, 2, "ada").await, over(&store, 100, "ada").await);
    let (mut open, mut waits) = (plain(3), paused(4));
    create(&store, &mut open).await;
    create(&store, &mut waits).await;
    assert_eq!(gone(&store, Doomed::Content { ended_before: Time(2) }, 9).await, 1, "with its content or without");
    let doomed = || Doomed::Runs { ended_before: Time(100) };
    assert_eq!((gone(&store, doomed(), 1).await, gone(&store, doomed(), 9).await, gone(&store, doomed(), 9).await), (1, 1, 0));
    assert_eq!((store.run_fetch(a).await, store.run_fetch(b).await), (Ok(None), Ok(None)));
    assert_eq!(listed(&store, RunFilter::default()).await, [young, waits.id(), open.id()]);
    assert!(!remembered(&store, 2, "ada").await && remembered(&store, 100, "ada").await);
    let entries = store.ledger_list(&Position::default(), usize::MAX).await.expect("lines").len();
    assert_eq!(entries, 6 + 3 + 3, "what the ledger says of them stays, and that they went");
    decide(&mut waits, &principal("bob", &[], &[PrincipalRole::Approver]));
    commit(&store, &mut waits).await;
}

pub(crate) async fn the_ledger_loses_its_first_lines_and_none_that_explains_a_run(place: &impl Place) {
    let store = place.open();
    over(&store, 1, "ada").await;
    over(&store, 2, "ada").await;
    let mut waits = paused(3);
    create(&store, &mut waits).await;
    over(&store, 4, "ada").await;
    let doomed = |before| Doomed::Lines { written_before: Time(before) };
    assert_eq!(gone(&store, doomed(100), 9).await, 0, "every run is there");
    assert_eq!(gone(&store, Doomed::Runs { ended_before: Time(100) }, 9).await, 3);
    assert_eq!(gone(&store, doomed(2), 9).await, 2, "those of the first run, and no younger ones");
    assert_eq!((gone(&store, doomed(100), 1).await, gone(&store, doomed(100), 9).await), (1, 1), "up to the run that waits");
    assert_eq!(gone(&store, doomed(u64::MAX), 9).await, 0);
    let last = removals(&store).await.pop().expect("it says so");
    assert!(matches!(last.what, Removed::Lines { first: 5, written_before: Time(100), .. }), "{last:?}");
    assert_eq!(faults(&store).await, Vec::<String>::new());
    waits.handle(Event::TimePassed, Time(1 << 50)).expect("it has expired");
    commit(&store, &mut waits).await;
    assert_eq!(gone(&store, Doomed::Runs { ended_before: Time(u64::MAX) }, 9).await, 1);
    assert!(gone(&store, doomed(u64::MAX), 99).await > 4, "nothing holds it any more");
    assert_eq!(gone(&store, doomed(u64::MAX), 99).await, 0, "that lines went is no reason to remove that line");
    assert_eq!(faults(&store).await, Vec::<String>::new());
}

pub(crate) async fn a_pruned_ledger_is_exported_and_verifies_and_goes_on_for_the_next_host(place: &impl Place) {
    let store = place.open();
    for n in 1..=3 {
        over(&store, n, "ada").await;
    }
    assert_eq!(gone(&store, Doomed::Runs { ended_before: Time(3) }, 9).await, 2);
    assert_eq!(gone(&store, Doomed::Lines { written_before: Time(3) }, 9).await, 4);
    drop(store);
    let store = place.open();
    over(&store, 9, "ada").await;
    assert_eq!(faults(&store).await, Vec::<String>::new());
    let mut bytes = vec![];
    export(&*store, &Filter::default(), None, NOW, &mut bytes).await.expect("memory has room");
    let seen = verify(bytes.as_slice(), None).expect("what is left verifies");
    assert_eq!((seen.head.streams[0].first, seen.head.streams[0].n, seen.removals.runs.len()), (5, 10, 2));
    // The line that tells of it is cut out, and all that follows is sealed again.
    let text = String::from_utf8(bytes).expect("JSON");
    let silent: Vec<&str> = text.lines().filter(|it| !it.contains("written_before")).collect();
    assert!(matches!(verify(silent.join("\n").as_bytes(), None).expect_err("a line is missing").fault, Fault::Missing(..)));
    let lines = store.ledger_list(&Position::default(), usize::MAX).await.expect("lines");
    let mut verifier = Verifier::default();
    lines.iter().skip(1).for_each(|line| verifier.follow(line).expect("a chain"));
    let beheaded = verifier.end().expect_err("one line more is gone than was removed");
    assert!(beheaded.contains("lines 1 to 5 are missing"), "{beheaded}");
    let mut position = Position::default();
    lines.iter().take(1).for_each(|line| position.pass(line));
    assert_eq!(store.ledger_list(&position, usize::MAX).await, Ok(lines[1..].to_vec()));
}

pub(crate) async fn what_one_principal_has_said_is_erased_and_nothing_of_others(place: &impl Place) {
    let store = place.open();
    let (a, bobs, b, c) =
        (over(&store, 1, "ada").await, over(&store, 2, "bob").await, over(&store, 3, "ada").await, over(&store, 4, "ada").await);
    let mut waits = paused(5);
    create(&store, &mut waits).await;
    let held = Held { erasable: 3, open: 1, open_runs: vec![waits.id()] };
    assert_eq!((store.held("ada").await, store.held("eve").await), (Ok(held.clone()), Ok(Held::default())));
    let erase = |after| Doomed::ContentOf { principal: "ada".into(), by: "root".into(), after };
    assert_eq!(store.remove(&erase(None), NOW, 2).await, Ok(Gone { count: 2, last: Some(b) }));
    assert_eq!(store.remove(&erase(Some(b)), NOW, 2).await, Ok(Gone { count: 1, last: Some(c) }));
    assert_eq!(store.remove(&erase(Some(c)), NOW, 2).await, Ok(Gone::default()));
    store.scrub().await.expect("nothing is in the way");
    assert_eq!(store.held("ada").await, Ok(Held { erasable: 0, ..held }));
    assert_eq!(store.held("bob").await.expect("an answer").erasable, 1);
    assert!(fetched(&store, bobs).await.erased().is_none() && remembered(&store, 2, "bob").await && !remembered(&store, 1, "ada").await);
    assert_eq!(fetched(&store, waits.id()).await, waits);
    let removed: Vec<Removed> = removals(&store).await.into_iter().map(|it| it.what).collect();
    let erased = |runs| Removed::Erased { runs, principal: "ada".into(), by: "root".into() };
    assert_eq!(removed, [erased(vec![a, b]), erased(vec![c])]);
    assert_eq!(faults(&store).await, Vec::<String>::new());
}
