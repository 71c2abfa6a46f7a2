//! `aegis runs create`

use super::view::RunView;
use crate::client::Server;
use crate::failure::Failure;
use crate::terminal::{print, print_json, tell};
use aegis_core::Approver;
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What the user says
    text: String,
    /// The route; the server's `default` when left out
    #[arg(long)]
    route: Option<String>,
    /// Only these may decide: a principal's id, team:NAME or role:NAME; may be repeated
    #[arg(long = "approver", value_name = "P")]
    approvers: Vec<Approver>,
    /// Do not wait for the model
    #[arg(long)]
    background: bool,
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
}

impl Create {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        let run = server.post("/v1/runs", &self.body()).await?;
        if self.json {
            return print_json(&run);
        }
        let view = RunView::read(&run)?;
        print(&view.render())?;
        if view.status == "paused" {
            tell(&format!("a person has to decide: aegis runs approve {id}, or aegis runs deny {id}", id = view.run_id));
        }
        Ok(())
    }

    fn body(&self) -> Value {
        let mut body = json!({"messages": [{"role": "user", "content": self.text}], "background": self.background});
        if let Some(route) = &self.route {
            body["route"] = json!(route);
        }
        if !self.approvers.is_empty() {
            body["approvers"] = json!(self.approvers);
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_said_is_sent() {
        let mut create = Create { text: "hi".into(), route: None, approvers: vec![], background: false, json: false };
        assert_eq!(create.body(), json!({"messages": [{"role": "user", "content": "hi"}], "background": false}));
        create.route = Some("payments".into());
        create.approvers = vec!["bob".parse().unwrap(), "team:risk".parse().unwrap()];
        assert_eq!((&create.body()["route"], &create.body()["approvers"]), (&json!("payments"), &json!(["bob", "team:risk"])));
    }
}
