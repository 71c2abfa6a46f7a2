//! Cases: what goes in, and what a guard has to say of it. Nothing is run in this file.

use super::trial::{Content, Judged};
use aegis_core::{GuardFailure, Stage, Verdict};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// What `expect` may name.
const EXPECTABLE: [&str; 7] = ["verdict", "reason", "findings", "edits", "labels", "memory", "error"];

/// Bytes of one file. All of it is held in memory, several times over.
const LARGEST: u64 = 1 << 30;

/// One case, as it is written down.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    #[serde(default)]
    pub(super) settings: Option<Value>,
    #[serde(default)]
    pub(super) stage: Option<Stage>,
    input: Value,
    /// By name; only what is named is looked at. Without it the guard must judge, whatever it says.
    #[serde(default)]
    pub(super) expect: Option<Map<String, Value>>,
}

/// A file with cases: a YAML list, or one JSON object a line as `aegis runs export` writes them.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) cases: Vec<Case>,
}

/// Every file with cases at `path`: itself, or those in the folder, in the order of their names.
///
/// # Errors
/// Which file cannot be read and why, or that there is none.
pub(super) fn read(path: &Path) -> Result<Vec<File>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if path.is_file() {
        return Ok(vec![File::read(path.into())?]);
    }
    let entries = fs::read_dir(path).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|it| it.path()).filter(|it| is_cases(it)).collect();
    paths.sort();
    let files = paths.into_iter().map(File::read).collect::<Result<Vec<_>, _>>()?;
    if files.iter().all(|it| it.cases.is_empty()) { Err(format!("{}: there are no cases", path.display())) } else { Ok(files) }
}

fn is_cases(path: &Path) -> bool {
    path.extension().is_some_and(|it| ["yaml", "yml", "jsonl"].iter().any(|known| it == *known))
}

impl File {
    fn read(path: PathBuf) -> Result<File, String> {
        let text = text_of(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let cases = if is_lines(&path) { lines(&text) } else { list(&text) };
        let cases = cases.and_then(|cases| cases.iter().try_for_each(Case::check).map(|()| cases));
        Ok(File { cases: cases.map_err(|why| format!("{}: {why}", path.display()))?, path, text })
    }
}

/// Of a file, and not of what never ends or never begins: a device, a pipe.
fn text_of(path: &Path) -> io::Result<String> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    fs::File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST { Err(io::Error::other(format!("it has more than {LARGEST} bytes: split it"))) } else { Ok(text) }
}

pub(super) fn is_lines(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "jsonl")
}

/// # Errors
/// Where it is no list of cases.
pub(super) fn list(yaml: &str) -> Result<Vec<Case>, String> {
    if yaml.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
        return Ok(vec![]);
    }
    serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
}

fn lines(text: &str) -> Result<Vec<Case>, String> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))).collect()
}

impl Case {
    fn check(&self) -> Result<(), String> {
        let unknown = self.expect.iter().flat_map(Map::keys).find(|it| !EXPECTABLE.contains(&it.as_str()));
        if let Some(name) = unknown {
            return Err(format!("{}: expect: there is no {name:?}: write {}", self.name, EXPECTABLE.join(", ")));
        }
        let error = self.expect.as_ref().and_then(|it| it.get("error")).filter(|it| !it.is_string());
        let wrong = |it| format!("{}: expect: error: write a part of why there is no verdict, and not {it}", self.name);
        error.map_or(Ok(()), |it| Err(wrong(it)))
    }

    /// # Errors
    /// What is wrong with the input.
    pub(super) fn content(&self, stage: Stage) -> Result<Content, String> {
        Content::read(stage, self.input.to_string().as_bytes())
    }

    /// What a model might say, where the case has one text.
    pub(super) fn text(&self) -> Option<&str> {
        let said = || self.input["messages"].as_array()?.last()?.get("content")?.as_str();
        self.input.as_str().or_else(said)
    }

    /// What stands before the reply, where the case is about one.
    pub(super) fn before(&self) -> Content {
        let content = Some(Stage::Egress).filter(|it| self.stage == Some(*it)).and_then(|it| self.content(it).ok());
        let mut content = content.unwrap_or_default();
        content.messages.pop();
        content
    }

    /// What is named in `expect`, and the same of what was told. Equal where the case holds.
    pub(super) fn compare(&self, told: &Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
        let Some(expected) = self.expect.clone() else {
            // Whatever it says will do, as long as it says something.
            let error = told.get("error").map(|it| ("error".to_owned(), it.clone()));
            return (Map::new(), error.into_iter().collect());
        };
        let mut seen: Map<String, Value> =
            expected.iter().filter_map(|(name, value)| Some((name.clone(), shaped(told.get(name)?, value)))).collect();
        match (expected.get("error").and_then(Value::as_str), told.get("error").and_then(Value::as_str)) {
            (Some(part), Some(whole)) if whole.contains(part) => drop(seen.insert("error".into(), json!(part))),
            (_, Some(whole)) => drop(seen.insert("error".into(), json!(whole))),
            (Some(_), None) => drop(seen.insert("verdict".into(), told["verdict"].clone())),
            (None, None) => {}
        }
        (expected, seen)
    }
}

/// What a guard said, by the names of [`EXPECTABLE`].
pub(super) fn told(judged: &Judged) -> Map<String, Value> {
    let report = &judged.report;
    let (reason, edits) = match &report.verdict {
        Verdict::Block(why) => (json!(why), json!([])),
        Verdict::RequireApproval(question) => (json!(question.prompt), json!([])),
        Verdict::Sanitize(edits) => (Value::Null, plain(edits)),
        Verdict::Allow => (Value::Null, json!([])),
    };
    let named = [
        ("verdict", plain(&report.verdict)),
        ("reason", reason),
        ("findings", plain(&report.findings)),
        ("edits", edits),
        ("labels", plain(&report.labels)),
        ("memory", plain(&report.memory)),
    ];
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What is said where there is no verdict.
pub(super) fn failed(failure: &GuardFailure) -> Map<String, Value> {
    error(&format!("the guard {failure}"))
}

pub(super) fn error(why: &str) -> Map<String, Value> {
    [("error".to_owned(), json!(why))].into_iter().collect()
}

/// As it is printed: a score of 0.9 is that, and not the double nearest to its float.
fn plain(it: &impl serde::Serialize) -> Value {
    let text = serde_json::to_string(it).expect("reports have no maps");
    serde_json::from_str(&text).expect("it was JSON")
}

/// What was told, with no more said than in what is expected: `block` of `{block: why}`, of an object only the names that are expected.
fn shaped(told: &Value, expected: &Value) -> Value {
    match (told, expected) {
        (Value::Object(it), Value::String(_)) if it.len() == 1 => it.keys().next().map_or(Value::Null, |name| json!(name)),
        (Value::Object(it), Value::Object(names)) if names.keys().any(|name| it.contains_key(name)) => {
            names.iter().filter_map(|(name, value)| Some((name.clone(), shaped(it.get(name)?, value)))).collect()
        }
        (Value::Array(told), Value::Array(expected)) => {
            let pairs = told.iter().enumerate().map(|(index, it)| expected.get(index).map_or_else(|| it.clone(), |like| shaped(it, like)));
            pairs.collect()
        }
        _ => told.clone(),
    }
}

/// `expect` as it would hold: the names that stand there, else what is mostly meant.
pub(super) fn expectation(case: &Case, told: &Map<String, Value>) -> Map<String, Value> {
    if let Some(why) = told.get("error") {
        return error(why.as_str().unwrap_or_default());
    }
    let before = case.expect.clone().unwrap_or_default();
    let usual = ["verdict", "findings"].map(|name| (name.to_owned(), Value::Null)).into_iter().collect();
    let names = if before.keys().all(|it| it == "error") { usual } else { before };
    let kind = |name: &str, told: &Value, like: &Value| {
        if name == "verdict" && like.is_null() { shaped(told, &json!("")) } else { shaped(told, like) }
    };
    names.iter().filter_map(|(name, like)| Some((name.clone(), kind(name, told.get(name)?, like)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(yaml: &str) -> Case {
        list(yaml).and_then(|it| it.iter().try_for_each(Case::check).map(|()| it)).unwrap().remove(0)
    }

    fn holds(expect: &str, told: &Value) -> bool {
        let case = case(&format!("- {{name: n, input: t, expect: {expect}}}"));
        let (expected, seen) = case.compare(told.as_object().unwrap());
        expected == seen
    }

    #[test]
    fn only_what_is_named_is_looked_at() {
        let told = json!({"verdict": {"block": "why"}, "reason": "why", "memory": null, "labels": [],
            "findings": [{"rule": "r", "start": 1, "end": 2, "score": 0.9}]});
        for (expect, fine) in [
            ("{verdict: block}", true),
            ("{verdict: {block: why}, reason: why}", true),
            ("{verdict: {block: other}}", false),
            ("{verdict: allow}", false),
            ("{findings: [{rule: r, start: 1}]}", true),
            ("{findings: [{rule: r, score: 0.9}]}", true),
            ("{findings: [{rule: q}]}", false),
            ("{findings: [{rule: r}, {rule: r}]}", false),
            ("{findings: []}", false),
            ("{memory: null, labels: []}", true),
            ("{memory: x}", false),
            ("{error: x}", false),
        ] {
            assert_eq!(holds(expect, &told), fine, "{expect}");
        }
    }

    #[test]
    fn an_error_is_expected_by_a_part_of_it() {
        let told = json!({"error": "it refuses its settings: phrases: write one"});
        assert!(holds("{error: phrases}", &told));
        assert!(!holds("{error: words}", &told) && !holds("{verdict: block}", &told) && !holds("{}", &told));
        let case = case("- {name: n, input: t}");
        let (expected, seen) = case.compare(told.as_object().unwrap());
        assert_ne!(expected, seen);
    }

    #[test]
    fn a_typo_is_an_error_with_its_name() {
        for (yaml, named) in [("- {name: n, input: t, expct: {}}", "expct"), ("- {name: n, input: t, expect: {verdct: allow}}", "verdct")] {
            let error = list(yaml).and_then(|it| it.iter().try_for_each(Case::check)).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn an_error_that_is_no_text_is_refused() {
        for error in ["true", "null", "7", "[a]"] {
            let yaml = format!("- {{name: n, input: t, expect: {{error: {error}}}}}");
            let why = list(&yaml).and_then(|it| it.iter().try_for_each(Case::check)).unwrap_err();
            assert!(why.starts_with("n: expect: error: write a part"), "{why}");
        }
    }

    #[test]
    fn what_was_told_becomes_what_is_expected() {
        let told = json!({"verdict": {"block": "why"}, "findings": [], "memory": null, "reason": "why"});
        let told = told.as_object().unwrap();
        for (yaml, expected) in [
            ("- {name: n, input: t}", json!({"verdict": "block", "findings": []})),
            ("- {name: n, input: t, expect: {verdict: allow}}", json!({"verdict": "block"})),
            ("- {name: n, input: t, expect: {verdict: {block: x}, memory: y}}", json!({"verdict": {"block": "why"}, "memory": null})),
            ("- {name: n, input: t, expect: {error: words}}", json!({"verdict": "block", "findings": []})),
        ] {
            assert_eq!(json!(expectation(&case(yaml), told)), expected, "{yaml}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("a.yaml")).unwrap();
        let why = read(folder.path()).map(drop).unwrap_err();
        assert!(why.contains("a.yaml: it is no file"), "{why}");
    }
}
