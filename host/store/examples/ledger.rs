//! What the ledger costs: `cargo run --release -p aegis-store --example ledger`. Verifies the export of 1 000 000 entries, and
//! compares the CPU of commits with their entries against the same commits without any.

use aegis_core::{
    ApprovalRule, Backoff, Commit, Digest, Event, Guard, Message, Mode, OnFailure, OnUnknown, Plan, Principal, Report, Request, Role, Run,
    RunId, Scope, Stages, Time, Verdict, Want,
};
use aegis_store::{Access, Filter, LedgerKey, Runs, Sqlite, export, verify};
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::time::Instant;

const ENTRIES: u64 = 1_000_000;
const COMMITS: u64 = 20_000;
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() {
    let folder = tempfile::TempDir::new().expect("a folder");
    verified(&folder.path().join("ledger.jsonl")).await;
    let mut shares = vec![];
    for round in 0..ROUNDS {
        let with = committed(&folder.path().join(format!("with-{round}.db")), true).await;
        let without = committed(&folder.path().join(format!("without-{round}.db")), false).await;
        shares.push((with - without) / with);
    }
    shares.sort_by(f64::total_cmp);
    println!("the ledger and its digests take {:.1} % of the CPU of a commit (median of {ROUNDS} rounds)", shares[ROUNDS / 2] * 100.0);
}

/// Runs of three entries each, in memory, exported to a file.
async fn verified(path: &std::path::Path) {
    let store = aegis_store::Memory::new();
    for number in 0..ENTRIES.div_ceil(3) {
        let mut run = begun(number);
        judged(&mut run);
        run.handle(Event::Cancelled { by: Principal::anonymous() }, Time(number)).expect("it is open");
        store.run_create(run.commit()).await.expect("a new run");
    }
    let key = LedgerKey::from_seed(&[1; 32]);
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    let head = export(&store, &Filter::default(), Some(&key), Time(0), &mut file).await.expect("an export");
    drop((file, store));
    let begun = Instant::now();
    let seen = verify(BufReader::with_capacity(1 << 20, File::open(path).expect("a file")), Some(&key.public())).expect("a sound export");
    assert_eq!(seen.head, head);
    println!("{} entries verified in {:.2} s", head.entries, begun.elapsed().as_secs_f64());
}

/// Seconds of CPU for runs that are created, called and answered.
async fn committed(path: &std::path::Path, entries: bool) -> f64 {
    let store = Sqlite::open(path, Access::Host).expect("a database");
    let before = cpu();
    let mut waiting = tokio::task::JoinSet::new();
    let store = std::sync::Arc::new(store);
    for number in 0..COMMITS {
        let mut run = begun(number);
        judged(&mut run);
        let commit = run.commit();
        let commit = Commit { entries: if entries { commit.entries } else { vec![] }, ..commit };
        let store = store.clone();
        waiting.spawn(async move { store.run_create(commit).await.expect("a new run") });
        if waiting.len() >= 256 {
            waiting.join_next().await;
        }
    }
    waiting.join_all().await;
    cpu() - before
}

/// Of this process so far.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks");
    (ticks(11) + ticks(12)) / 100.0
}

fn begun(number: u64) -> Run {
    let guard = Guard {
        name: "g".into(),
        component: Digest([1; 32]),
        settings: Digest([2; 32]),
        scope: Scope::Conversation,
        mode: Mode::Enforce,
        on_failure: OnFailure::Block,
        approval: ApprovalRule::default(),
    };
    let plan = Plan {
        route: "default".into(),
        provider: "main".into(),
        provider_is: None,
        model: "m".into(),
        pipeline: Stages { ingress: vec![guard], ..Stages::default() },
        attempts: 3,
        backoff: Backoff::default(),
        on_unknown: OnUnknown::Retry,
    };
    let request = Request { messages: vec![Message::text(Role::User, "a question of the usual length")], ..Request::default() };
    let mut random = [0; 10];
    random[..8].copy_from_slice(&number.to_be_bytes());
    Run::new(RunId::new(Time(number), random), plan, request, Principal::anonymous(), false, [3; 32], Time(number)).expect("a good plan")
}

fn judged(run: &mut Run) {
    let Want::Guard(input) = run.wants() else { unreachable!("it has one guard") };
    let step = input.step;
    run.handle(Event::Judged { step, result: Ok(Report::of(Verdict::Allow)) }, run.created_at()).expect("it fits");
}
