//! The standard guards: what is committed is what the source says.

use crate::host::{aegis, root};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Runs every case of a guard's `cases/` folder against a component; guards/README.md says what a case is.
fn run_cases(component: &Path, cases: &Path) -> usize {
    let files = std::fs::read_dir(cases).expect("a folder with cases").flatten().map(|file| file.path());
    let cases: Vec<(PathBuf, Value)> = files.flat_map(|file| read_cases(&file).into_iter().map(move |case| (file.clone(), case))).collect();
    for (file, case) in &cases {
        let told = judge(component, case);
        let context = format!("{}: {}: {told}", file.display(), case["name"]);
        let verdict = &case["expect"]["verdict"];
        assert!(told["verdict"] == *verdict || kind(&told["verdict"]) == *verdict, "{context}");
        if let Some(findings) = case["expect"]["findings"].as_array() {
            let told = told["findings"].as_array().unwrap_or_else(|| panic!("{context}"));
            assert!(
                told.len() == findings.len() && told.iter().zip(findings).all(|(told, expected)| includes(told, expected)),
                "{context}"
            );
        }
    }
    cases.len()
}

fn read_cases(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("text");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// What `aegis guard run` says of one case.
fn judge(component: &Path, case: &Value) -> Value {
    let dir = TempDir::new().expect("a temporary folder");
    std::fs::write(dir.path().join("input.json"), case["input"].to_string()).expect("writable");
    let settings = case.get("settings").map_or("{}".into(), Value::to_string);
    let stage = case["stage"].as_str().unwrap_or("ingress");
    let component = component.to_str().expect("text");
    let args = ["guard", "run", component, "--settings", &settings, "--input", "input.json", "--stage", stage, "--json"];
    let output = aegis(dir.path()).args(args).output().expect("the binary runs");
    assert!(output.status.success(), "{}: {output:?}", case["name"]);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A verdict without what it carries: `{"block": "why"}` is `"block"`.
fn kind(verdict: &Value) -> Value {
    verdict.as_object().and_then(|it| it.keys().next()).map_or(verdict.clone(), |key| json!(key))
}

fn includes(told: &Value, expected: &Value) -> bool {
    expected.as_object().is_some_and(|it| it.iter().all(|(key, value)| told[key] == *value))
}

/// As they are committed, beside their folders.
const GUARDS: [(&str, &str); 2] = [("patterns", "patterns.wasm"), ("sensitive-topic", "sensitive_topic.wasm")];

#[test]
fn every_guard_as_committed_and_as_built_anew_keeps_to_its_cases() {
    let (guards, dir) = (root().join("guards"), TempDir::new().expect("a temporary folder"));
    for (folder, committed) in GUARDS {
        let (built, source) = (dir.path().join(committed), guards.join(folder));
        let args = ["guard", "build", source.to_str().expect("text"), "-o", built.to_str().expect("text")];
        let output = aegis(dir.path()).args(args).output().expect("the binary runs");
        assert!(output.status.success(), "{output:?}");
        for component in [&guards.join(committed), &built] {
            let count = run_cases(component, &source.join("cases"));
            assert!(count >= 10, "only {count} cases");
        }
    }
}

#[test]
fn every_folder_is_a_guard_whose_component_and_its_digest_are_committed() {
    let guards = root().join("guards");
    let manifests = std::fs::read_dir(&guards).expect("the folder").flatten().filter(|it| it.path().join("Cargo.toml").is_file());
    assert_eq!(manifests.count(), GUARDS.len());
    for (_, component) in GUARDS {
        let digest = aegis_kit::sha256(&std::fs::read(guards.join(component)).expect("the component"));
        let committed = std::fs::read_to_string(guards.join(format!("{component}.sha256"))).expect("its digest");
        assert_eq!(committed.split_whitespace().next(), Some(digest.as_str()), "{component}");
    }
}
