//! The standard guards: what is committed is what the source says.

use crate::host::{aegis, root};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

/// Runs every case of a guard's `cases/` folder against a component.
fn run_cases(component: &Path, cases: &Path) -> usize {
    let mut count = 0;
    for file in std::fs::read_dir(cases).expect("a folder with cases").flatten() {
        for case in read_cases(&file.path()) {
            let verdict = case["expect"]["verdict"].as_str().expect("a verdict is expected");
            let input = case["input"].to_string();
            let dir = TempDir::new().expect("a temporary folder");
            std::fs::write(dir.path().join("input.json"), input).expect("writable");
            let component = component.to_str().expect("text");
            let settings = case["settings"].to_string();
            let stage = case["input"]["stage"].as_str().unwrap_or("ingress");
            let args = ["guard", "run", component, "--settings", &settings, "--input", "input.json", "--stage", stage, "--expect", verdict, "--json"];
            let output = aegis(dir.path()).args(args).output().expect("the binary runs");
            assert!(output.status.success(), "{}: {}: {output:?}", file.path().display(), case["name"]);
            if let Some(findings) = case["expect"].get("findings") {
                let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
                assert_eq!(&told["findings"], findings, "{}: {}", file.path().display(), case["name"]);
            }
            count += 1;
        }
    }
    count
}

fn read_cases(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("text");
    let cases: Value = serde_json::from_str(&text).expect("a file of cases is JSON");
    cases.as_array().cloned().unwrap_or_else(|| vec![cases])
}

#[test]
fn sensitive_topic_as_committed_and_as_built_anew_keeps_to_its_cases() {
    let (guards, dir) = (root().join("guards"), TempDir::new().expect("a temporary folder"));
    let built = dir.path().join("built.wasm");
    let (source, out) = (guards.join("sensitive-topic"), built.to_str().expect("text"));
    let output = aegis(dir.path()).args(["guard", "build", source.to_str().expect("text"), "-o", out]).output().expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    for component in [&guards.join("sensitive_topic.wasm"), &built] {
        let count = run_cases(component, &source.join("cases"));
        assert!(count >= 10, "only {count} cases");
    }
}

#[test]
fn the_committed_component_is_the_one_whose_digest_is_committed() {
    let guards = root().join("guards");
    let digest = aegis_kit::sha256(&std::fs::read(guards.join("sensitive_topic.wasm")).expect("the component"));
    let committed = std::fs::read_to_string(guards.join("sensitive_topic.wasm.sha256")).expect("its digest");
    assert_eq!(committed.split_whitespace().next(), Some(digest.as_str()));
    assert_ne!(json!(digest), json!(""));
}
