//! The command line as its users type it.

use crate::host::{aegis, config, free_port, root};
use std::process::Output;
use std::time::Duration;
use tempfile::TempDir;

fn run(config: &str, args: &[&str]) -> Output {
    let dir = TempDir::new().expect("a temporary folder");
    std::fs::write(dir.path().join("aegis.yaml"), config).expect("the folder is writable");
    aegis(dir.path()).args(args).output().expect("the binary runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn serve_refuses_to_start_without_authentication() {
    let output = run(&config("none"), &["serve"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("AEG-SRV-001"), "{}", stderr(&output));
}

#[test]
fn all_mistakes_of_a_configuration_are_told_at_once_with_their_lines() {
    let wrong = "providers:\n  fake: {type: fake, respons: x}\nroutes:\n  default: {provider: fak}\nserver: {listen: nowhere}\n";
    let output = run(wrong, &["config", "check"]);
    assert_eq!(output.status.code(), Some(1));
    for told in ["aegis.yaml:2", "respons", "aegis.yaml:4", "fak", "aegis.yaml:5", "nowhere"] {
        assert!(stderr(&output).contains(told), "{told} is missing:\n{}", stderr(&output));
    }
}

#[test]
fn the_configuration_of_the_benchmark_is_understood() {
    let dir = TempDir::new().expect("a temporary folder");
    let file = root().join("bench/aegis.yaml");
    let output = aegis(dir.path()).args(["config", "check", "--config"]).arg(file).output().expect("the binary runs");
    assert!(output.status.success(), "{}", stderr(&output));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    for route in ["bare", "default", "three", "hold", "blocked", "patterns"] {
        assert!(told.contains(&format!("{route}: ")), "{route} is missing:\n{told}");
    }
}

#[test]
fn what_later_versions_bring_is_refused_by_name() {
    for (from, to, named) in [
        ("type: fake, response: \"the reply\"", "type: anthropic", "anthropic"),
        ("settings: {phrases: [\"financial advice\"]}", "capabilities: {clock: true}", "capabilities"),
    ] {
        let output = run(&config("none").replace(from, to), &["config", "check"]);
        assert_eq!(output.status.code(), Some(1), "{named}");
        let said = stderr(&output);
        assert!(said.contains("not in this version") && said.contains(named), "{named}: {said}");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    assert_eq!(run(&config("none"), &["runs", "list", "--nonsense"]).status.code(), Some(2));
}

#[test]
fn a_guard_runs_once_from_the_command_line() {
    let guard = root().join("guards/sensitive_topic.wasm");
    let guard = guard.to_str().expect("text");
    let settings = r#"{"phrases":["financial advice"]}"#;
    let judged = run("", &["guard", "run", guard, "--settings", settings, "--text", "FINANCIAL advice?"]);
    assert!(judged.status.success(), "{judged:?}");
    assert!(String::from_utf8_lossy(&judged.stdout).contains("require_approval"), "{judged:?}");
    let expected = run("", &["guard", "run", guard, "--settings", settings, "--text", "hello", "--expect", "block"]);
    assert_eq!(expected.status.code(), Some(1), "{expected:?}");
    let inspected = run("", &["guard", "inspect", guard, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
    assert_eq!(json["imports"], serde_json::json!([]), "{json}");
}

#[tokio::test]
async fn dev_works_with_no_file_at_all() {
    let dir = TempDir::new().expect("a temporary folder");
    let port = free_port();
    let mut child = aegis(dir.path()).args(["dev", "--listen", &format!("127.0.0.1:{port}")]).spawn().expect("the binary starts");
    let (client, url) = (crate::host::client(), format!("http://127.0.0.1:{port}/v1/runs"));
    let body = r#"{"messages":[{"role":"user","content":"financial advice"}]}"#;
    let mut answer = None;
    for _ in 0..600 {
        if let Ok(response) = client.post(&url).body(body).send().await {
            answer = Some(crate::host::read(response).await);
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill().expect("our child");
    child.wait().expect("our child");
    let (status, run) = answer.expect("an answer within 30 s");
    assert_eq!((status, &run["status"]), (200, &serde_json::json!("paused")), "{run}");
    assert!(dir.path().join(".aegis/dev.db").exists());
}
