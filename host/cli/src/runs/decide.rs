//! `aegis runs approve` and `aegis runs deny`

use super::pending::Pending;
use super::view::{ApprovalView, RunView};
use crate::client::Server;
use crate::failure::Failure;
use crate::terminal::{Look, line, print, print_json};
use aegis_core::{Choice, Code, RunId};
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Decide {
    /// The run's id
    id: RunId,
    /// Why, for the record
    #[arg(long, value_name = "T")]
    comment: Option<String>,
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
}

impl Decide {
    pub(super) async fn run(self, server: &Server, choice: Choice) -> Result<(), Failure> {
        let asked = self.asked(server).await?;
        let pending = if asked.is_some() { Pending::of(server, self.id).await? } else { None };
        let run = server.post(&format!("/v1/runs/{}/resume", self.id), &self.body(choice, asked.as_ref(), pending.as_ref())).await?;
        if self.json {
            return print_json(&run);
        }
        let content = pending.map(|it| format!("{}\n\n", it.render(Look::of_stdout()))).unwrap_or_default();
        print(&format!("{}\n\n{content}{}", said(choice, asked.as_ref()), RunView::read(&run)?.render()))
    }

    /// The open question. Naming it in the decision keeps that from counting for another one that the run asks by then. A run
    /// that cannot be seen is not the end of it: why it may not be decided is for the server to say.
    async fn asked(&self, server: &Server) -> Result<Option<ApprovalView>, Failure> {
        match server.get(&format!("/v1/runs/{}", self.id)).await {
            Ok(run) => Ok(RunView::read(&run)?.approval),
            Err(failure) if failure.code == Code::RUN_UNKNOWN.id => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The digest ties the decision to the content that is printed with it.
    fn body(&self, choice: Choice, asked: Option<&ApprovalView>, pending: Option<&Pending>) -> Value {
        let mut body = json!({"decision": choice.name()});
        if let Some(comment) = &self.comment {
            body["comment"] = json!(comment);
        }
        if let Some(asked) = asked {
            body["approval_id"] = json!(asked.id);
        }
        if let Some(pending) = pending {
            body["digest"] = json!(pending.approval.digest);
        }
        body
    }
}

fn said(choice: Choice, asked: Option<&ApprovalView>) -> String {
    let about = asked.map(|it| format!(": {} ({}, {})", line(&it.prompt), line(&it.guard), line(&it.stage)));
    format!("{}{}", choice.name(), about.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_names_the_question_it_is_about() {
        let decide = Decide { id: RunId::from_bytes([7; 16]), comment: Some("fine".into()), json: false };
        let asked = json!({"id": "7.1", "guard": "g", "stage": "ingress", "prompt": "Sure?"});
        let asked: ApprovalView = serde_json::from_value(asked).unwrap();
        let body = decide.body(Choice::Denied, Some(&asked), None);
        assert_eq!(body, json!({"decision": "denied", "comment": "fine", "approval_id": "7.1"}));
        assert_eq!(said(Choice::Denied, Some(&asked)), "denied: Sure? (g, ingress)");
        let decide = Decide { comment: None, ..decide };
        assert_eq!(decide.body(Choice::Approved, None, None), json!({"decision": "approved"}));
    }
}
