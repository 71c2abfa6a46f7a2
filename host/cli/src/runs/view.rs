//! A run as the server tells it, and as people read it. Fields that a server leaves out are no failure.

use crate::failure::Failure;
use crate::terminal::{self, Look, line, shown, when};
use aegis_core::Code;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize)]
pub(super) struct RunView {
    pub(super) run_id: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) route: String,
    #[serde(default)]
    pub(super) principal_id: String,
    pub(super) response: Option<String>,
    pub(super) tool_calls: Option<Vec<Value>>,
    pub(super) approval: Option<ApprovalView>,
    pub(super) error: Option<Failure>,
    #[serde(default)]
    pub(super) events: Vec<Value>,
    #[serde(default)]
    pub(super) created_at: String,
    #[serde(default)]
    pub(super) updated_at: String,
    pub(super) content_erased_at: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ApprovalView {
    pub(super) id: String,
    pub(super) guard: String,
    pub(super) stage: String,
    pub(super) prompt: String,
    #[serde(default)]
    pub(super) approvers: Vec<Vec<String>>,
    #[serde(default)]
    pub(super) required: u32,
    #[serde(default)]
    pub(super) approved_by: Vec<String>,
    #[serde(default)]
    pub(super) expires_at: String,
    #[serde(default)]
    pub(super) digest: String,
}

impl RunView {
    pub(super) fn read(run: &Value) -> Result<RunView, Failure> {
        RunView::deserialize(run)
            .map_err(|error| Failure::new(Code::CLI_SERVER, format!("the server sent a run that cannot be read: {error}")))
    }

    /// Everything, for one run.
    pub(super) fn render(&self) -> String {
        let mut facts = vec![("run", line(&self.run_id)), ("status", line(&self.status)), ("route", line(&self.route))];
        facts.push(("asked by", line(&self.principal_id)));
        facts.extend([("created", when(&self.created_at)), ("updated", when(&self.updated_at))]);
        facts.extend(self.content_erased_at.iter().map(|it| ("content", format!("erased {}", when(it)))));
        if let Some(approval) = &self.approval {
            facts.extend(approval.facts());
        }
        if let Some(error) = &self.error {
            facts.push(("error", error.to_string()));
        }
        facts.extend(self.response.iter().map(|it| ("response", shown(it))));
        facts.extend(self.tool_calls.iter().flatten().map(|it| ("tool call", line(&it.to_string()))));
        let events: Vec<String> = self.events.iter().map(event).collect();
        if !events.is_empty() {
            facts.push(("events", events.join("\n")));
        }
        terminal::facts(&facts)
    }

    fn row(&self) -> Vec<String> {
        let asks = self.approval.as_ref().map(|it| format!("{}: {}", it.guard, it.prompt)).unwrap_or_default();
        [&self.run_id, &self.status, &self.route, &self.principal_id]
            .map(|it| line(it))
            .into_iter()
            .chain([when(&self.created_at), line(&asks)])
            .collect()
    }
}

impl ApprovalView {
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let lists: Vec<String> = self.approvers.iter().map(|list| list.join(" or ")).collect();
        let who = if lists.is_empty() { "role:approver".into() } else { lists.join(", and of those ") };
        let mut facts = vec![
            ("asks", format!("{} ({}, {})", shown(&self.prompt), line(&self.guard), line(&self.stage))),
            ("approvers", line(&who)),
            ("expires", when(&self.expires_at)),
        ];
        // As the page shows it: enough to compare by eye.
        facts.extend(self.digest.strip_prefix("sha256:").map(|it| ("digest", line(&it.chars().take(12).collect::<String>()))));
        if self.required > 1 {
            let so_far = if self.approved_by.is_empty() { "nobody".into() } else { self.approved_by.join(", ") };
            facts.push(("required", line(&format!("{} people; so far {so_far}", self.required))));
        }
        facts
    }
}

pub(super) fn table(runs: &[RunView], look: Look) -> String {
    terminal::table(&["run", "status", "route", "asked by", "created", "asks"], &runs.iter().map(RunView::row).collect::<Vec<_>>(), look)
}

/// One event on one line, whatever its type: when, what, and the rest by name. Digests and what lists hold are for
/// programs.
pub(super) fn event(event: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => line(text),
        Value::Array(list) => list.len().to_string(),
        other => line(&other.to_string()),
    };
    let Some(fields) = event.as_object() else { return text(event) };
    let (mut time, mut kind, mut rest) = (String::new(), String::new(), String::new());
    let matters = |value: &Value| !value.is_null() && *value != json!([]) && value.as_str().is_none_or(|it| !it.starts_with("sha256:"));
    for (name, value) in fields.iter().filter(|(_, value)| matters(value)) {
        match name.as_str() {
            "time" => time = value.as_str().map_or_else(|| text(value), when),
            "type" => kind = text(value),
            _ => rest.push_str(&format!("  {}={}", line(name), text(value))),
        }
    }
    [time, kind].into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join("  ") + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused() -> Value {
        json!({
            "run_id": "0192", "route": "default", "status": "paused", "response": null, "principal_id": "al\u{202e}ice",
            "tool_calls": [], "usage": null, "error": null, "created_at": "2026-11-22T23:07:10Z", "updated_at": "2026-11-22T23:07:11Z",
            "approval": {
                "id": "0192.1", "guard": "sensitive-topic", "stage": "ingress", "prompt": "Review\u{1b}[2J?", "approvers": [["team:risk", "bob"], ["eve"]],
                "required": 2, "approved_by": ["bob"], "requested_at": "2026-11-22T23:07:11Z", "expires_at": "2026-11-23T23:07:11Z", "digest": "sha256:00"
            },
            "events": [{"type": "judged", "time": "2026-11-22T23:07:10Z", "guard": "sensitive-topic", "findings": [{}], "component": "sha256:00", "why": null}],
        })
    }

    #[test]
    fn a_paused_run_says_who_has_to_decide_what() {
        insta::assert_snapshot!(RunView::read(&paused()).unwrap().render(), @r#"
        run        0192
        status     paused
        route      default
        asked by   al\u{202e}ice
        created    2026-11-22 23:07:10 UTC
        updated    2026-11-22 23:07:11 UTC
        asks       Review\u{1b}[2J? (sensitive-topic, ingress)
        approvers  team:risk or bob, and of those eve
        expires    2026-11-23 23:07:11 UTC
        digest     00
        required   2 people; so far bob
        events     2026-11-22 23:07:10 UTC  judged  guard=sensitive-topic  findings=1
        "#);
    }

    #[test]
    fn a_list_has_one_line_per_run() {
        let runs = [RunView::read(&paused()).unwrap(), RunView::read(&json!({"run_id": "0193", "status": "completed"})).unwrap()];
        let lines = [
            "run\tstatus\troute\tasked by\tcreated\tasks",
            "0192\tpaused\tdefault\tal\\u{202e}ice\t2026-11-22 23:07:10 UTC\tsensitive-topic: Review\\u{1b}[2J?",
            "0193\tcompleted\t\t\t\t",
        ];
        assert_eq!(table(&runs, Look { terminal: false, colour: false }), lines.join("\n"));
    }

    #[test]
    fn a_finished_run_shows_its_response_or_its_error() {
        let mut run = json!({"run_id": "0192", "status": "completed", "response": "two\nlines"});
        assert!(RunView::read(&run).unwrap().render().contains("two\n          lines"), "{}", RunView::read(&run).unwrap().render());
        run = json!({"run_id": "0192", "status": "error", "error": {"code": "AEG-PRV-001", "message": "gone", "why": "w", "fix": "f"}});
        assert!(RunView::read(&run).unwrap().render().contains("AEG-PRV-001: gone"));
    }

    #[test]
    fn a_run_whose_content_is_gone_says_so() {
        let run = json!({"run_id": "0192", "status": "completed", "response": null, "content_erased_at": "2026-11-22T23:07:10Z"});
        let shown = RunView::read(&run).unwrap().render();
        assert!(shown.contains("content   erased 2026-11-22 23:07:10 UTC"), "{shown}");
    }

    #[test]
    fn what_is_no_run_is_refused() {
        assert_eq!(RunView::read(&json!({"status": "paused"})).unwrap_err().code, Code::CLI_SERVER.id);
    }
}
