//! `aegis runs show`

use super::pending::Pending;
use super::view::RunView;
use crate::client::Server;
use crate::failure::Failure;
use crate::terminal::{Look, print, print_json};
use aegis_core::RunId;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The run's id
    id: RunId,
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        let run = server.get(&format!("/v1/runs/{}", self.id)).await?;
        if self.json {
            return print_json(&run);
        }
        let view = RunView::read(&run)?;
        let pending = if view.approval.is_some() { Pending::of(server, self.id).await? } else { None };
        let content = pending.map(|it| format!("\n\n{}", it.render(Look::of_stdout()))).unwrap_or_default();
        print(&format!("{}{content}", view.render()))
    }
}
