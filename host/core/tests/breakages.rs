//! The test of the test: each breakage below, made in a copy of the core or of the rules by which hosts share a store, has to be caught by the
//! simulated world. Every copy is compiled once with a switch around each broken expression, so that sixty breakages cost one build.

#![expect(clippy::disallowed_methods, reason = "the core does no I/O, but this test writes copies of it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Worlds within which each breakage has to be caught.
const WORLDS: &str = "8000";

/// Where the worlds have told what hosts share: a store breaks there as it would in SQL.
const HOSTS: &str = "tests/sim/world/hosts";

/// In one file: where, with the expression in ⟦brackets⟧, and what stands there instead.
type Change = (&'static str, &'static str, &'static str);

/// What is broken, and how. Each text has to be there exactly once.
const BREAKAGES: &[(&str, &[Change])] = &[
    (
        "a guard that failed lets pass",
        &[("ledger", "passed: false, .. } => ⟦blocked(Some(*kind))⟧", "{ let _ = kind; judging(plan, stage, guard + 1) }")],
    ),
    ("a block goes on", &[("ledger", "Ruling::Block { .. } => ⟦blocked(None)⟧", "judging(plan, stage, guard + 1)")]),
    ("egress is skipped", &[("ledger", "Stage::ToolCall => ⟦judging(plan, Stage::Egress, 0)⟧", "Phase::Done(Outcome::Completed)")]),
    (
        "tool calls are not judged",
        &[("ledger", "Finish::Reply { .. } => ⟦judging(plan, Stage::ToolCall, 0)⟧", "judging(plan, Stage::Egress, 0)")],
    ),
    ("tool results are not judged", &[("ledger", "⟦judging(plan, Stage::ToolResult, 0)⟧", "Phase::Calling { attempt: 1 }")]),
    (
        "a denial goes on",
        &[(
            "ledger",
            "⟦Phase::Done(Outcome::Denied { approval, by: Some(by.clone()), comment: comment.clone() })⟧",
            "judging(plan, stage, guard + 1)",
        )],
    ),
    (
        "the guard that asked runs again",
        &[("ledger", "Choice::Approved => ⟦judging(plan, stage, guard + 1)⟧", "judging(plan, stage, guard)")],
    ),
    (
        "the guard after the one that asked is skipped",
        &[("ledger", "Choice::Approved => ⟦judging(plan, stage, guard + 1)⟧", "judging(plan, stage, guard + 2)")],
    ),
    ("the first approval is enough", &[("ledger", "Choice::Approved if ⟦missing > 1⟧", "false")]),
    ("what a person wrote is not judged", &[("ledger", "Choice::Approved if ⟦edited.is_some()⟧", "false")]),
    ("an interrupted call does not count", &[("ledger", "plan.attempts => Phase::Calling { attempt: ⟦attempt + 1⟧ }", "*attempt")]),
    ("interruptions retry for ever", &[("ledger", "OnUnknown::Retry if ⟦*attempt < plan.attempts⟧", "true")]),
    ("an unknown outcome is retried all the same", &[("ledger", "if attempt == of => match ⟦plan.on_unknown⟧", "OnUnknown::Retry")]),
    ("a failed call does not count", &[("ledger", "Phase::Backoff { attempt: ⟦attempt + 1⟧", "*attempt")]),
    (
        "a final run moves",
        &[
            ("ledger", "let next = match (phase, fact) {\n        (Phase::Done(_), _) => ⟦return None⟧", "phase.clone()"),
            (
                "run",
                "(Phase::Done(_), _) => ⟦return Err(Refused::Illegal)⟧",
                "Fact::Expired { approval: ApprovalId { run: self.id, number: 1 } }",
            ),
        ],
    ),
    ("one attempt too many", &[("run/facts", ".filter(|_| ⟦attempt < self.plan.attempts⟧)", "attempt <= self.plan.attempts")]),
    ("calls fail for ever", &[("run/facts", ".filter(|_| ⟦attempt < self.plan.attempts⟧)", "true")]),
    ("a late judgement is taken in", &[("run", "Event::Judged { step, result }) if ⟦step == self.step()⟧", "{ let _ = step; true }")]),
    ("a late answer is taken in", &[("run", "Event::Answered { step, result }) if ⟦step == self.step()⟧", "{ let _ = step; true }")]),
    ("time goes back", &[("run", "let now = ⟦now.max(self.updated_at)⟧;\n        let fact", "now")]),
    ("the clock decides whether a question has expired", &[("run", "let now = ⟦now.max(self.updated_at)⟧;\n        let asked", "now")]),
    ("an expired question is decided", &[("run/facts", "|| ⟦now >= open.expires_at⟧", "false")]),
    ("an expired question can be decided on", &[("run", "_ if ⟦now >= open.expires_at⟧ => Err(Refused::Expired)", "false")]),
    ("a question expires early", &[("run", "Event::TimePassed) if ⟦now >= *expires_at⟧", "true")]),
    ("a back-off ends early", &[("run", "Event::TimePassed) if ⟦now >= *until⟧", "true")]),
    ("a decision counts twice", &[("run/facts", "|| ⟦open.decisions.iter().any(|it| it.by == decision.by)⟧", "false")]),
    (
        "a decision on another question counts",
        &[
            ("run/facts", "if ⟦open.id != decision.approval⟧", "false"),
            ("ledger", "Fact::Decided { approval: about, .. }) if ⟦approval == about⟧", "true"),
        ],
    ),
    ("anybody decides", &[("run", "if ⟦!asked.map_or_else(|| self.entitles(who), |asked| asked.entitles(who))⟧", "false")]),
    ("the wrong digest decides", &[("run", "_ if ⟦digest.is_some_and(|digest| digest != open.digest)⟧", "false")]),
    ("a repeated decision is a conflict", &[("run", "if ⟦mine.is_some_and(|mine| mine.choice == choice) && approval.is_some()⟧", "false")]),
    ("the creator decides although it may not", &[("decision", "⟦self.excluded.as_ref() != Some(&who.id)⟧", "true")]),
    ("nobody is excluded", &[("run/approvers", "⟦(!guard.approval.self_approval)⟧.then_some", "false")]),
    (
        "one of several lists is enough",
        &[(
            "decision",
            "⟦lists.iter().all(|list| list.iter().any(|it| names.contains(it)))⟧",
            "lists.iter().any(|list| list.iter().any(|it| names.contains(it)))",
        )],
    ),
    ("a guard's list does not narrow", &[("run/approvers", "⟦asked.map_err(|error: crate::ApproverError| error.to_string())?⟧", "vec![]")]),
    (
        "the request's list does not narrow",
        &[(
            "run/approvers",
            "guard.approval.approvers.clone(),\n            ⟦self.request.approvers.clone()⟧,\n            asked",
            "vec![]",
        )],
    ),
    (
        "a guard cannot raise the quorum",
        &[("run/approvers", "⟦guard.approval.required.max(asked).max(1)⟧", "guard.approval.required.max(1)")],
    ),
    (
        "a question that nobody can answer is asked",
        &[("run/content", "⟦unreachable(&lists, required, self.excluded(guard))⟧.map_or", "None::<String>")],
    ),
    (
        "a run that nobody can approve begins",
        &[("run", "= ⟦unreachable(&lists, required(guard, 0), run.excluded(guard))⟧", "None::<String>")],
    ),
    ("the digest does not cover the request", &[("run/approvers", "⟦&request.0⟧,", "&request.0[..0]")]),
    ("the digest does not cover the reply", &[("run/approvers", "⟦&reply⟧,", "&reply[..0]")]),
    ("the digest does not cover the plan", &[("run/approvers", "⟦&self.plan.digest().0⟧,", "&[]")]),
    (
        "the digest does not cover the guard",
        &[
            ("run/approvers", "⟦guard.name.as_bytes()⟧,", "&[]"),
            ("run/approvers", "⟦&guard.component.0⟧,", "&[]"),
            ("run/approvers", "⟦&guard.settings.0⟧,", "&[]"),
        ],
    ),
    ("tools are not part of the content", &[("run", "&(&self.request.messages, ⟦&self.request.tools⟧,", "&self.request.tools[..0]")]),
    ("several edits are made at wrong bytes", &[("run/content", "from = ⟦edit.end as usize⟧", "edit.start as usize")]),
    ("a guard's edit is lost", &[("run/facts", "⟦self.edit(&edits)⟧;\n                Ruling::Sanitize", "()")]),
    ("a person's edit is lost", &[("run/facts", "⟦self.edit(edits)⟧;\n        if choice", "()")]),
    ("what came in is not kept", &[("run/content", "⟦self.keep_original(at)⟧;", "()")]),
    (
        "what stood before the last edit is taken for what came in",
        &[("run/again", "if ⟦self.originals.iter().any(|it| it.at == at)⟧", "{ self.originals.retain(|it| it.at != at); false }")],
    ),
    ("what a person wrote is not kept", &[("run/facts", "if ⟦edited.is_some()⟧ {\n            self.rewritten", "false")]),
    ("another verdict passes for the same", &[("run/again", "if ⟦!same(&fact, &entry.fact)⟧ &&", "false")]),
    ("what was edited counts as judged", &[("run/content", "⟦self.revisions[message as usize] += edits.len() as u32⟧", "()")]),
    (
        "what a guard asked about counts as judged",
        &[("run/facts", "if ⟦looked && matches!(ruling, Ruling::Allow | Ruling::Sanitize { .. } | Ruling::Monitored { .. })⟧", "true")],
    ),
    ("a guard that failed has looked", &[("run/facts", "if ⟦looked⟧ && matches!", "true")]),
    (
        "what people approved is judged again",
        &[("run/facts", "if ⟦choice == Choice::Approved && edits.is_empty() && missing <= 1⟧", "false")],
    ),
    ("one of several approvals counts as a judgement", &[("run/facts", "edits.is_empty() && ⟦missing <= 1⟧", "true")]),
    ("a monitored guard acts", &[("run/facts", "if ⟦guard.mode == Mode::Monitor⟧", "false")]),
    ("a monitored guard's failure blocks", &[("run/facts", "match ⟦guard.mode⟧ {", "Mode::Enforce")]),
    (
        "labels of a monitored guard leak",
        &[("run/facts", "if ⟦guard.mode == Mode::Monitor⟧", "{ self.labels.extend(report.labels.clone()); guard.mode == Mode::Monitor }")],
    ),
    ("on_failure: allow blocks", &[("run/facts", "passed: ⟦guard.on_failure == OnFailure::Allow⟧", "false")]),
    ("every failure is allowed", &[("run/facts", "passed: ⟦guard.on_failure == OnFailure::Allow⟧", "true")]),
    (
        "memory of another guard",
        &[("run/content", "memory: ⟦self.memory.get(&guard.name).map(String::as_str)⟧", "self.memory.values().next().map(String::as_str)")],
    ),
    ("other roles are tool results", &[("run/content", "!holds(index) && ⟦self.request.messages[index].role == Role::Tool⟧", "true")]),
    ("words are not kept", &[("run/words", "⟦self.words.insert(self.history.len() as u32 + 1, words)⟧;", "Some(words)")]),
    ("words are kept at another entry", &[("run/words", "self.words.insert(⟦self.history.len() as u32 + 1⟧, words)", "1")]),
    (
        "the digest of words does not cover them",
        &[("run/words", "self.salted(&[b\"words\", ⟦words.as_bytes()⟧])", "&words.as_bytes()[..0]")],
    ),
    ("digests can be guessed", &[("run/approvers", "new_from_slice(⟦&self.salt.0⟧)", "&[0; 32]")]),
    ("what happened is not recorded", &[("run", "⟦self.record(fact)⟧;\n        Ok(())", "drop(fact)")]),
    ("the version stands still", &[("run", "⟦self.version += 1⟧;", "()")]),
    (
        "a commit leaves entries out",
        &[(
            "run",
            "let entries = ⟦self.history[self.history.len() - self.uncommitted()..].to_vec()⟧",
            "self.history.last().cloned().into_iter().collect()",
        )],
    ),
    ("the reply is read before egress", &[("run", ".filter(|_| ⟦self.phase == Phase::Done(Outcome::Completed)⟧)", "true")]),
    (
        "a call is made before it is durable",
        &[(
            "run",
            "let outside = ⟦!matches!(self.phase, Phase::Judging { .. })⟧",
            "!matches!(self.phase, Phase::Judging { .. } | Phase::Calling { .. })",
        )],
    ),
    (
        "a back-off is forgotten",
        &[(
            "run",
            "let outside = ⟦!matches!(self.phase, Phase::Judging { .. })⟧",
            "!matches!(self.phase, Phase::Judging { .. } | Phase::Backoff { .. })",
        )],
    ),
    ("a decision is not kept", &[("run", "(outside || ⟦decided⟧)", "false")]),
    ("a guard edits where it may not", &[("run/content", "_ if ⟦!self.may_edit(edit.at, stage, view)⟧", "false")]),
    (
        "a person's edits are not checked",
        &[("run", "⟦self.check_edits(&edits, open.stage, &self.whole(open.stage)).map_err(Refused::Edits)?⟧", "()")],
    ),
    (
        "edits overlap",
        &[("run/content", "pair[0].at == pair[1].at && ⟦(pair[1].start < pair[0].end || pair[1].start == pair[0].start)⟧", "false")],
    ),
    ("findings are not checked", &[("run/content", "⟦check_range(text, finding.at, finding.start, finding.end)?⟧", "()")]),
    ("a U+0000 is written", &[("run/content", "_ if ⟦edit.text.contains('\\0')⟧", "false")]),
    ("a provider's long pause is waited for", &[("plan", "⟦(pause <= self.longest)⟧.then_some", "true")]),
    ("a provider's pause is ignored", &[("plan", "⟦retry_after.unwrap_or(0)⟧", "0")]),
    ("a commit is not made again as it was", &[("run", "self.history[⟦earlier.map_or(0, |it| it + 1)⟧..]", "self.history.len() - 1")]),
    ("a host without a seat writes", &[(HOSTS, "⟦self.taken.contains_key(&seat)⟧", "true")]),
    ("leases are compared with the host's own clock", &[(HOSTS, "self.seats.bury(⟦self.seats.clock⟧)", "self.machine_of(host)")]),
    ("hosts go by their own clocks", &[(HOSTS, "(it.measured, it.was_set) = (⟦it.skew + wrong⟧, false)", "wrong")]),
    ("who has just come back takes others for dead", &[(HOSTS, "let steady = ⟦clock - it.since > LEASE⟧", "true")]),
    ("the dead are forgotten before all was taken over", &[(HOSTS, "retain(|it| ⟦owners.contains(it)⟧)", "false")]),
    ("what is handed to the host that drives it is not looked after", &[(HOSTS, "if ⟦!lost⟧ {", "!lost && !driven")]),
    ("a claim whose answer was lost is forgotten", &[(HOSTS, "host.claim_in_doubt = ⟦lost && claimed > 0⟧", "false")]),
    ("a claim that nobody waits for any more finds something", &[(HOSTS, "let in_time = ⟦self.seats.clock < until⟧", "true")]),
    ("a first commit whose answer was lost is forgotten", &[(HOSTS, "⟦self.hosts[self.host].doubtful.insert(run)⟧;", "false")]),
];

/// A change, found: the bytes of the expression, the number of its breakage, what stands there instead.
struct Site {
    start: usize,
    end: usize,
    number: usize,
    instead: &'static str,
}

type Sources = BTreeMap<&'static str, String>;

#[test]
fn every_breakage_of_the_core_is_caught() {
    let files = BREAKAGES.iter().flat_map(|it| it.1).map(|it| it.0);
    let sources: Sources = files.map(|it| (it, fs::read_to_string(crate_dir().join(source(it))).expect("a source can be read"))).collect();
    let mut missed = vec![];
    for (copy, numbers) in rounds(&sources).iter().enumerate() {
        let program = build(copy, numbers, &sources);
        let sound = run(&program, None);
        assert!(sound.status.success(), "the copy fails although nothing in it is broken: {}", told(&sound));
        let next = AtomicUsize::new(0);
        let work = || {
            let take = || numbers.get(next.fetch_add(1, Ordering::Relaxed));
            std::iter::from_fn(take).filter(|it| !is_caught(&run(&program, Some(**it)))).map(|it| BREAKAGES[*it].0).collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            let threads = [scope.spawn(work), scope.spawn(work)];
            missed.extend(threads.into_iter().flat_map(|it| it.join().expect("a thread that only waits")));
        });
    }
    assert!(missed.is_empty(), "the simulation does not notice: {missed:#?}");
}

/// Caught by a world, not by anything else that may go wrong.
fn is_caught(output: &Output) -> bool {
    !output.status.success() && told(output).contains("AEGIS_SEED=")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// In `src`, or in the simulation itself.
fn source(file: &str) -> String {
    if file.starts_with("tests/") { format!("{file}.rs") } else { format!("src/{file}.rs") }
}

fn site(sources: &Sources, number: usize, change: &Change) -> Site {
    let (file, find, instead) = *change;
    let (before, rest) = find.split_once('⟦').expect("brackets");
    let (broken, after) = rest.split_once('⟧').expect("brackets");
    let (name, text) = (BREAKAGES[number].0, [before, broken, after].concat());
    let found: Vec<usize> = sources[file].match_indices(&text).map(|it| it.0).collect();
    let [at] = found[..] else {
        panic!("{name:?}: {text:?} is {} times in {file}.rs instead of once: write the breakage anew", found.len())
    };
    Site { start: at + before.len(), end: at + before.len() + broken.len(), number, instead }
}

/// Breakages that can share one copy: their expressions do not overlap.
fn rounds(sources: &Sources) -> Vec<Vec<usize>> {
    let spans = |number: usize| BREAKAGES[number].1.iter().map(move |it| (it.0, site(sources, number, it)));
    let apart =
        |a: usize, b: usize| spans(a).all(|(file, a)| spans(b).all(|(other, b)| file != other || a.end <= b.start || b.end <= a.start));
    let mut rounds: Vec<Vec<usize>> = vec![];
    for number in 0..BREAKAGES.len() {
        match rounds.iter_mut().find(|it| it.iter().all(|other| apart(*other, number))) {
            Some(round) => round.push(number),
            None => rounds.push(vec![number]),
        }
    }
    rounds
}

/// Compiles a copy of this crate in which `AEGIS_BROKEN=number` chooses what is broken, and gives its simulation.
fn build(copy: usize, numbers: &[usize], sources: &Sources) -> PathBuf {
    let root = crate_dir().join("../..");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("breakages-{copy}"));
    let read = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let manifest = read(root.join("Cargo.toml"));
    let members = manifest.lines().find(|it| it.starts_with("members = ")).expect("the workspace has members");
    // Cargo tells crates apart by their folder below the workspace: a copy in `host/core` would be taken for the core itself.
    let name = format!("copy-{copy}");
    write(&home.join("Cargo.toml"), &manifest.replace(members, &format!("members = [{name:?}]")).replace("opt-level = 3", "opt-level = 1"));
    write(&home.join(&name).join("Cargo.toml"), &read(crate_dir().join("Cargo.toml")));
    if !home.join("Cargo.lock").exists() {
        write(&home.join("Cargo.lock"), &read(root.join("Cargo.lock")));
    }
    for folder in ["src", "src/run", "tests/sim", "tests/sim/world"] {
        let entries = fs::read_dir(crate_dir().join(folder)).expect("a folder can be read").map(|it| it.expect("an entry can be read"));
        for file in entries.filter(|it| it.path().extension().is_some()) {
            let path = Path::new(folder).join(file.file_name());
            let named = path.with_extension("");
            let named = named.strip_prefix("src").unwrap_or(&named).to_str().unwrap_or_default();
            let text = match sources.get(named) {
                Some(text) => with_switches(named, text, numbers, sources),
                None => {
                    read(crate_dir().join(&path)) + if path.ends_with("src/lib.rs") || path.ends_with("sim/main.rs") { SWITCH } else { "" }
                }
            };
            write(&home.join(&name).join(path), &text);
        }
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target folder");
    let cargo = Command::new(env!("CARGO"))
        .args(["test", "--offline", "--no-run", "--quiet", "--test", "sim", "--message-format", "json-render-diagnostics", "--target-dir"])
        .arg(target)
        .current_dir(home.join(&name))
        .output()
        .expect("cargo runs");
    assert!(cargo.status.success(), "the copy does not compile: {}", told(&cargo));
    let lines = String::from_utf8(cargo.stdout).expect("JSON is UTF-8");
    let made = lines.lines().filter_map(|it| serde_json::from_str::<serde_json::Value>(it).ok());
    let program = made.filter_map(|it| it["executable"].as_str().map(PathBuf::from)).next_back();
    program.expect("cargo says where the program is")
}

const SWITCH: &str = r#"
pub(crate) fn broken(number: usize) -> bool {
    static WHICH: std::sync::OnceLock<Option<usize>> = std::sync::OnceLock::new();
    *WHICH.get_or_init(|| std::env::var_os("AEGIS_BROKEN")?.to_str()?.parse().ok()) == Some(number)
}
"#;

fn with_switches(file: &str, text: &str, numbers: &[usize], sources: &Sources) -> String {
    let changes = numbers.iter().flat_map(|number| BREAKAGES[*number].1.iter().map(move |it| (*number, it)));
    let mut sites: Vec<Site> = changes.filter(|it| it.1.0 == file).map(|(number, it)| site(sources, number, it)).collect();
    sites.sort_by_key(|it| it.start);
    let (mut out, mut done) = (String::new(), 0);
    for Site { start, end, number, instead } in sites {
        out += &text[done..start];
        let kept = &text[start..end];
        write!(out, "(if crate::broken({number}) {{ {instead} }} else {{ {kept} }})").expect("a string takes it");
        done = end;
    }
    out + &text[done..]
}

/// Only what has changed, so that cargo does not compile the same copy again.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|it| it == text) {
        return;
    }
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder can be made");
    fs::write(path, text).expect("a file can be written");
}

fn run(program: &Path, broken: Option<usize>) -> Output {
    let mut command = Command::new(program);
    command.env("AEGIS_WORLDS", WORLDS).env("RUST_BACKTRACE", "0").env_remove("AEGIS_SEED").env_remove("AEGIS_BROKEN");
    command.envs(broken.map(|it| ("AEGIS_BROKEN", it.to_string()))).output().expect("the simulation runs")
}
