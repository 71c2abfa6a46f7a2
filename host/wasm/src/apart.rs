//! Compiling in a process of its own. A component from a stranger can be small and still keep a compiler busy for hours, or find a fault in it: the
//! process has a bound for its time and its memory, is ended where it exceeds them, and what it occupied is gone with it.
//!
//! It is this program once more, called with [`ARGUMENT`]. On its stdin it is handed a line of JSON ([`Order`]) and then the component; on its stdout it
//! answers with lines of JSON ([`Line`]) and, after the last one, native code.

use crate::Limits;
use crate::cache::{Compiled, ENTRY, deserialize};
use crate::engine::{Options, Sandbox, SandboxError};
use crate::load::{BROKE, LoadError, Progress, Source, Tell, Told, compile, watch};
use aegis_core::GuardFailure;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use wasmtime::Engine;

/// The one argument with which this program is called to compile.
pub const ARGUMENT: &str = "compile-for-parent";

/// Bytes of an answer's line: a component may be refused in many words.
const LINE: u64 = 1 << 20;
/// Steps that wait to be told.
const QUEUE: usize = 16;
/// Bytes of the line with the settings, which are measured themselves later.
const ORDER: u64 = 64 << 20;
/// Files that the process may have open: the two that it is handed, and the engine's memory images.
const FILES: u64 = 256;

#[derive(Serialize, Deserialize)]
struct Order {
    settings: Value,
    limits: Limits,
    what: What,
}

/// How much is done to a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    /// It is compiled, and nothing of it runs.
    Plain,
    /// It is given its settings, too, and frozen with them where that can be done.
    Configured,
}

#[derive(Serialize, Deserialize)]
enum Line {
    Step(Progress),
    /// The code follows. `plain`: why it is no snapshot.
    Done {
        plain: Option<String>,
    },
    Refused(Refusal),
}

/// What is known of a refusal on the other side: what callers tell apart, and words.
#[derive(Serialize, Deserialize)]
enum Refusal {
    Settings(Vec<String>),
    Failed { configure: bool, failure: GuardFailure },
    Compile(String),
    Gave,
    Other(String),
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Refusal {
        match error {
            LoadError::Settings(mistakes) => Refusal::Settings(mistakes),
            LoadError::Failed { step, failure } => Refusal::Failed { configure: step == "configure", failure },
            LoadError::Compile(why) => Refusal::Compile(why),
            LoadError::Gave(_) => Refusal::Gave,
            other => Refusal::Other(other.to_string()),
        }
    }
}

impl From<Refusal> for LoadError {
    fn from(refusal: Refusal) -> LoadError {
        match refusal {
            Refusal::Settings(mistakes) => LoadError::Settings(mistakes),
            Refusal::Failed { configure, failure } => LoadError::Failed { step: if configure { "configure" } else { "describe" }, failure },
            Refusal::Compile(why) => LoadError::Compile(why),
            Refusal::Gave => BROKE,
            Refusal::Other(words) => LoadError::Apart(words),
        }
    }
}

/// Has `program` compile, and waits no longer than the source's limits say.
pub(crate) fn compile_apart(
    program: &Path,
    what: What,
    source: &Source,
    progress: Tell<'_>,
    engine: &Engine,
) -> Result<Compiled, LoadError> {
    let mut command = Command::new(program);
    command.arg(ARGUMENT).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|_| LoadError::Gave("needs a process, and there is none to be had"))?;
    let answered = answered(&mut child, what, source, progress);
    // It has answered, or has to be stopped; either way nothing of it may stay.
    let (_, _) = (child.kill(), child.wait());
    let (plain, code) = answered?;
    let component = deserialize(engine, &code).map_err(|_| BROKE)?;
    Ok(Compiled { component, plain })
}

/// Why it is no snapshot, and the code.
type Answer = (Option<String>, Vec<u8>);

fn answered(child: &mut Child, what: What, source: &Source, progress: Tell<'_>) -> Result<Answer, LoadError> {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { return Err(BROKE) };
    let order = Order { settings: source.settings.clone(), limits: source.limits.clone(), what };
    std::thread::scope(|scope| {
        // One that ends early breaks the pipe, and its answer says why.
        scope.spawn(move || drop(write_order(&mut stdin, &order, &source.bytes)));
        let (tell, told) = mpsc::sync_channel(QUEUE);
        scope.spawn(move || read_answer(stdout, &tell));
        let (limits, process) = (&source.limits, child.id().to_string());
        let answer = watch(&told, progress, limits.compile_time, &process, limits.compile_memory);
        let _ = child.kill(); // so that both threads end, whatever it did not read; one that is gone already is no mistake
        answer
    })
}

fn write_order(to: &mut impl Write, order: &Order, component: &[u8]) -> io::Result<()> {
    serde_json::to_writer(&mut *to, order)?;
    to.write_all(b"\n")?;
    to.write_all(component)
}

fn read_answer(from: impl Read, tell: &mpsc::SyncSender<Told<Answer>>) {
    let mut from = BufReader::new(from);
    loop {
        let told = match read_line(&mut from) {
            Ok(Line::Step(step)) => Told::Progress(step),
            Ok(Line::Refused(refusal)) => Told::Done(Err(refusal.into())),
            Ok(Line::Done { plain }) => {
                let mut code = Vec::new();
                Told::Done(from.by_ref().take(ENTRY).read_to_end(&mut code).map(|_| (plain, code)).map_err(|_| BROKE))
            }
            Err(_) => Told::Done(Err(BROKE)),
        };
        let last = matches!(told, Told::Done(_));
        if tell.send(told).is_err() || last {
            return;
        }
    }
}

fn read_line(from: &mut impl io::BufRead) -> io::Result<Line> {
    let mut line = Vec::new();
    from.take(LINE).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

/// What the process does that was called with [`ARGUMENT`].
///
/// # Errors
/// Whoever called it does not listen, or says what cannot be read.
pub fn compile_for_parent(from: impl Read, to: impl Write) -> io::Result<()> {
    bind()?;
    let (mut from, mut to) = (BufReader::new(from), BufWriter::new(to));
    let mut line = Vec::new();
    (&mut from).take(ORDER).read_until(b'\n', &mut line)?;
    let Order { settings, limits, what } = serde_json::from_slice(&line)?;
    let mut bytes = Vec::new();
    from.take((limits.component as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    let source = Source { name: "guard".into(), bytes: bytes.into(), settings, limits };
    let told = std::cell::RefCell::new(&mut to);
    let tell = |line: &Line| {
        let mut to = told.borrow_mut();
        serde_json::to_writer(&mut **to, line)?;
        to.write_all(b"\n")?;
        to.flush()
    };
    let sandbox =
        Sandbox::new(Options { instances: 2, ..Options::default() }).map_err(|error: SandboxError| io::Error::other(error.to_string()))?;
    let compiled = compile(&sandbox, what, source, &|step| drop(tell(&Line::Step(step)))); // nobody listens any more when the time was up
    match compiled {
        Ok(Compiled { component, plain }) => {
            let code = component.serialize().map_err(io::Error::other)?;
            tell(&Line::Done { plain })?;
            to.write_all(&code)?;
            to.flush()
        }
        Err(error) => tell(&Line::Refused(error.into())),
    }
}

/// Nothing of a compiler that was led astray may stay: it ends with its parent, and leaves no picture of its memory.
fn bind() -> io::Result<()> {
    let most = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
    // Elsewhere its parent ends it, unless that is killed itself.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    setrlimit(Resource::Core, most(0))?;
    Ok(setrlimit(Resource::Nofile, most(FILES))?)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, Instant};

    #[test]
    fn a_compiler_that_lies_or_hangs_ends_with_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let limits = Limits { compile_time: Duration::from_millis(1500), ..Limits::default() };
        // More than a pipe holds: whoever does not read it lets the writer wait.
        let source = Source { name: "g".into(), bytes: vec![0; 1 << 20].into(), settings: Value::Null, limits };
        for (n, (script, why)) in [
            (r#"echo '{"Done":{"plain":null}}'; exec sleep 60 >&-"#, "broke the compiler"),
            (r#"echo '{"Done":{"plain":null}}'; exec sleep 60"#, "takes too long"),
            (r#"while :; do echo '{"Step":"Configuring"}'; done"#, "takes too long"),
            (r#"echo '{"Refused":{"Other":"no"}}'; exec sleep 60"#, "no"),
            ("exec sleep 60", "takes too long"),
            ("exec sleep 60 >&-", "broke the compiler"),
            ("head -c 2000000 /dev/zero", "broke the compiler"),
            ("exit 0", "broke the compiler"),
        ]
        .into_iter()
        .enumerate()
        {
            let program = folder.path().join(n.to_string());
            std::fs::write(&program, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
            let begun = Instant::now();
            let error = compile_apart(&program, What::Configured, &source, &|_| (), &engine).map(drop).unwrap_err().to_string();
            assert!(error.contains(why) && begun.elapsed() < Duration::from_secs(20), "{script}: {error} after {:?}", begun.elapsed());
        }
    }
}
