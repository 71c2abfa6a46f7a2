//! Whatever is done to an export is found, and told at the right place.

use super::*;
use crate::conformance::plain;
use crate::{
    ApprovalFilter, Broken, CommitError, Doomed, Fault, LedgerKey, Memory, Page, Paged, PublicKey, RunFilter, Upkeep as _, Verified, verify,
};
use aegis_core::{Commit, Entry, Event, Link, Principal, Run};

const NOW: Time = Time(1_800_000_000_000);

fn key() -> LedgerKey {
    LedgerKey::from_seed(&[7; 32])
}

/// Three runs, cancelled at last: six lines.
async fn store() -> Memory {
    let store = Memory::new();
    let mut runs: Vec<Run> = (1..4).map(plain).collect();
    for run in &mut runs {
        store.run_create(run.commit()).await.expect("a new run");
    }
    for run in &mut runs {
        run.handle(Event::Cancelled { by: Principal::anonymous() }, NOW).expect("it is open");
        let commit: Commit = run.commit();
        store.run_commit(commit).await.expect("nobody else has it");
    }
    store
}

async fn exported(filter: &Filter, key: Option<&LedgerKey>) -> Vec<String> {
    let mut bytes = vec![];
    export(&store().await, filter, key, NOW, &mut bytes).await.expect("memory has room");
    String::from_utf8(bytes).expect("JSON").lines().map(String::from).collect()
}

fn check(lines: &[String], trusted: Option<&PublicKey>) -> Result<Verified, Broken> {
    verify(lines.join("\n").as_bytes(), trusted)
}

/// Line of the file, number in the stream, fault.
fn broken(lines: &[String], trusted: Option<&PublicKey>) -> (u64, u64, Fault) {
    let it = check(lines, trusted).expect_err("it is broken");
    (it.line, it.place.map_or(0, |it| it.1), it.fault)
}

/// The line at the end as somebody wrote it who knows the format, but not the key.
fn forged(lines: &[String], change: impl FnOnce(&mut Head)) -> String {
    let mut head = Head::from_json(lines.last().expect("a head").as_bytes()).expect("a head");
    change(&mut head);
    head.hash = head.sealed();
    String::from_utf8(head.to_json()).expect("JSON")
}

#[tokio::test]
async fn a_complete_export_verifies_and_says_who_signed_it() {
    let lines = exported(&Filter::default(), Some(&key())).await;
    assert_eq!(lines.len(), 7);
    let seen = check(&lines, Some(&key().public())).expect("it is sound");
    assert!(seen.trusted && seen.head.complete);
    assert_eq!((seen.head.entries, seen.head.streams.len(), seen.head.streams[0].n), (6, 1, 6));
    assert!(!check(&lines, None).expect("it is sound").trusted, "a key that comes with the export proves nothing");
}

#[tokio::test]
async fn every_flipped_bit_is_found() {
    let text = exported(&Filter::default(), Some(&key())).await.join("\n").into_bytes();
    for at in 0..text.len() {
        for bit in [1, 4, 32] {
            let mut flipped = text.clone();
            flipped[at] ^= bit;
            let found = verify(flipped.as_slice(), Some(&key().public()));
            let line = text[..at].iter().filter(|it| **it == b'\n').count() as u64 + 1;
            match found {
                Err(found) => assert!(found.line >= line.min(7) || text[at] == b'\n', "byte {at} of line {line}: {found}"),
                // Hexadecimal digits are read in both cases: it says the same.
                Ok(_) => assert!(text[at].is_ascii_alphabetic() && bit == 32, "nobody sees that byte {at} is another"),
            }
        }
    }
}

#[tokio::test]
async fn a_changed_line_is_found_where_it_stands() {
    let mut lines = exported(&Filter::default(), Some(&key())).await;
    lines[3] = lines[3].replace("cancelled", "completed");
    assert_eq!(broken(&lines, None), (4, 4, Fault::Changed));
}

#[tokio::test]
async fn a_changed_line_that_was_sealed_again_is_found_at_the_next_one() {
    let mut lines = exported(&Filter::default(), Some(&key())).await;
    let mut line = LedgerLine::from_json(lines[3].as_bytes()).expect("a line");
    line.entry = String::from_utf8(line.entry).expect("JSON").replace("anonymous", "somebody!").into_bytes();
    line.hash = Link { stream: line.stream.clone(), n: line.n, previous: line.previous }.seal(&line.entry);
    lines[3] = String::from_utf8(line.to_json()).expect("JSON");
    assert_eq!(broken(&lines, None), (5, 5, Fault::Torn));
}

#[tokio::test]
async fn a_line_that_is_missing_is_found_where_it_should_stand() {
    let whole = exported(&Filter::default(), Some(&key())).await;
    for missing in 1..5 {
        let mut lines = whole.clone();
        lines.remove(missing);
        let n = missing as u64 + 1;
        assert_eq!(broken(&lines, None), (n, n + 1, Fault::Missing(n, n)));
    }
    let mut lines = whole;
    lines.remove(0);
    assert_eq!(broken(&lines, None), (6, 0, Fault::Missing(1, 1)), "by the head, which says where the stream begins");
}

#[tokio::test]
async fn a_run_that_was_taken_out_is_found() {
    let lines = exported(&Filter::default(), Some(&key())).await;
    let run = plain(2).id().to_string();
    let left: Vec<String> = lines.iter().filter(|it| !it.contains(&run)).cloned().collect();
    assert_eq!(left.len(), 5);
    assert_eq!(broken(&left, None), (2, 3, Fault::Missing(2, 2)));
}

#[tokio::test]
async fn lines_in_another_order_are_found() {
    let mut lines = exported(&Filter::default(), Some(&key())).await;
    lines.swap(1, 2);
    assert_eq!(broken(&lines, None), (3, 2, Fault::Order(3)));
    let mut twice = exported(&Filter::default(), Some(&key())).await;
    twice.insert(2, twice[1].clone());
    assert_eq!(broken(&twice, None), (3, 2, Fault::Order(2)));
}

#[tokio::test]
async fn an_end_that_was_cut_off_is_found() {
    let whole = exported(&Filter::default(), Some(&key())).await;
    let headless = &whole[..6];
    assert_eq!(broken(headless, None), (7, 0, Fault::Headless));
    let mut shorter = whole.clone();
    shorter.remove(5);
    let stream = "memory".to_string();
    assert_eq!(broken(&shorter, None), (6, 0, Fault::Cut { stream: stream.clone(), said: 6, found: 5 }));
    let head = shorter.len() - 1;
    let end = LedgerLine::from_json(shorter[4].as_bytes()).expect("a line");
    shorter[head] = forged(&shorter, |head| {
        head.entries = 5;
        (head.streams[0].n, head.streams[0].hash) = (end.n, end.hash);
        let hashes = whole[..5].iter().map(|it| LedgerLine::from_json(it.as_bytes()).expect("a line").hash);
        head.lines = Digest(hashes.fold(Sha256::new(), |sum, it| sum.chain_update(it.0)).finalize().into());
    });
    let signed_by = key().public().to_string();
    assert_eq!(broken(&shorter, None), (6, 0, Fault::Signature(signed_by)), "a head that fits, but that nobody signed");
}

#[tokio::test]
async fn a_head_that_was_forged_is_found() {
    let whole = exported(&Filter::default(), Some(&key())).await;
    let with = |head: String| [&whole[..6], &[head]].concat();
    let by = key().public().to_string();
    for (change, fault) in [
        ((|it| it.entries = 7) as fn(&mut Head), Fault::Count { said: 7, found: 6 }),
        (|it| it.lines = Digest([1; 32]), Fault::Lines),
        (|it| it.streams[0].n = 7, Fault::Cut { stream: "memory".into(), said: 7, found: 6 }),
        (|it| it.streams[0].hash = Digest([1; 32]), Fault::HeadChanged),
        (|it| it.streams[0].previous = Digest([1; 32]), Fault::HeadChanged),
        (|it| it.streams.clear(), Fault::Foreign("memory".into())),
        (|it| it.version = 2, Fault::Version(2)),
        (|it| it.complete = false, Fault::HeadChanged),
        (|it| it.time = Time(1), Fault::Signature(by.clone())),
        (|it| it.signature = None, Fault::Signature(by.clone())),
        (|it| (it.key, it.signature) = (None, None), Fault::Unsigned),
    ] {
        assert_eq!(broken(&with(forged(&whole, change)), Some(&key().public())).2, fault);
    }
    let other = LedgerKey::from_seed(&[8; 32]);
    let mut theirs = Head::from_json(whole[6].as_bytes()).expect("a head");
    theirs = Head::new(theirs.time, theirs.filter, theirs.entries, theirs.lines, theirs.streams, Some(&other));
    let theirs = with(String::from_utf8(theirs.to_json()).expect("JSON"));
    assert_eq!(broken(&theirs, Some(&key().public())).2, Fault::OtherKey(other.public().to_string()));
    assert!(check(&theirs, None).is_ok(), "nobody was asked for");
}

#[tokio::test]
async fn lines_of_a_stream_that_the_head_does_not_know_are_found() {
    let mut lines = exported(&Filter::default(), Some(&key())).await;
    let (link, entry) = (Link::first("foreign"), b"{}".to_vec());
    let hash = link.seal(&entry);
    let foreign = LedgerLine { stream: link.stream, n: 1, previous: link.previous, entry, hash };
    lines.insert(3, String::from_utf8(foreign.to_json()).expect("JSON"));
    assert_eq!(broken(&lines, None).2, Fault::Foreign("foreign".into()));
}

#[tokio::test]
async fn nothing_may_stand_after_the_head_or_beside_the_lines() {
    let whole = exported(&Filter::default(), None).await;
    assert_eq!(broken(&[&whole[..], &whole[..1]].concat(), None), (8, 0, Fault::AfterHead));
    assert_eq!(broken(&[&["{}".to_string()], &whole[..]].concat(), None), (1, 0, Fault::Shape));
    assert_eq!(broken(&[], None), (1, 0, Fault::Headless));
    assert!(check(&whole, None).is_ok(), "nobody has to sign");
}

#[tokio::test]
async fn a_filtered_export_says_so_and_holds_what_was_asked_for() {
    let run = plain(2).id();
    for (filter, lines) in [
        (Filter { run: Some(run), ..Filter::default() }, 2),
        (Filter { principal: Some(plain(1).principal().id.clone()), ..Filter::default() }, 6),
        (Filter { principal: Some("nobody".into()), ..Filter::default() }, 0),
        (Filter { since: Some(NOW), ..Filter::default() }, 3),
        (Filter { until: Some(NOW), ..Filter::default() }, 3),
    ] {
        let exported = exported(&filter, Some(&key())).await;
        let seen = check(&exported, Some(&key().public())).unwrap_or_else(|error| panic!("{filter:?}: {error}"));
        assert_eq!((seen.head.entries, seen.head.complete), (lines, false), "{filter:?}");
        assert_eq!(seen.head.streams[0].n, 6, "the head tells where the whole ledger ends");
        if lines > 0 {
            assert_eq!(broken(&exported[1..], None).2, Fault::Count { said: lines, found: lines - 1 }, "even so no line goes missing");
            let everything = forged(&exported, |it| (it.filter, it.complete) = (Filter::default(), true));
            let claimed = [&exported[..exported.len() - 1], &[everything]].concat();
            assert!(check(&claimed, Some(&key().public())).is_err(), "a part does not pass for the whole");
        }
    }
}

#[test]
fn keys_and_positions_read_back() {
    let text = LedgerKey::text(&[7; 32]);
    assert_eq!(text.parse::<LedgerKey>().expect("a key").public(), key().public());
    assert!(!format!("{:?}", key()).contains(&"07".repeat(32)), "a key is never shown");
    let public = key().public();
    assert_eq!(public.to_string().parse(), Ok(public));
    for wrong in ["", "ed25519:", "aegis-ledger-12", &public.to_string()[8..], &format!("ed25519:{}0", public)] {
        assert!(wrong.parse::<PublicKey>().is_err() && wrong.parse::<LedgerKey>().is_err(), "{wrong:?}");
    }
    let position = Position::at([("a.b".into(), 7), ("c".into(), u64::MAX)].into());
    assert_eq!(Position::from_text(&position.to_text()), Some(position));
    assert_eq!(Position::from_text(""), Some(Position::default()));
    for wrong in ["7", "x.a", "-1.a", "1.a~2"] {
        assert_eq!(Position::from_text(wrong), None, "{wrong:?}");
    }
}

/// The vectors of `docs/ledger.md`: another program can check itself against them.
#[test]
fn the_vectors_of_the_manual_hold() {
    let manual = include_str!("../../../../docs/ledger.md");
    let vectors = manual.split("```jsonl\n").nth(1).and_then(|it| it.split("```").next()).expect("vectors");
    let stated = manual.lines().find_map(|it| it.strip_prefix("Public key of the vectors: `")).and_then(|it| it.strip_suffix('`'));
    let public = stated.expect("a key").parse().expect("a key");
    let lines: Vec<String> = vectors.lines().map(String::from).collect();
    let seen = check(&lines, Some(&public)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((seen.head.entries, seen.head.complete, public), (3, true, LedgerKey::from_seed(&[1; 32]).public()));
    for line in &lines[..3] {
        let read = LedgerLine::from_json(line.as_bytes()).expect("a line");
        let entry: Entry = serde_json::from_slice(&read.entry).expect("an entry of this version");
        assert_eq!(crate::ledger::bytes(&entry), read.entry, "an entry is written as it was read");
    }
}

/// A ledger whose lines are taken away while it is read.
struct Pruned {
    store: Memory,
    up_to: Time,
}

#[async_trait::async_trait]
impl Runs for Pruned {
    async fn ledger_list(&self, after: &Position, limit: usize) -> Result<Vec<LedgerLine>, StoreError> {
        let page = self.store.ledger_list(after, limit.min(2)).await;
        let doomed = Doomed::Lines { written_before: self.up_to };
        self.store.remove(&doomed, NOW, usize::MAX).await?;
        page
    }

    async fn run_create(&self, commit: Commit) -> Result<(), CommitError> {
        self.store.run_create(commit).await
    }

    async fn run_commit(&self, commit: Commit) -> Result<(), CommitError> {
        self.store.run_commit(commit).await
    }

    async fn run_fetch(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        self.store.run_fetch(id).await
    }

    async fn run_list(&self, filter: &RunFilter, page: &Page) -> Result<Paged<Run>, StoreError> {
        self.store.run_list(filter, page).await
    }

    async fn run_claim(&self, limit: usize) -> Result<Vec<RunId>, StoreError> {
        self.store.run_claim(limit).await
    }

    async fn run_due(&self, now: Time, limit: usize) -> Result<Vec<RunId>, StoreError> {
        self.store.run_due(now, limit).await
    }

    async fn approval_list(&self, filter: &ApprovalFilter, page: &Page) -> Result<Paged<Run>, StoreError> {
        self.store.approval_list(filter, page).await
    }
}

#[tokio::test]
async fn an_export_that_retention_overtakes_says_so_and_one_that_it_does_not_verifies() {
    for (up_to, overtaken) in [(Time(3), false), (NOW.after(1), true)] {
        let pruned = Pruned { store: store().await, up_to };
        let doomed = Doomed::Runs { ended_before: NOW.after(1) };
        assert_eq!(pruned.store.remove(&doomed, NOW.after(9), 9).await.expect("it goes").count, 3);
        let mut bytes = vec![];
        match export(&pruned, &Filter::default(), None, NOW, &mut bytes).await {
            Ok(_) => assert!(!overtaken && verify(bytes.as_slice(), None).is_ok()),
            Err(error) => assert!(overtaken && matches!(error, ExportError::Pruned), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_head_that_was_cut_off_is_told_from_one_that_retention_removed() {
    let store = store().await;
    let gone = |doomed: Doomed| {
        let store = &store;
        async move { store.remove(&doomed, NOW.after(9), 9).await.expect("it goes").count }
    };
    assert_eq!((gone(Doomed::Runs { ended_before: NOW.after(1) }).await, gone(Doomed::Lines { written_before: NOW }).await), (3, 3));
    let mut bytes = vec![];
    export(&store, &Filter::default(), Some(&key()), NOW, &mut bytes).await.expect("memory has room");
    let lines: Vec<String> = String::from_utf8(bytes).expect("JSON").lines().map(String::from).collect();
    let seen = check(&lines, Some(&key().public())).expect("what is left is sound");
    assert_eq!((seen.head.streams[0].first, seen.removals.runs.len(), seen.head.complete), (4, 3, true));
    assert_eq!(broken(&lines[1..], None).2, Fault::Missing(4, 4));
    // Whoever has the key, or asks for none, makes a head that fits: the lines themselves still say where they should begin.
    let first = LedgerLine::from_json(lines[1].as_bytes()).expect("a line");
    let hashes = || lines[1..lines.len() - 1].iter().map(|it| LedgerLine::from_json(it.as_bytes()).expect("a line").hash);
    let head = forged(&lines, |head| {
        head.entries -= 1;
        (head.streams[0].first, head.streams[0].previous) = (first.n, first.previous);
        head.lines = Digest(hashes().fold(Sha256::new(), |sum, it| sum.chain_update(it.0)).finalize().into());
        (head.key, head.signature) = (None, None);
    });
    let cut = [&lines[1..lines.len() - 1], &[head]].concat();
    assert_eq!(broken(&cut, None).2, Fault::Beheaded { stream: "memory".into(), first: 5 });
}
