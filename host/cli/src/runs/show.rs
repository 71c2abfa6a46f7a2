//! `aegis runs show`

use super::view::RunView;
use crate::client::Server;
use crate::failure::Failure;
use crate::terminal::{print, print_json};
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
        if self.json { print_json(&run) } else { print(&RunView::read(&run)?.render()) }
    }
}
