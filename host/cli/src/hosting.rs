//! What `dev` and `serve` share: from settings to a server that runs until it is told to stop.

use crate::allocator;
use crate::failure::Failure;
use crate::loading::{Bar, blocking, this_program};
use crate::notify;
use aegis_core::Code;
use aegis_server::config::Settings;
use aegis_server::{App, Server, told_to_stop};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// Where every command looks for a configuration when none is named.
const DEFAULT_FILE: &str = "aegis.yaml";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The configuration; ./aegis.yaml when left out
    #[arg(long, value_name = "F")]
    pub(crate) config: Option<PathBuf>,
    /// Another guard, at the stages that its manifest names, or another component for one of the configuration; may be repeated
    #[arg(long = "guard", value_name = "NAME=PATH")]
    guards: Vec<NamedGuard>,
    /// Settings of one of the guards, instead of those of the configuration: JSON, or @ and a file with it; may be repeated
    #[arg(long = "settings", value_name = "NAME=JSON|@F")]
    guard_settings: Vec<NamedSettings>,
    /// Address and port, instead of those of the configuration
    #[arg(long, value_name = "A", value_parser = address)]
    listen: Option<SocketAddr>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an IP address and a port, such as 127.0.0.1:8000".into())
}

/// The file that was named, else ./aegis.yaml where there is one.
pub(crate) fn config_file(named: Option<&Path>) -> Option<&Path> {
    named.or_else(|| Some(Path::new(DEFAULT_FILE)).filter(|it| it.exists()))
}

/// The file that was named, else ./aegis.yaml: where it is needed, whether it is there or not.
pub(crate) fn needed_config_file(named: Option<&Path>) -> &Path {
    named.unwrap_or(Path::new(DEFAULT_FILE))
}

/// `NAME=PATH`
#[derive(Clone, Debug, PartialEq)]
struct NamedGuard {
    name: String,
    path: PathBuf,
}

impl FromStr for NamedGuard {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<NamedGuard, &'static str> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok(NamedGuard { name: name.into(), path: path.into() }),
            _ => Err("write NAME=PATH, for example no-secrets=no-secrets.wasm"),
        }
    }
}

/// `NAME=JSON` or `NAME=@FILE`
#[derive(Clone, Debug, PartialEq)]
struct NamedSettings {
    name: String,
    settings: String,
}

impl FromStr for NamedSettings {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<NamedSettings, &'static str> {
        match text.split_once('=') {
            Some((name, settings)) if !name.is_empty() && !settings.is_empty() => {
                Ok(NamedSettings { name: name.into(), settings: settings.into() })
            }
            _ => Err(r#"write NAME=JSON or NAME=@FILE, for example 'no-secrets={"words": ["secret"]}'"#),
        }
    }
}

impl Options {
    /// The command line's word over the configuration's.
    pub(crate) fn apply(&self, settings: &mut Settings) -> Result<(), Failure> {
        for guard in &self.guards {
            settings.add_guard(&guard.name, guard.path.clone())?;
        }
        for given in &self.guard_settings {
            settings.set_guard_settings(&given.name, crate::guard::settings(&given.settings)?)?;
        }
        settings.server.listen = self.listen.unwrap_or(settings.server.listen);
        Ok(())
    }
}

/// Loads, listens, says so, and serves until SIGTERM or SIGINT; a second one ends it at once.
pub(crate) async fn serve(
    settings: Settings,
    greet: impl AsyncFnOnce(&Arc<App>, SocketAddr) -> Result<(), Failure>,
) -> Result<(), Failure> {
    settings.warnings.iter().for_each(|it| tracing::warn!("{}", it.within(&settings.file)));
    open_as_many_files_as_allowed();
    let address = settings.server.listen;
    let app = blocking(|| open(settings)).await?;
    allocator::give_back();
    let server = Server::start(app.clone(), address).await?;
    greet(&app, server.address()).await?;
    notify::tell(notify::READY);
    told_to_stop().await.map_err(|error| Failure::new(Code::SRV_INTERNAL, format!("no signals: {error}")))?;
    tracing::info!("stopping; what runs may finish");
    notify::tell(notify::STOPPING);
    tokio::select! {
        () = server.shutdown() => tracing::info!("stopped"),
        _ = told_to_stop() => tracing::warn!("stopped at once; what ran goes on at the next start"),
    }
    Ok(())
}

/// Connections are open files. Of these, systems let a program have 1 024 until it asks for more, for the sake of programs that this one is none of.
fn open_as_many_files_as_allowed() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, files = limit.current, "no more files can be open at once");
    }
}

fn open(settings: Settings) -> Result<Arc<App>, Failure> {
    let bar = Bar::new();
    Ok(App::open(settings, Some(this_program()), &|guard, step| bar.step(guard, step))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_named_and_has_a_path() {
        let guard: NamedGuard = "no-secrets=a=b.wasm".parse().unwrap();
        assert_eq!((guard.name.as_str(), guard.path.as_path()), ("no-secrets", Path::new("a=b.wasm")));
        for wrong in ["", "x", "=x", "x="] {
            assert!(wrong.parse::<NamedGuard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_belong_to_a_guard() {
        let given: NamedSettings = r#"mine={"a": "b=c"}"#.parse().unwrap();
        assert_eq!((given.name.as_str(), given.settings.as_str()), ("mine", r#"{"a": "b=c"}"#));
        for wrong in ["", "{}", "=x", "x="] {
            assert!(wrong.parse::<NamedSettings>().is_err(), "{wrong}");
        }
    }
}
