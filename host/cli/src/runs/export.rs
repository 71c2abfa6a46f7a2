//! `aegis runs export`: recorded traffic as cases for guards, content included. The server decides who may have it.

use crate::client::Server;
use crate::failure::Failure;
use crate::terminal::{Reading, print_on, tell};
use aegis_core::{Code, Stage};
use clap::Args;
use serde_json::{Value, json};

/// Runs that the server hands out at once.
const PAGE: usize = 100;

#[derive(Debug, Args)]
#[command(
    after_help = "Each line is a case of guards/README.md without an expectation: a run's input at one stage. `aegis guard test F traffic.jsonl` runs them, \
                        and with --update writes down what the guard says."
)]
pub(crate) struct Export {
    /// Only runs of this route
    #[arg(long, value_name = "R")]
    route: Option<String>,
    /// Only runs of this status
    #[arg(long, value_name = "S")]
    status: Option<String>,
    /// So many runs at most, the newest
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
}

impl Export {
    pub(super) async fn run(self, server: &Server) -> Result<(), Failure> {
        let (mut seen, mut erased, mut unreadable, mut after) = (0, 0, 0, Value::Null);
        while seen < self.limit as usize {
            let page = server.get(&self.path(seen, &after)).await?;
            let runs = page["data"].as_array().cloned().ok_or_else(|| Failure::new(Code::CLI_SERVER, "the server sent no list of runs"))?;
            for id in runs.iter().filter_map(|it| it["run_id"].as_str()) {
                let run = server.get(&format!("/v1/runs/{id}/content")).await?;
                erased += usize::from(run["content"].is_null());
                for case in cases(&run) {
                    if print_on(&case.to_string())? == Reading::Ended {
                        return Ok(());
                    }
                }
            }
            seen += runs.len();
            // A page may hold nothing else, and others follow it.
            unreadable += page["unreadable"].as_array().map_or(0, Vec::len);
            after = page["next"].clone();
            if after.is_null() {
                break;
            }
        }
        for (count, why) in [(erased, "their content was erased"), (unreadable, "the store cannot read them")] {
            if count > 0 {
                tell(&format!("{count} runs were left out: {why}"));
            }
        }
        Ok(())
    }

    fn path(&self, have: usize, after: &Value) -> String {
        let limit = (self.limit as usize - have).min(PAGE);
        let named = [("route", self.route.as_deref()), ("status", self.status.as_deref()), ("after", after.as_str())];
        let rest = named.into_iter().filter_map(|(name, value)| Some(format!("&{name}={}", encoded(value?))));
        format!("/v1/runs?limit={limit}{}", rest.collect::<String>())
    }
}

/// For a query.
fn encoded(text: &str) -> String {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"-._~".contains(&it);
    text.bytes().map(|it| if plain(it) { char::from(it).to_string() } else { format!("%{it:02X}") }).collect()
}

/// A run at each stage at which there is something to judge.
fn cases(run: &Value) -> Vec<Value> {
    let content = &run["content"];
    let Some(messages) = content["messages"].as_array() else { return vec![] };
    let tools_answered = messages.iter().any(|it| it["role"] == "tool");
    let (reply, calls) = (&content["reply"], content["reply"]["tool_calls"].as_array().is_some_and(|it| !it.is_empty()));
    let stages = [(Stage::Ingress, true), (Stage::ToolResult, tools_answered), (Stage::ToolCall, calls), (Stage::Egress, !reply.is_null())];
    let case = |stage: Stage| {
        let mut messages = messages.clone();
        messages.extend(stage.follows_the_reply().then(|| reply.clone()));
        json!({
            "name": format!("{} at {}", run["run_id"].as_str().unwrap_or_default(), stage.name()),
            "stage": stage.name(),
            "input": {"messages": messages, "tools": content["tools"], "params": content["params"], "metadata": content["metadata"],
                "principal": run["principal"], "time": run["time"], "model": run["model"]},
        })
    };
    stages.into_iter().filter(|(_, there)| *there).map(|(stage, _)| case(stage)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_a_case_at_every_stage_that_it_can_be_judged_at() {
        let run = json!({"run_id": "r", "principal": {"id": "p"}, "time": 7, "model": "m",
            "content": {"messages": [{"role": "user", "content": "hi"}], "tools": [], "params": {}, "metadata": {}, "reply": {"role": "assistant", "content": "ho"}}});
        let cases = cases(&run);
        let stages: Vec<&str> = cases.iter().filter_map(|it| it["stage"].as_str()).collect();
        assert_eq!(stages, ["ingress", "egress"]);
        assert_eq!(cases[1]["input"]["messages"], json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]));
        assert!(super::cases(&json!({"run_id": "r", "content": null})).is_empty());
    }

    #[test]
    fn what_is_asked_for_is_encoded() {
        let export = Export { route: Some("a&b".into()), status: None, limit: 3 };
        assert_eq!(export.path(1, &json!("n/1")), "/v1/runs?limit=2&route=a%26b&after=n%2F1");
    }
}
