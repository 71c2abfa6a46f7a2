//! Hostile guards in the real host: whoever is behind one is not let through, whoever is beside one notices nothing.

use crate::host::{Host, aegis, config, free_port};
use aegis_programs::{Ends, Program, TEXT};
use futures::{StreamExt as _, stream};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Short where it is what ends the guest, so that a hundred of them take seconds; long where something else has to end it first, on a busy machine, too.
fn limits(program: Program) -> &'static str {
    match program.ends() {
        Ends::Fails("AEG-GRD-008", _) => "{time: 30ms, load: 500ms}",
        _ => "{time: 2s, load: 500ms}",
    }
}

fn write(program: Program, folder: &Path) -> PathBuf {
    let path = folder.join(program.name()).with_extension("wasm");
    std::fs::write(&path, program.bytes()).expect("the folder is writable");
    path
}

fn name(program: Program) -> String {
    program.name().replace('_', "-")
}

/// The usual configuration, with more guards and more routes.
fn with(guards: &str, routes: &str) -> String {
    let text = config("none").replace("pipeline:", &format!("{guards}pipeline:"));
    text.replace("  default: {provider: fake}\n", &format!("  default: {{provider: fake}}\n{routes}"))
}

/// Each guest twice, on a route of its own: as it is usually configured, and one that lets pass when it fails.
fn closed_and_open(programs: &[Program], folder: &Path) -> String {
    let (mut guards, mut routes) = (String::new(), String::new());
    for program in programs {
        let (name, stage, path) = (name(*program), program.stage(), write(*program, folder));
        for (suffix, on_failure) in [("", "block"), ("-open", "allow")] {
            let (component, limits) = (path.display(), limits(*program));
            let _ = writeln!(guards, "  {name}{suffix}: {{component: {component}, on_failure: {on_failure}, limits: {limits}}}");
            let _ = writeln!(routes, "  {name}{suffix}: {{provider: fake, pipeline: {{ingress: [], {stage}: [{name}{suffix}]}}}}");
        }
    }
    with(&guards, &routes.replace("ingress: [], ingress:", "ingress:"))
}

fn ending_in(fits: fn(Ends) -> bool) -> Vec<Program> {
    Program::ALL.iter().copied().filter(|it| fits(it.ends())).collect()
}

async fn submit(host: &Host, route: &str) -> serde_json::Value {
    host.submit("", TEXT, json!({"route": route})).await
}

/// What becomes of runs through one guest, and of one beside it.
async fn runs_through(host: &Host, program: Program) {
    let name = name(program);
    let open_name = format!("{name}-open");
    let (closed, open, beside) = tokio::join!(submit(host, &name), submit(host, &open_name), submit(host, "default"));
    assert_eq!(beside["status"], "completed", "beside {name}: {beside}");
    match program.ends() {
        Ends::Fails(code, _) => {
            assert_eq!((&closed["status"], &closed["error"]["code"]), (&json!("blocked"), &json!(code)), "{name}: {closed}");
            assert_eq!(closed["error"]["guard"], json!(name), "{closed}");
            assert_eq!((&open["status"], &open["response"]), (&json!("completed"), &json!("the reply")), "{name}: {open}");
            let passed = |it: &serde_json::Value| it["guard"] == json!(open_name) && it["verdict"] == "failed" && it["passed"] == true;
            let events = open["events"].as_array().expect("events");
            assert!(events.iter().any(passed), "nobody says that {name} was let pass: {open}");
        }
        Ends::Judges(_) => assert!(closed["status"] == "completed" || closed["error"]["code"] == "AEG-RUN-008", "{name}: {closed}"),
        Ends::Refused(..) => unreachable!("it does not load"),
    }
}

#[tokio::test]
async fn a_hostile_guard_blocks_its_runs_and_passes_only_where_the_configuration_says_so() {
    let dir = TempDir::new().expect("a temporary folder");
    let programs = ending_in(|it| !matches!(it, Ends::Refused(..)));
    let host = Host::start(&closed_and_open(&programs, dir.path())).await;
    stream::iter(&programs).for_each_concurrent(4, |program| runs_through(&host, *program)).await;
    assert_eq!(host.get("", "/healthz").await.0, 200);
    let (_, guards) = host.get("", "/v1/guards").await;
    let spins = guards["data"].as_array().expect("a list").iter().find(|it| it["name"] == "spins-in-scan").expect("it was loaded");
    assert!(spins.to_string().contains("timeout"), "its health does not tell: {spins}");
}

/// How `aegis serve` ends with this guest configured: exit code and stderr.
fn served(program: Program) -> (Option<i32>, String) {
    let dir = TempDir::new().expect("a temporary folder");
    let guard = format!("  hostile: {{component: {}, limits: {}}}\n", write(program, dir.path()).display(), limits(program));
    std::fs::write(dir.path().join("aegis.yaml"), with(&guard, "")).expect("writable");
    let log = std::fs::File::create(dir.path().join("log")).expect("writable");
    let mut command = aegis(dir.path());
    command.args(["serve", "--no-auth", "--listen", &format!("127.0.0.1:{}", free_port())]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("the binary starts");
    let until = Instant::now() + Duration::from_secs(60);
    let status = loop {
        match child.try_wait().expect("it is our child") {
            Some(status) => break status.code(),
            None if Instant::now() > until => {
                child.kill().and_then(|()| child.wait()).expect("it is our child");
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    (status, std::fs::read_to_string(dir.path().join("log")).expect("its log"))
}

#[test]
fn a_guard_that_cannot_be_loaded_is_refused_at_the_start_with_its_name_and_code() {
    let programs = ending_in(|it| matches!(it, Ends::Refused(..)));
    let check = |program: &Program| {
        let Ends::Refused(code, words) = program.ends() else { return };
        let (status, said) = served(*program);
        assert_eq!(status, Some(1), "{}: {said}", program.name());
        assert!(said.contains(code) && said.contains(words) && said.contains("hostile"), "{}: {said}", program.name());
        assert!(said.len() < 8_000, "{} floods the terminal: {} bytes", program.name(), said.len());
    };
    let (left, right) = programs.split_at(programs.len() / 2);
    std::thread::scope(|scope| {
        let left = scope.spawn(|| left.iter().for_each(check));
        right.iter().for_each(check);
        left.join().expect("no failure on the other half");
    });
}

/// Those that end at once: what is to be seen is what they leave behind, not how long they take.
const CHEAP: [Program; 10] = [
    Program::TrapsInScan,
    Program::TrapsInRealloc,
    Program::TrapsAfterScan,
    Program::ReadsOutsideMemory,
    Program::AnswersOutsideMemory,
    Program::BlocksWithTwoMillionBytes,
    Program::FindsTooMuch,
    Program::EditsInsideACharacter,
    Program::AsksForTimeAndDice,
    Program::Exits,
];

/// A route with all of `programs` in a row, none of which is acted on.
fn watched(programs: &[Program], folder: &Path) -> String {
    let mut guards = String::new();
    for program in programs {
        let _ = writeln!(guards, "  {}: {{component: {}, mode: monitor}}", name(*program), write(*program, folder).display());
    }
    let names: Vec<String> = programs.iter().map(|it| name(*it)).collect();
    with(&guards, &format!("  crowd: {{provider: fake, pipeline: {{ingress: [{}]}}}}\n", names.join(", ")))
}

/// Resident KiB and open files of the host, without the connections of its clients, which come and go.
fn uses(host: &Host) -> (usize, usize) {
    let process = PathBuf::from(format!("/proc/{}", host.pid()));
    let status = std::fs::read_to_string(process.join("status")).expect("it runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    let kib = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    let files = std::fs::read_dir(process.join("fd")).expect("it runs").flatten().filter_map(|it| std::fs::read_link(it.path()).ok());
    (kib, files.filter(|it| !it.to_string_lossy().starts_with("socket:")).count())
}

async fn crowd(host: &Host, runs: usize) {
    stream::iter(0..runs)
        .for_each_concurrent(8, async |_| {
            let run = submit(host, "crowd").await;
            assert_eq!(run["status"], "completed", "{run}");
        })
        .await;
}

#[tokio::test]
async fn ten_thousand_hostile_scans_leave_nothing_behind() {
    let dir = TempDir::new().expect("a temporary folder");
    let host = Host::start(&watched(&CHEAP, dir.path())).await;
    crowd(&host, 200).await; // caches, pools and the store are warm from here on
    let (kib, files) = uses(&host);
    crowd(&host, 10_000 / CHEAP.len()).await;
    let (kib_after, files_after) = uses(&host);
    println!("10 000 hostile scans: {kib} KiB and {files} files before, {kib_after} KiB and {files_after} files after");
    assert_eq!(files_after, files, "files stay open");
    assert!(kib_after < kib + (24 << 10), "{kib} KiB before, {kib_after} KiB after");
}

/// The time within which 99 of 100 runs through the usual guard end, one after the other.
async fn p99(host: &Host) -> Duration {
    let mut took = vec![];
    for _ in 0..300 {
        let begin = Instant::now();
        assert_eq!(submit(host, "default").await["status"], "completed");
        took.push(begin.elapsed());
    }
    took.sort();
    took[took.len() * 99 / 100]
}

/// Printed, not asserted: on a machine that builds something else at the same time, the figure says nothing.
#[tokio::test]
async fn runs_through_other_guards_end_beside_a_spinning_one() {
    let dir = TempDir::new().expect("a temporary folder");
    let host = Host::start(&closed_and_open(&[Program::SpinsInScan], dir.path())).await;
    let usual = p99(&host).await;
    let spin = async {
        loop {
            assert_eq!(submit(&host, "spins-in-scan").await["error"]["code"], "AEG-GRD-008");
        }
    };
    let beside = tokio::select! {
        beside = p99(&host) => beside,
        never = spin => never,
    };
    println!("p99 of a run: {usual:?} usually, {beside:?} beside a guard that always spins");
}
