//! What was acknowledged survives: a process that commits is killed, and everything it said was durable is there.

use aegis_core::{Backoff, Event, Message, OnUnknown, Plan, Principal, Request, Role, Run, RunId, Stages, Time};
use aegis_store::{Access, Page, RunFilter, Runs, Sqlite, Upkeep};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FILE: &str = "AEGIS_CRASH_TEST_FILE";
const ROUNDS: u64 = 20;

fn run(now: Time, random: [u8; 10]) -> Run {
    let plan = Plan {
        route: "default".into(),
        provider: "fake".into(),
        provider_is: None,
        model: String::new(),
        pipeline: Stages::default(),
        attempts: 1,
        backoff: Backoff::default(),
        on_unknown: OnUnknown::Retry,
    };
    let request = Request { messages: vec![Message::text(Role::User, "x".repeat(1000))], ..Request::default() };
    Run::new(RunId::new(now, random), plan, request, Principal::anonymous(), false, [7; 32], now).expect("no approvers are named")
}

/// Creates and moves runs without end, and prints each version once it is durable.
async fn write(file: PathBuf) {
    let store = Arc::new(Sqlite::open(file, Access::Host).expect("a database"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as u64;
    let writers = (0..8_u8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0_u64.. {
                let mut random = [writer; 10];
                random[2..].copy_from_slice(&n.to_be_bytes());
                random[9] = writer;
                let mut run = run(Time(now + n), random);
                store.run_create(run.commit()).await.expect("a new run");
                println!("durable {} 1", run.id());
                run.handle(Event::Cancelled { by: Principal::anonymous() }, Time(now + n)).expect("a run under way");
                store.run_commit(run.commit()).await.expect("nobody else moves it");
                println!("durable {} 2", run.id());
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic");
    }
}

/// Starts a process that writes, kills it after `delay`, and returns the versions that it said were durable.
fn killed(file: &Path, delay: Duration) -> BTreeMap<RunId, u64> {
    let mut command = Command::new(std::env::current_exe().expect("this test has a file"));
    command.args(["--exact", "acknowledged_commits_survive_a_kill", "--nocapture"]).env(FILE, file);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a process");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let reader = std::thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        let versions = lines.filter_map(|line| {
            let (id, version) = line.strip_prefix("durable ")?.split_once(' ')?;
            // The last line may be cut.
            Some((id.parse().ok()?, version.parse().ok()?))
        });
        versions.collect()
    });
    std::thread::sleep(delay);
    child.kill().expect("it runs until it is killed");
    child.wait().expect("it ends");
    reader.join().expect("no panic")
}

/// In the process that is killed this writes; in the one that was asked for, it kills and looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_commits_survive_a_kill() {
    if let Some(file) = std::env::var_os(FILE) {
        return write(file.into()).await;
    }
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos() as u64;
    println!("seed {seed}");
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("test.db");
    let (mut durable, mut random) = (BTreeMap::new(), seed | 1);
    for round in 1..=ROUNDS {
        // Xorshift: this only has to differ.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        durable.extend(killed(&file, Duration::from_millis(20 + random % 180)));
        let store = Sqlite::open(&file, Access::Host).expect("it opens after a kill");
        for (id, version) in &durable {
            let run = store.run_fetch(*id).await.expect("an answer").unwrap_or_else(|| panic!("round {round}, seed {seed}: {id} is lost"));
            assert!(run.version() >= *version, "round {round}, seed {seed}: version {version} of {id} is lost");
        }
        let report = store.check().await.expect("a report");
        assert_eq!(report.faults, Vec::<String>::new(), "round {round}, seed {seed}");
        let open = store.run_claim(usize::MAX).await.expect("claims");
        assert!(open.iter().all(|id| durable.get(id) != Some(&2)), "round {round}, seed {seed}: a run that is over was claimed");
    }
    let store = Sqlite::open(&file, Access::Command).expect("it opens");
    let some = store.run_list(&RunFilter::default(), &Page { limit: 1, after: None }).await.expect("a page");
    assert!(durable.len() > 100 && some.data.len() == 1, "seed {seed}: the processes wrote too little: {}", durable.len());
}
