//! The sandbox with guests that are small, hostile or both.

mod hostile;
mod program;
mod random;
mod streams;

use aegis_core::*;
use aegis_wasm::*;
use program::{Program, scan};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

/// One for all tests: every sandbox reserves terabytes of address space.
static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(Options { instances: 8, ..Options::default() }).expect("a sandbox"));

fn source(bytes: Vec<u8>, settings: Value) -> Source {
    let limits = Limits { time: Duration::from_millis(100), load_time: Duration::from_millis(200), ..Limits::default() };
    Source { name: "program".into(), bytes: bytes.into(), settings, limits }
}

fn load(bytes: Vec<u8>) -> Arc<LoadedGuard> {
    SANDBOX.load(source(bytes, json!({})), &|_| ()).expect("a guard that can be loaded")
}

fn refused(source: Source) -> LoadError {
    SANDBOX.load(source, &|_| ()).err().expect("a guard that cannot be loaded")
}

/// Owns what an input borrows.
struct Conversation {
    guard: Guard,
    principal: Principal,
    metadata: BTreeMap<String, String>,
    tools: Vec<Tool>,
    messages: Vec<Message>,
    run: RunId,
}

impl Conversation {
    fn new(text: &str) -> Conversation {
        let digest = Digest::of(b"");
        let (mode, on_failure, approval) = (Mode::default(), OnFailure::default(), ApprovalRule::default());
        let guard =
            Guard { name: "program".into(), component: digest, settings: digest, scope: Scope::Message, mode, on_failure, approval };
        Conversation {
            guard,
            principal: Principal::anonymous(),
            metadata: BTreeMap::new(),
            tools: vec![],
            messages: vec![Message::text(Role::User, text)],
            run: RunId::new(Time(1_790_000_000_000), [7; 10]),
        }
    }

    fn input(&self) -> Input<'_> {
        Input {
            step: 1,
            guard: &self.guard,
            stage: Stage::Ingress,
            run: self.run,
            route: "default",
            model: "model",
            principal: &self.principal,
            time: Time(1_790_000_000_000),
            metadata: &self.metadata,
            context: vec![],
            labels: &[],
            memory: None,
            tools: &self.tools,
            messages: self.messages.iter().collect(),
        }
    }
}

async fn ask(guard: &LoadedGuard, text: &str) -> Result<Report, GuardFailure> {
    guard.scan(&Conversation::new(text).input()).await
}

fn verdict(result: Result<Report, GuardFailure>) -> Verdict {
    result.expect("a report").verdict
}

/// Blocks, and the reason is the text that lies at `$at`, `$len`.
const BLOCK: &str = "(i32.store8 (i32.const 516) (i32.const 2)) (i32.store (i32.const 520) (global.get $at)) (i32.store (i32.const 524) (global.get $len)) (i32.const 512)";
const GLOBALS: &str = "(global $at (mut i32) (i32.const 0)) (global $len (mut i32) (i32.const 0))";
const KEEP_SETTINGS: &str = "(global.set $at (local.get $at)) (global.set $len (local.get $len)) (i32.const 256)";
const SPIN: &str = "(loop $spin (br $spin)) (unreachable)";
const GREEDY: &str = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";

fn echo_settings(more: &'static str) -> Vec<u8> {
    Program { scan: BLOCK, configure: KEEP_SETTINGS, more, schema: "{}", ..Program::default() }.build()
}

#[tokio::test]
async fn a_guard_that_allows_allows() {
    let guard = load(scan("(i32.const 512)"));
    assert_eq!(ask(&guard, "hello").await, Ok(Report::of(Verdict::Allow)));
    assert_eq!(guard.snapshot(), Ok(()));
    assert_eq!(guard.manifest().stages, [Stage::Ingress]);
    assert_eq!((guard.manifest().name.as_str(), guard.manifest().version.as_str()), ("program", "1.2.3"));
    assert!(guard.imports().is_empty());
    assert_eq!(guard.health().scans, 1);
    assert_eq!(guard.settings(), Digest::of(b"{}"));
}

#[tokio::test]
async fn a_guard_sees_the_text_it_is_handed() {
    const FIRST_TEXT: &str = "(local $part i32) \
        (local.set $part (i32.load offset=4 (i32.load offset=108 (local.get $input)))) \
        (i32.store8 (i32.const 516) (i32.const 2)) \
        (i32.store (i32.const 520) (i32.load offset=4 (local.get $part))) \
        (i32.store (i32.const 524) (i32.load offset=8 (local.get $part))) (i32.const 512)";
    let guard = load(scan(FIRST_TEXT));
    for text in ["hello", "", "Grüße 🏦"] {
        assert_eq!(verdict(ask(&guard, text).await), Verdict::Block(text.into()));
    }
}

#[tokio::test]
async fn every_way_to_fail_is_told_apart() {
    let declined = "(i32.store8 (i32.const 512) (i32.const 1)) (i32.store (i32.const 516) (i32.const 16)) (i32.store (i32.const 520) (i32.const 7)) (i32.const 512)";
    let huge = "(i32.store8 (i32.const 516) (i32.const 2)) (i32.store (i32.const 520) (i32.const 8192)) (i32.store (i32.const 524) (i32.const 2000000)) (i32.const 512)";
    let many = "(i32.store (i32.const 540) (i32.const 8192)) (i32.store (i32.const 544) (i32.const 100000)) (i32.const 512)";
    let no_verdict = "(i32.store8 (i32.const 516) (i32.const 9)) (i32.const 512)";
    let outside = "(i32.store8 (i32.const 516) (i32.const 2)) (i32.store (i32.const 520) (i32.const -8)) (i32.store (i32.const 524) (i32.const 7)) (i32.const 512)";
    let no_text = "(i32.store8 (i32.const 516) (i32.const 2)) (i32.store (i32.const 520) (i32.const 8192)) (i32.store8 (i32.const 8192) (i32.const 255)) (i32.store (i32.const 524) (i32.const 1)) (i32.const 512)";
    let cases: [(&str, &str, &str); 11] = [
        ("declined", "", declined),
        ("trap", "", "(unreachable)"),
        ("trap", "", "(i32.load (i32.const -4))"),
        ("timeout", "", SPIN),
        ("memory", "", GREEDY),
        (
            "memory",
            "(table $t 1 funcref)",
            "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) (unreachable)",
        ),
        (
            "memory",
            "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))",
            "(call $deep (i32.const 1))",
        ),
        ("output", "", huge),
        ("output", "", many),
        ("contract", "", no_verdict),
        ("contract", "", no_text),
    ];
    for (kind, more, scan) in cases {
        let guard = load(Program { scan, more, ..Program::default() }.build());
        let failure = ask(&guard, "hello").await.expect_err(scan);
        assert_eq!(guard.health().failures[kind], 1, "{scan}: {failure}");
        assert_eq!(guard.health().last_failure, Some(failure));
    }
    let guard = load(scan(outside));
    assert!(matches!(ask(&guard, "hello").await, Err(GuardFailure::Contract(_) | GuardFailure::Trap(_))));
    let guard = load(scan(declined));
    assert_eq!(ask(&guard, "hello").await, Err(GuardFailure::Declined("program".into())));
}

#[tokio::test]
async fn too_much_input_never_reaches_the_guard() {
    let guard = load(scan("(unreachable)"));
    assert!(matches!(ask(&guard, &"x".repeat(5 << 20)).await, Err(GuardFailure::Declined(_))));
}

/// On one thread: whoever blocks it stops everyone.
#[tokio::test(flavor = "current_thread")]
async fn a_spinning_guard_lets_others_work_and_ends_at_its_limit() {
    let (spins, allows) = (load(scan(SPIN)), load(scan("(i32.const 512)")));
    let spinning = tokio::spawn(async move {
        let begin = Instant::now();
        (ask(&spins, "hello").await, begin.elapsed())
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut beside = 0;
    while !spinning.is_finished() {
        assert_eq!(verdict(ask(&allows, "hello").await), Verdict::Allow);
        beside += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (result, took) = spinning.await.expect("no panic");
    assert_eq!(result, Err(GuardFailure::Timeout));
    assert!(beside >= 5, "only {beside} scans beside it");
    assert!((Duration::from_millis(50)..Duration::from_secs(2)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_full_sandbox_is_waited_for() {
    let spins = load(scan(SPIN));
    let crowd: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn({
                let spins = spins.clone();
                async move { ask(&spins, "hello").await }
            })
        })
        .collect();
    for one in crowd {
        assert_eq!(one.await.expect("no panic"), Err(GuardFailure::Timeout));
    }
    assert_eq!(verdict(ask(&load(scan("(i32.const 512)")), "hello").await), Verdict::Allow);
}

#[tokio::test]
async fn a_scan_that_nobody_waits_for_gives_its_place_back() {
    let spins = load(scan(SPIN));
    for _ in 0..20 {
        let _ = tokio::time::timeout(Duration::from_millis(2), ask(&spins, "hello")).await;
    }
    assert_eq!(verdict(ask(&load(scan("(i32.const 512)")), "hello").await), Verdict::Allow);
}

#[tokio::test]
async fn nothing_of_one_scan_is_left_for_the_next() {
    let once = "(if (global.get $seen) (then (unreachable))) (if (i32.load (i32.const 100000)) (then (unreachable))) \
                (global.set $seen (i32.const 1)) (i32.store (i32.const 100000) (i32.const 1)) (i32.const 512)";
    let guard = load(Program { scan: once, more: "(global $seen (mut i32) (i32.const 0))", ..Program::default() }.build());
    for _ in 0..20 {
        assert_eq!(verdict(ask(&guard, "hello").await), Verdict::Allow);
    }
}

#[tokio::test]
async fn settings_are_there_with_and_without_a_snapshot() {
    let settings = json!({"b": "x\"\\\u{1}", "a": [1, 2.5]});
    let snapshot = SANDBOX.load(source(echo_settings(GLOBALS), settings.clone()), &|_| ()).expect("a guard");
    const NO_SNAPSHOT: &str = "(global $at (mut i32) (i32.const 0)) (global $len (mut i32) (i32.const 0)) \
        (table $t 1 funcref) (func $never (table.set $t (i32.const 0) (ref.null func)))";
    let plain = SANDBOX.load(source(echo_settings(NO_SNAPSHOT), settings.clone()), &|_| ()).expect("a guard");
    assert_eq!(snapshot.snapshot(), Ok(()));
    assert_eq!(plain.snapshot(), Err("unsupported `table.set` instruction"));
    for guard in [snapshot, plain] {
        for _ in 0..3 {
            assert_eq!(verdict(ask(&guard, "hello").await), Verdict::Block(settings.to_string()));
        }
        assert_eq!(guard.settings(), Digest::of(settings.to_string().as_bytes()));
    }
}

#[test]
fn settings_are_refused_by_the_schema_and_by_configure() {
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}"#;
    let no = "(i32.store8 (i32.const 256) (i32.const 1)) (i32.store (i32.const 260) (i32.const 16)) (i32.store (i32.const 264) (i32.const 7)) (i32.const 256)";
    let guard = Program { configure: no, schema, ..Program::default() }.build();
    let LoadError::Settings(mistakes) = refused(source(guard.clone(), json!({"n": "x", "m": 1}))) else { panic!("other error") };
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert_eq!(refused(source(guard.clone(), json!({"n": 1}))), LoadError::Settings(vec!["program".into()]));
    assert_eq!(refused(source(guard, json!({"n": 1}))).code(), Code::GRD_SETTINGS);
    let error = refused(source(scan("(i32.const 512)"), json!({"n": 1})));
    assert_eq!(error, LoadError::Settings(vec!["this guard takes no settings".into()]));
}

#[test]
fn a_guard_that_misbehaves_at_load_is_refused_in_time() {
    let cases: [(&str, &str, &str, GuardFailure); 5] = [
        ("describe", SPIN, "(i32.const 256)", GuardFailure::Timeout),
        ("describe", GREEDY, "(i32.const 256)", GuardFailure::Memory),
        ("configure", "(i32.const 64)", SPIN, GuardFailure::Timeout),
        ("configure", "(i32.const 64)", GREEDY, GuardFailure::Memory),
        ("configure", "(i32.const 64)", "(unreachable)", GuardFailure::Trap("wasm trap: wasm `unreachable` instruction executed".into())),
    ];
    for (step, describe, configure, failure) in cases {
        let guard = Program { describe, configure, ..Program::default() }.build();
        assert_eq!(refused(source(guard, json!({}))), LoadError::Failed { step, failure });
    }
}

#[test]
fn a_manifest_that_cannot_be_is_refused() {
    let nameless = Program { describe: "(i32.store (i32.const 68) (i32.const 0)) (i32.const 64)", ..Program::default() }.build();
    assert!(matches!(refused(source(nameless, json!({}))), LoadError::Manifest(ManifestError::Text { what: "the name", .. })));
    let bad_schema = Program { schema: r#"{"type": 7}"#, ..Program::default() }.build();
    assert!(matches!(refused(source(bad_schema, json!({}))), LoadError::Manifest(ManifestError::Schema(_))));
}

/// Forty levels, each twice the one below, and the same written out as far as there is room.
#[tokio::test]
async fn a_schema_that_doubles_at_each_level_is_refused_whatever_loads_it() {
    let level = |n| format!(r##""{n}":{{"allOf":[{{"$ref":"#/$defs/{m}"}},{{"$ref":"#/$defs/{m}"}}]}}"##, m = n + 1);
    let levels: Vec<String> = (0..40).map(level).collect();
    let doubled: &'static str = format!(r##"{{"$defs":{{{},"40":{{}}}},"$ref":"#/$defs/0"}}"##, levels.join(",")).leak();
    let bytes = Program { schema: doubled, ..Program::default() }.build();
    let too_much = |error: LoadError| matches!(&error, LoadError::Manifest(ManifestError::Schema(why)) if why.contains("checks"));
    let begun = Instant::now();
    assert!(too_much(refused(source(bytes.clone(), json!({})))));
    let prototype = SANDBOX.prototype(bytes.into(), Limits::default(), &|_| ()).expect("nothing of it runs yet");
    assert!(too_much(prototype.configure("program", &json!({})).await.err().expect("too much")));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

/// A compiler that does not do its work, in the place of this program: whatever a component can do to one, only that process is in danger.
#[cfg(unix)]
#[test]
fn who_only_looks_at_a_component_has_it_compiled_in_a_process_of_its_own_too() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let (bytes, program) = (scan("(i32.const 512)"), folder.path().join("compiler"));
    let sandbox = |script: &str| {
        std::fs::write(&program, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).expect("writable");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).expect("ours");
        Sandbox::new(Options { instances: 1, compiler: Some(program.clone()), ..Options::default() }).expect("a sandbox")
    };
    let hasty = Limits { compile_time: Duration::from_millis(1500), ..Limits::default() };
    let tried = sandbox("exec sleep 60").prototype(bytes.clone().into(), hasty, &|_| ());
    assert_eq!(tried.err(), Some(LoadError::Gave("takes too long")));
    let crashes = sandbox("cat >/dev/null; kill -SEGV $$");
    assert_eq!(crashes.prototype(bytes.clone().into(), Limits::default(), &|_| ()).err(), Some(LoadError::Gave("broke the compiler")));
    assert_eq!(crashes.inspect(&bytes).manifest, Err(LoadError::Gave("broke the compiler")));
}

#[test]
fn every_import_that_is_not_granted_is_named_at_once() {
    let text = r#"(component
        (import "wasi:filesystem/types@0.2.9" (instance)) (import "wasi:cli/stdout@0.2.9" (instance))
        (import "wasi:sockets/tcp@0.2.9" (instance)) (import "evil" (func)))"#;
    let bytes = wat::parse_str(text).expect("a component");
    let error = refused(source(bytes.clone(), json!({})));
    let names = ["evil", "wasi:filesystem/types@0.2.9", "wasi:sockets/tcp@0.2.9"].map(String::from).to_vec();
    assert_eq!(error, LoadError::Imports(names.clone()));
    assert!(error.to_string().contains("--stub-wasi"), "{error}");
    let seen = SANDBOX.inspect(&bytes);
    assert_eq!((seen.kind, seen.refused, seen.imports.len()), (Kind::Component, names, 4));
    assert!(seen.manifest.is_err());
}

#[test]
fn what_is_no_guard_is_said_to_be_what_it_is() {
    let module = wat::parse_str("(module)").expect("a module");
    let empty = wat::parse_str("(component)").expect("a component");
    assert_eq!(refused(source(module, json!({}))), LoadError::Module);
    assert_eq!(refused(source(b"#!/bin/sh".to_vec(), json!({}))), LoadError::NoComponent);
    assert_eq!(refused(source(empty, json!({}))), LoadError::NoScanner(vec![]));
    let mut large = source(scan("(i32.const 512)"), json!({}));
    large.limits.component = 100;
    assert!(matches!(refused(large), LoadError::Large { most: 100, .. }));
    let mut damaged = scan("(i32.const 512)");
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    refused(source(damaged, json!({})));
}

#[test]
fn a_load_without_time_is_given_up() {
    let mut hasty = source(scan("(i32.const 512)"), json!({}));
    hasty.limits.compile_time = Duration::ZERO;
    assert_eq!(refused(hasty), LoadError::Gave("takes too long"));
}

#[tokio::test]
async fn a_streaming_guard_is_loaded_and_asked_by_scan() {
    let guard = load(Program { streaming: true, ..Program::default() }.build());
    assert!(guard.manifest().streaming);
    assert_eq!(verdict(ask(&guard, "hello").await), Verdict::Allow);
}

#[test]
fn inspect_asks_a_guard_what_it_is() {
    let bytes = scan("(unreachable)");
    let seen = SANDBOX.inspect(&bytes);
    assert_eq!((seen.kind, seen.size, seen.digest), (Kind::Component, bytes.len(), Digest::of(&bytes)));
    assert_eq!(seen.contract.as_deref(), Some("0.1.0"));
    assert!(seen.imports.is_empty(), "{:?}", seen.imports);
    assert_eq!(seen.exports, ["aegis:guard/scanner@0.1.0"]);
    assert_eq!(seen.manifest.expect("a manifest").name, "program");
}

/// Eight bytes of randomness and of the time as 16 letters, from `configure` (`$c`) and from `scan`.
#[tokio::test]
async fn clock_and_randomness_follow_from_the_run() {
    let more = r#"
        (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
        (import "wasi:clocks/wall-clock@0.2.0" "now" (func $now (param i32)))
        (global $c (mut i64) (i64.const 0))
        (func $letters (param $at i32) (param $n i64) (local $i i32)
          (loop $next
            (i32.store8 (i32.add (local.get $at) (local.get $i)) (i32.add (i32.const 97) (i32.wrap_i64 (i64.and (local.get $n) (i64.const 15)))))
            (local.set $n (i64.shr_u (local.get $n) (i64.const 4)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const 16)))))"#;
    let scan = "(call $letters (i32.const 4096) (global.get $c)) (call $letters (i32.const 4112) (call $random)) (call $now (i32.const 4160)) \
        (call $letters (i32.const 4128) (i64.load (i32.const 4160))) (i32.store8 (i32.const 516) (i32.const 2)) \
        (i32.store (i32.const 520) (i32.const 4096)) (i32.store (i32.const 524) (i32.const 48)) (i32.const 512)";
    let program = |more| Program { scan, configure: "(global.set $c (call $random)) (i32.const 256)", more, ..Program::default() };
    let snapshot = load(program(more).build());
    assert_eq!(snapshot.snapshot(), Ok(()));
    let without: &'static str = format!("{more} (table $t 1 funcref) (func $never (table.set $t (i32.const 0) (ref.null func)))").leak();
    let plain = load(program(without).build());
    assert!(plain.snapshot().is_err());

    let mut conversation = Conversation::new("hello");
    let first = verdict(snapshot.scan(&conversation.input()).await);
    assert_eq!(verdict(snapshot.scan(&conversation.input()).await), first, "the same run, the same numbers");
    assert_eq!(verdict(plain.scan(&conversation.input()).await), first, "a snapshot changes nothing");
    conversation.run = RunId::new(Time(1), [8; 10]);
    let other = verdict(snapshot.scan(&conversation.input()).await);
    let (Verdict::Block(first), Verdict::Block(other)) = (first, other) else { panic!("other verdicts") };
    assert_eq!(first[..16], other[..16], "configure is the same for all");
    assert_ne!(first[16..32], other[16..32], "other runs have other numbers");
    let seconds = first[32..].bytes().rev().fold(0_u64, |n, letter| n << 4 | u64::from(letter - b'a'));
    assert_eq!(seconds, 1_790_000_000);
}

#[tokio::test]
async fn a_flood_of_log_is_bounded_and_harms_nobody() {
    let more = r#"
        (import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
        (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32)))
        (global $out (mut i32) (i32.const 0))"#;
    let scan = "(local $out i32) (local $i i32) (local.set $out (call $stdout)) \
        (loop $next (call $write (local.get $out) (i32.const 8192) (i32.const 4096) (i32.const 4096)) \
          (if (i32.load8_u (i32.const 4096)) (then (unreachable))) \
          (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $next (i32.lt_u (local.get $i) (i32.const 200)))) (i32.const 512)";
    let flood = load(Program { scan, more, ..Program::default() }.build());
    assert_eq!(verdict(ask(&flood, "hello").await), Verdict::Allow);
    assert!(flood.imports().contains(&"wasi:cli/stdout@0.2.0".to_string()));

    // One that printed in `configure` keeps the handle of its output: no snapshot, and it works all the same.
    let configure = "(global.set $out (call $stdout)) (i32.const 256)";
    let scan = "(call $write (global.get $out) (i32.const 8192) (i32.const 5) (i32.const 4096)) (i32.const 512)";
    let keeps = load(Program { scan, configure, more, ..Program::default() }.build());
    assert!(keeps.snapshot().expect_err("it holds a handle").contains("handle"));
    assert_eq!(verdict(ask(&keeps, "hello").await), Verdict::Allow);
}

fn steps(sandbox: &Sandbox, bytes: &[u8], settings: Value) -> (Arc<LoadedGuard>, Vec<Progress>) {
    let steps = Mutex::new(vec![]);
    let guard = sandbox.load(source(bytes.to_vec(), settings), &|step| steps.lock().expect("no panic").push(step)).expect("a guard");
    (guard, steps.into_inner().expect("no panic"))
}

#[tokio::test]
async fn the_cache_is_used_and_made_again_when_it_is_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache_dir = Some(folder.path().join("cache"));
    let sandbox = Sandbox::new(Options { cache_dir: cache_dir.clone(), instances: 2, ..Options::default() }).expect("a sandbox");
    let bytes = echo_settings(GLOBALS);
    let compiled = |steps: &[Progress]| steps != [Progress::Cached];
    assert!(compiled(&steps(&sandbox, &bytes, json!({"a": 1})).1));
    assert!(!compiled(&steps(&sandbox, &bytes, json!({"a": 1})).1));
    assert!(compiled(&steps(&sandbox, &bytes, json!({"a": 2})).1), "other settings are another entry");
    let again = Sandbox::new(Options { cache_dir: cache_dir.clone(), instances: 2, ..Options::default() }).expect("a sandbox");
    let (guard, warm) = steps(&again, &bytes, json!({"a": 1}));
    assert!(!compiled(&warm), "another sandbox finds it, too");
    assert_eq!((guard.snapshot(), verdict(ask(&guard, "x").await)), (Ok(()), Verdict::Block(r#"{"a":1}"#.into())));

    let files = || std::fs::read_dir(folder.path().join("cache")).expect("the folder").map(|it| it.expect("a file").path());
    assert_eq!(files().count(), 2, "nothing unfinished stays");
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 5] = [
        |it| it.clear(),
        |it| it.truncate(it.len() - 1),
        |it| {
            let last = it.len() - 1;
            it[last] ^= 1
        },
        |it| it.push(0),
        |it| {
            let line = String::from_utf8_lossy(&it[..200]).find("null").expect("of a snapshot");
            it.splice(line..line + 4, *b"\"no\"");
        },
    ];
    for damage in damages {
        for file in files() {
            let mut entry = std::fs::read(&file).expect("an entry");
            damage(&mut entry);
            std::fs::write(&file, entry).expect("a damaged entry");
        }
        let (guard, cold) = steps(&sandbox, &bytes, json!({"a": 1}));
        assert!(compiled(&cold));
        assert_eq!(verdict(ask(&guard, "x").await), Verdict::Block(r#"{"a":1}"#.into()));
        steps(&sandbox, &bytes, json!({"a": 2}));
        assert!(!compiled(&steps(&sandbox, &bytes, json!({"a": 1})).1), "and is kept again");
    }
}

#[cfg(unix)]
#[test]
fn a_cache_in_which_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache");
    drop(Sandbox::new(Options { cache_dir: Some(cache.clone()), instances: 1, ..Options::default() }).expect("a sandbox"));
    assert_eq!(cache.metadata().expect("a folder").permissions().mode() & 0o777, 0o700);
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o770)).expect("ours");
    let error = Sandbox::new(Options { cache_dir: Some(cache), instances: 1, ..Options::default() }).err().expect("refused");
    assert!(error.to_string().contains("chmod 700"), "{error}");
}

/// The guard that ships with Aegis, as it is committed.
fn sensitive_topic() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../guards/sensitive_topic.wasm")).expect("the committed component")
}

#[tokio::test]
async fn the_sensitive_topic_guard_is_snapshotted_and_finds_its_phrases() {
    let settings = json!({"phrases": ["financial advice"]});
    let guard = SANDBOX.load(source(sensitive_topic(), settings), &|_| ()).expect("the guard that ships");
    assert_eq!((guard.snapshot(), guard.imports()), (Ok(()), [].as_slice()));
    let report = ask(&guard, "Grüße: FINANCIAL advice, please").await.expect("a report");
    assert!(matches!(report.verdict, Verdict::RequireApproval(_)), "{report:?}");
    let place = Place::Part { message: 0, part: 0 };
    assert_eq!(report.findings.iter().map(|it| (it.at, it.start, it.end)).collect::<Vec<_>>(), [(place, 9, 25)]);
    assert_eq!(verdict(ask(&guard, "What is the weather?").await), Verdict::Allow);
    assert!(matches!(refused(source(sensitive_topic(), json!({"phrase": ["x"]}))), LoadError::Settings(_)));
}
