//! `aegis runs`: what an API client can do with runs, for people. One file per command; the server is the one of
//! `AEGIS_SERVER_URL`.

mod cancel;
mod create;
mod decide;
mod list;
mod pending;
mod show;
mod view;

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
    Approve(decide::Decide),
    /// Deny what a paused run asks
    Deny(decide::Decide),
    /// End a run
    Cancel(cancel::Cancel),
}

impl Runs {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let server = Server::from_env()?;
        match self {
            Runs::List(list) => list.run(&server).await,
            Runs::Show(show) => show.run(&server).await,
            Runs::Create(create) => create.run(&server).await,
            Runs::Approve(decide) => decide.run(&server, aegis_core::Choice::Approved).await,
            Runs::Deny(decide) => decide.run(&server, aegis_core::Choice::Denied).await,
            Runs::Cancel(cancel) => cancel.run(&server).await,
        }
    }
}
