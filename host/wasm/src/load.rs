//! From a file to a guard that can judge. Nothing of the file runs before its imports are read, and nothing that it
//! does can hold up the start for longer than its limits.

use crate::apart::{What, compile_apart};
use crate::bindings::GuardPre;
use crate::cache::Compiled;
use crate::convert;
use crate::engine::{Sandbox, Shared};
use crate::guard::{Load, LoadedGuard, Ready, Start, Used, clip};
use crate::health::Counters;
use crate::imports::{self, Kind, Outside};
use crate::limits::Limits;
use crate::manifest::{Manifest, ManifestError};
use crate::weight::{Heavy, weigh};
use crate::{schema, snapshot};
use aegis_core::{Code, Digest, GuardFailure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use wasmtime::component::Component;

/// Stack of the thread that loads: compilers and validators of nested input need room.
const STACK: usize = 16 << 20;

/// A guard as it is configured.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name in the configuration.
    pub name: String,
    /// The component.
    pub bytes: Cow<'static, [u8]>,
    /// What `configure` is handed, as compact JSON text; `{}` where nothing is configured.
    pub settings: Value,
    /// What it may use.
    pub limits: Limits,
}

/// How far a load has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// Compiled before; taken from the cache.
    Cached,
    /// Being compiled, which takes most of the time.
    Compiling {
        /// Bytes of the component.
        bytes: usize,
    },
    /// Being asked what it is, and handed its settings.
    Configuring,
    /// Being configured once for all scans, and compiled again with that.
    Snapshotting,
}

/// Why a guard cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Larger than its limit.
    #[error("it has {size} bytes, and at most {most} are allowed")]
    Large {
        /// Bytes of the file.
        size: usize,
        /// Bytes allowed.
        most: usize,
    },
    /// More in it than may be compiled.
    #[error(transparent)]
    Heavy(#[from] Heavy),
    /// A core module.
    #[error("it is a WebAssembly module, not a component: make it one with `aegis guard build FILE`")]
    Module,
    /// No WebAssembly, or damaged.
    #[error("it is no WebAssembly component, or is damaged")]
    NoComponent,
    /// It asks for what is not granted: all of it.
    #[error("it imports what is not granted: {}; {}", .0.join(", "), imports::hint(.0))]
    Imports(Vec<String>),
    /// It does not speak this contract.
    #[error("it does not export aegis:guard/scanner@0.1, but {}: build it against the contract in wit/", listed(.0))]
    NoScanner(Vec<String>),
    /// wasmtime refuses it: it is invalid, too large for a place in the sandbox, or was built for another contract.
    #[error("it cannot be compiled or linked: {0}")]
    Compile(String),
    /// What it says of itself is wrong.
    #[error("what it says of itself is wrong: {0}")]
    Manifest(#[from] ManifestError),
    /// Its settings do not fit its schema, or it refuses them.
    #[error("it refuses its settings: {}", .0.join("; "))]
    Settings(Vec<String>),
    /// It failed while it was asked what it is or handed its settings.
    #[error("in {step} it {failure}")]
    Failed {
        /// `describe` or `configure`.
        step: &'static str,
        /// How.
        failure: GuardFailure,
    },
    /// Loading it took too long, or broke the loader.
    #[error("loading it {0}")]
    Gave(&'static str),
    /// What it says of itself is wrong, as the process puts it that compiled it.
    #[error("{0}")]
    Apart(String),
}

impl LoadError {
    /// The code that goes with it.
    pub fn code(&self) -> Code {
        match self {
            LoadError::Large { .. } | LoadError::Heavy(_) | LoadError::Module | LoadError::NoComponent | LoadError::Gave(_) => {
                Code::GRD_LOAD
            }
            LoadError::Imports(_) => Code::GRD_IMPORT,
            LoadError::NoScanner(_) | LoadError::Compile(_) | LoadError::Manifest(_) | LoadError::Apart(_) => Code::GRD_CONTRACT,
            LoadError::Settings(_) => Code::GRD_SETTINGS,
            LoadError::Failed { failure, .. } => failure.kind().code(),
        }
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}

impl Sandbox {
    /// Loads a guard. Blocks for as long as it takes to compile it (up to some ten seconds for large runtimes), so call it
    /// off the executor; `progress` is called on this thread.
    ///
    /// Without [`Options::compiler`](crate::Options), a compilation that runs out of its time or memory cannot be stopped: its thread is left to itself,
    /// and its result dropped.
    pub fn load(&self, source: Source, progress: &dyn Fn(Progress)) -> Result<Arc<LoadedGuard>, LoadError> {
        let shared = self.shared.clone();
        in_bounds(&source.limits.clone(), progress, move |progress| Loading::new(shared, source, progress)?.load().map(Arc::new))
    }

    /// Compiles a component and asks it what it is, without settings.
    pub(crate) fn describe(&self, bytes: Vec<u8>, limits: Limits) -> Result<Manifest, LoadError> {
        let shared = self.shared.clone();
        let source = Source { name: "inspected".into(), bytes: bytes.into(), settings: Value::Null, limits: limits.clone() };
        in_bounds(&limits, &|_| (), move |progress| block_on(Loading::new(shared, source, progress)?.prototype()?.describe()))
    }
}

/// Compiles it in this process and on this thread.
pub(crate) fn compile(sandbox: &Sandbox, what: What, source: Source, progress: &dyn Fn(Progress)) -> Result<Compiled, LoadError> {
    Loading::new(sandbox.shared.clone(), source, progress)?.here_or_apart(what)
}

/// A component that was compiled once and can be given one settings after the other: what its author tries many of. Each guard made of it
/// configures a fresh instance for every scan, outside of the scan's time, which means the same as a snapshot.
pub struct Prototype {
    shared: Arc<Shared>,
    outside: Outside,
    digest: Digest,
    limits: Limits,
    compiled: Component,
}

impl Sandbox {
    /// Compiles a component without settings. Blocks for as long as that takes.
    pub fn prototype(&self, bytes: Cow<'static, [u8]>, limits: Limits, progress: &dyn Fn(Progress)) -> Result<Prototype, LoadError> {
        let shared = self.shared.clone();
        let source = Source { name: String::new(), bytes, settings: Value::Null, limits };
        in_bounds(&source.limits.clone(), progress, move |progress| Loading::new(shared, source, progress)?.prototype())
    }
}

impl Prototype {
    /// The guard with these settings, or how it refuses them.
    pub async fn configure(&self, name: &str, settings: &Value) -> Result<LoadedGuard, LoadError> {
        let loading = self.loading(name, settings.clone());
        let ready = loading.ready(&self.compiled)?;
        loading.accept(&ready).await?;
        let (manifest, used) = loading.manifest(&ready).await?;
        let load = Load { memory: used.memory, ..Load::default() };
        let Loading { outside: Outside { imports, .. }, text, .. } = loading;
        let (component, settings) = (self.digest, Digest::of(text.as_bytes()));
        let start = Start::Configure { settings: text, why: "it is being tried with several settings".into(), counts: false };
        Ok(LoadedGuard { name: name.into(), manifest, component, settings, imports, ready, start, load, counters: Counters::default() })
    }

    /// What it says to a text as settings, whatever the text is: a host hands over nothing that its schema does not fit, so this is for trying
    /// out what it does with anything else.
    pub async fn offer(&self, text: &str) -> Result<Result<(), String>, LoadError> {
        let loading = self.loading("", Value::Null);
        let answer = loading.ready(&self.compiled)?.configure(text).await;
        answer.map(|it| it.map_err(clip)).map_err(|failure| LoadError::Failed { step: "configure", failure })
    }

    /// What it says of itself.
    pub async fn describe(&self) -> Result<Manifest, LoadError> {
        let loading = self.loading("", Value::Null);
        Ok(loading.manifest(&loading.ready(&self.compiled)?).await?.0)
    }

    /// What is left to do of a load: all but compiling.
    fn loading(&self, name: &str, settings: Value) -> Loading<'static> {
        let text = settings.to_string();
        let source = Source { name: name.into(), bytes: Cow::Borrowed(&[]), settings, limits: self.limits.clone() };
        Loading { shared: self.shared.clone(), source, outside: self.outside.clone(), text, progress: &|_| () }
    }
}

pub(crate) type Tell<'a> = &'a dyn Fn(Progress);

/// What a load tells of on its way.
pub(crate) enum Told<T> {
    Progress(Progress),
    Done(Result<T, LoadError>),
}

/// How often the memory of a load is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Does `work` on a thread of its own, and waits for it no longer than its time, and no longer than there is memory.
fn in_bounds<T: Send + 'static>(
    limits: &Limits,
    progress: Tell<'_>,
    work: impl FnOnce(Tell<'_>) -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    let most = resident("self").saturating_add(limits.compile_memory);
    let (tell, told) = mpsc::channel();
    let work = move || {
        let result = work(&|step| drop(tell.send(Told::Progress(step)))); // nobody listens any more when the time was up
        drop(tell.send(Told::Done(result)));
    };
    thread().spawn(work).map_err(|_| NO_THREAD)?;
    watch(&told, progress, limits.compile_time, "self", most)
}

/// What comes of a load, waited for no longer than `time`, and no longer than `process` occupies `most` bytes.
pub(crate) fn watch<T>(
    told: &mpsc::Receiver<Told<T>>,
    progress: Tell<'_>,
    time: Duration,
    process: &str,
    most: usize,
) -> Result<T, LoadError> {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match told.recv_timeout(left.min(LOOK)) {
            // One that tells of steps without end is late all the same.
            Ok(Told::Progress(_)) if left.is_zero() => return Err(LATE),
            Ok(Told::Progress(step)) => progress(step),
            Ok(Told::Done(result)) => return result,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(BROKE),
            Err(mpsc::RecvTimeoutError::Timeout) if resident(process) > most => return Err(LoadError::Gave("takes too much memory")),
            Err(mpsc::RecvTimeoutError::Timeout) if left <= LOOK => return Err(LATE),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

const LATE: LoadError = LoadError::Gave("takes too long");
pub(crate) const BROKE: LoadError = LoadError::Gave("broke the compiler");

/// Bytes of memory that a process occupies, by its number or `self`; 0 where that cannot be told.
fn resident(process: &str) -> usize {
    let pages = std::fs::read_to_string(format!("/proc/{process}/statm")).ok().and_then(|it| it.split(' ').nth(1)?.parse().ok());
    pages.map_or(0, |pages: usize| pages.saturating_mul(4096)) // pages are never smaller
}

const NO_THREAD: LoadError = LoadError::Gave("needs a thread, and there is none to be had");

/// Does `work` on every core, on threads that end with it, and with them the memory that they kept for themselves: those that compilers
/// start by themselves would stay, and most of what an idle server occupies would be theirs.
fn on_all_cores<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, rayon::ThreadPoolBuildError> {
    let named = |n| format!("aegis-compile-{n}");
    Ok(rayon::ThreadPoolBuilder::new().thread_name(named).stack_size(STACK).build()?.install(work))
}

fn thread() -> std::thread::Builder {
    std::thread::Builder::new().name("aegis-load".into()).stack_size(STACK)
}

/// Runs a guard's calls to their end, on this thread.
fn block_on<T>(calls: impl Future<Output = Result<T, LoadError>>) -> Result<T, LoadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.map_err(|_| LoadError::Gave("needs a timer, and there is none to be had"))?.block_on(calls)
}

/// Reads from the outside whether it may be run at all.
fn admit(bytes: &[u8], limits: &Limits) -> Result<Outside, LoadError> {
    let (size, most) = (bytes.len(), limits.component);
    if size > most {
        return Err(LoadError::Large { size, most });
    }
    let outside = Outside::read(bytes);
    match outside.kind {
        Kind::Component => {}
        Kind::Module => return Err(LoadError::Module),
        Kind::Other => return Err(LoadError::NoComponent),
    }
    let refused = outside.refused();
    if !refused.is_empty() {
        return Err(LoadError::Imports(refused));
    }
    if !outside.exported("scanner").is_some_and(|version| version.starts_with("0.1.")) {
        return Err(LoadError::NoScanner(outside.exports));
    }
    weigh(bytes)?;
    Ok(outside)
}

struct Loading<'a> {
    shared: Arc<Shared>,
    source: Source,
    outside: Outside,
    /// The settings as they are handed over.
    text: String,
    progress: Tell<'a>,
}

impl<'a> Loading<'a> {
    fn new(shared: Arc<Shared>, source: Source, progress: Tell<'a>) -> Result<Loading<'a>, LoadError> {
        let outside = admit(&source.bytes, &source.limits)?;
        let text = source.settings.to_string();
        if text.len() > source.limits.input {
            return Err(LoadError::Settings(vec![format!("they have {} bytes, and its limit is {}", text.len(), source.limits.input)]));
        }
        Ok(Loading { shared, source, outside, text, progress })
    }

    fn load(self) -> Result<LoadedGuard, LoadError> {
        let began = Instant::now();
        let (component, settings) = (Digest::of(&self.source.bytes), Digest::of(self.text.as_bytes()));
        let (compiled, cached) = self.fetch_or_compile(component, settings)?;
        let ready = self.ready(&compiled.component)?;
        let (manifest, used) = block_on(self.manifest(&ready))?;
        let load = Load { took: began.elapsed(), cached, memory: used.memory };
        let Loading { source: Source { name, .. }, outside: Outside { imports, .. }, text, .. } = self;
        let start = match compiled.plain {
            None => Start::Snapshot,
            Some(why) => Start::Configure { settings: text, why, counts: true },
        };
        Ok(LoadedGuard { name, manifest, component, settings, imports, ready, start, load, counters: Counters::default() })
    }

    /// In the cache it stands under settings that no guard can have: no text at all.
    fn prototype(self) -> Result<Prototype, LoadError> {
        let (digest, none, cache) = (Digest::of(&self.source.bytes), Digest::of(b""), self.shared.cache.as_ref());
        let compiled = match cache.and_then(|it| it.fetch(digest, none, &self.shared.engine)) {
            Some(compiled) => compiled.component,
            None => {
                let compiled = self.here_or_apart(What::Plain)?;
                cache.inspect(|it| it.keep(digest, none, &compiled));
                compiled.component
            }
        };
        Ok(Prototype { shared: self.shared, outside: self.outside, digest, limits: self.source.limits, compiled })
    }

    /// Whether it was there already, too.
    fn fetch_or_compile(&self, component: Digest, settings: Digest) -> Result<(Compiled, bool), LoadError> {
        let cache = self.shared.cache.as_ref();
        if let Some(compiled) = cache.and_then(|it| it.fetch(component, settings, &self.shared.engine)) {
            (self.progress)(Progress::Cached);
            return Ok((compiled, true));
        }
        let compiled = self.here_or_apart(What::Configured)?;
        cache.inspect(|it| it.keep(component, settings, &compiled));
        Ok((compiled, false))
    }

    /// In a process of its own, where the sandbox has a program for that.
    fn here_or_apart(&self, what: What) -> Result<Compiled, LoadError> {
        match (&self.shared.compiler, what) {
            (Some(program), _) => compile_apart(program, what, &self.source, self.progress, &self.shared.engine),
            (None, What::Plain) => self.compile_plain(),
            (None, What::Configured) => self.compile(),
        }
    }

    /// Compiles it, and no more.
    fn compile_plain(&self) -> Result<Compiled, LoadError> {
        (self.progress)(Progress::Compiling { bytes: self.source.bytes.len() });
        Ok(Compiled { component: self.component(&self.source.bytes)?, plain: Some("it has no settings yet".into()) })
    }

    /// Compiles it, has it accept its settings, and freezes it with them where that can be done.
    fn compile(&self) -> Result<Compiled, LoadError> {
        let bytes = &*self.source.bytes;
        (self.progress)(Progress::Compiling { bytes: bytes.len() });
        let component = self.component(bytes)?;
        (self.progress)(Progress::Configuring);
        block_on(self.accept(&self.ready(&component)?))?;
        (self.progress)(Progress::Snapshotting);
        let frozen = self.freeze().and_then(|bytes| self.component(&bytes).map_err(|error| error.to_string()));
        Ok(match frozen {
            Ok(component) => Compiled { component, plain: None },
            Err(why) => Compiled { component, plain: Some(clip(why)) },
        })
    }

    /// On a thread of its own: wizer panics where it meets what it does not know, and that only means that there is no snapshot.
    fn freeze(&self) -> Result<Vec<u8>, String> {
        let (shared, Source { bytes, limits, .. }, text, wasi) = (&self.shared, &self.source, &self.text, self.outside.wants_wasi());
        let take = || block_on(async { Ok(snapshot::take(shared, bytes, text, limits, wasi).await) });
        let take = || on_all_cores(take).unwrap_or(Err(NO_THREAD));
        let taken = std::thread::scope(|scope| thread().spawn_scoped(scope, take).map(|it| it.join()));
        match taken {
            Ok(Ok(Ok(taken))) => taken,
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Ok(Err(_)) => Err("wizer does not know what it met in this component".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn accept(&self, ready: &Ready) -> Result<(), LoadError> {
        let (manifest, _) = self.manifest(ready).await?;
        let mistakes = schema::mistakes(&manifest.settings_schema, &self.source.settings, self.source.limits.load_time)?;
        if !mistakes.is_empty() {
            return Err(LoadError::Settings(mistakes));
        }
        let accepted = ready.configure(&self.text).await.map_err(|failure| LoadError::Failed { step: "configure", failure })?;
        accepted.map_err(|why| LoadError::Settings(vec![clip(why)]))
    }

    async fn manifest(&self, ready: &Ready) -> Result<(Manifest, Used), LoadError> {
        let (described, used) = ready.describe().await;
        let described = described.map_err(|failure| LoadError::Failed { step: "describe", failure })?;
        Ok((convert::manifest(described).check(self.outside.exported("stream-scanner").is_some())?, used))
    }

    fn component(&self, bytes: &[u8]) -> Result<Component, LoadError> {
        let engine = &self.shared.engine;
        let compiled = on_all_cores(|| Component::new(engine, bytes)).map_err(|_| NO_THREAD)?;
        compiled.map_err(|error| LoadError::Compile(clip(format!("{error:#}"))))
    }

    fn ready(&self, component: &Component) -> Result<Ready, LoadError> {
        let pre = self.shared.linker.instantiate_pre(component).and_then(GuardPre::new);
        let pre = pre.map_err(|error| LoadError::Compile(clip(format!("{error:#}"))))?;
        let (shared, limits) = (self.shared.clone(), self.source.limits.clone());
        Ok(Ready { shared, pre, limits, wasi: self.outside.wants_wasi() })
    }
}
