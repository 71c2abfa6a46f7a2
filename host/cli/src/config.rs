//! `aegis config`: what a configuration says, without starting anything.

use crate::dev::way;
use crate::failure::Failure;
use crate::hosting::needed_config_file;
use crate::loading::{Bar, blocking, this_program};
use crate::terminal::{self, line, print, print_json, tell};
use aegis_core::Code;
use aegis_server::config::{AuthSettings, Settings, environment, schema};
use aegis_server::{HostedGuard, OpenError};
use aegis_wasm::{Options, Sandbox};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Read the configuration and load its guards: every mistake at once, or what it comes to
    Check(Of),
    /// Print what is in force, with defaults and overrides from the environment; secrets stay references
    Show(Of),
    /// Print a JSON Schema of the configuration, for editors
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct Of {
    /// The configuration; ./aegis.yaml when left out
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
}

impl Config {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Config::Check(of) => blocking(move || check(of.load()?)).await,
            Config::Show(of) => print(of.load()?.show().trim_end()),
            Config::Schema => print_json(&schema()),
        }
    }
}

impl Of {
    fn load(&self) -> Result<Settings, Failure> {
        Ok(Settings::load(needed_config_file(self.config.as_deref()), &environment())?)
    }
}

fn check(settings: Settings) -> Result<(), Failure> {
    settings.warnings.iter().for_each(|it| tell(&it.within(&settings.file)));
    let (guards, mistakes) = load(&settings)?;
    match mistakes.as_slice() {
        [] => print(&summary(&settings, &guards)),
        [one] => Err(Failure::new(one.code(), one)),
        all => Err(Failure::new(Code::CFG_INVALID, all.iter().map(OpenError::to_string).collect::<Vec<_>>().join("\n"))),
    }
}

/// Every guard, so that one that does not load does not hide the next.
fn load(settings: &Settings) -> Result<(Vec<HostedGuard>, Vec<OpenError>), Failure> {
    let options = Options { cache_dir: settings.server.cache_dir.clone(), compiler: Some(this_program()), ..Options::default() };
    let sandbox = Sandbox::new(options).map_err(OpenError::from)?;
    let (bar, mut guards, mut mistakes) = (Bar::new(), vec![], vec![]);
    for name in settings.guards.keys() {
        let mut alone = settings.clone();
        alone.guards.retain(|other, _| other == name);
        match aegis_server::guards(&sandbox, &mut alone, &|guard, step| bar.step(guard, step)) {
            Ok(guard) => guards.extend(guard),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    mistakes.extend(aegis_server::providers(&settings.providers).err());
    Ok((guards, mistakes))
}

fn summary(settings: &Settings, guards: &[HostedGuard]) -> String {
    let providers: Vec<&str> = settings.providers.keys().map(String::as_str).collect();
    let routes: Vec<String> = aegis_server::plans(settings, guards).values().map(|plan| format!("{}: {}", plan.route, way(plan))).collect();
    let auth = match settings.auth {
        AuthSettings::ApiKey => "by key",
        AuthSettings::None => "none: serve needs --no-auth",
    };
    let mut facts = vec![("ok", settings.file.clone()), ("providers", providers.join(", ")), ("routes", routes.join("\n"))];
    facts.extend(guards.iter().map(|it| ("guard", about(it, &settings.guards[&it.name].settings))));
    facts.extend([
        ("runs are kept in", settings.persistence.to_string()),
        ("authentication", auth.into()),
        ("listens on", settings.server.listen.to_string()),
    ]);
    terminal::facts(&facts)
}

fn about(guard: &HostedGuard, settings: &serde_json::Value) -> String {
    let (loaded, manifest) = (&guard.loaded, guard.loaded.manifest());
    let snapshot = loaded.snapshot().map_or_else(|why| format!("configured for every scan: {}", line(why)), |()| "from a snapshot".into());
    [
        format!("{}: {} {}, {}", guard.name, line(&manifest.name), line(&manifest.version), guard.source),
        loaded.component().to_string(),
        format!("settings {}", line(&settings.to_string())),
        snapshot,
    ]
    .join("\n")
}
