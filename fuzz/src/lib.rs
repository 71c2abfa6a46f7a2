//! What is done with the bytes of strangers: read, and carried on as far as anything is carried on that comes from outside. Each function is one
//! target. It may refuse whatever it likes, and must neither panic nor take long; where what was read can be written, it reads back as the same.

mod dice;
mod run;

// What the server, the sandbox and the command line read, without what else is in their crates: the engine alone would be minutes of building.
// These are the very files, compiled here once more.
#[path = "../../host/cli/src/guard/cases.rs"]
#[expect(dead_code, reason = "nothing is run here")]
mod cases;
#[path = "../../host/server/src/config/mod.rs"]
#[expect(dead_code, unused_imports, reason = "nothing is served here")]
mod config;
#[path = "../../host/wasm/src/effort.rs"]
mod effort;
#[path = "../../host/wasm/src/manifest.rs"]
#[expect(dead_code, reason = "only its error is needed, by the schema")]
mod manifest;
#[path = "../../host/wasm/src/schema.rs"]
mod schema;
#[path = "../../host/cli/src/guard/trial.rs"]
#[expect(dead_code, reason = "nothing is run here")]
mod trial;
#[path = "../../host/provider/src/openai_compatible/wire.rs"]
mod wire;

use aegis_core::{
    Answer, Approver, Entry, Event, Message, Plan, Principal, Record, Request, Run, RunId, Stage, Stages, Strict, Time, Tool, Usage, Want,
    once,
};
use aegis_provider::{ProviderRequest, check_params};
use aegis_store::verify;
use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Once};
use std::time::Duration;

pub use run::{checkpoint, run};

/// A core module or a component, in either format, from somebody who would like to hurt whoever builds it.
pub fn kit(bytes: &[u8]) {
    // libFuzzer's own hook ends the process at panics that the kit catches; what it does not catch ends it all the same.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|_| ())));
    if let Ok(built) = aegis_kit::from_bytes(bytes) {
        let again = aegis_kit::from_bytes(&built.component).expect("what was built is a guard");
        assert_eq!((again.sha256, again.imports), (built.sha256, built.imports));
    }
}

/// An exported ledger, and each of its lines as an entry.
pub fn ledger(bytes: &[u8]) {
    if let Ok(seen) = verify(bytes, None) {
        let lines = bytes.split(|it| *it == b'\n').filter(|it| !it.is_empty()).count() as u64;
        assert_eq!(seen.head.entries + 1, lines, "a sound export has the lines that its head counts");
    }
    let mut entries = vec![];
    for line in bytes.split(|it| *it == b'\n') {
        let entry = line.windows(9).position(|it| it == b",\"entry\":").map_or(line, |at| &line[at + 9..line.len().max(at + 10) - 1]);
        match Record::read(entry) {
            Ok(Record::Removal(removal)) => assert_eq!(Record::read(&removal.to_json()).expect("it reads back"), Record::Removal(removal)),
            Ok(Record::Run(entry)) => {
                let json = serde_json::to_vec(&entry).expect("entries are JSON");
                assert_eq!(serde_json::from_slice::<Entry>(&json).expect("it reads back"), entry);
                entries.push(entry);
            }
            Err(_) => {}
        }
    }
    let _ = aegis_core::replay(&Plan { pipeline: Stages::default(), ..run::plan() }.into(), &entries);
}

/// A guard's schema of its settings, the settings after the first line that says `---`, and whether these fit.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (schema, settings) = text.split_once("\n---\n").unwrap_or((text, "{}"));
    if let Ok(settings) = serde_json::from_str(settings) {
        let _ = schema::mistakes(schema, &settings, Duration::from_secs(10));
    }
}

/// A configuration, read as `aegis serve` does.
pub fn config(bytes: &[u8]) {
    static FILE: LazyLock<PathBuf> = LazyLock::new(|| std::env::temp_dir().join(format!("aegis-fuzz-{}.yaml", std::process::id())));
    std::fs::write(&*FILE, bytes).expect("there is room");
    let environment = [("AEGIS__SERVER__LISTEN", "127.0.0.1:1")].map(|(name, value)| (name.into(), value.into())).into();
    match config::Settings::load(&FILE, &environment) {
        Ok(settings) => {
            let _ = settings.show();
            let digest = aegis_core::Digest([0; 32]);
            let loaded = |_: &str| config::Loaded { component: digest, settings: digest, scope: aegis_core::Scope::default() };
            settings.routes.keys().for_each(|route| drop(settings.plan(route, loaded).expect("it is one of the routes")));
        }
        Err(errors) => assert!(!errors.to_string().is_empty(), "what is wrong is said"),
    }
}

/// A guard's cases, as `aegis guard test` reads them.
pub fn cases(bytes: &[u8]) {
    let Ok(cases) = std::str::from_utf8(bytes).map_err(|_| String::new()).and_then(cases::list) else { return };
    // What is told of a guard always has a verdict, or an error.
    let told = [("verdict", "allow"), ("error", "the guard trapped")].map(|(name, value)| Map::from_iter([(name.into(), value.into())]));
    for case in &cases {
        let _ = (case.text(), case.before(), told.each_ref().map(|it| case.compare(it)));
        for stage in Stage::ALL {
            let Ok(content) = case.content(stage) else { continue };
            let digest = aegis_core::Digest([0; 32]);
            if let Ok(trial) = trial::Trial::new("guard", digest, digest, stage, content, Time(1)) {
                let _ = trial.input();
            }
        }
    }
}

/// What a provider answers: as `POST …/chat/completions` gives it.
pub fn answer(bytes: &[u8]) {
    let Ok(answer) = wire::from_wire(bytes) else { return };
    let read: Answer = serde_json::from_slice(&serde_json::to_vec(&answer).expect("answers are JSON")).expect("it reads back");
    assert_eq!(read, answer);
    let mut run = new(Request { messages: vec![answer.message.clone()], ..Request::default() }).expect("nobody has to approve");
    let Want::Provider(call) = run.wants() else { panic!("there is no guard") };
    run.handle(Event::Answered { step: call.step, result: Ok(answer) }, Time(1)).expect("it was asked for");
    run::must_read_back(&mut run);
}

/// The body of `POST /v1/runs`, in the types of the core that it is made of.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    messages: Vec<Message>,
    #[serde(default)]
    tools: Vec<Tool>,
    #[serde(default)]
    approvers: Vec<Approver>,
    #[serde(default, deserialize_with = "once")]
    metadata: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "params")]
    params: Map<String, Value>,
}

fn params<'de, D: Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    Ok(once(from)?.into_iter().map(|(name, Strict(value))| (name, value)).collect())
}

/// What a client sends, and what a model would be sent of it.
pub fn body(bytes: &[u8]) {
    let Ok(Body { messages, tools, approvers, metadata, params }) = serde_json::from_slice(bytes) else { return };
    let request = ProviderRequest { model: "m", messages: &messages, tools: &tools, params: &params, idempotency_key: "k" };
    let sent = wire::to_wire("m", &request);
    assert_eq!(sent.is_ok(), check_params(&params).is_ok());
    for message in &messages {
        message.parts().enumerate().for_each(|(index, part)| assert_eq!(message.part(index), Some(part)));
    }
    let Ok(mut run) = new(Request { messages, tools, params, metadata, approvers }) else { return };
    run::must_read_back(&mut run);
}

fn new(request: Request) -> Result<Run, String> {
    let plan = Plan { pipeline: Stages::default(), ..run::plan() };
    Run::new(RunId::new(Time(1), [0; 10]), plan, request, Principal::anonymous(), false, [0; 32], Time(1))
}

/// An answer that says `text`.
fn said(message: Message) -> Answer {
    Answer { message, finish_reason: None, usage: Usage::default() }
}
