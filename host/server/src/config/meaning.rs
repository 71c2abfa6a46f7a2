//! What the configuration means: names are looked up, rules merged, defaults filled in, secrets and files found.

use super::mistake::{ConfigErrors, Mistakes, Place, instead};
use super::schema::{Checker, schema};
use super::tree::Node;
use super::written::{self, Written};
use super::{
    AuthSettings, DatabaseUrl, Environment, GuardLimits, GuardSettings, PersistenceSettings, Placement, ProviderSettings,
    RetentionSettings, RouteSettings, ServerSettings, Settings, Source, Use, format, secret,
};
use aegis_core::{ApprovalRule, Backoff, Code, Stage, Stages, unreachable};
use aegis_provider::{FakeSettings, Key};
use aegis_store::LedgerKey;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What the configuration is read for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Serve,
    Dev,
    /// Only to find the store: secrets and guards need not be there.
    Store,
    /// The same, and what signs the ledger.
    Ledger,
}

impl Purpose {
    /// Whether secrets and guards need not be there.
    fn is_of_a_command(self) -> bool {
        matches!(self, Purpose::Store | Purpose::Ledger)
    }
}

/// Bytes of the largest configuration.
const LARGEST: usize = 1024 * 1024;
const DEV: &str = include_str!("dev.yaml");
const DEV_STORE: &str = ".aegis/dev.db";

pub(super) fn load(path: Option<&Path>, environment: &Environment, purpose: Purpose) -> Result<Settings, ConfigErrors> {
    let file = path.map_or("configuration".to_string(), |it| it.display().to_string());
    let mut mistakes = Mistakes::default();
    let settings = read(path, environment, purpose, &file, &mut mistakes);
    match settings {
        Some(settings) if mistakes.is_empty() => Ok(settings),
        _ => Err(ConfigErrors { file, mistakes: mistakes.all() }),
    }
}

fn read(path: Option<&Path>, environment: &Environment, purpose: Purpose, file: &str, mistakes: &mut Mistakes) -> Option<Settings> {
    let text = match path {
        Some(path) => text_of(path, mistakes)?,
        None => DEV.to_string(),
    };
    let mut tree = Node::read(&text, mistakes)?;
    let schema = schema();
    let mut checker = Checker::new(&schema, mistakes);
    for (variable, value) in environment.iter().filter(|it| it.0.to_ascii_uppercase().starts_with("AEGIS__")) {
        checker.set(&mut tree, variable, value);
    }
    let checked = checker.check(&tree);
    let written: Written = match serde_json::from_value(checked) {
        Ok(written) => written,
        Err(error) => {
            mistakes.invalid(&Place::Whole, format!("{error}"));
            return None;
        }
    };
    let folder = path.and_then(Path::parent).unwrap_or(Path::new(""));
    let mut meaning = Meaning { tree: &tree, written, folder, environment, purpose, mistakes, warnings: Mistakes::default(), uses: vec![] };
    meaning.names();
    meaning.default_for_purpose();
    let settings = meaning.settings(file);
    Some(settings)
}

fn text_of(path: &Path, mistakes: &mut Mistakes) -> Option<String> {
    let problem = match read_limited(path, LARGEST) {
        Ok(Some(bytes)) => match String::from_utf8(bytes) {
            Ok(text) => return Some(text),
            Err(error) => format!("this is not UTF-8: byte {} is wrong", error.utf8_error().valid_up_to() + 1),
        },
        Ok(None) => "this is larger than 1 MiB: no configuration is".to_string(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "there is no such file: write one, name another with --config, or try `aegis dev`, which needs none".into()
        }
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => "this is a folder: name the file in it".into(),
        Err(error) => format!("cannot be read: {error}"),
    };
    mistakes.invalid(&Place::Whole, problem);
    None
}

/// The bytes of a file, or `None` when there are more than `limit`.
pub(super) fn read_limited(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![];
    std::fs::File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// Names stand in addresses, metrics and variables.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    let good = (1..=64).contains(&name.len()) && name.chars().all(|it| it.is_ascii_alphanumeric() || "-_.".contains(it));
    if good { Ok(()) } else { Err("a name has 1 to 64 letters, digits, -, _ and .") }
}

struct Meaning<'a> {
    tree: &'a Node,
    written: Written,
    folder: &'a Path,
    environment: &'a Environment,
    purpose: Purpose,
    mistakes: &'a mut Mistakes,
    warnings: Mistakes,
    uses: Vec<Use>,
}

impl<'a> Meaning<'a> {
    fn names(&mut self) {
        for section in ["providers", "guardrails", "routes"] {
            for entry in self.tree.get(section).map_or(&[][..], Node::entries) {
                if let Err(message) = check_name(&entry.key) {
                    self.mistakes.invalid(&entry.place, format!("{:?} cannot be a name: {message}", entry.key));
                }
            }
        }
    }

    /// What nobody wrote and everybody expects.
    fn default_for_purpose(&mut self) {
        let dev = self.purpose == Purpose::Dev;
        if dev || self.written.auth.is_none() {
            self.written.auth = Some(written::Auth::None {});
        }
        if dev && self.known("providers").is_empty() {
            self.written.providers.insert("fake".into(), written::Provider::Fake(FakeSettings::default()));
        }
        if self.written.persistence.is_none() {
            let path = if dev { DEV_STORE } else { written::DATABASE };
            self.written.persistence = Some(written::Persistence::Sqlite { path: path.into() });
        }
        if self.only_provider().is_some() && !self.known("routes").contains(&"default") {
            self.written.routes.insert("default".into(), written::Route::default());
        }
        if self.only_provider().is_none() && self.known("routes").is_empty() {
            let several = "there is no route, so every run will be refused: write routes: {default: {provider: …}}";
            let none = "there is no provider, so every run will be refused: write providers: {main: {type: openai_compatible, …}}";
            self.warnings.invalid(&Place::Whole, if self.known("providers").is_empty() { none } else { several });
        }
    }

    fn only_provider(&self) -> Option<String> {
        let names = self.known("providers");
        let made: Vec<&str> = self.written.providers.keys().map(String::as_str).collect();
        // A provider that is there and wrong is a provider, too.
        match if names.is_empty() { made } else { names }[..] {
            [one] => Some(one.to_string()),
            _ => None,
        }
    }

    fn known(&self, section: &str) -> Vec<&'a str> {
        self.tree.get(section).map_or(vec![], |it| it.keys().collect())
    }

    fn settings(mut self, file: &str) -> Settings {
        let providers = self.providers();
        let guards = self.guards();
        let routes = self.routes(&providers);
        self.unused(&guards);
        Settings {
            persistence: self.persistence(),
            retention: self.retention(),
            ledger_key: self.ledger_key().map(Arc::new),
            auth: if self.written.auth == Some(written::Auth::ApiKey {}) { AuthSettings::ApiKey } else { AuthSettings::None },
            server: self.server(),
            providers,
            guards,
            routes,
            warnings: self.warnings.all(),
            file: file.to_string(),
            uses: self.uses,
            effective: self.written,
        }
    }

    fn providers(&mut self) -> BTreeMap<String, ProviderSettings> {
        let mut providers = BTreeMap::new();
        for (name, provider) in self.written.providers.clone() {
            let settings = match provider {
                written::Provider::Fake(settings) => ProviderSettings::Fake(settings),
                written::Provider::OpenaiCompatible(mut settings) => {
                    for (key, period) in [
                        ("connect_timeout", settings.connect_timeout),
                        ("timeout", settings.timeout),
                        ("idle_timeout", settings.idle_timeout),
                    ] {
                        self.not_zero(&["providers", &name, key], period.is_zero());
                    }
                    self.not_zero(&["providers", &name, "max_response"], settings.max_response.0 == 0);
                    settings.api_key = settings.api_key.map(|key| self.secret(&key, &name));
                    ProviderSettings::OpenAiCompatible(settings)
                }
            };
            providers.insert(name, settings);
        }
        self.secrets_of_wrong_providers();
        providers
    }

    /// A provider with another mistake is left out by now; what its key lacks is told all the same.
    fn secrets_of_wrong_providers(&mut self) {
        for entry in self.tree.get("providers").map_or(&[][..], Node::entries) {
            let key = entry.value.get("api_key").and_then(Node::as_text).filter(|it| format::check("secret", it).is_ok());
            if let Some(key) = key.filter(|_| !self.written.providers.contains_key(&entry.key)) {
                self.secret(&Key::new(key), &entry.key);
            }
        }
    }

    fn secret(&mut self, reference: &Key, provider: &str) -> Key {
        if self.purpose.is_of_a_command() {
            return reference.clone();
        }
        secret::resolve(reference.reveal(), self.folder, self.environment).map_or_else(
            |why| {
                let place = self.tree.place_of(&["providers", provider, "api_key"]);
                self.mistakes.add(Code::CFG_SECRET, place, format!("the secret is missing: {why}"));
                reference.clone()
            },
            Key::new,
        )
    }

    fn ledger_key(&mut self) -> Option<LedgerKey> {
        let reference = self.written.ledger.key.clone().filter(|_| self.purpose == Purpose::Ledger)?;
        let place = self.tree.place_of(&["ledger", "key"]);
        let key = secret::resolve(&reference, self.folder, self.environment);
        match key.map(|text| text.parse()) {
            Ok(Ok(key)) => return Some(key),
            Ok(Err(_)) => self.mistakes.add(
                Code::CFG_SECRET,
                place,
                format!("{reference} holds no key of the ledger: `aegis keys ledger FILE` makes one"),
            ),
            Err(why) => self.mistakes.add(Code::CFG_SECRET, place, format!("the secret is missing: {why}")),
        }
        None
    }

    fn guards(&mut self) -> BTreeMap<String, GuardSettings> {
        let mut guards = BTreeMap::new();
        for (name, guard) in self.written.guardrails.clone() {
            if !guard.capabilities.is_empty() {
                let place = self.tree.place_of(&["guardrails", &name, "capabilities"]);
                self.mistakes.add(Code::CFG_UNSUPPORTED, place, "granting capabilities is not in this version: write {}, or leave it out");
            }
            let settings = GuardSettings {
                source: self.source(&name, &guard.component),
                sha256: guard.sha256,
                settings: guard.settings,
                limits: self.limits(&name, guard.limits),
                on_failure: guard.on_failure,
                mode: guard.mode,
                placement: Placement::Pipelines,
            };
            guards.insert(name, settings);
        }
        guards
    }

    fn source(&mut self, guard: &str, component: &str) -> Source {
        let builtin = component.strip_prefix("builtin:").and_then(|name| format::BUILTIN.iter().find(|it| **it == name));
        if let Some(name) = builtin {
            return Source::Builtin(name);
        }
        let file = self.folder.join(component);
        if !self.purpose.is_of_a_command() && !file.is_file() {
            let place = self.tree.place_of(&["guardrails", guard, "component"]);
            let shown = file.display();
            let message = match file.metadata() {
                Ok(it) if it.is_dir() => format!("{shown} is a folder: write the path of a component file"),
                Ok(_) => format!("{shown} is no file: write the path of a component file"),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => format!("{shown} cannot be reached: {error}"),
                Err(_) => format!("there is no file {shown}: write its path relative to the folder of this configuration"),
            };
            self.mistakes.invalid(place, message);
        }
        Source::File(file)
    }

    fn limits(&mut self, guard: &str, written: written::Limits) -> GuardLimits {
        let period = |it: Option<written::Period>| it.map(|it| it.0);
        let bytes = |it: Option<bytesize::ByteSize>| it.map(|it| it.0);
        let limits = GuardLimits {
            time: period(written.time),
            load: period(written.load),
            memory: bytes(written.memory),
            input: bytes(written.input),
            output: bytes(written.output),
            log: bytes(written.log),
        };
        for (key, period) in [("time", limits.time), ("load", limits.load)] {
            self.not_zero(&["guardrails", guard, "limits", key], period.is_some_and(|it| it < Duration::from_millis(1)));
        }
        for (key, size) in [("memory", limits.memory), ("input", limits.input), ("output", limits.output)] {
            self.not_zero(&["guardrails", guard, "limits", key], size == Some(0));
        }
        limits
    }

    fn not_zero(&mut self, path: &[&str], zero: bool) {
        if zero {
            self.mistakes.invalid(self.tree.place_of(path), "this lets nothing through: write more, or leave it out");
        }
    }

    fn routes(&mut self, providers: &BTreeMap<String, ProviderSettings>) -> BTreeMap<String, RouteSettings> {
        let top = self.written.pipeline.clone();
        self.stages(&["pipeline"], &top);
        let mut routes = BTreeMap::new();
        for (name, mut route) in self.written.routes.clone() {
            self.stages(&["routes", &name, "pipeline"], &route.pipeline);
            inherit(&mut route.pipeline, &top);
            route.provider = Some(self.provider_of(&name, route.provider));
            routes.insert(name.clone(), self.route(&name, &route, providers));
            self.written.routes.insert(name, route);
        }
        routes
    }

    fn route(&mut self, name: &str, written: &written::Route, providers: &BTreeMap<String, ProviderSettings>) -> RouteSettings {
        let provider = written.provider.clone().unwrap_or_default();
        let model = match providers.get(&provider) {
            Some(ProviderSettings::OpenAiCompatible(settings)) => settings.model.clone(),
            _ => String::new(),
        };
        let rule = |guard: Option<&written::Approval>| {
            merged(&[guard.unwrap_or(&written::Approval::default()), &written.approval, &self.written.approval])
        };
        let approval = self.written.guardrails.iter().map(|(guard, it)| (guard.clone(), rule(Some(&it.approval)))).collect();
        let route = RouteSettings {
            approval,
            approval_default: rule(None),
            model: written.model.clone().unwrap_or(model),
            provider,
            pipeline: names_by_stage(&written.pipeline),
            attempts: written.attempts,
            backoff: Backoff { first: milliseconds(written.backoff.first), longest: milliseconds(written.backoff.longest) },
            on_unknown: written.on_unknown,
        };
        self.quorums(name, &route);
        if route.backoff.first > route.backoff.longest {
            self.mistakes
                .invalid(self.tree.place_of(&["routes", name, "backoff"]), "first is longer than longest: write it the other way round");
        }
        route
    }

    fn provider_of(&mut self, route: &str, named: Option<String>) -> String {
        let known = self.known("providers");
        match named {
            Some(name) if known.contains(&name.as_str()) || self.written.providers.contains_key(&name) => name,
            Some(name) => {
                let place = self.tree.place_of(&["routes", route, "provider"]);
                self.mistakes.invalid(place, format!("there is no provider {name:?}{}", instead(&name, known)));
                name
            }
            None => self.only_provider().unwrap_or_else(|| {
                let place = self.tree.place_of(&["routes", route]);
                self.mistakes.invalid(place, format!("the route {route:?} needs a provider{}", instead("provider", known)));
                String::new()
            }),
        }
    }

    /// Looks up the guards that a pipeline names.
    fn stages(&mut self, path: &[&str], pipeline: &written::Pipeline) {
        let tree = self.tree;
        let known = self.known("guardrails");
        let pipeline = names_by_stage(pipeline);
        for stage in Stage::ALL {
            let guards = pipeline.at(stage);
            for (index, guard) in guards.iter().enumerate() {
                let place = tree.place_of(&[path, &[stage.name(), &index.to_string()]].concat());
                if !known.contains(&guard.as_str()) {
                    self.mistakes.invalid(place, format!("there is no guard {guard:?}{}", instead(guard, known.iter().copied())));
                } else if guards[..index].contains(guard) {
                    self.mistakes.invalid(place, format!("the guard {guard:?} stands twice at {}: write it once", stage.name()));
                } else {
                    self.uses.push(Use { guard: guard.clone(), stage, place: place.clone() });
                }
            }
        }
    }

    /// Finds the questions that nobody could ever answer.
    fn quorums(&mut self, name: &str, route: &RouteSettings) {
        for guard in Stage::ALL.iter().flat_map(|stage| route.pipeline.at(*stage)) {
            let Some(rule) = route.approval.get(guard) else { continue };
            let Some(why) = unreachable(std::slice::from_ref(&rule.approvers), rule.required, None) else { continue };
            let above = [["guardrails", guard, "approval"].to_vec(), ["routes", name, "approval"].to_vec(), ["approval"].to_vec()];
            let says = above
                .iter()
                .find(|path| path.iter().try_fold(self.tree, |node, key| node.get(key)).is_some_and(|it| it.get("required").is_some()));
            let path = says.map_or(vec![], |path| [&path[..], &["required"]].concat());
            let message = format!("nobody could ever approve: {why}. Write fewer, or name more approvers");
            self.mistakes.invalid(self.tree.place_of(&path), message);
        }
    }

    /// A guard that stands nowhere protects nobody.
    fn unused(&mut self, guards: &BTreeMap<String, GuardSettings>) {
        for guard in guards.keys().filter(|name| self.uses.iter().all(|it| it.guard != **name)) {
            let place = self.tree.place_of(&["guardrails", guard]);
            self.warnings.invalid(place, format!("the guard {guard:?} stands in no pipeline, so it judges nothing"));
        }
    }

    fn persistence(&mut self) -> PersistenceSettings {
        let path = match &self.written.persistence {
            Some(written::Persistence::Sqlite { path }) => path.as_str(),
            Some(written::Persistence::Postgres { url }) => return PersistenceSettings::Postgres(self.database(&url.clone())),
            None => written::DATABASE,
        };
        // That of `dev` is where `dev` was started, so that it never lands beside somebody's configuration.
        let by_itself = self.purpose == Purpose::Dev && self.tree.get("persistence").is_none();
        PersistenceSettings::Sqlite(if by_itself { PathBuf::from(path) } else { self.folder.join(path) })
    }

    /// Whoever works on the store needs its secret, server or command.
    fn database(&mut self, reference: &str) -> DatabaseUrl {
        let url = secret::resolve(reference, self.folder, self.environment).unwrap_or_else(|why| {
            let place = self.tree.place_of(&["persistence", "url"]);
            self.mistakes.add(Code::CFG_SECRET, place, format!("the secret is missing: {why}"));
            String::new()
        });
        DatabaseUrl(url)
    }

    fn server(&mut self) -> ServerSettings {
        let server = self.written.server.clone();
        self.not_zero(&["server", "body_limit"], server.body_limit.0 == 0);
        for (key, period) in [
            ("header_timeout", server.header_timeout),
            ("body_timeout", server.body_timeout),
            ("request_timeout", server.request_timeout),
            ("idempotency", server.idempotency),
        ] {
            self.not_zero(&["server", key], period.0.is_zero());
        }
        ServerSettings {
            listen: server.listen,
            hosts: server.hosts.iter().map(|it| it.to_ascii_lowercase()).collect(),
            public_url: server.public_url.as_deref().and_then(|it| url::Url::parse(it).ok()).map(|it| it.origin().ascii_serialization()),
            cache_dir: self.cache_dir(server.cache_dir.as_deref()),
            body_limit: usize::try_from(server.body_limit.0).unwrap_or(usize::MAX),
            max_connections: server.max_connections,
            header_timeout: server.header_timeout.0,
            body_timeout: server.body_timeout.0,
            request_timeout: server.request_timeout.0,
            idempotency: server.idempotency.0,
            drain: server.drain.0,
        }
    }

    /// Nothing may go before what needs it: a request that comes again finds its run, and every run its lines in the ledger.
    fn retention(&mut self) -> RetentionSettings {
        let written::Retention { content, completed, ledger } = self.written.retention;
        let idempotency = self.written.server.idempotency;
        let shorter = |it: Option<written::Period>, than: Option<written::Period>| it.zip(than).is_some_and(|(it, than)| it.0 < than.0);
        let asked = "a request that comes again would find nothing: write no less than server.idempotency";
        for (key, wrong, message) in [
            ("content", shorter(content, Some(idempotency)), asked),
            ("completed", shorter(completed, Some(idempotency)), asked),
            ("completed", shorter(completed, content), "runs go before their content would: write no less than content, or leave that out"),
            (
                "ledger",
                ledger.is_some() && completed.is_none(),
                "the ledger of a run that is there stays: write how long runs are kept, as completed",
            ),
            ("ledger", shorter(ledger, completed), "the ledger of a run that is there stays: write no less than completed"),
        ] {
            if wrong {
                self.mistakes.invalid(self.tree.place_of(&["retention", key]), message);
            }
        }
        let period = |it: Option<written::Period>| it.map(|it| it.0);
        RetentionSettings { content: period(content), completed: period(completed), ledger: period(ledger) }
    }

    fn cache_dir(&self, written: Option<&str>) -> Option<PathBuf> {
        let folder = |name: &str| self.environment.get(name).filter(|it| Path::new(it).is_absolute()).map(PathBuf::from);
        match written {
            Some("none") => None,
            Some(path) => Some(self.folder.join(path)),
            None => folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache"))).map(|it| it.join("aegis")),
        }
    }
}

/// A stage that a route leaves out is as at the top, so that no guard is lost by naming another one elsewhere.
fn inherit(pipeline: &mut written::Pipeline, top: &written::Pipeline) {
    let written::Pipeline { ingress, tool_result, tool_call, egress } = pipeline;
    for (own, above) in [(ingress, &top.ingress), (tool_result, &top.tool_result), (tool_call, &top.tool_call), (egress, &top.egress)] {
        *own = own.take().or_else(|| above.clone());
    }
}

fn names_by_stage(pipeline: &written::Pipeline) -> Stages<Vec<String>> {
    let written::Pipeline { ingress, tool_result, tool_call, egress } = pipeline.clone();
    let [ingress, tool_result, tool_call, egress] = [ingress, tool_result, tool_call, egress].map(Option::unwrap_or_default);
    Stages { ingress, tool_result, tool_call, egress }
}

/// Field by field the first that says something, else the default.
fn merged(rules: &[&written::Approval]) -> ApprovalRule {
    let default = ApprovalRule::default();
    ApprovalRule {
        approvers: rules.iter().find_map(|it| it.approvers.clone()).unwrap_or(default.approvers),
        required: rules.iter().find_map(|it| it.required).unwrap_or(default.required),
        expires_after: rules.iter().find_map(|it| it.expires_after).map_or(default.expires_after, milliseconds),
        self_approval: rules.iter().find_map(|it| it.self_approval).unwrap_or(default.self_approval),
    }
}

fn milliseconds(it: written::Period) -> u64 {
    u64::try_from(it.0.as_millis()).unwrap_or(u64::MAX)
}
