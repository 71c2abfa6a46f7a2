//! The configuration: what was written, then what it means. Everything that is wrong is reported together; nothing is read
//! but the files that are named, and the environment is handed in.
//!
//! [`Settings::load`] is the whole way: the file as a tree of places (`tree`), overrides by the environment, the check
//! against the schema (`schema`, `format`), the types of what is written (`written`), what it means (`meaning`).

mod format;
mod meaning;
mod mistake;
mod schema;
mod secret;
#[cfg(test)]
mod tests;
mod tree;
mod written;

pub use format::check_approver;
pub use mistake::{ConfigErrors, Mistake, Place};
pub use schema::schema;

use aegis_core::{ApprovalRule, Backoff, Digest, Guard, Mode, OnFailure, OnUnknown, Plan, Scope, Stage, Stages};
use aegis_provider::{FakeSettings, OpenAiCompatibleSettings};
use aegis_store::LedgerKey;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Environment variables by name. Values are never shown.
pub type Environment = BTreeMap<String, String>;

/// The environment of this process; variables that are not UTF-8 are left out.
pub fn environment() -> Environment {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// What the configuration means: names are looked up, defaults filled in, secrets there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Providers by name.
    pub providers: BTreeMap<String, ProviderSettings>,
    /// Guards by name.
    pub guards: BTreeMap<String, GuardSettings>,
    /// Routes by name.
    pub routes: BTreeMap<String, RouteSettings>,
    /// Where runs are kept.
    pub persistence: PersistenceSettings,
    /// What signs the ledger's exports; only [`Settings::for_ledger`] looks it up.
    pub ledger_key: Option<Arc<LedgerKey>>,
    /// How long what is over is kept.
    pub retention: RetentionSettings,
    /// How callers are known.
    pub auth: AuthSettings,
    /// The HTTP server.
    pub server: ServerSettings,
    /// What is allowed and probably not meant, for the log.
    pub warnings: Vec<Mistake>,
    /// The file as it was named, for messages.
    pub file: String,
    /// Every place where a pipeline names a guard.
    uses: Vec<Use>,
    effective: written::Written,
}

/// How long what is over is kept; `None` is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionSettings {
    /// The content of runs.
    pub content: Option<Duration>,
    /// Runs.
    pub completed: Option<Duration>,
    /// Lines of the ledger about runs that are gone.
    pub ledger: Option<Duration>,
}

/// A model, and its key.
#[derive(Clone, Debug)]
pub enum ProviderSettings {
    /// No model.
    Fake(FakeSettings),
    /// Chat completions; the `api_key` is the key itself here.
    OpenAiCompatible(OpenAiCompatibleSettings),
}

impl ProviderSettings {
    /// Digest of what makes it this provider: whoever changes its kind or address names another one, whoever changes its key or its patience
    /// does not. The model is not part of it: a plan names its own.
    pub fn identity(&self) -> Digest {
        let (kind, address) = match self {
            ProviderSettings::Fake(_) => ("fake", ""),
            ProviderSettings::OpenAiCompatible(settings) => ("openai_compatible", settings.base_url.trim_end_matches('/')),
        };
        Digest::of(format!("{kind} {address}").as_bytes())
    }
}

/// A guard, before it is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct GuardSettings {
    /// Its component.
    pub source: Source,
    /// The only component that may load.
    pub sha256: Option<Digest>,
    /// Handed to `configure` as JSON.
    pub settings: serde_json::Value,
    /// What differs from the sandbox's defaults.
    pub limits: GuardLimits,
    /// What follows when it fails.
    pub on_failure: OnFailure,
    /// Whether its verdicts are acted on.
    pub mode: Mode,
    /// Who says at which stages it stands.
    pub placement: Placement,
}

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// One that comes with Aegis; the name is one that there is.
    Builtin(&'static str),
}

/// Limits of one guard; `None` is the sandbox's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardLimits {
    /// For one scan, of the time in which the guard itself runs.
    pub time: Option<Duration>,
    /// For `describe` and `configure` at load, each; counted like `time`.
    pub load: Option<Duration>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of what it is handed in one scan.
    pub input: Option<u64>,
    /// Bytes of what it hands back from one scan.
    pub output: Option<u64>,
    /// Bytes of what it logs in one scan.
    pub log: Option<u64>,
}

/// Who says at which stages a guard stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The pipelines of the configuration.
    Pipelines,
    /// Its manifest, on every route: the guard came by [`Settings::add_guard`] and waits for [`Settings::place`].
    Manifest,
}

/// A route.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSettings {
    /// A name from the providers.
    pub provider: String,
    /// The route's model, else the provider's; empty where the provider has none.
    pub model: String,
    /// Names from the guards, in the order in which they judge.
    pub pipeline: Stages<Vec<String>>,
    /// For every guard there is: its own rule, else the route's, else the top's, per field.
    pub approval: BTreeMap<String, ApprovalRule>,
    /// Provider calls at most, from 1.
    pub attempts: u32,
    /// How long to wait between them.
    pub backoff: Backoff,
    /// What follows a call of which a crash has swallowed the outcome.
    pub on_unknown: OnUnknown,
    /// The rule for guards that say nothing themselves.
    approval_default: ApprovalRule,
}

/// Where runs are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PersistenceSettings {
    /// In this file.
    Sqlite(PathBuf),
    /// In the database with this URL.
    Postgres(DatabaseUrl),
}

impl fmt::Display for PersistenceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PersistenceSettings::Sqlite(path) => path.display().fmt(f),
            PersistenceSettings::Postgres(url) => url.fmt(f),
        }
    }
}

/// Where a database is, and how to get in. It is shown without the latter.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// All of it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In this order: a password may have a question mark in it.
        let place = self.0.split_once("://").map(|(_, rest)| rest.split_once('@').map_or(rest, |(_, place)| place));
        let place = place.map(|it| it.split('?').next().unwrap_or_default());
        match place.map(|it| it.rsplit('@').next().unwrap_or_default()) {
            Some(place) => write!(f, "postgres://{place}"),
            None => write!(f, "Postgres"),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How callers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthSettings {
    /// By their keys.
    ApiKey,
    /// Not at all; also where the configuration says nothing.
    None,
}

/// The HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Names under which it is reached, in lower case, without port.
    pub hosts: Vec<String>,
    /// Scheme, host and port as in an `Origin` header, without a slash at the end.
    pub public_url: Option<String>,
    /// Folder for compiled guards; `None` keeps nothing on disk.
    pub cache_dir: Option<PathBuf>,
    /// Bytes of the largest request.
    pub body_limit: usize,
    /// Connections at once.
    pub max_connections: usize,
    /// For the head of a request to arrive.
    pub header_timeout: Duration,
    /// For the body of a request to arrive, and for a client to take 16 KiB of an answer that waits for it.
    pub body_timeout: Duration,
    /// How long a request is held before it is answered with what is there so far.
    pub request_timeout: Duration,
    /// How long a request with an `Idempotency-Key` is remembered.
    pub idempotency: Duration,
    /// How long stopping may take.
    pub drain: Duration,
}

impl ServerSettings {
    /// Whether browsers reach it by HTTPS alone.
    pub fn is_https(&self) -> bool {
        self.public_url.as_deref().is_some_and(|it| it.starts_with("https://"))
    }
}

/// What is known of a guard only after it was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// SHA-256 of the component.
    pub component: Digest,
    /// SHA-256 of its settings.
    pub settings: Digest,
    /// From its manifest.
    pub scope: Scope,
}

/// One guard named at one stage.
#[derive(Clone, Debug)]
struct Use {
    guard: String,
    stage: Stage,
    place: Place,
}

impl Settings {
    /// The configuration in `path`, for `aegis serve`.
    ///
    /// # Errors
    /// All that is wrong with it, at once.
    pub fn load(path: &Path, environment: &Environment) -> Result<Settings, ConfigErrors> {
        meaning::load(Some(path), environment, meaning::Purpose::Serve)
    }

    /// For `aegis dev`: no authentication whatever the file says; a fake provider and `./.aegis/dev.db` where it names none.
    /// Without a file also the sensitive-topic guard.
    ///
    /// # Errors
    /// All that is wrong with it, at once.
    pub fn dev(path: Option<&Path>, environment: &Environment) -> Result<Settings, ConfigErrors> {
        meaning::load(path, environment, meaning::Purpose::Dev)
    }

    /// Where the runs of the configuration in `path` are, or those of `aegis dev` without one: for commands that work on the store.
    /// Secrets and guards need not be there.
    ///
    /// # Errors
    /// All that is wrong with the rest, at once.
    pub fn persistence(path: Option<&Path>, environment: &Environment) -> Result<PersistenceSettings, ConfigErrors> {
        let purpose = if path.is_some() { meaning::Purpose::Store } else { meaning::Purpose::Dev };
        meaning::load(path, environment, purpose).map(|it| it.persistence)
    }

    /// The configuration in `path`, or that of `aegis dev` without one, for the ledger: with the key that signs its exports. Other secrets
    /// and guards need not be there.
    ///
    /// # Errors
    /// All that is wrong with the rest, at once.
    pub fn for_ledger(path: Option<&Path>, environment: &Environment) -> Result<Settings, ConfigErrors> {
        let purpose = if path.is_some() { meaning::Purpose::Ledger } else { meaning::Purpose::Dev };
        meaning::load(path, environment, purpose)
    }

    /// `--guard NAME=PATH`: the component of a guard of the configuration is replaced (its pin stays); a new one stands on every
    /// route at the stages that its manifest names, see [`Settings::place`].
    ///
    /// # Errors
    /// A name that cannot be one.
    pub fn add_guard(&mut self, name: &str, component: PathBuf) -> Result<(), ConfigErrors> {
        meaning::check_name(name).map_err(|message| self.wrong(Place::Whole, format!("--guard {name:?}: {message}")))?;
        for route in self.routes.values_mut() {
            let rule = route.approval_default.clone();
            route.approval.entry(name.to_string()).or_insert(rule);
        }
        let source = Source::File(component);
        let settings = serde_json::json!({});
        let new = GuardSettings {
            source: source.clone(),
            sha256: None,
            settings,
            limits: GuardLimits::default(),
            on_failure: OnFailure::default(),
            mode: Mode::default(),
            placement: Placement::Manifest,
        };
        self.guards.entry(name.to_string()).or_insert(new).source = source;
        Ok(())
    }

    /// `--settings NAME=JSON`: instead of those that the configuration gives the guard. They are checked when it is loaded.
    ///
    /// # Errors
    /// No guard of that name.
    pub fn set_guard_settings(&mut self, name: &str, settings: serde_json::Value) -> Result<(), ConfigErrors> {
        let known: Vec<&str> = self.guards.keys().map(String::as_str).collect();
        let wrong = self.wrong(Place::Whole, format!("--settings: there is no guard {name:?}: there is {}", mistake::one_of(&known)));
        self.guards.get_mut(name).ok_or(wrong)?.settings = settings;
        Ok(())
    }

    /// Says, once a guard is loaded, at which stages it can stand.
    ///
    /// # Errors
    /// Where a pipeline has it at another stage.
    pub fn place(&mut self, guard: &str, stages: &[Stage]) -> Result<(), ConfigErrors> {
        let from_manifest = self.guards.get(guard).is_some_and(|it| it.placement == Placement::Manifest);
        for route in self.routes.values_mut().filter(|_| from_manifest) {
            stages.iter().for_each(|stage| route.pipeline.at_mut(*stage).push(guard.to_string()));
        }
        let can: Vec<&str> = stages.iter().map(|it| it.name()).collect();
        let wrong = self.uses.iter().filter(|it| it.guard == guard && !stages.contains(&it.stage));
        let message =
            |at: &Use| format!("the guard {guard:?} cannot judge at {}: its manifest names {}", at.stage.name(), mistake::one_of(&can));
        let mut mistakes = mistake::Mistakes::default();
        wrong.for_each(|it| mistakes.invalid(&it.place, message(it)));
        if mistakes.is_empty() { Ok(()) } else { Err(ConfigErrors { file: self.file.clone(), mistakes: mistakes.all() }) }
    }

    /// The plan of every run on `route`, or `None` when there is no such route. `loaded` is asked for the guards of its pipeline.
    pub fn plan(&self, route: &str, loaded: impl Fn(&str) -> Loaded) -> Option<Plan> {
        let settings = self.routes.get(route)?;
        let mut pipeline: Stages<Vec<Guard>> = Stages::default();
        for stage in Stage::ALL {
            let guards = settings.pipeline.at(stage).iter();
            *pipeline.at_mut(stage) = guards.map(|name| self.guard(settings, name, &loaded)).collect();
        }
        Some(Plan {
            route: route.to_string(),
            provider: settings.provider.clone(),
            provider_is: self.providers.get(&settings.provider).map(ProviderSettings::identity),
            model: settings.model.clone(),
            pipeline,
            attempts: settings.attempts,
            backoff: settings.backoff,
            on_unknown: settings.on_unknown,
        })
    }

    fn guard(&self, route: &RouteSettings, name: &str, loaded: &impl Fn(&str) -> Loaded) -> Guard {
        let settings = self.guards.get(name).expect("a pipeline names guards that there are");
        let approval = route.approval.get(name).expect("a route has a rule for every guard").clone();
        let Loaded { component, settings: digest, scope } = loaded(name);
        let (mode, on_failure) = (settings.mode, settings.on_failure);
        Guard { name: name.to_string(), component, settings: digest, scope, mode, on_failure, approval }
    }

    /// What was written, with defaults and overrides, as YAML. Secrets are shown as their references.
    pub fn show(&self) -> String {
        serde_saphyr::to_string(&self.effective).expect("a configuration has no maps with keys that are not text")
    }

    fn wrong(&self, place: Place, message: String) -> ConfigErrors {
        ConfigErrors { file: self.file.clone(), mistakes: vec![Mistake { code: aegis_core::Code::CFG_INVALID, place, message }] }
    }
}
