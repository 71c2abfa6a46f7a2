//! Guards in every language, as their authors make them: each example keeps to the same cases, each template builds, each way to misbehave that a
//! language knows fails closed. `make test` tries those that need no compiler of their own and those that most have; `make test-languages` all.

use crate::host::{aegis, root, target};
use aegis_kit::Language;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

#[derive(Clone, Copy, PartialEq)]
enum Tried {
    /// In `make test` too, and there is no excuse.
    Always,
    /// In `make test` too, where its tools are there.
    WhereItCan,
    /// In `make test-languages`, where its tools are there.
    WithAll,
}

/// Each has an example in `examples/guards/`, a template in `sdk/` and a guard that misbehaves in `tests/programs/languages/`.
fn tried(language: Language) -> Tried {
    match language {
        Language::Rust | Language::Wat => Tried::Always,
        Language::Python | Language::JavaScript | Language::TypeScript => Tried::WhereItCan,
        Language::C | Language::Cpp | Language::Go | Language::Zig | Language::AssemblyScript | Language::Nim => Tried::WithAll,
    }
}

/// Those whose SDK has a guard judge replies while they are written: each has an example in `examples/streaming/`.
const STREAMING: [&str; 5] = ["rust", "python", "javascript", "typescript", "go"];

/// Those that give the same bytes from the same source, wherever it stands.
const REPRODUCIBLE: [&str; 7] = ["rust", "wat", "c", "cpp", "go", "zig", "nim"];

/// What the guard that misbehaves also does, as `tests/programs/languages/cases` ask, and what its memory is: a text of its own, or a state that
/// its SDK keeps as JSON. Rust's SDK is tested in Rust, and there is none for WebAssembly text.
const FEATURED: [(&str, &str); 9] = [
    ("c", "text.yaml"),
    ("cpp", "text.yaml"),
    ("go", "text.yaml"),
    ("zig", "text.yaml"),
    ("nim", "text.yaml"),
    ("python", "state.yaml"),
    ("javascript", "state.yaml"),
    ("typescript", "state.yaml"),
    ("assemblyscript", "state.yaml"),
];

/// A folder with a guard of a language, somewhere else than in the repository.
struct Workshop {
    dir: TempDir,
    language: &'static str,
}

impl Workshop {
    fn new(language: &'static str) -> Workshop {
        Workshop { dir: TempDir::new().expect("a temporary folder"), language }
    }

    /// With a copy of what stands in `folder`.
    fn of(language: &'static str, folder: &Path) -> Workshop {
        let workshop = Workshop::new(language);
        copy(folder, &workshop.guard());
        workshop
    }

    fn guard(&self) -> PathBuf {
        self.dir.path().join("my-guard")
    }

    fn aegis(&self, args: &[&str]) -> Output {
        let mut command = aegis(self.dir.path());
        // What all Rust guards need is compiled once.
        command.env("CARGO_TARGET_DIR", target().join("language-tests"));
        command.args(args).output().expect("the binary runs")
    }

    /// The component; `None` where a tool is missing.
    fn build(&self) -> Option<Vec<u8>> {
        let output = self.aegis(&["guard", "build", "my-guard", "-o", "my_guard.wasm"]);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(is_excused(self.language, &said), "{}: {said}", self.language);
            eprintln!("skipped: {}: {}", self.language, said.lines().find(|it| it.contains("this needs")).unwrap_or("a tool is missing"));
            return None;
        }
        Some(std::fs::read(self.dir.path().join("my_guard.wasm")).expect("the component"))
    }

    /// The outcome of `guard test --json`.
    fn test(&self, cases: &Path) -> Value {
        let output = self.aegis(&["guard", "test", "my_guard.wasm", cases.to_str().expect("text"), "--json", "--streams", "200"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{}: {error}: {output:?}", self.language))
    }
}

/// Whether a guard may go unbuilt: a tool is not there, and nobody promised that it is.
fn is_excused(language: &str, said: &str) -> bool {
    let promised = language.parse().is_ok_and(|it| tried(it) == Tried::Always);
    !promised && said.contains("this needs") && said.contains("Install it with")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("writable");
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())).flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let made = [".aegis", "target", "node_modules", "__pycache__"].iter().any(|it| name == *it);
        match path.is_dir() {
            _ if made => {}
            true => copy(&path, &to.join(name)),
            false => drop(std::fs::copy(&path, to.join(name)).expect("readable and writable")),
        }
    }
}

fn languages() -> impl Iterator<Item = &'static str> {
    let all = std::env::var("AEGIS_LANGUAGES").is_ok_and(|it| it == "all");
    Language::ALL.iter().filter(move |it| all || tried(**it) != Tried::WithAll).map(|it| it.name())
}

/// Tries all of them, also behind one that fails.
fn each(languages: impl Iterator<Item = &'static str>, attempt: impl Fn(&'static str) + std::panic::RefUnwindSafe) {
    let failed: Vec<&str> = languages.filter(|it| std::panic::catch_unwind(|| attempt(it)).is_err()).collect();
    assert!(failed.is_empty(), "{}: see above", failed.join(", "));
}

fn failures(outcome: &Value) -> Vec<&Value> {
    outcome["cases"].as_array().expect("cases").iter().filter(|it| it["holds"] != true).collect()
}

#[test]
fn an_example_in_any_language_keeps_to_the_same_cases_and_imports_nothing() {
    each(languages(), |language| {
        let workshop = Workshop::of(language, &root().join("examples/guards").join(language));
        let Some(component) = workshop.build() else { return };
        let outcome = workshop.test(&root().join("examples/guards/cases"));
        assert!(failures(&outcome).is_empty(), "{language}: {:#?}", failures(&outcome));
        assert!(outcome["hold"].as_u64() >= Some(20), "{language}: {outcome}");
        let inspected = workshop.aegis(&["guard", "inspect", "my_guard.wasm", "--json"]);
        let inspected: Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
        assert_eq!(inspected["imports"], serde_json::json!([]), "{language}");
        says_nothing_of_this_machine(language, &component, &workshop);
    });
}

fn says_nothing_of_this_machine(language: &str, component: &[u8], workshop: &Workshop) {
    // Not the home: runtimes that come built name that of their builder, which may be called the same.
    for path in [root(), workshop.dir.path(), &target()] {
        let path = path.to_str().expect("text").as_bytes();
        assert!(path.len() > 3, "a path that stands everywhere");
        let found = component.windows(path.len()).position(|it| it == path);
        let around = found.map(|at| String::from_utf8_lossy(&component[at..component.len().min(at + 160)]).into_owned());
        assert_eq!(around, None, "{language}");
    }
}

#[test]
fn a_new_guard_in_any_language_builds_and_one_of_its_cases_fails_on_purpose() {
    each(languages(), |language| {
        let workshop = Workshop::new(language);
        let made = workshop.aegis(&["guard", "new", "my-guard", "--lang", language]);
        assert!(made.status.success(), "{language}: {made:?}");
        if workshop.build().is_none() {
            return;
        }
        let outcome = workshop.test(&workshop.guard().join("cases"));
        let failed: Vec<&str> = failures(&outcome).iter().filter_map(|it| it["name"].as_str()).collect();
        assert!(failed.len() == 1 && failed[0].contains("fail"), "{language}: {failed:?}");
    });
}

#[test]
fn a_reply_in_pieces_comes_out_of_a_streaming_guard_as_the_whole_does() {
    each(languages().filter(|it| STREAMING.contains(it)), |language| {
        let workshop = Workshop::of(language, &root().join("examples/streaming").join(language));
        if workshop.build().is_none() {
            return;
        }
        let outcome = workshop.test(&root().join("examples/streaming/cases"));
        assert!(failures(&outcome).is_empty(), "{language}: {:#?}", failures(&outcome));
        let streams = &outcome["streams"];
        assert!(streams["tried"].as_u64() >= Some(200) && streams["wrong"].is_null() && outcome["hold"] == 6, "{language}: {streams}");
        let checked = workshop.aegis(&["guard", "check", "my_guard.wasm"]);
        assert!(checked.status.success(), "{language}: {}", String::from_utf8_lossy(&checked.stdout));
    });
}

#[test]
fn the_same_source_gives_the_same_component_wherever_it_stands() {
    each(languages().filter(|it| REPRODUCIBLE.contains(it)), |language| {
        let folder = root().join("examples/guards").join(language);
        let (here, there) = (Workshop::of(language, &folder), Workshop::of(language, &folder));
        let (Some(here), Some(there)) = (here.build(), there.build()) else { return };
        assert_eq!(aegis_kit::sha256(&here), aegis_kit::sha256(&there), "{language}");
    });
}

#[test]
fn what_a_guard_does_that_it_should_not_fails_closed_in_any_language_and_what_it_should_works() {
    each(languages(), |language| {
        let folder = root().join("tests/programs/languages").join(language);
        let workshop = Workshop::of(language, &folder);
        if workshop.build().is_none() {
            return;
        }
        let outcome = workshop.test(&workshop.guard().join("cases"));
        assert!(failures(&outcome).is_empty(), "{language}: {:#?}", failures(&outcome));
        assert!(outcome["hold"].as_u64() >= Some(10), "{language}: {outcome}");
        let features = FEATURED.iter().filter(|(name, _)| *name == language);
        for cases in features.flat_map(|(_, memory)| ["cases".to_owned(), format!("memory/{memory}")]) {
            let outcome = workshop.test(&root().join("tests/programs/languages").join(cases));
            assert!(failures(&outcome).is_empty(), "{language}: {:#?}", failures(&outcome));
        }
    });
}

#[test]
fn a_missing_tool_is_told_in_one_line_with_the_command_that_installs_it() {
    for (language, variable, installer) in [
        ("c", "ZIG", "pip"),
        ("zig", "ZIG", "pip"),
        ("go", "GO", "pip"),
        ("nim", "NIM", "pip"),
        ("python", "COMPONENTIZE_PY", "pip"),
        ("javascript", "ESBUILD", "npm"),
        ("typescript", "TSC", "npm"),
        ("assemblyscript", "ASC", "npm"),
    ] {
        let workshop = Workshop::new(language);
        assert!(workshop.aegis(&["guard", "new", "my-guard", "--lang", language]).status.success(), "{language}");
        let mut command = aegis(workshop.dir.path());
        command.env(variable, "/not/there").env("PATH", "").env_remove("CLANG");
        let output = command.args(["guard", "build", "my-guard"]).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let told = format!("Install it with \"{installer} install");
        let line = said.lines().find(|it| it.contains(&told)).unwrap_or_else(|| panic!("{language}: {said}"));
        assert!(!output.status.success() && line.contains(&format!("set {variable}")), "{language}: {said}");
    }
}

/// As the Python product documents it, but for the line that imports the verdict.
const CLASS: &str = r#"from aegis_guard import Verdict

class SensitiveTopicGuard:
    name = "sensitive-topic"
    streaming = "none"

    async def scan(self, messages, state):
        text = " ".join(m.get("content", "") for m in messages)
        if "financial advice" in text.lower():
            return Verdict.require_approval("Financial advice requires human review")
        return Verdict.allow()
"#;

const CASES_OF_CLASS: &str = r#"
- name: a hit asks
  input: Any Financial Advice?
  expect: {verdict: {require_approval: {prompt: Financial advice requires human review, approvers: [], required: 0}}}
- name: a list of parts is one text
  input: {messages: [{role: user, content: [{type: text, text: hello}, {type: text, text: financial advice}]}]}
  expect: {verdict: require_approval}
- name: a miss passes, and nothing is remembered
  input: hello
  expect: {verdict: allow, memory: null}
"#;

#[test]
fn a_class_as_the_python_product_has_it_is_a_guard_as_it_stands() {
    let workshop = Workshop::new("python");
    let write = |name: &str, text: &str| {
        let path = workshop.guard().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).and_then(|()| std::fs::write(path, text)).expect("writable");
    };
    write("guard.py", CLASS);
    write("cases/class.yaml", CASES_OF_CLASS);
    if workshop.build().is_some() {
        let outcome = workshop.test(&workshop.guard().join("cases"));
        assert!(failures(&outcome).is_empty() && outcome["hold"] == 3, "{:#?}", failures(&outcome));
    }
}
