//! What an approver lets through: the conversation with the findings marked, as the server tells it to whoever may decide.

use crate::client::Server;
use crate::failure::Failure;
use crate::terminal::{self, Look, line, marked, shown};
use aegis_core::{Code, Finding, Message, Part, PartView, Place, RunId, Tool};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
pub(super) struct Pending {
    findings: Vec<Finding>,
    content: Content,
    pub(super) approval: Asked,
}

/// What a decision names, so that it counts for nothing else.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    pub(super) digest: String,
}

#[derive(Debug, Deserialize)]
struct Content {
    messages: Vec<Message>,
    tools: Vec<Tool>,
    params: Map<String, Value>,
    metadata: BTreeMap<String, String>,
    reply: Option<Message>,
}

impl Pending {
    /// The open question of a run; none when the caller may not decide it.
    pub(super) async fn of(server: &Server, run: RunId) -> Result<Option<Pending>, Failure> {
        let mut found = server.get(&format!("/v1/approvals?run={run}")).await?;
        let first = found["data"].get_mut(0).map(Value::take);
        first.map(Pending::read).transpose()
    }

    /// How many messages there are before the reply.
    pub(super) fn messages(&self) -> usize {
        self.content.messages.len()
    }

    fn read(json: Value) -> Result<Pending, Failure> {
        serde_json::from_value(json)
            .map_err(|error| Failure::new(Code::CLI_SERVER, format!("the server sent a question that cannot be read: {error}")))
    }

    /// Everything that is let through.
    pub(super) fn render(&self, look: Look) -> String {
        let mut rows = Vec::new();
        for (index, message) in (0..).zip(self.content.messages.iter().chain(&self.content.reply)) {
            rows.extend(self.message(index, message, look));
        }
        for (index, tool) in (0..).zip(&self.content.tools) {
            let description = self.text(tool.description.as_deref().unwrap_or_default(), Place::Tool(index), look);
            let parameters = tool.parameters.as_ref().map(|it| format!("\n{}", line(&it.to_string()))).unwrap_or_default();
            let strict = tool.strict.map(|it| format!(" (strict: {it})")).unwrap_or_default();
            rows.push(("tool offered", format!("{}{strict}: {description}{parameters}", line(&tool.name))));
        }
        rows.extend(self.content.params.iter().map(|(name, value)| ("parameter", line(&format!("{name}: {value}")))));
        rows.extend(self.content.metadata.iter().map(|(name, value)| ("metadata", line(&format!("{name}: {value}")))));
        terminal::facts(&rows)
    }

    fn message<'a>(&self, index: u32, message: &'a Message, look: Look) -> Vec<(&'static str, String)> {
        let who = if index as usize == self.content.messages.len() { "reply" } else { message.role.name() };
        let part = |(part, view): (u32, PartView<'a>)| match view {
            PartView::Text(text) => (who, self.text(text, Place::Part { message: index, part }, look)),
            PartView::Other(json) => (who, self.text(&json, Place::Part { message: index, part }, look)),
            PartView::Media { mime, uri } => (who, line(format!("{mime} {uri}{}", detail(message, part)).trim_start())),
        };
        let parts = (0..).zip(message.parts()).map(part);
        let calls = (0..).zip(&message.tool_calls).map(|(call, it)| {
            let arguments = self.text(&it.arguments, Place::Arguments { message: index, call }, look);
            ("calls", format!("{} {arguments} (call {})", line(&it.name), line(&it.id)))
        });
        let names = message.name.iter().map(|it| ("name", shown(it)));
        let answers = message.tool_call_id.iter().map(|it| ("answers", line(&format!("call {it}"))));
        parts.chain(names).chain(answers).chain(calls).collect()
    }

    fn text(&self, text: &str, at: Place, look: Look) -> String {
        let here = self.findings.iter().filter(|it| it.at == at);
        let ranges: Vec<(usize, usize)> = here.map(|it| (it.start as usize, it.end as usize)).collect();
        marked(text, &ranges, look)
    }
}

/// How closely the model is to look at an image: no part of what guards see, and let through all the same.
fn detail(message: &Message, part: u32) -> String {
    let part = if let aegis_core::Content::Parts(parts) = &message.content { parts.get(part as usize) } else { None };
    let detail = if let Some(Part::ImageUrl(image)) = part { image.detail } else { None };
    detail.map(|it| format!(" (detail {})", it.name())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_approver_reads_all_that_is_let_through_with_the_findings_marked() {
        let pending = Pending::read(json!({
            "findings": [
                {"rule": "r", "at": {"part": {"message": 0, "part": 0}}, "start": 2, "end": 6},
                {"rule": "r", "at": {"arguments": {"message": 3, "call": 0}}, "start": 0, "end": 2}
            ],
            "content": {
                "messages": [
                    {"role": "user", "content": "a word\u{202e}", "name": "al"},
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x", "detail": "low"}}]},
                    {"role": "tool", "content": "42", "tool_call_id": "0"}
                ],
                "tools": [{"type": "function", "function": {"name": "pay", "description": "pays", "strict": true}}],
                "params": {"temperature": 0.5}, "metadata": {"ticket": "T-1"},
                "reply": {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "pay", "arguments": "{}"}}]}
            },
            "approval": {"digest": "sha256:00"}
        }));
        let look = Look { terminal: false, colour: false };
        insta::assert_snapshot!(pending.unwrap().render(look), @r#"
        user          a [[word]]\u{202e}
        name          al
        user          https://x (detail low)
        tool          42
        answers       call 0
        calls         pay [[{}]] (call 1)
        tool offered  pay (strict: true): pays
        parameter     temperature: 0.5
        metadata      ticket: T-1
        "#);
    }
}
