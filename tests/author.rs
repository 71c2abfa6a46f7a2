//! What a guard's author types, against guests that keep to the contract and guests that do not.

use crate::host::{Host, aegis, config, root};
use aegis_programs::{Program, assemble};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

fn run(dir: &Path, args: &[&str]) -> Output {
    aegis(dir).args(args).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn write(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> String {
    std::fs::write(dir.path().join(name), bytes).expect("the folder is writable");
    name.into()
}

/// `sensitive_topic.wasm` as it is committed.
fn sensitive_topic() -> PathBuf {
    root().join("guards/sensitive_topic.wasm")
}

const PHRASES: &str = r#"{"phrases":["financial advice"]}"#;

#[test]
fn a_script_that_begins_a_guard_has_to_say_its_language() {
    let dir = folder();
    let output = run(dir.path(), &["guard", "new", "my-guard"]);
    let told = text(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("--lang") && told.contains("rust"), "{told}");
    assert!(!dir.path().join("my-guard").exists());
    for command in ["new", "build", "test"] {
        let help = text(&run(dir.path(), &["guard", command, "--help"]).stdout);
        assert!(["rust", "assemblyscript", "wat"].iter().all(|it| help.contains(it)), "{command}: {help}");
    }
    for (name, lang, named) in [("My_Guard", "rust", "my-guard"), ("g", "cobol", "rust")] {
        let output = run(dir.path(), &["guard", "new", name, "--lang", lang]);
        assert!(!output.status.success() && text(&output.stderr).contains(named), "{output:?}");
    }
}

#[test]
fn a_new_guard_is_a_folder_with_its_sdk_and_the_next_commands() {
    let dir = folder();
    let output = run(dir.path(), &["guard", "new", "my-guard", "--lang", "rust"]);
    let told = text(&output.stdout);
    for command in ["aegis guard build my-guard", "aegis guard test my-guard", "aegis dev --guard my-guard=my-guard.wasm"] {
        assert!(told.contains(command), "{command} is missing:\n{told}");
    }
    for file in ["Cargo.toml", "README.md", ".gitignore", "cases/first.yaml", ".aegis/rust/src/lib.rs"] {
        assert!(dir.path().join("my-guard").join(file).is_file(), "{file}");
    }
    let again = run(dir.path(), &["guard", "new", "my-guard", "--lang", "rust"]);
    assert!(!again.status.success() && text(&again.stderr).contains("not empty"), "{again:?}");
}

#[tokio::test]
async fn what_a_new_guard_says_to_type_works_as_it_stands() {
    let dir = folder();
    let told = text(&run(dir.path(), &["guard", "new", "my-guard", "--lang", "wat"]).stdout); // needs no tool
    let typed = |what: &str| told.lines().find_map(|line| line.split("  # ").next()?.trim().strip_prefix(&format!("aegis {what} ")));
    let args = |what: &str| -> Vec<String> { words(typed(what).unwrap_or_else(|| panic!("no {what}:\n{told}"))) };
    let shell = |what: &str| {
        let (given, first) = (args(what), what.split(' ').map(String::from));
        aegis(dir.path()).args(first.chain(given)).output().expect("the binary runs")
    };
    assert!(shell("guard build").status.success());
    let ran = shell("guard run");
    assert!(ran.status.success() && text(&ran.stdout).contains("require_approval"), "{ran:?}");

    let dev = args("dev");
    let given: Vec<&str> = std::iter::once("dev").chain(dev.iter().map(String::as_str)).collect();
    write(&dir, "aegis.yaml", config("none").replace("ingress: [sensitive-topic]", "ingress: []"));
    let host = Host::start_as(dir, &given, &[]).await;
    let run = host.submit("", "I need advice", json!({})).await;
    assert_eq!((&run["status"], &run["approval"]["guard"]), (&json!("paused"), &json!("my-guard")), "{run}");
}

/// What a shell makes of a line: single and double quotes hold blanks together.
fn words(line: &str) -> Vec<String> {
    let output = std::process::Command::new("sh").args(["-c", &format!("printf '%s\\n' {line}")]).output().expect("there is a shell");
    text(&output.stdout).lines().map(String::from).collect()
}

#[test]
fn settings_of_the_command_line_need_a_guard_that_is_there() {
    let output = run(folder().path(), &["dev", "--settings", "nobody={}", "--listen", "127.0.0.1:0"]);
    let told = text(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("sensitive-topic"), "{told}");
}

#[test]
fn a_folder_in_place_of_a_component_has_to_be_built_first() {
    let dir = folder();
    for command in ["run", "inspect", "bench", "check"] {
        let more: &[&str] = if command == "run" { &["--text", "x"] } else { &[] };
        let output = run(dir.path(), &[&["guard", command, "."], more].concat());
        assert!(output.status.code() == Some(1) && text(&output.stderr).contains("aegis guard build"), "{command}: {output:?}");
    }
}

#[test]
fn the_cases_of_the_standard_guards_hold() {
    for (component, least) in [("guards/sensitive_topic.wasm", 15), ("guards/patterns.wasm", 15)] {
        let output = run(root(), &["guard", "test", component, "--json"]);
        let told = json_of(&output);
        assert!(output.status.success() && told["hold"].as_u64() >= Some(least) && told["fail"] == 0, "{told}");
    }
}

const CASES: &str = r#"# Above.
- name: one that holds
  settings: {phrases: ["financial advice"]}
  input: é Financial Advice
  expect:
    reason: Financial advice requires human review
    findings: [{rule: financial advice, start: 3, end: 19}]
- name: one that does not
  settings: {phrases: ["financial advice"]}
  input: é Financial Advice
  expect: {verdict: allow, findings: []} # wrong
- name: settings that are refused
  settings: {phrases: []}
  input: x
  expect: {error: phrases}
"#;

#[test]
fn a_case_that_does_not_hold_is_told_line_by_line_and_written_anew_only_when_asked_for() {
    let dir = folder();
    write(&dir, "cases.yaml", CASES);
    let component = sensitive_topic().display().to_string();
    let output = run(dir.path(), &["guard", "test", &component, "cases.yaml"]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for line in ["FAIL cases.yaml: one that does not", "- verdict: allow", "+ verdict: require_approval", "3 cases: 2 hold, 1 do not"] {
        assert!(told.contains(line), "{line} is missing:\n{told}");
    }
    assert!(text(&output.stderr).contains("AEG-CLI-007"), "{output:?}");
    assert_eq!(std::fs::read_to_string(dir.path().join("cases.yaml")).expect("it is there"), CASES);

    let updated = run(dir.path(), &["guard", "test", &component, "cases.yaml", "--update"]);
    let told = text(&updated.stdout);
    assert!(updated.status.success() && told.contains("new  cases.yaml: one that does not") && !told.contains("FAIL"), "{told}");
    assert!(told.contains("3 cases: 2 hold, 1 written anew"), "{told}");
    write(&dir, "again.yaml", CASES);
    let again = run(dir.path(), &["guard", "test", &component, "again.yaml", "--update", "--json"]);
    assert!(again.status.success() && json_of(&again)["updated"] == 1, "{again:?}");
    let after = std::fs::read_to_string(dir.path().join("cases.yaml")).expect("it is there");
    assert!(after.starts_with("# Above.\n") && after.contains("    verdict: require_approval\n"), "{after}");
    assert!(run(dir.path(), &["guard", "test", &component, "cases.yaml"]).status.success());
}

/// Forty levels, each twice the one below: to hold anything against them takes longer than there is.
#[test]
fn a_schema_without_an_end_is_refused_by_every_command_and_says_why() {
    let level = |n| format!(r##""{n}":{{"allOf":[{{"$ref":"#/$defs/{m}"}},{{"$ref":"#/$defs/{m}"}}]}}"##, m = n + 1);
    let levels: Vec<String> = (0..40).map(level).collect();
    let schema = format!(r##"{{"type":"object","$defs":{{{},"40":{{}}}},"$ref":"#/$defs/0"}}"##, levels.join(","));
    let length: String = (schema.len() as u32).to_le_bytes().iter().map(|it| format!("\\{it:02x}")).collect();
    let (dir, text_of) = (folder(), schema.replace('"', "\\22"));
    write(&dir, "g.wasm", assemble(&format!(r#"(data (i32.const 104) "{length}") (data (i32.const 1024) "{text_of}")"#)));
    write(&dir, "cases.yaml", "- {name: n, input: x, expect: {verdict: allow}}");
    for args in [&["check", "g.wasm"][..], &["test", "g.wasm", "cases.yaml"], &["run", "g.wasm", "--text", "x"]] {
        let begun = Instant::now();
        let output = run(dir.path(), &[&["guard"], args].concat());
        let told = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.code() == Some(1) && told.contains("checks: say with"), "{args:?}: {told}");
        assert!(begun.elapsed() < Duration::from_secs(60), "{args:?}: {:?}", begun.elapsed());
    }
}

#[test]
fn cases_that_cannot_be_read_are_an_error_with_their_place() {
    let component = sensitive_topic().display().to_string();
    for (yaml, named) in [
        ("- {name: a, input: x, expect: {verdct: allow}}", "verdct"),
        ("- {name: a, inptu: x}", "inptu"),
        ("# nothing", "no cases"),
        ("- {name: a, stage: later, input: x}", "later"),
    ] {
        let dir = folder();
        std::fs::create_dir(dir.path().join("cases")).expect("writable");
        write(&dir, "cases/a.yaml", yaml);
        let output = run(dir.path(), &["guard", "test", &component, "cases"]);
        assert!(output.status.code() == Some(1) && text(&output.stderr).contains(named), "{yaml}: {output:?}");
    }
}

#[test]
fn a_case_may_bring_memory_labels_and_who_asks() {
    let dir = folder();
    write(&dir, "g.wasm", assemble(REMEMBERS));
    let case = |memory: &str| {
        format!(
            "- name: n\n  input:\n    messages: [{{role: user, content: x}}]\n    memory: {memory}\n    labels: [{{key: k, value: v}}]\n    \
             principal: {{id: zoë, teams: [risk]}}\n  expect: {{verdict: allow, memory: {memory}, labels: []}}\n"
        )
    };
    write(&dir, "cases.yaml", case("é7"));
    let output = run(dir.path(), &["guard", "test", "g.wasm", "cases.yaml"]);
    assert!(output.status.success(), "{output:?}");
    write(&dir, "cases.yaml", case("é7").replace("allow, memory: é7", "allow, memory: other"));
    assert_eq!(run(dir.path(), &["guard", "test", "g.wasm", "cases.yaml"]).status.code(), Some(1));
}

/// Hands back the memory that it is handed.
const REMEMBERS: &str = r#"(func $scan (param $input i32) (result i32)
    (if (i32.load8_u offset=88 (local.get $input))
      (then (call $remember (i32.load offset=92 (local.get $input)) (i32.load offset=96 (local.get $input)))))
    (call $report))"#;

/// Writes `*` for every `x`, in whole replies and in streams; `{when}` says when it does so in a stream.
const STREAMS: &str = r#"
  (data (i32.const 40) "\03") (data (i32.const 96) "\01") (data (i32.const 7168) "*") (global $pushed (mut i32) (i32.const 0))
  (func $scan (param $input i32) (result i32)
    (local $last i32) (local $part i32) (local $at i32) (local $i i32) (local $edits i32)
    (local.set $last (i32.sub (i32.load offset=112 (local.get $input)) (i32.const 1)))
    (local.set $part (i32.load offset=4 (i32.add (i32.load offset=108 (local.get $input)) (i32.mul (local.get $last) (i32.const 44)))))
    (block $done (loop $byte
      (br_if $done (i32.ge_u (local.get $i) (i32.load offset=8 (local.get $part))))
      (if (i32.eq (i32.load8_u (i32.add (i32.load offset=4 (local.get $part)) (local.get $i))) (i32.const 120)) (then
        (local.set $at (i32.add (i32.const 8192) (i32.mul (local.get $edits) (i32.const 28))))
        (call $place (local.get $at) (local.get $last) (i32.const 0) (local.get $i) (i32.add (local.get $i) (i32.const 1)))
        (call $pair (i32.add (local.get $at) (i32.const 20)) (i32.const 7168) (i32.const 1))
        (local.set $edits (i32.add (local.get $edits) (i32.const 1)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $byte)))
    (if (result i32) (local.get $edits) (then (call $sanitize (i32.const 8192) (local.get $edits))) (else (call $report))))
  (func (export "aegis:guard/stream-scanner@0.1.0#open") (param i32) (result i32) (i32.const 256))
  (func (export "aegis:guard/stream-scanner@0.1.0#push") (param $at i32) (param $len i32) (result i32)
    (local $i i32)
    (if {when} (then (block $done (loop $byte
      (br_if $done (i32.ge_u (local.get $i) (local.get $len)))
      (if (i32.eq (i32.load8_u (i32.add (local.get $at) (local.get $i))) (i32.const 120))
        (then (i32.store8 (i32.add (local.get $at) (local.get $i)) (i32.const 42))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $byte)))))
    (global.set $pushed (i32.add (global.get $pushed) (i32.const 1)))
    (call $pair (i32.const 1544) (local.get $at) (local.get $len))
    (i32.const 1536))
  (func (export "aegis:guard/stream-scanner@0.1.0#close") (result i32) (i32.const 1664))"#;

#[test]
fn a_streaming_guard_whose_output_depends_on_the_pieces_is_found_out_and_found_again() {
    let dir = folder();
    write(&dir, "cases.yaml", "- name: masks\n  stage: egress\n  input: an x and xx\n  expect: {verdict: sanitize}\n");
    write(&dir, "good.wasm", assemble(&STREAMS.replace("{when}", "(i32.const 1)")));
    write(&dir, "bad.wasm", assemble(&STREAMS.replace("{when}", "(i32.eqz (global.get $pushed))")));
    let good = run(dir.path(), &["guard", "test", "good.wasm", "cases.yaml", "--json", "--streams", "3000"]);
    let told = json_of(&good);
    assert!(good.status.success() && told["streams"]["tried"] == 3000 && told["streams"]["wrong"].is_null(), "{told}");
    let test = |seed: &str| json_of(&run(dir.path(), &["guard", "test", "bad.wasm", "cases.yaml", "--json", "--seed", seed]));
    let bad = test("7");
    assert!(bad["streams"]["wrong"].as_str().is_some_and(|it| it.contains("the pieces: [")), "{bad}");
    assert_eq!(bad["streams"], test("7")["streams"]);
    let output = run(dir.path(), &["guard", "test", "bad.wasm", "cases.yaml"]);
    assert!(output.status.code() == Some(1) && text(&output.stdout).contains("--seed"), "{output:?}");
}

#[test]
fn a_bench_says_what_scans_cost_fresh_and_warm() {
    let component = sensitive_topic().display().to_string();
    let args = ["guard", "bench", &component, "--settings", PHRASES, "--seconds", "0.05"];
    let told = json_of(&run(root(), &[&args[..], &["--json"]].concat()));
    for kind in ["fresh_microseconds", "warm_microseconds"] {
        let (p50, p99) = (told[kind]["p50"].as_f64(), told[kind]["p99"].as_f64());
        assert!(told[kind]["scans"].as_u64() >= Some(20) && p50 > Some(0.0) && p99 >= p50, "{told}");
    }
    assert!(told["memory_bytes"].as_u64() >= Some(65536) && told["snapshot"] == true, "{told}");
    let seen = text(&run(root(), &args).stdout);
    assert!(seen.contains('█') && seen.contains("fresh") && seen.contains("warm"), "{seen}");
    let failed = run(root(), &["guard", "bench", &component, "--settings", "{}"]);
    assert!(failed.status.code() == Some(1) && text(&failed.stderr).contains("AEG-GRD-004"), "{failed:?}");
}

#[test]
fn an_inspection_says_what_a_component_wants_and_takes() {
    let told = json_of(&run(root(), &["guard", "inspect", "guards/sensitive_topic.wasm", "--json"]));
    let named = [&told["snapshot"], &told["contract"], &told["imports"], &told["manifest"]["settings_schema"]["required"]];
    assert_eq!(named, [&json!(true), &json!("0.1.0"), &json!([]), &json!(["phrases"])]);
    let seen = text(&run(root(), &["guard", "inspect", "guards/sensitive_topic.wasm"]).stdout);
    assert!(seen.contains("array of string") && seen.contains("required") && seen.contains("default \"require_approval\""), "{seen}");
    let dir = folder();
    write(&dir, "g.wasm", Program::AsksForTimeAndDice.bytes());
    let told = json_of(&run(dir.path(), &["guard", "inspect", "g.wasm", "--json"]));
    let needs = told["needs"].as_object().expect("what it imports");
    assert!(!needs.is_empty() && needs.values().all(|it| it == "nothing: answered from an empty sandbox"), "{told}");
    write(&dir, "e.wasm", Program::ImportsEverything.bytes());
    let output = run(dir.path(), &["guard", "inspect", "e.wasm", "--json"]);
    let told = json_of(&output);
    let needs = told["needs"].to_string();
    assert!(!output.status.success() && (needs.contains("never granted") || needs.contains("no host")), "{told}");
}

#[test]
fn a_run_says_what_it_took() {
    let component = sensitive_topic().display().to_string();
    let args = ["guard", "run", &component, "--settings", PHRASES, "--text", "é Financial advice"];
    let told = json_of(&run(root(), &[&args[..], &["--json"]].concat()));
    assert!(told["memory_bytes"].as_u64() >= Some(65536) && told["microseconds"].as_u64() > Some(0), "{told}");
    let seen = text(&run(root(), &args).stdout);
    assert!(seen.contains("é [[Financial advice]]") && seen.contains("KiB of memory"), "{seen}");
}

#[test]
fn a_check_finds_which_rule_of_the_contract_is_broken() {
    let dir = folder();
    for component in [sensitive_topic(), root().join("guards/patterns.wasm")] {
        let output = run(dir.path(), &["guard", "check", &component.display().to_string()]);
        assert!(output.status.success() && !text(&output.stdout).contains("wrong"), "{output:?}");
    }
    for (program, rule) in [
        (Program::ImportsEverything, "imports nothing"),
        (Program::IsAModule, "it is a component"),
        (Program::TrapsInDescribe, "describe says"),
        (Program::HasNoStage, "describe says"),
        (Program::HasASchemaThatIsNone, "have a schema"),
        (Program::TrapsInConfigure, "configure refuses"),
        (Program::TrapsInScan, "an empty text"),
        (Program::SpinsInScan, "an empty text"),
        (Program::FindsBehindTheText, "an empty text"),
        (Program::EditsInsideACharacter, "offset"),
        (Program::RemembersTooMuch, "an empty text"),
    ] {
        write(&dir, "g.wasm", program.bytes());
        let output = run(dir.path(), &["guard", "check", "g.wasm", "--json"]);
        let told = json_of(&output);
        let broken = told["rules"].as_array().into_iter().flatten().filter(|it| it["kept"] == false);
        let broken: Vec<String> = broken.map(Value::to_string).collect();
        assert_eq!(output.status.code(), Some(1), "{}: {told}", program.name());
        assert!(broken.iter().any(|it| it.contains(rule)), "{}: {broken:?}", program.name());
    }
}

#[test]
fn a_check_of_a_streaming_guard_cuts_replies_too() {
    let dir = folder();
    write(&dir, "good.wasm", assemble(&STREAMS.replace("{when}", "(i32.const 1)")));
    write(&dir, "bad.wasm", assemble(&STREAMS.replace("{when}", "(i32.eqz (global.get $pushed))")));
    let check = |file: &str| {
        let told = json_of(&run(dir.path(), &["guard", "check", file, "--json"]));
        told["rules"].as_array().into_iter().flatten().find(|it| it["rule"].to_string().contains("pieces")).map(|it| it["kept"].clone())
    };
    assert_eq!((check("good.wasm"), check("bad.wasm")), (Some(json!(true)), Some(json!(false))));
}

/// A guard that asks, or blocks, for everything.
fn verdict_of(which: &str) -> Vec<u8> {
    let scan = match which {
        "asks" => "(call $ask (i32.const 16) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0))",
        _ => "(call $block (i32.const 16) (i32.const 7))",
    };
    assemble(&format!("(func $scan (param $input i32) (result i32) {scan})"))
}

#[tokio::test]
async fn a_guard_is_loaded_anew_when_its_file_changes_and_paused_runs_keep_theirs() {
    let dir = folder();
    write(&dir, "g.wasm", verdict_of("asks"));
    write(&dir, "aegis.yaml", config("none").replace("ingress: [sensitive-topic]", "ingress: []"));
    let host = Host::start_as(dir, &["dev", "--guard", "mine=g.wasm"], &[]).await;
    let paused = host.submit("", "hello", json!({})).await;
    assert_eq!(paused["status"], "paused", "{paused}");
    write(&host.dir, "g.wasm", verdict_of("blocks"));
    let until = Instant::now() + Duration::from_secs(20);
    let blocked = loop {
        let run = host.submit("", "hello", json!({})).await;
        if run["status"] == "blocked" {
            break run;
        }
        assert!(Instant::now() < until, "{run}\n{}", host.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(blocked["error"]["guard"], "mine", "{blocked}");
    let id = paused["run_id"].as_str().expect("text");
    let (status, done) = host.post("", &format!("/v1/runs/{id}/resume"), json!({"decision": "approved"})).await;
    assert_eq!((status, &done["status"]), (200, &json!("completed")), "{done}");

    write(&host.dir, "g.wasm", "no component");
    let until = Instant::now() + Duration::from_secs(20);
    while !host.log().contains("cannot be used") {
        assert!(Instant::now() < until, "{}", host.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(host.submit("", "hello", json!({})).await["status"], "blocked", "the one before stays");
    let (_, guards) = host.get("", "/v1/guards/mine").await;
    assert!(guards["load"]["memory"].as_u64() > Some(0) && guards["load"]["cached"].is_boolean(), "{guards}");
}

#[tokio::test]
async fn recorded_traffic_is_exported_for_admins_and_tried_on_a_guard() {
    let host = Host::start(&config("api_key")).await;
    let (user, admin) = (host.key("ana", &[]), host.key("root", &["--role", "user", "--role", "admin"]));
    for question in ["How is the weather?", "I want financial advice"] {
        host.submit(&user, question, json!({"metadata": {"ticket": "T-1"}})).await;
    }
    let refused = host.aegis(&user, &["runs", "export"]);
    assert!(refused.status.code() == Some(1) && text(&refused.stderr).contains("AEG-AUTH-002"), "{refused:?}");
    let exported = host.aegis(&admin, &["runs", "export"]);
    assert!(exported.status.success(), "{exported:?}");
    let lines: Vec<Value> = text(&exported.stdout).lines().map(|it| serde_json::from_str(it).expect("a case")).collect();
    let stages: Vec<&str> = lines.iter().filter_map(|it| it["stage"].as_str()).collect();
    assert_eq!(stages, ["ingress", "ingress", "egress"], "{lines:?}");
    assert_eq!(lines[0]["input"]["messages"][0]["content"], "I want financial advice");
    assert_eq!((&lines[0]["input"]["principal"]["id"], &lines[0]["input"]["metadata"]["ticket"]), (&json!("ana"), &json!("T-1")));

    write(&host.dir, "traffic.jsonl", &exported.stdout);
    let component = sensitive_topic().display().to_string();
    let args = ["guard", "test", &component, "traffic.jsonl", "--settings", PHRASES, "--json"];
    let told = json_of(&host.aegis("", &args));
    assert_eq!((&told["hold"], &told["fail"]), (&json!(3), &json!(0)), "{told}");
    let told = json_of(&host.aegis("", &[&args[..], &["--update"]].concat()));
    assert_eq!(told["updated"], 3, "{told}");
    let now = std::fs::read_to_string(host.dir.path().join("traffic.jsonl")).expect("it is there");
    assert!(now.lines().next().is_some_and(|it| it.contains(r#""verdict":"require_approval""#)), "{now}");
    let other = ["guard", "test", &component, "traffic.jsonl", "--settings", r#"{"phrases":["weather"]}"#];
    assert_eq!(host.aegis("", &other).status.code(), Some(1));
}
