//! `aegis runs watch`: what happens to a run until it is over, or the questions that wait for whoever asks. The server is asked again and again.

use super::view::{RunView, event};
use crate::client::Server;
use crate::failure::Failure;
use crate::terminal::{Reading, line, print, print_on, tell};
use aegis_core::{Code, RunId, Status};
use clap::Args;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Between two looks at what does not move by itself.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The run's id
    #[arg(required_unless_present = "pending", conflicts_with = "pending")]
    id: Option<RunId>,
    /// The questions that wait for you, as they come, until you stop it
    #[arg(long)]
    pending: bool,
    /// Print the server's JSON, one line whenever something has changed
    #[arg(long)]
    json: bool,
}

impl Watch {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        match self.id {
            Some(id) => self.follow(server, id).await,
            None => self.questions(server).await,
        }
    }

    async fn follow(&self, server: &Server, id: RunId) -> Result<(), Failure> {
        let (mut told, mut before) = (0, String::new());
        loop {
            let run = server.get(&format!("/v1/runs/{id}?wait=30s")).await?;
            let view = RunView::read(&run)?;
            let changed = (view.status != before) || view.events.len() > told;
            let news: Vec<String> = match () {
                _ if !changed => vec![],
                _ if self.json => vec![run.to_string()],
                _ => view.events.iter().skip(told).map(event).collect(),
            };
            if print_all(&news)? == Reading::Ended {
                return Ok(());
            }
            if view.status == Status::Paused.name() && view.status != before {
                tell(&format!("a person has to decide: aegis runs approve {id}, or aegis runs deny {id}"));
            }
            if is_final(&view.status) {
                return if self.json { Ok(()) } else { print(&format!("\n{}", RunView { events: vec![], ..view }.render())) };
            }
            (told, before) = (view.events.len(), view.status);
            // The server holds its answer while the run moves, and not while it is paused.
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn questions(&self, server: &Server) -> Result<(), Failure> {
        let mut known = BTreeSet::new();
        loop {
            let page = server.get("/v1/approvals?limit=200").await?;
            let Some(open) = page["data"].as_array() else {
                return Err(Failure::new(Code::CLI_SERVER, "the server sent no list of questions"));
            };
            let ids: BTreeSet<String> = open.iter().map(name).collect();
            // The newest come first; as they come, the oldest do.
            let new = open.iter().rev().filter(|it| !known.contains(&name(it)));
            let news: Vec<String> = new.map(|it| if self.json { it.to_string() } else { told(it) }).collect();
            if print_all(&news)? == Reading::Ended {
                return Ok(());
            }
            known = ids;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn name(question: &Value) -> String {
    question["approval"]["id"].as_str().unwrap_or_default().into()
}

/// A question on one line.
fn told(question: &Value) -> String {
    let text = |value: &Value| line(value.as_str().unwrap_or_default());
    let approval = &question["approval"];
    let fields = [&question["run_id"], &approval["stage"], &approval["guard"], &question["principal_id"], &approval["prompt"]];
    fields.map(text).join("\t")
}

fn is_final(status: &str) -> bool {
    Status::ALL.into_iter().any(|it| it.name() == status && it.is_final())
}

fn print_all(lines: &[String]) -> Result<Reading, Failure> {
    for line in lines {
        if print_on(line)? == Reading::Ended {
            return Ok(Reading::Ended);
        }
    }
    Ok(Reading::GoesOn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_question_is_one_line() {
        let approval = json!({"id": "7.1", "stage": "ingress", "guard": "g", "prompt": "Sure?\nReally?"});
        let question = json!({"run_id": "7", "principal_id": "ada", "approval": approval});
        assert_eq!(told(&question), "7\tingress\tg\tada\tSure?\\nReally?");
        assert_eq!(name(&question), "7.1");
        assert!(is_final("denied") && !is_final("paused") && !is_final("unheard of"));
    }
}
