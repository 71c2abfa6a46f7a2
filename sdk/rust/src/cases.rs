//! Cases of a guard, written down as data (feature `cases`, for `cargo test`). The host runs the same files against the component.
//!
//! A folder of YAML files, each a list of cases:
//!
//! ```yaml
//! - name: a forbidden word blocks             # a fact, printed when it does not hold
//!   settings: {words: ["no"]}                 # as in the configuration; left out: none
//!   stage: ingress                            # ingress (if left out), tool_result, tool_call or egress
//!   input: Oh no                              # one text, see `Input::of`; or as the body of `POST /v1/runs`:
//!   # input: {messages: [{role: user, content: Oh no}], tools: [], metadata: {}, memory: x, labels: [{key: k, value: v}], principal: {id: ana}, time: 0, model: m}
//!   expect:                                   # what is left out is not looked at
//!     verdict: block                          # allow, sanitize, block, require_approval; or whole: {block: a forbidden word}
//!     reason: a forbidden word                # of block; what people are asked
//!     findings:                               # all of them, in order, each with as much as is written
//!       - {rule: "no", at: {part: {message: 0, part: 0}}, start: 3, end: 5}
//!     edits: []                               # likewise, and labels
//!     labels: []
//!     memory: null
//! - name: settings that mean nothing are refused
//!   settings: {words: 7}
//!   input: ""
//!   expect: {error: words}                    # a part of why there is no verdict
//! ```
//!
//! Messages and tools are OpenAI's. Inline media (`data:`, `input_audio`) are shown to guards as a digest, which only the host makes: a case
//! with them runs against the component alone.

use crate::{Guard, Input, Label, Media, Message, Part, Principal, Report, Role, Schema, Stage, Tool, ToolCall, Verdict, component};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Runs every case of every `*.yaml` in `folder` (from the crate's own folder, where `cargo test` runs) and panics with all
/// that do not hold; also when there is none, and when the schema of the settings is no JSON object.
pub fn check<G: Guard>(folder: impl AsRef<Path>) {
    let folder = folder.as_ref();
    let text = G::Settings::schema();
    let schema = serde_json::from_str::<BTreeMap<String, Value>>(&text);
    assert!(text.is_empty() || schema.is_ok(), "the schema of the settings: {schema:?}");
    let files = files(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let results: Vec<Result<(), String>> = files.iter().flat_map(|file| check_file::<G>(file)).collect();
    assert!(!results.is_empty(), "{}: there are no cases", folder.display());
    let failures: Vec<String> = results.iter().filter_map(|it| it.clone().err()).collect();
    assert!(failures.is_empty(), "{} of {} cases do not hold:\n{}", failures.len(), results.len(), failures.join("\n"));
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = std::fs::read_dir(folder)?.map(|it| it.map(|it| it.path())).collect::<Result<Vec<_>, _>>()?;
    files.retain(|it| it.extension().is_some_and(|it| it == "yaml"));
    files.sort();
    Ok(files)
}

fn check_file<G: Guard>(file: &Path) -> Vec<Result<(), String>> {
    let cases = std::fs::read_to_string(file).map_err(|it| it.to_string());
    let cases = cases.and_then(|text| serde_saphyr::from_str::<Vec<Case>>(&text).map_err(|it| it.to_string()));
    match cases {
        Err(error) => vec![Err(format!("{}: {error}", file.display()))],
        Ok(cases) => {
            cases.iter().map(|case| case.check::<G>().map_err(|why| format!("{}: {}: {why}", file.display(), case.name))).collect()
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    settings: Option<Value>,
    #[serde(default)]
    stage: Option<Stage>,
    input: Value,
    /// Left out, the guard has to judge, whatever it says.
    #[serde(default)]
    expect: Expect,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    #[serde(default)]
    verdict: Option<ExpectedVerdict>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    findings: Option<Vec<Value>>,
    #[serde(default)]
    edits: Option<Vec<Value>>,
    #[serde(default)]
    labels: Option<Vec<Value>>,
    /// Written as null it means that there is none.
    #[serde(default, deserialize_with = "written")]
    memory: Option<Option<String>>,
    #[serde(default)]
    error: Option<String>,
}

fn written<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected allow, sanitize, block or require_approval, or a whole verdict such as {block: why}")]
enum ExpectedVerdict {
    Kind(Kind),
    Whole(Verdict),
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Allow,
    Sanitize,
    Block,
    RequireApproval,
}

impl Kind {
    fn of(verdict: &Verdict) -> Kind {
        match verdict {
            Verdict::Allow => Kind::Allow,
            Verdict::Sanitize(_) => Kind::Sanitize,
            Verdict::Block(_) => Kind::Block,
            Verdict::RequireApproval(_) => Kind::RequireApproval,
        }
    }
}

impl Case {
    fn check<G: Guard>(&self) -> Result<(), String> {
        let stage = self.stage.unwrap_or(Stage::Ingress);
        if !G::STAGES.contains(&stage) {
            return Err(format!("the guard is not asked at {}", json(&stage)));
        }
        let settings = self.settings.as_ref().map(Value::to_string).unwrap_or_default();
        let input = input(stage, &self.input)?;
        match (component::new::<G>(&settings).and_then(|it| it.scan(&input)), &self.expect.error) {
            (Ok(report), None) => self.expect.check(&report),
            (Ok(report), Some(_)) => Err(format!("the verdict is {}", json(&report.verdict))),
            (Err(why), Some(part)) if why.contains(part) => Ok(()),
            (Err(why), _) => Err(why),
        }
    }
}

impl Expect {
    fn check(&self, report: &Report) -> Result<(), String> {
        let (reason, edits) = match &report.verdict {
            Verdict::Allow => (None, vec![]),
            Verdict::Sanitize(edits) => (None, edits.iter().map(value).collect()),
            Verdict::Block(why) => (Some(why), vec![]),
            Verdict::RequireApproval(question) => (Some(&question.prompt), vec![]),
        };
        let holds = match &self.verdict {
            None => true,
            Some(ExpectedVerdict::Kind(kind)) => Kind::of(&report.verdict) == *kind,
            Some(ExpectedVerdict::Whole(verdict)) => report.verdict == *verdict,
        };
        let findings: Vec<Value> = report.findings.iter().map(value).collect();
        let labels: Vec<Value> = report.labels.iter().map(|it| serde_json::json!({"key": it.key, "value": it.value})).collect();
        let wrong = [
            (holds, "verdict", json(&report.verdict)),
            (self.reason.is_none() || self.reason.as_ref() == reason, "reason", json(&reason)),
            (agree(&findings, self.findings.as_ref()), "findings", json(&findings)),
            (agree(&edits, self.edits.as_ref()), "edits", json(&edits)),
            (agree(&labels, self.labels.as_ref()), "labels", json(&labels)),
            (self.memory.as_ref().is_none_or(|it| *it == report.memory), "memory", json(&report.memory)),
        ];
        let wrong = wrong.into_iter().find(|(holds, ..)| !holds);
        wrong.map_or(Ok(()), |(_, name, told)| Err(format!("{name}: the guard says {told}")))
    }
}

/// Each with at least what is expected of it; nothing expected: any.
fn agree(told: &[Value], expected: Option<&Vec<Value>>) -> bool {
    let includes = |told: &Value, expected: &Value| match expected.as_object() {
        Some(names) => names.iter().all(|(name, value)| told.get(name) == Some(value)),
        None => told == expected,
    };
    expected
        .is_none_or(|expected| told.len() == expected.len() && told.iter().zip(expected).all(|(told, expected)| includes(told, expected)))
}

/// As it is written: a score of 0.9 is that, and not the double nearest to its float.
fn value(it: &impl serde::Serialize) -> Value {
    serde_json::from_str(&json(it)).expect("it was JSON")
}

fn json(it: &impl serde::Serialize) -> String {
    serde_json::to_string(it).expect("what guards say has no maps")
}

fn input(stage: Stage, input: &Value) -> Result<Input, String> {
    if let Some(text) = input.as_str() {
        return Ok(Input::of(stage, text));
    }
    let body = Body::deserialize(input).map_err(|error| format!("input: {error}"))?;
    let messages = body.messages.into_iter().map(WireMessage::message).collect::<Result<_, _>>()?;
    let metadata = body.metadata.into_iter().map(|(key, value)| Label { key, value }).collect();
    let tools = body.tools.into_iter().map(|it| it.function.tool()).collect();
    let labels = body.labels.into_iter().map(|it| Label { key: it.key, value: it.value }).collect();
    let principal = body.principal.map(|it| Principal { id: it.id, teams: it.teams, roles: it.roles });
    let empty = Input::of_messages(stage, messages);
    let principal = principal.unwrap_or_else(|| empty.principal.clone());
    Ok(Input { metadata, tools, labels, principal, memory: body.memory, time: body.time, model: body.model, ..empty })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    messages: Vec<WireMessage>,
    #[serde(default)]
    tools: Vec<WireTool>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// Model parameters reach a guard in `context`, which natively is empty.
    #[serde(default, rename = "params")]
    _params: Value,
    #[serde(default)]
    memory: Option<String>,
    #[serde(default)]
    labels: Vec<WireLabel>,
    #[serde(default)]
    principal: Option<WirePrincipal>,
    #[serde(default)]
    time: u64,
    #[serde(default)]
    model: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLabel {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePrincipal {
    id: String,
    #[serde(default)]
    teams: Vec<String>,
    #[serde(default)]
    roles: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireMessage {
    role: WireRole,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    tool_calls: Vec<WireCall>,
    #[serde(default)]
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireRole {
    System,
    Developer,
    User,
    Assistant,
    #[serde(alias = "function")]
    Tool,
}

#[derive(Deserialize)]
struct WireCall {
    id: String,
    function: WireFunctionCall,
}

#[derive(Deserialize)]
struct WireFunctionCall {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct WireTool {
    function: WireFunction,
}

#[derive(Deserialize)]
struct WireFunction {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Option<Value>,
}

impl WireMessage {
    fn message(self) -> Result<Message, String> {
        let mut parts = match &self.content {
            Value::Null => vec![],
            Value::String(text) => vec![Part::Text(text.clone())],
            Value::Array(parts) => parts.iter().map(part).collect::<Result<_, _>>()?,
            _ => return Err("content: expected a string, a list of parts, or null".into()),
        };
        parts.extend(self.refusal.map(Part::Text));
        let call = |it: WireCall| ToolCall { id: it.id, name: it.function.name, arguments: it.function.arguments };
        let tool_calls = self.tool_calls.into_iter().map(call).collect();
        Ok(Message { role: self.role.role(), parts, name: self.name, tool_calls, tool_call_id: self.tool_call_id })
    }
}

impl WireRole {
    fn role(&self) -> Role {
        match self {
            WireRole::System => Role::System,
            WireRole::Developer => Role::Developer,
            WireRole::User => Role::User,
            WireRole::Assistant => Role::Assistant,
            WireRole::Tool => Role::Tool,
        }
    }
}

impl WireFunction {
    fn tool(self) -> Tool {
        let parameters = self.parameters.map(|it| it.to_string()).unwrap_or_default();
        Tool { name: self.name, description: self.description, parameters }
    }
}

fn part(json: &Value) -> Result<Part, String> {
    let text = |name: &str| json.pointer(name).and_then(Value::as_str).ok_or_else(|| format!("{json}: {name} is not there"));
    Ok(match text("/type")? {
        "text" => Part::Text(text("/text")?.into()),
        "image_url" if !text("/image_url/url")?.starts_with("data:") => {
            Part::Media(Media { mime: String::new(), uri: text("/image_url/url")?.into() })
        }
        "image_url" | "input_audio" => return Err("inline media: only the host can run this case".into()),
        _ => Part::Other(json.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Word(String);

    #[derive(Deserialize, Schema)]
    struct Settings {
        word: String,
    }

    impl Guard for Word {
        type Settings = Settings;
        const NAME: &str = "word";
        const VERSION: &str = "1.0.0";
        const DESCRIPTION: &str = "masks a word";
        const STAGES: &[Stage] = &[Stage::Ingress, Stage::ToolCall];

        fn new(settings: Settings) -> Result<Word, String> {
            Ok(Word(settings.word))
        }

        fn scan(&self, input: &Input) -> Result<Report, String> {
            let hits = input
                .texts()
                .flat_map(|it| it.text.match_indices(&self.0).map(|(at, hit)| it.finding("word", at..at + hit.len())).collect::<Vec<_>>());
            Ok(Report::mask(hits.collect(), |_| "*".into()))
        }
    }

    fn outcome(case: &str) -> Result<(), String> {
        serde_saphyr::from_str::<Case>(case).map_err(|it| it.to_string())?.check::<Word>()
    }

    #[test]
    fn a_case_holds_only_if_everything_in_it_does() {
        const PARTS: &str = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x"}},{"type":"z","y":"bad"}],"refusal":"bad"}]}"#;
        for (case, expected) in [
            ("{name: n, settings: {word: bad}, input: oh bad, expect: {verdict: sanitize}}".to_owned(), Ok(())),
            ("{name: n, settings: {word: bad}, input: oh, expect: {verdict: allow, findings: []}}".into(), Ok(())),
            ("{name: n, settings: {word: bad}, input: oh bad, expect: {verdict: allow}}".into(), Err("sanitize")),
            ("{name: n, settings: {word: bad}, input: oh bad, expect: {verdict: sanitize, findings: []}}".into(), Err(r#""start":3"#)),
            (r#"{name: n, settings: {word: bad}, stage: tool_call, input: bad, expect: {verdict: {sanitize: [{at: {arguments: {message: 0, call: 0}}, start: 0, end: 3, text: "*"}]}}}"#.into(), Ok(())),
            ("{name: n, settings: {word: bad}, input: bad, expect: {verdict: {block: x}}}".into(), Err("sanitize")),
            ("{name: n, settings: {word: bad}, input: oh bad, expect: {findings: [{rule: word, start: 3}], edits: [{end: 6, text: \"*\"}], labels: [], memory: null}}".into(), Ok(())),
            ("{name: n, settings: {word: bad}, input: oh bad, expect: {findings: [{rule: word, start: 4}]}}".into(), Err("findings")),
            ("{name: n, settings: {word: bad}, input: oh bad, expect: {memory: x}}".into(), Err("memory: the guard says null")),
            ("{name: n, settings: {word: bad}, input: oh bad, expect: {reason: x}}".into(), Err("reason")),
            ("{name: n, settings: {word: bad}, input: oh bad}".into(), Ok(())),
            ("{name: n, input: oh bad}".into(), Err("word")),
            ("{name: n, input: bad, expect: {error: word}}".into(), Ok(())),
            ("{name: n, settings: {word: bad}, input: oh, expect: {error: word}}".into(), Err("allow")),
            ("{name: n, settings: {word: bad}, input: {messages: [], memory: m, labels: [{key: k, value: v}], principal: {id: p}, time: 7}, expect: {verdict: allow}}".into(), Ok(())),
            ("{name: n, input: bad, expect: {verdict: allow}}".into(), Err("word")),
            ("{name: n, settings: {word: bad}, stage: egress, input: bad, expect: {verdict: allow}}".into(), Err("not asked at \"egress\"")),
            (r#"{name: n, settings: {word: bad}, input: {messages: [{role: user, contents: x}]}, expect: {verdict: allow}}"#.into(), Err("contents")),
            (format!(r#"{{name: n, settings: {{word: bad}}, input: {PARTS}, expect: {{verdict: sanitize, findings: [
                {{rule: word, at: {{part: {{message: 0, part: 1}}}}, start: 17, end: 20}}, {{rule: word, at: {{part: {{message: 0, part: 2}}}}, start: 0, end: 3}}]}}}}"#), Ok(())),
        ] {
            match (outcome(&case), expected) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(named)) if error.contains(named) => {}
                (outcome, _) => panic!("{case}: {outcome:?}"),
            }
        }
    }

    #[test]
    #[should_panic(expected = "there are no cases")]
    fn a_folder_without_cases_is_a_failure() {
        check::<Word>("src");
    }
}
