//! `aegis runs approve` and `aegis runs deny`. On a terminal an approval is asked for once more, under all that it lets through.

use super::edit::Edited;
use super::pending::Pending;
use super::view::{ApprovalView, RunView};
use crate::client::Server;
use crate::failure::Failure;
use crate::terminal::{Look, confirm, facts, is_a_person_there, line, print, print_json, tell};
use aegis_core::{Choice, Code, RunId};
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    decision: Decision,
    /// Approve with another text: PLACE=TEXT, or PLACE=@FILE. A place is MESSAGE, MESSAGE.PART or MESSAGE.call.CALL, counted from 0, with
    /// `reply` for the model's message; or tool.TOOL. Guards judge the new text, and may ask again; may be repeated
    #[arg(long = "edit", value_name = "PLACE=TEXT")]
    edits: Vec<Edited>,
    /// Do not ask before it counts; without a terminal nobody is asked
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Deny {
    #[command(flatten)]
    decision: Decision,
}

#[derive(Debug, Args)]
struct Decision {
    /// The run's id
    id: RunId,
    /// Why, for the record
    #[arg(long, value_name = "T")]
    comment: Option<String>,
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
}

/// The open question, and all that it is about for who may decide it.
struct Question {
    asked: Option<ApprovalView>,
    pending: Option<Pending>,
}

impl Approve {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        let Approve { decision, edits, yes } = self;
        let question = decision.question(server).await?;
        let edits = question.edits(&edits)?;
        // Whoever may not decide is told so by the server, and not asked first.
        let asks = !yes && question.pending.is_some() && is_a_person_there();
        if asks {
            tell(&question.whole(Look::of_stderr()));
            edits.iter().for_each(|it| tell(&format!("edited: {}", line(&it.to_string()))));
            if !confirm("Approve this?") {
                return Err(Failure::new(Code::CLI_DECLINED, "not approved: nothing has changed"));
            }
        }
        decision.send(server, Choice::Approved, &question, edits, !asks).await
    }
}

impl Deny {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        let question = self.decision.question(server).await?;
        self.decision.send(server, Choice::Denied, &question, vec![], true).await
    }
}

impl Decision {
    /// Naming the question in the decision keeps that from counting for another one that the run asks by then. A run that cannot be seen
    /// is not the end of it: why it may not be decided is for the server to say.
    async fn question(&self, server: &Server) -> Result<Question, Failure> {
        let asked = match server.get(&format!("/v1/runs/{}", self.id)).await {
            Ok(run) => RunView::read(&run)?.approval,
            Err(failure) if failure.code == Code::RUN_UNKNOWN.id => None,
            Err(failure) => return Err(failure),
        };
        let pending = if asked.is_some() { Pending::of(server, self.id).await? } else { None };
        Ok(Question { asked, pending })
    }

    async fn send(self, server: &Server, choice: Choice, question: &Question, edits: Vec<Value>, show: bool) -> Result<(), Failure> {
        let run = server.post(&format!("/v1/runs/{}/resume", self.id), &self.body(choice, question, edits)).await?;
        if self.json {
            return print_json(&run);
        }
        let content = if show { question.content(Look::of_stdout()) } else { String::new() };
        print(&format!("{}\n\n{content}{}", said(choice, question.asked.as_ref()), RunView::read(&run)?.render()))
    }

    /// The digest ties the decision to the content that is shown with it.
    fn body(&self, choice: Choice, question: &Question, edits: Vec<Value>) -> Value {
        let mut body = json!({"decision": choice.name()});
        if let Some(comment) = &self.comment {
            body["comment"] = json!(comment);
        }
        if let Some(asked) = &question.asked {
            body["approval_id"] = json!(asked.id);
        }
        if let Some(pending) = &question.pending {
            body["digest"] = json!(pending.approval.digest);
        }
        if !edits.is_empty() {
            body["edits"] = json!(edits);
        }
        body
    }
}

impl Question {
    /// What is let through, and an empty line.
    fn content(&self, look: Look) -> String {
        self.pending.as_ref().map(|it| format!("{}\n\n", it.render(look))).unwrap_or_default()
    }

    /// What is asked of whom, and what is let through.
    fn whole(&self, look: Look) -> String {
        let facts = self.asked.as_ref().map(|it| format!("{}\n\n", facts(&it.facts()))).unwrap_or_default();
        facts + &self.content(look)
    }

    /// As the server takes them.
    fn edits(&self, edits: &[Edited]) -> Result<Vec<Value>, Failure> {
        edits.iter().map(|it| it.body(self.pending.as_ref().map(Pending::messages))).collect()
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
        let decision = Decision { id: RunId::from_bytes([7; 16]), comment: Some("fine".into()), json: false };
        let asked = json!({"id": "7.1", "guard": "g", "stage": "ingress", "prompt": "Sure?"});
        let question = Question { asked: Some(serde_json::from_value(asked).unwrap()), pending: None };
        let body = decision.body(Choice::Denied, &question, vec![]);
        assert_eq!(body, json!({"decision": "denied", "comment": "fine", "approval_id": "7.1"}));
        assert_eq!(said(Choice::Denied, question.asked.as_ref()), "denied: Sure? (g, ingress)");
        let (decision, unseen) = (Decision { comment: None, ..decision }, Question { asked: None, pending: None });
        assert_eq!(decision.body(Choice::Approved, &unseen, vec![]), json!({"decision": "approved"}));
        let edited: Edited = "0=x".parse().unwrap();
        let body = decision.body(Choice::Approved, &unseen, unseen.edits(&[edited]).unwrap());
        assert_eq!(body["edits"], json!([{"message": 0, "text": "x"}]));
    }
}
