//! `aegis dev`: a server to try things with, on this machine alone.

mod reload;

use crate::failure::Failure;
use crate::hosting::{self, Options, config_file};
use crate::store::make_folder;
use crate::terminal::print;
use aegis_core::{Code, Plan, Stage};
use aegis_server::App;
use aegis_server::config::{PersistenceSettings, Settings, environment};
use clap::Args;
use std::net::SocketAddr;

#[derive(Debug, Args)]
pub(crate) struct Dev {
    #[command(flatten)]
    options: Options,
}

impl Dev {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let file = config_file(self.options.config.as_deref());
        let mut settings = Settings::dev(file, &environment())?;
        self.options.apply(&mut settings)?;
        check_address(settings.server.listen)?;
        let database = settings.persistence.clone();
        if let PersistenceSettings::Sqlite(path) = &database {
            make_folder(path)?;
        }
        let from = file.map_or("built in: --config FILE for your own".into(), |it| it.display().to_string());
        let opened = settings.clone();
        hosting::serve(settings, async |app, address| {
            tokio::spawn(reload::watch(app.clone(), opened));
            print(&greeting(app, address, &from, &database))
        })
        .await
    }
}

/// Without authentication whoever reaches the address may ask and approve. So nobody else may reach it; whoever means that
/// says so with `serve --no-auth`.
fn check_address(address: SocketAddr) -> Result<(), Failure> {
    let wrong =
        || format!("dev has no authentication, so it listens on this machine alone, not on {address}: leave --listen out, or use serve");
    if address.ip().is_loopback() { Ok(()) } else { Err(Failure::new(Code::SRV_NO_AUTH, wrong())) }
}

fn greeting(app: &App, address: SocketAddr, from: &str, database: &PersistenceSettings) -> String {
    let routes: Vec<String> = app.plans().values().map(|plan| format!("{}: {}", plan.route, way(plan))).collect();
    let url = format!("http://{address}");
    format!(
        "Aegis listens on {url}, on this machine alone, without authentication.\n\n{}\n\nTry, in a second terminal:\n\n{}\n",
        crate::terminal::facts(&[
            ("approvals page", format!("{url}/approvals")),
            ("configuration", from.into()),
            ("routes", routes.join("\n")),
            ("runs are kept in", database.to_string()),
        ]),
        walkthrough(&url, &aegis(&url)).join("\n")
    )
}

/// What a run goes through, in order.
pub(crate) fn way(plan: &Plan) -> String {
    let guards = |stage: Stage| plan.pipeline.at(stage).iter().map(move |it| format!("{} ({})", it.name, stage.name()));
    let (before, after) = (Stage::ALL[..2].iter().copied().flat_map(guards), Stage::ALL[2..].iter().copied().flat_map(guards));
    let provider = format!("provider {}", plan.provider);
    before.chain([provider]).chain(after).collect::<Vec<_>>().join(" → ")
}

fn walkthrough(url: &str, aegis: &str) -> Vec<String> {
    let ask =
        |more: &str, text: &str| format!(r#"  curl -s {url}/v1/runs -d '{{{more}"messages":[{{"role":"user","content":"{text}"}}]}}'"#);
    vec![
        ask("", "How is the weather?"),
        ask(r#""background":true,"#, "Please give me financial advice."),
        format!("  {aegis} runs list --pending"),
        format!("  {aegis} runs approve ID"),
    ]
}

/// This program as it was typed, and where it has to call.
fn aegis(url: &str) -> String {
    let typed = std::env::args().next().unwrap_or("aegis".into());
    if url == crate::client::DEFAULT_URL { typed } else { format!("AEGIS_SERVER_URL={url} {typed}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_listened_to() {
        for address in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:8000"] {
            assert_eq!(check_address(address.parse().unwrap()), Ok(()));
        }
        for address in ["0.0.0.0:8000", "[::]:8000", "192.168.1.2:8000"] {
            assert_eq!(check_address(address.parse().unwrap()).unwrap_err().code, Code::SRV_NO_AUTH.id);
        }
    }

    #[test]
    fn what_to_try_can_be_copied() {
        let lines = walkthrough("http://127.0.0.1:8000", "target/debug/aegis");
        let curl = r#"  curl -s http://127.0.0.1:8000/v1/runs -d '{"messages":[{"role":"user","content":"How is the weather?"}]}'"#;
        assert_eq!((lines[0].as_str(), lines[3].as_str()), (curl, "  target/debug/aegis runs approve ID"));
    }
}
