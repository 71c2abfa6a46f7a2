//! `aegis guard check`: each rule of the contract, tried. For authors of bindings: what is wrong, and what to do.

use super::diff::coloured;
use super::sample;
use super::streams::{self, Dice};
use super::trial::{Content, Trial};
use crate::failure::Failure;
use crate::loading::{Bar, blocking, sandbox};
use crate::terminal::{Look, line, print, print_json};
use aegis_core::{Code, GuardFailure, Label, Report, Stage, Time};
use aegis_wasm::{Limits, LoadError, LoadedGuard, Manifest, Prototype, Sandbox, Source};
use anstyle::AnsiColor;
use clap::Args;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::path::PathBuf;

/// When a guard is asked: the same wherever and whenever it is tried.
const MOMENT: Time = Time(1_700_000_000_000);
/// Replies that a streaming guard is tried on.
const STREAMS: usize = 300;
/// Bytes of a big text.
const BIG: usize = 256 << 10;

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 when every rule is kept, 1 when one is broken or the guard cannot be loaded, 2 for wrong usage.")]
pub(crate) struct Check {
    /// The guard's component
    #[arg(value_name = "F")]
    component: PathBuf,
    /// Settings that it accepts, or @ and a file with them; left out: some that fit its schema
    #[arg(long, value_name = "JSON|@F")]
    settings: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// One rule, and what came of trying it: nothing, or what is wrong with what to do about it.
struct Rule {
    name: &'static str,
    wrong: Option<(String, &'static str)>,
}

impl Check {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (component, settings) = (self.component.clone(), self.settings.as_deref().map(super::settings).transpose()?);
        let bytes = super::read(&component, Limits::default().component)?;
        let rules = match blocking(move || load(&bytes)).await? {
            Ok((sandbox, prototype, bytes)) => Suite { sandbox, prototype, bytes }.try_all(settings).await,
            Err(error) => vec![loads(Err(error))],
        };
        let broken = rules.iter().filter(|it| it.wrong.is_some()).count();
        if self.json {
            print_json(&as_json(&rules))?
        } else {
            print(&rendered(&rules, Look::of_stdout()))?
        }
        let failure = || Failure::new(Code::GRD_CONTRACT, format!("{}: {broken} of {} rules are broken", component.display(), rules.len()));
        if broken == 0 { Ok(()) } else { Err(failure()) }
    }
}

type Loaded = Result<(Sandbox, Prototype, Vec<u8>), LoadError>;

fn load(bytes: &[u8]) -> Result<Loaded, Failure> {
    let (sandbox, bar) = (sandbox()?, Bar::new());
    let prototype = sandbox.prototype(Cow::Owned(bytes.to_vec()), Limits::default(), &|step| bar.step("guard", step));
    Ok(prototype.map(|it| (sandbox, it, bytes.to_vec())))
}

fn rule(name: &'static str, tried: Result<(), String>, fix: &'static str) -> Rule {
    Rule { name, wrong: tried.err().map(|why| (why, fix)) }
}

fn loads(loaded: Result<(), LoadError>) -> Rule {
    let fix = "Make the component with `aegis guard build`, for the world guard of wit/guard.wit, with WASI stubbed or adapted away.";
    rule("it is a component that exports the scanner and imports nothing that is not granted", loaded.map_err(|it| it.to_string()), fix)
}

struct Suite {
    sandbox: Sandbox,
    prototype: Prototype,
    bytes: Vec<u8>,
}

impl Suite {
    async fn try_all(self, settings: Option<Value>) -> Vec<Rule> {
        let mut rules = vec![loads(Ok(()))];
        let (first, again) = (self.prototype.describe().await, self.prototype.describe().await);
        let fix = "Hand back the same constants at every call; every list and text of the record must be set, and of its type.";
        let stable = match (&first, &again) {
            (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
            (Ok(first), Ok(again)) if first != again => Err("it says something else the second time".into()),
            _ => Ok(()),
        };
        rules.push(rule("describe says what it is, and the same each time", stable, fix));
        let Ok(manifest) = first else { return rules };
        let sampled = settings.map_or_else(|| sample::settings(&manifest.settings_schema), Ok);
        let fix = "Write the schema as a JSON Schema of an object, such as {\"type\":\"object\",\"properties\":{}}; or say --settings.";
        rules.push(rule("its settings have a schema that says what fits", sampled.clone().map(drop), fix));
        rules.push(self.refuses_nonsense().await);
        let Ok(settings) = sampled else { return rules };
        let fix = "Accept what the schema allows; where it cannot say all (patterns that compile, say), give --settings that are fine.";
        match self.prototype.configure("checked", &settings).await {
            Err(error) => rules.push(rule("configure accepts settings that fit", Err(format!("{settings}: {error}")), fix)),
            Ok(guard) => {
                rules.push(rule("configure accepts settings that fit", Ok(()), fix));
                rules.extend(self.try_guard(guard, manifest, settings).await);
            }
        }
        rules
    }

    async fn refuses_nonsense(&self) -> Rule {
        let mut tried = Ok(());
        for text in ["{", "", "[]", "7", "\"é\"", "null"] {
            let answer = self.prototype.offer(text).await;
            let wrong = match answer {
                Err(error) => Some(error.to_string()),
                Ok(Err(why)) if why.trim().is_empty() => Some("it refuses without a reason".into()),
                // Without settings a guard may take null, or nothing at all, for none.
                Ok(Ok(())) if ["{", "7", "\"é\""].contains(&text) => Some("it accepts it".into()),
                Ok(_) => None,
            };
            if let (Some(why), Ok(())) = (wrong, &tried) {
                tried = Err(format!("configure({text:?}): {why}"));
            }
        }
        let fix = "Return the error case of the result with a text that says what to write instead; never trap or throw anything else.";
        rule("configure refuses what are no settings, with a reason", tried, fix)
    }

    async fn try_guard(&self, guard: LoadedGuard, manifest: Manifest, settings: Value) -> Vec<Rule> {
        let probe = Probe { guard: &guard, words: words(&settings) };
        let mut rules = vec![
            probe
                .rule(
                    "an empty text is judged",
                    &[Said::Text(String::new())],
                    "An empty list or text may come with any pointer: look at the length first.",
                )
                .await,
            probe.rule("texts of all scripts are judged, with every offset between characters", &probe.scripts(), OFFSETS).await,
            probe
                .rule(
                    "a text of 256 KiB is judged in time",
                    &[Said::Text(probe.big())],
                    "Go over the text once; grow buffers by doubling; free what a call has taken only after the host has read it.",
                )
                .await,
            probe
                .rule(
                    "parts, calls, tools and names of every kind are taken",
                    &probe.kinds(),
                    "Read every case of `part` and every option; what a guard does not know it passes over.",
                )
                .await,
            probe
                .rule(
                    "memory, labels and metadata are taken",
                    &probe.notes(),
                    "memory is an option, labels and metadata are lists of two texts each.",
                )
                .await,
        ];
        rules.push(rule(
            "memory that it hands back can be handed to it at the next stage",
            probe.memory_comes_back().await,
            "Take back whatever you hand out, from any stage that you name.",
        ));
        let fix = "Nothing may depend on addresses, random numbers, the clock or the order of a hash table.";
        rules.push(rule("the same input gets the same report in every fresh instance", probe.repeats(&guard).await, fix));
        let (sandbox, bytes) = (self.sandbox.clone(), self.bytes.clone());
        let source = Source { name: "checked".into(), bytes: bytes.into(), settings, limits: Limits::default() };
        let hosted = blocking(move || Ok(sandbox.load(source, &|_| ()))).await;
        let same = match hosted {
            Ok(Ok(hosted)) => probe.repeats(&hosted).await,
            Ok(Err(error)) => Err(error.to_string()),
            Err(failure) => Err(failure.message),
        };
        let fix = "What configure leaves in memory must be all that scan needs: no handle, no address of the host, no clock.";
        rules.push(rule("as a host loads it, from a snapshot where one can be taken, it says the same", same, fix));
        if manifest.streaming {
            let fix = "Hold back only what may still become a hit, and emit it in the next push or in close; places count from the reply's beginning.";
            rules.push(rule("a reply in pieces comes out as in one", probe.streams().await, fix));
        }
        rules
    }
}

const OFFSETS: &str = "Offsets count bytes of UTF-8: convert from your language's own indices (UTF-16 units, code points), and lower-case with care: \
                       it may change the length.";

/// Something for guards that look for what no setting names.
const LETTERS: &str =
    "The quick brown fox jumps over the lazy dog; SPHINX OF BLACK QUARTZ, JUDGE MY VOW! 0123456789 ana@example.com sk-1234";

/// What a guard is asked about: a text, or whole content.
enum Said {
    Text(String),
    Whole(Value),
}

struct Probe<'a> {
    guard: &'a LoadedGuard,
    /// Texts of the settings: something to find.
    words: Vec<String>,
}

impl Probe<'_> {
    async fn rule(&self, name: &'static str, said: &[Said], fix: &'static str) -> Rule {
        for stage in self.guard.manifest().stages.clone() {
            for it in said {
                if let Err(why) = self.judged(self.guard, stage, it).await {
                    return rule(name, Err(format!("at {}: {why}", stage.name())), fix);
                }
            }
        }
        rule(name, Ok(()), fix)
    }

    async fn judged(&self, guard: &LoadedGuard, stage: Stage, said: &Said) -> Result<Report, String> {
        let content = match said {
            Said::Text(text) => Content::of_text(stage, text.clone()),
            Said::Whole(json) => Content::read(stage, json.to_string().as_bytes())?,
        };
        self.asked(guard, stage, content).await
    }

    async fn asked(&self, guard: &LoadedGuard, stage: Stage, content: Content) -> Result<Report, String> {
        let trial = Trial::new(guard.name(), guard.component(), guard.settings(), stage, content, MOMENT)?;
        let result = guard.scan(&trial.input()).await;
        let wrong = |failure: GuardFailure| format!("the guard {failure}");
        trial.judge(result, MOMENT).map(|it| it.report).map_err(wrong)
    }

    fn some_words(&self) -> String {
        self.words.iter().take(20).cloned().collect::<Vec<_>>().join(" é ")
    }

    fn scripts(&self) -> Vec<Said> {
        let words = self.some_words();
        let around = ["é", "ẞİıǅﬁ", "你好", "👋🏽👨‍👩‍👧", "e\u{301}", "\u{202e}אב", "\u{feff}\u{200b}", "\u{10ffff}"];
        let upper = words.to_uppercase();
        let texts = around.iter().flat_map(|it| [format!("{it} {words} {it}"), format!("{it}{upper}{it}")]);
        texts.map(Said::Text).collect()
    }

    fn big(&self) -> String {
        let line = format!("{} – Nothing to see here, only words after words. {}\n", "é", self.words.first().map_or("", String::as_str));
        let plain = "Plain words that go on and on, as people write them.\n";
        // Settings may have a text that is longer than that by itself.
        let mut text = plain.repeat(BIG.div_ceil(plain.len()));
        text.truncate(BIG.saturating_sub(line.len()));
        text + &line
    }

    fn kinds(&self) -> Vec<Said> {
        let words = self.some_words();
        let call = json!({"id": "c1", "type": "function", "function": {"name": "tool", "arguments": json!({"é": words}).to_string()}});
        let tools = json!([{"type": "function", "function": {"name": "tool", "description": words, "parameters": {"type": "object"}}},
            {"type": "function", "function": {"name": "bare"}}]);
        let parts = json!([{"type": "text", "text": words}, {"type": "text", "text": ""},
            {"type": "image_url", "image_url": {"url": "https://example.com/é.png"}}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
            {"type": "file", "file": {"title": words}}]);
        let before = json!([{"role": "system", "content": words}, {"role": "user", "name": "Zoë", "content": parts},
            {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": words}]);
        let reply = json!({"role": "assistant", "content": words, "refusal": "No é", "tool_calls": [call]});
        let with_reply: Vec<Value> = before.as_array().into_iter().flatten().cloned().chain([reply]).collect();
        vec![Said::Whole(json!({"messages": with_reply, "tools": tools, "params": {"temperature": 0.5}}))]
    }

    fn notes(&self) -> Vec<Said> {
        let labels: Vec<Value> = (0..20).map(|it| json!({"key": format!("k{it}é"), "value": "v".repeat(it)})).collect();
        let reply = json!({"role": "assistant", "content": self.some_words()});
        let whole = |memory: Value| {
            json!({"messages": [{"role": "user", "content": "é"}, reply], "memory": memory, "labels": labels, "metadata": {"é": "ü", "a": ""},
                "principal": {"id": "zoë", "teams": ["risk", "é"], "roles": ["user"]}, "model": "m"})
        };
        // A memory that it has not written itself cannot come from a host.
        vec![Said::Whole(whole(Value::Null))]
    }

    async fn memory_comes_back(&self) -> Result<(), String> {
        let mut memory: Option<String> = None;
        for stage in self.guard.manifest().stages.clone() {
            let labels = vec![Label { key: "seen".into(), value: "é".into() }];
            let content = Content { memory: memory.clone(), labels, ..Content::of_text(stage, self.some_words()) };
            let report = self.asked(self.guard, stage, content).await.map_err(|why| format!("at {}: {why}", stage.name()))?;
            memory = report.memory.or(memory);
        }
        Ok(())
    }

    /// Whether another one, or the same in other instances, says the same.
    async fn repeats(&self, other: &LoadedGuard) -> Result<(), String> {
        for stage in self.guard.manifest().stages.clone() {
            for said in self.scripts().into_iter().chain(self.kinds()) {
                let first = self.judged(self.guard, stage, &said).await;
                for _ in 0..3 {
                    let again = self.judged(other, stage, &said).await;
                    if first != again {
                        return Err(format!("at {}: {first:?}, then {again:?}", stage.name()));
                    }
                }
            }
        }
        Ok(())
    }

    async fn streams(&self) -> Result<(), String> {
        let mut dice = Dice::new(1);
        let texts: Vec<String> = self.words.iter().cloned().chain([LETTERS.into(), self.some_words()]).collect();
        for _ in 0..STREAMS {
            let text = dice.text(&texts);
            let pieces = dice.cut(&text);
            let tried = streams::wrong(self.guard, &Content::default(), &pieces, MOMENT).await;
            tried.map_err(|why| format!("{why}; the pieces: {}", json!(pieces)))?;
        }
        Ok(())
    }
}

/// All texts in some settings.
fn words(settings: &Value) -> Vec<String> {
    match settings {
        Value::String(text) => vec![text.clone()],
        Value::Array(it) => it.iter().flat_map(words).collect(),
        Value::Object(it) => it.values().flat_map(words).collect(),
        _ => vec![],
    }
}

fn rendered(rules: &[Rule], look: Look) -> String {
    let one = |it: &Rule| match &it.wrong {
        None => format!("{} {}", coloured(AnsiColor::Green, "ok   ", look), it.name),
        Some((why, fix)) => {
            format!("{} {}\n        {}\n        {fix}", coloured(AnsiColor::Red, "wrong", look), it.name, line(why))
        }
    };
    rules.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn as_json(rules: &[Rule]) -> Value {
    let one = |it: &Rule| json!({"rule": it.name, "kept": it.wrong.is_none(), "why": it.wrong.as_ref().map(|it| &it.0), "fix": it.wrong.as_ref().map(|it| it.1)});
    json!({"rules": rules.iter().map(one).collect::<Vec<_>>()})
}
