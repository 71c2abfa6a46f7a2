//! `aegis runs`: what an API client can do with runs, for people. One file per command; the server is the one of
//! `AEGIS_SERVER_URL`.

mod cancel;
mod create;
mod decide;
mod edit;
mod erase;
mod export;
mod list;
mod pending;
mod show;
mod view;
mod watch;

use crate::client::Server;
use crate::failure::Failure;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Runs {
    /// List runs, newest first
    List(list::List),
    /// Show one run and what happened to it
    Show(show::Show),
    /// Send a question through a route
    Create(create::Create),
    /// Approve what a paused run asks
    Approve(decide::Approve),
    /// Deny what a paused run asks
    Deny(decide::Deny),
    /// Follow a run to its end, or the questions that wait for you
    Watch(watch::Watch),
    /// Write what came in with runs as cases for `aegis guard test`, one JSON object a line; for admins
    Export(export::Export),
    /// End a run
    Cancel(cancel::Cancel),
    /// Erase what one principal has said, for good; the runs, their digests and the ledger stay
    Erase(erase::Erase),
}

impl Runs {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let server = Server::from_env()?;
        match self {
            Runs::List(list) => list.run(&server).await,
            Runs::Show(show) => show.run(&server).await,
            Runs::Create(create) => create.run(&server).await,
            Runs::Approve(approve) => approve.run(&server).await,
            Runs::Deny(deny) => deny.run(&server).await,
            Runs::Watch(watch) => watch.run(&server).await,
            Runs::Export(export) => export.run(&server).await,
            Runs::Cancel(cancel) => cancel.run(&server).await,
            Runs::Erase(erase) => erase.run(&server).await,
        }
    }
}
