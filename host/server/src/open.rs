//! From a configuration to an [`App`]: the store is opened, guards are loaded, providers are built. Slow, and called once.

use crate::app::{App, HostedGuard};
use crate::config::{ConfigErrors, GuardLimits, GuardSettings, Loaded, PersistenceSettings, ProviderSettings, Settings, Source};
use aegis_core::{Code, Digest, SharedPlan};
use aegis_provider::{Fake, OpenAiCompatible, Provider, SettingsError};
use aegis_store::{Access, Postgres, Sqlite, Store, StoreError};
use aegis_wasm::{Limits, LoadError, LoadedGuard, Options, Progress, Sandbox, SandboxError};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration does not fit what was loaded.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A guard's component cannot be read.
    #[error("guard {name:?}: {} cannot be read: {error}", .path.display())]
    Read {
        /// In the configuration.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A guard's component is not the one that was pinned.
    #[error("guard {name:?}: the component is {found}, and the configuration pins {pinned}")]
    Pin {
        /// In the configuration.
        name: String,
        /// What is there.
        found: Digest,
        /// What should be there.
        pinned: Digest,
    },
    /// A guard does not load.
    #[error("guard {name:?}: {error}")]
    Guard {
        /// In the configuration.
        name: String,
        /// Why not.
        error: LoadError,
    },
    /// A provider cannot be built.
    #[error("provider {name:?}: {error}")]
    Provider {
        /// In the configuration.
        name: String,
        /// Why not.
        error: SettingsError,
    },
}

impl OpenError {
    /// The code that users look it up by.
    pub fn code(&self) -> Code {
        match self {
            OpenError::Config(error) => error.code(),
            OpenError::Store(error) => error.code(),
            OpenError::Sandbox(_) | OpenError::Provider { .. } => Code::CFG_INVALID,
            OpenError::Read { .. } => Code::GRD_LOAD,
            OpenError::Pin { .. } => Code::GRD_DIGEST,
            OpenError::Guard { error, .. } => error.code(),
        }
    }
}

/// A provider that can be asked.
#[derive(Clone)]
pub struct HostedProvider {
    /// It.
    pub provider: Arc<dyn Provider>,
    /// [`ProviderSettings::identity`].
    pub identity: Digest,
}

/// What `builtin:NAME` stands for.
pub fn builtin(name: &str) -> Option<&'static [u8]> {
    match name {
        "patterns" => Some(include_bytes!("../../../guards/patterns.wasm")),
        "sensitive-topic" => Some(include_bytes!("../../../guards/sensitive_topic.wasm")),
        _ => None,
    }
}

impl App {
    /// Opens the store, loads every guard, keeps what it is made of for the runs that begin with it, builds every provider. Blocks for as
    /// long as guards take to compile, so it is called in a runtime of tokio and off its executor; `progress` is told the guard's name
    /// and how far it is. `compiler`: [`Options::compiler`].
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn open(mut settings: Settings, compiler: Option<PathBuf>, progress: &dyn Fn(&str, Progress)) -> Result<Arc<App>, OpenError> {
        let runtime = tokio::runtime::Handle::current();
        let store = runtime.block_on(open_store(&settings.persistence, Access::Host))?;
        let sandbox = Sandbox::new(Options { cache_dir: settings.server.cache_dir.clone(), compiler, ..Options::default() })?;
        let keep = |bytes: &[u8]| Ok(runtime.block_on(store.blob_keep(bytes)).map(drop)?);
        let guards = load_all(&sandbox, &mut settings, progress, &keep)?;
        let providers = providers(&settings.providers)?;
        let plans = plans(&settings, &guards);
        Ok(App::assemble(&settings, plans, store, sandbox, guards, providers))
    }
}

impl App {
    /// Loads one guard anew, whose file has changed, for all runs that begin from now on; those that have begun keep theirs, which the store has
    /// kept. `settings` are those that the app was opened with. Blocks, as [`App::open`] does. Returns the component's digest.
    ///
    /// # Errors
    /// Why it does not load; then everything stays as it was.
    pub fn reload(&self, settings: &Settings, name: &str, progress: &dyn Fn(&str, Progress)) -> Result<Digest, OpenError> {
        let runtime = tokio::runtime::Handle::current();
        let keep = |bytes: &[u8]| Ok(runtime.block_on(self.store().blob_keep(bytes)).map(drop)?);
        let mut settings = settings.clone();
        let hosted = guard_of(self.sandbox(), name, settings.guards[name].clone(), progress, &keep)?;
        let (digest, source) = (hosted.loaded.component(), hosted.source.clone());
        let guards: Vec<HostedGuard> = self.guards().iter().map(|it| if it.name == name { hosted.clone() } else { it.clone() }).collect();
        for it in &guards {
            settings.place(&it.name, &it.loaded.manifest().stages)?;
        }
        let plans = plans(&settings, &guards);
        self.replace(guards, plans);
        tracing::info!(guard = name, source, component = %digest, "loaded anew");
        Ok(digest)
    }
}

/// Opens the store that `settings` name.
///
/// # Errors
/// It is not there, is another's, or is not one of Aegis.
pub async fn open_store(settings: &PersistenceSettings, access: Access) -> Result<Arc<dyn Store>, StoreError> {
    match settings {
        PersistenceSettings::Sqlite(path) => {
            let path = path.clone();
            let opened = tokio::task::spawn_blocking(move || Sqlite::open(path, access)).await;
            Ok(Arc::new(opened.map_err(|error| StoreError::Io(error.to_string()))??))
        }
        PersistenceSettings::Postgres(url) => Ok(Arc::new(Postgres::open(url.reveal(), access).await?)),
    }
}

/// Which version the store has, 0 where there is none, and which this program would make it.
///
/// # Errors
/// It is not there, or is not one of Aegis.
pub async fn store_versions(settings: &PersistenceSettings) -> Result<(u32, u32), StoreError> {
    match settings {
        PersistenceSettings::Sqlite(path) => {
            let path = path.clone();
            let looked = tokio::task::spawn_blocking(move || aegis_store::versions(&path)).await;
            looked.map_err(|error| StoreError::Io(error.to_string()))?
        }
        PersistenceSettings::Postgres(url) => Postgres::versions(url.reveal()).await,
    }
}

/// Loads every guard, also those that no route asks.
///
/// # Errors
/// The first one that does not load.
pub fn guards(sandbox: &Sandbox, settings: &mut Settings, progress: &dyn Fn(&str, Progress)) -> Result<Vec<HostedGuard>, OpenError> {
    load_all(sandbox, settings, progress, &|_| Ok(()))
}

/// Is handed what a guard is made of: its component's bytes, and its settings as the text of which the digest is taken.
type Keep<'a> = &'a dyn Fn(&[u8]) -> Result<(), OpenError>;

fn load_all(
    sandbox: &Sandbox,
    settings: &mut Settings,
    progress: &dyn Fn(&str, Progress),
    keep: Keep<'_>,
) -> Result<Vec<HostedGuard>, OpenError> {
    let mut loaded = vec![];
    for (name, guard) in settings.guards.clone() {
        let hosted = guard_of(sandbox, &name, guard, progress, keep)?;
        settings.place(&name, &hosted.loaded.manifest().stages)?;
        loaded.push(hosted);
    }
    Ok(loaded)
}

fn guard_of(
    sandbox: &Sandbox,
    name: &str,
    settings: GuardSettings,
    progress: &dyn Fn(&str, Progress),
    keep: Keep<'_>,
) -> Result<HostedGuard, OpenError> {
    let (source, bytes) = component(name, &settings.source)?;
    let found = Digest::of(&bytes);
    if let Some(pinned) = settings.sha256.filter(|pinned| *pinned != found) {
        return Err(OpenError::Pin { name: name.into(), found, pinned });
    }
    keep(&bytes)?;
    keep(settings.settings.to_string().as_bytes())?;
    let limits = limits(&settings.limits);
    let asked = aegis_wasm::Source { name: name.into(), bytes: bytes.into(), settings: settings.settings, limits };
    let loaded: Arc<LoadedGuard> =
        sandbox.load(asked, &|step| progress(name, step)).map_err(|error| OpenError::Guard { name: name.into(), error })?;
    Ok(HostedGuard { name: name.into(), source, loaded })
}

fn component(name: &str, source: &Source) -> Result<(String, Vec<u8>), OpenError> {
    match source {
        Source::Builtin(builtin_name) => {
            let bytes = builtin(builtin_name).expect("the configuration names only those there are");
            Ok((format!("builtin:{builtin_name}"), bytes.to_vec()))
        }
        Source::File(path) => {
            let bytes = read(path).map_err(|error| OpenError::Read { name: name.into(), path: path.clone(), error })?;
            Ok((path.display().to_string(), bytes))
        }
    }
}

/// No further than the sandbox takes: it refuses what is larger.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![];
    File::open(path)?.take(Limits::default().component as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn limits(written: &GuardLimits) -> Limits {
    let default = Limits::default();
    let bytes = |written: Option<u64>, default: usize| written.map_or(default, |it| usize::try_from(it).unwrap_or(usize::MAX));
    Limits {
        time: written.time.unwrap_or(default.time),
        load_time: written.load.unwrap_or(default.load_time),
        memory: bytes(written.memory, default.memory),
        input: bytes(written.input, default.input),
        output: bytes(written.output, default.output),
        log: bytes(written.log, default.log),
        ..default
    }
}

/// Builds every provider.
///
/// # Errors
/// The first one that cannot be built.
pub fn providers(settings: &BTreeMap<String, ProviderSettings>) -> Result<BTreeMap<String, HostedProvider>, OpenError> {
    let build = |settings: &ProviderSettings| -> Result<Arc<dyn Provider>, SettingsError> {
        Ok(match settings {
            ProviderSettings::Fake(settings) => Arc::new(Fake::new(settings.clone())?),
            ProviderSettings::OpenAiCompatible(settings) => Arc::new(OpenAiCompatible::new(settings)?),
        })
    };
    let named = |(name, it): (&String, &ProviderSettings)| match build(it) {
        Ok(provider) => Ok((name.clone(), HostedProvider { provider, identity: it.identity() })),
        Err(error) => Err(OpenError::Provider { name: name.clone(), error }),
    };
    settings.iter().map(named).collect()
}

/// The plan of every route, by the route's name. `guards` are all that the settings name.
pub fn plans(settings: &Settings, guards: &[HostedGuard]) -> BTreeMap<String, SharedPlan> {
    let loaded = |name: &str| {
        let it = &guards.iter().find(|it| it.name == name).expect("every guard was loaded").loaded;
        Loaded { component: it.component(), settings: it.settings(), scope: it.manifest().scope }
    };
    settings.routes.keys().filter_map(|name| Some((name.clone(), settings.plan(name, loaded)?.into()))).collect()
}
