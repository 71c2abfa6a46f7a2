//! `aegis runs cancel`

use super::view::RunView;
use crate::client::Server;
use crate::failure::Failure;
use crate::terminal::{print, print_json};
use aegis_core::RunId;
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The run's id
    id: RunId,
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
}

impl Cancel {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        let run = server.post(&format!("/v1/runs/{}/cancel", self.id), &json!({})).await?;
        if self.json { print_json(&run) } else { print(&RunView::read(&run)?.render()) }
    }
}
