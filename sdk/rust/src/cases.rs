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
//! A file `.jsonl` has one case a line, as `aegis runs export` writes recorded traffic; without `expect`, the guard has to judge, whatever it says, where it is
//! asked at that stage at all. What a case means is what it means to `aegis guard test`: a report that breaks the contract is a failed guard here too, and
//! so is a panic. Only the schema of the settings is checked by the host alone: natively, they are refused by their type.
//!
//! Messages and tools are OpenAI's. Inline media (`data:`, `input_audio`) are shown to guards as a digest, which only the host makes: a case
//! with them runs against the component alone.

use crate::{
    ArgumentsPlace, Edit, Guard, Input, Label, Media, Message, Part, PartPlace, Place, Principal, Report, Role, Schema, Stage, Tool,
    ToolCall, Verdict, component,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// What `expect` may name.
const EXPECTABLE: [&str; 7] = ["verdict", "reason", "findings", "edits", "labels", "memory", "error"];
/// When a case happens that does not say: the same moment as in `aegis guard test`.
const MOMENT: u64 = 1_700_000_000_000;

/// Runs every case of every `*.yaml`, `*.yml` and `*.jsonl` in `folder` (from the crate's own folder, where `cargo test` runs) and panics with all
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
    files.retain(|it| it.extension().is_some_and(|it| ["yaml", "yml", "jsonl"].iter().any(|known| it == *known)));
    files.sort();
    Ok(files)
}

fn check_file<G: Guard>(file: &Path) -> Vec<Result<(), String>> {
    let text = std::fs::read_to_string(file).map_err(|it| it.to_string());
    let read = if file.extension().is_some_and(|it| it == "jsonl") { lines } else { list };
    match text.and_then(|it| read(&it)) {
        Err(error) => vec![Err(format!("{}: {error}", file.display()))],
        Ok(cases) => {
            cases.iter().map(|case| case.check::<G>().map_err(|why| format!("{}: {}: {why}", file.display(), case.name))).collect()
        }
    }
}

fn list(yaml: &str) -> Result<Vec<Case>, String> {
    if yaml.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
        return Ok(vec![]);
    }
    serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
}

fn lines(text: &str) -> Result<Vec<Case>, String> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))).collect()
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
    /// By name; only what is named is looked at. Left out, the guard has to judge, whatever it says.
    #[serde(default)]
    expect: Option<Map<String, Value>>,
}

impl Case {
    fn check<G: Guard>(&self) -> Result<(), String> {
        let stage = self.stage.unwrap_or(Stage::Ingress);
        self.expectable()?;
        if self.expect.is_none() && !G::STAGES.contains(&stage) {
            return Ok(()); // recorded traffic has every stage
        }
        self.compare(&self.told::<G>(stage).unwrap_or_else(|why| Map::from_iter([("error".to_owned(), json!(why))])))
    }

    fn expectable(&self) -> Result<(), String> {
        if let Some(name) = self.expect.iter().flat_map(Map::keys).find(|it| !EXPECTABLE.contains(&it.as_str())) {
            return Err(format!("expect: there is no {name:?}: write {}", EXPECTABLE.join(", ")));
        }
        let error = self.expect.as_ref().and_then(|it| it.get("error")).filter(|it| !it.is_string());
        error.map_or(Ok(()), |it| Err(format!("expect: error: write a part of why there is no verdict, and not {it}")))
    }

    /// What the guard says, by the names of [`EXPECTABLE`].
    ///
    /// # Errors
    /// Why there is no verdict, in the host's words.
    fn told<G: Guard>(&self, stage: Stage) -> Result<Map<String, Value>, String> {
        let settings = self.settings.as_ref().map(Value::to_string).unwrap_or_default();
        let guard = no_panic(|| component::new::<G>(&settings))?.map_err(|why| format!("it refuses its settings: {why}"))?;
        if !G::STAGES.contains(&stage) {
            return Err(format!("the guard is not asked at {}", name(stage)));
        }
        let input = input(stage, &self.input)?;
        let report = no_panic(|| guard.scan(&input))?.map_err(|why| format!("the guard could not judge: {why}"))?;
        sound(&report, &input).map_err(|why| format!("the guard broke the contract: {why}"))?;
        Ok(told(&report))
    }

    fn compare(&self, told: &Map<String, Value>) -> Result<(), String> {
        let Some(expected) = &self.expect else {
            // Whatever it says will do, as long as it says something.
            return told.get("error").map_or(Ok(()), |why| Err(why.as_str().unwrap_or_default().into()));
        };
        match (expected.get("error").and_then(Value::as_str), told.get("error").and_then(Value::as_str)) {
            (Some(part), Some(whole)) if whole.contains(part) => {}
            (_, Some(whole)) => return Err(whole.into()),
            (Some(_), None) => return Err(format!("the verdict is {}", told["verdict"])),
            (None, None) => {}
        }
        let wrong = expected.iter().filter(|(name, _)| *name != "error").find_map(|(name, expected)| {
            let told = told.get(name).cloned().unwrap_or_default();
            (shaped(&told, expected) != *expected).then(|| format!("{name}: the guard says {told}"))
        });
        wrong.map_or(Ok(()), Err)
    }
}

/// A panic ends a sandbox, and is a failed guard.
fn no_panic<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|panic| {
        let words = panic.downcast_ref::<&str>().map(|it| (*it).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
        format!("the guard trapped: {}", words.unwrap_or_default())
    })
}

fn told(report: &Report) -> Map<String, Value> {
    let (reason, edits) = match &report.verdict {
        Verdict::Allow => (Value::Null, json!([])),
        Verdict::Sanitize(edits) => (Value::Null, value(edits)),
        Verdict::Block(why) => (json!(why), json!([])),
        Verdict::RequireApproval(question) => (json!(question.prompt), json!([])),
    };
    let labels: Vec<Value> = report.labels.iter().map(|it| json!({"key": it.key, "value": it.value})).collect();
    let named = [
        ("verdict", value(&report.verdict)),
        ("reason", reason),
        ("findings", value(&report.findings)),
        ("edits", edits),
        ("labels", json!(labels)),
        ("memory", json!(report.memory)),
    ];
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
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

/// Whether a host would take this report: evidence stands in texts that are there, and edits where they may.
fn sound(report: &Report, input: &Input) -> Result<(), String> {
    for it in &report.findings {
        let text = text_at(input, it.at).ok_or_else(|| format!("there is no text at {}", value(&it.at)))?;
        range(text, it.at, it.start, it.end)?;
        if let Some(score) = it.score.filter(|it| !(0.0..=1.0).contains(it)) {
            return Err(format!("the score {score} is not between 0 and 1"));
        }
    }
    let Verdict::Sanitize(edits) = &report.verdict else { return Ok(()) };
    let mut sorted: Vec<&Edit> = edits.iter().collect();
    sorted.sort_by_key(|it| (it.at, it.start, it.end));
    for it in &sorted {
        let text = text_at(input, it.at).filter(|_| !is_other(input, it.at));
        range(text.ok_or_else(|| format!("there is no text at {}", value(&it.at)))?, it.at, it.start, it.end)?;
        if !may_edit(input, it.at) {
            return Err(format!("{} may not be edited at {}", value(&it.at), name(input.stage)));
        }
        if it.text.contains('\0') {
            return Err("a text may not contain U+0000".into());
        }
    }
    let clash = |pair: &&[&Edit]| pair[0].at == pair[1].at && (pair[1].start < pair[0].end || pair[1].start == pair[0].start);
    sorted.windows(2).find(clash).map_or(Ok(()), |pair| Err(format!("two edits overlap at {}", value(&pair[1].at))))
}

fn text_at(input: &Input, at: Place) -> Option<&str> {
    match at {
        Place::Tool(n) => input.tools.get(n as usize).map(|it| it.description.as_str()),
        Place::Arguments(at) => input.messages.get(at.message as usize)?.tool_calls.get(at.call as usize).map(|it| it.arguments.as_str()),
        Place::Part(at) => match input.messages.get(at.message as usize)?.parts.get(at.part as usize)? {
            Part::Text(text) | Part::Other(text) => Some(text),
            Part::Media(_) => None,
        },
    }
}

/// A part that is neither text nor media: there may be evidence in it, but no edits.
fn is_other(input: &Input, at: Place) -> bool {
    let Place::Part(at) = at else { return false };
    let part = input.messages.get(at.message as usize).and_then(|it| it.parts.get(at.part as usize));
    matches!(part, Some(Part::Other(_)))
}

fn may_edit(input: &Input, at: Place) -> bool {
    let reply = input.messages.len().wrapping_sub(1);
    match (input.stage, at) {
        (Stage::Ingress, _) => true,
        (_, Place::Tool(_)) => false,
        (Stage::ToolResult, Place::Part(PartPlace { message, .. }) | Place::Arguments(ArgumentsPlace { message, .. })) => {
            input.messages.get(message as usize).is_some_and(|it| it.role == Role::Tool)
        }
        (Stage::ToolCall, at) => matches!(at, Place::Arguments(at) if at.message as usize == reply),
        (Stage::Egress, at) => matches!(at, Place::Part(at) if at.message as usize == reply),
    }
}

fn range(text: &str, at: Place, start: u32, end: u32) -> Result<(), String> {
    let whole = text.get(start as usize..end as usize).is_some();
    let wrong = || format!("{start}..{end} at {} is not a range of whole characters in a text of {} bytes", value(&at), text.len());
    if whole { Ok(()) } else { Err(wrong()) }
}

fn name(stage: Stage) -> String {
    value(&stage).as_str().unwrap_or_default().to_owned()
}

/// As it is written: a score of 0.9 is that, and not the double nearest to its float.
fn value(it: &impl serde::Serialize) -> Value {
    let text = serde_json::to_string(it).expect("what guards say has no maps");
    serde_json::from_str(&text).expect("it was JSON")
}

fn input(stage: Stage, input: &Value) -> Result<Input, String> {
    if let Some(text) = input.as_str() {
        let empty = Input::of(stage, text);
        return Ok(Input { run_id: run_id(MOMENT), route: "default".into(), principal: anonymous(), time: MOMENT, ..empty });
    }
    let body = Body::deserialize(input).map_err(|error| format!("input: {error}"))?;
    let is_reply = body.messages.last().is_some_and(|it| matches!(it.role, WireRole::Assistant));
    if matches!(stage, Stage::ToolCall | Stage::Egress) && !is_reply {
        return Err(format!("at {} the last message is the model's reply: it needs the role \"assistant\"", name(stage)));
    }
    let messages = body.messages.into_iter().map(WireMessage::message).collect::<Result<_, _>>()?;
    let metadata = body.metadata.into_iter().map(|(key, value)| Label { key, value }).collect();
    let tools = body.tools.into_iter().map(|it| it.function.tool()).collect();
    let labels = body.labels.into_iter().map(|it| Label { key: it.key, value: it.value }).collect();
    let principal = body.principal.map(|it| Principal { id: it.id, teams: it.teams, roles: it.roles });
    let params = Some(body.params).filter(|it| !it.is_empty()).map(|it| Label { key: "params".into(), value: json!(it).to_string() });
    let (context, principal) = (params.into_iter().collect(), principal.unwrap_or_else(anonymous));
    let (time, empty) = (body.time.unwrap_or(MOMENT), Input::of_messages(stage, messages));
    let (run_id, route, memory, model) = (run_id(time), "default".into(), body.memory, body.model);
    Ok(Input { run_id, route, model, principal, time, metadata, context, labels, memory, tools, ..empty })
}

/// Who asks where nobody is named.
fn anonymous() -> Principal {
    Principal { id: "anonymous".into(), teams: vec![], roles: ["user", "approver", "admin"].map(String::from).to_vec() }
}

/// A run's id: a UUID of version 7, with nothing random in it.
fn run_id(time: u64) -> String {
    let millis = time & 0xffff_ffff_ffff;
    format!("{:08x}-{:04x}-7000-8000-000000000000", millis >> 16, millis & 0xffff)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    messages: Vec<WireMessage>,
    #[serde(default)]
    tools: Vec<WireTool>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    params: Map<String, Value>,
    #[serde(default)]
    memory: Option<String>,
    #[serde(default)]
    labels: Vec<WireLabel>,
    #[serde(default)]
    principal: Option<WirePrincipal>,
    #[serde(default)]
    time: Option<u64>,
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
            let edit = |end| Edit { at: Place::Part(PartPlace { message: 0, part: 0 }), start: 0, end, text: "*".into() };
            let sanitize = |edits| Ok(Report { verdict: Verdict::Sanitize(edits), ..Report::allow() });
            let params = input.context.iter().map(|it| it.value.as_str()).collect::<String>();
            let (who, roles) = (&input.principal.id, input.principal.roles.join(", "));
            match &*self.0 {
                "PANIC" => panic!("PANIC"),
                "PLACE" => return sanitize(vec![edit(99)]),
                "REPLY" => return sanitize(vec![edit(1)]),
                "TWICE" => return sanitize(vec![edit(2), edit(1)]),
                "TOLD" => {
                    return Ok(Report::block(format!("{} {} {who} {} [{roles}] {params}", input.run_id, input.route, input.time), vec![]));
                }
                _ => {}
            }
            let word = if self.0 == "FIND" { "bad" } else { &self.0 };
            let hits = input
                .texts()
                .flat_map(|it| it.text.match_indices(word).map(|(at, hit)| it.finding("word", at..at + hit.len())).collect::<Vec<_>>());
            Ok(if self.0 == "FIND" { Report::block("found", hits.collect()) } else { Report::mask(hits.collect(), |_| "*".into()) })
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
            ("{name: n, settings: {word: bad}, stage: egress, input: bad, expect: {verdict: allow}}".into(), Err("not asked at egress")),
            ("{name: n, settings: {word: bad}, stage: egress, input: bad, expect: {error: not asked}}".into(), Ok(())),
            ("{name: n, settings: {word: bad}, stage: egress, input: bad}".into(), Ok(())),
            ("{name: n, settings: {word: bad}, input: bad, expect: {findings: [{at: {part: {message: 0}}}]}}".into(), Ok(())),
            ("{name: n, settings: {word: bad}, input: bad, expect: {verdict: {sanitize: [{text: \"*\"}]}}}".into(), Ok(())),
            ("{name: n, settings: {word: bad}, input: bad, expect: {verdct: allow}}".into(), Err("verdct")),
            ("{name: n, settings: {word: bad}, input: oh, expect: {error: true}}".into(), Err("and not true")),
            ("{name: n, settings: {word: bad}, input: oh, expect: {error: null, verdict: allow}}".into(), Err("and not null")),
            ("{name: n, input: oh, expect: {error: 7}}".into(), Err("and not 7")),
            ("{name: n, settings: {word: PANIC}, input: bad, expect: {error: \"the guard trapped: PANIC\"}}".into(), Ok(())),
            ("{name: n, settings: {word: PLACE}, input: bad, expect: {error: \"0..99 at\"}}".into(), Ok(())),
            ("{name: n, settings: {word: REPLY}, stage: tool_call, input: {messages: [{role: assistant, content: bad}]}, expect: {error: may not be edited at tool_call}}".into(), Ok(())),
            ("{name: n, settings: {word: TWICE}, input: bad, expect: {error: two edits overlap}}".into(), Ok(())),
            ("{name: n, settings: {word: TOLD}, input: bad, expect: {reason: \"018bcfe5-6800-7000-8000-000000000000 default anonymous 1700000000000 [user, approver, admin] \"}}".into(), Ok(())),
            ("{name: n, settings: {word: TOLD}, input: {messages: [{role: user, content: x}], params: {temperature: 0.5}, time: 7}, expect: {reason: \"00000000-0007-7000-8000-000000000000 default anonymous 7 [user, approver, admin] {\\\"temperature\\\":0.5}\"}}".into(), Ok(())),
            ("{name: n, settings: {word: bad}, stage: tool_call, input: {messages: [{role: user, content: x}]}, expect: {error: role}}".into(), Ok(())),
            (r#"{name: n, settings: {word: bad}, input: {messages: [{role: user, contents: x}]}, expect: {verdict: allow}}"#.into(), Err("contents")),
            (format!("{{name: n, settings: {{word: bad}}, input: {PARTS}, expect: {{error: broke the contract}}}}"), Ok(())),
            (format!(r#"{{name: n, settings: {{word: FIND}}, input: {PARTS}, expect: {{verdict: block, findings: [
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
    fn recorded_traffic_is_read_line_by_line_and_a_list_may_be_empty() {
        assert_eq!(lines("{\"name\":\"a\",\"input\":\"x\"}\n\n{\"name\":\"b\",\"input\":\"x\"}\n").map(|it| it.len()), Ok(2));
        assert!(lines("{}").map(drop).is_err_and(|why| why.contains("line 1")));
        assert_eq!(list("# nothing yet\n\n").map(|it| it.len()), Ok(0));
    }

    #[test]
    #[should_panic(expected = "there are no cases")]
    fn a_folder_without_cases_is_a_failure() {
        check::<Word>("src");
    }
}
