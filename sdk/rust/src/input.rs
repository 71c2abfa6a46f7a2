//! What a guard is asked about, as texts with their places.

use crate::{ArgumentsPlace, Finding, Input, Message, Part, PartPlace, Place, Principal, Role, Stage, ToolCall};
use std::ops::Range;

/// A text of the input, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Text<'a> {
    /// Its place, for findings and edits.
    pub at: Place,
    /// The text.
    pub text: &'a str,
    /// Whether it is JSON: the arguments of a tool call (as the model wrote them, escapes and all), or a part that is neither text nor
    /// media. The latter can be found, blocked and asked about, but not edited.
    pub json: bool,
    /// The message it stands in; `None` for the description of a tool.
    pub message: Option<&'a Message>,
}

impl Text<'_> {
    /// Evidence that `rule` saw something at these bytes of the text.
    pub fn finding(&self, rule: impl Into<String>, range: Range<usize>) -> Finding {
        Finding { rule: rule.into(), at: self.at, start: range.start as u32, end: range.end as u32, score: None }
    }
}

impl Input {
    /// The texts that this stage is about, in order: at `ingress` tool descriptions and all of every message, at `tool_result` messages of role
    /// `tool`, at `tool_call` the arguments of the reply's calls, at `egress` the reply's parts. A guard that needs more, as the
    /// conversation before the reply, reads `messages`.
    ///
    /// Media have no text; names and parameters of tools have no place: read them from the fields.
    pub fn texts(&self) -> impl Iterator<Item = Text<'_>> {
        let descriptions = (0..).zip(&self.tools).filter(|_| self.stage == Stage::Ingress);
        let descriptions = descriptions.map(|(n, tool)| Text { at: Place::Tool(n), text: &tool.description, json: false, message: None });
        let last = self.messages.len().saturating_sub(1);
        let messages = (0..).zip(&self.messages).filter(move |(n, message)| match self.stage {
            Stage::Ingress => true,
            Stage::ToolResult => message.role == Role::Tool,
            Stage::ToolCall | Stage::Egress => *n as usize == last,
        });
        let said = self.stage != Stage::ToolCall;
        let done = matches!(self.stage, Stage::Ingress | Stage::ToolCall);
        let messages = messages.flat_map(move |(n, message)| {
            let parts = said.then(|| parts(n, message)).into_iter().flatten();
            parts.chain(done.then(|| arguments(n, message)).into_iter().flatten())
        });
        descriptions.chain(messages)
    }

    /// An input of one text: at `ingress` a user's message, at `tool_result` a tool's, at `tool_call` a reply with one call that has the text as
    /// its arguments, at `egress` a reply. For tests and for warming up.
    pub fn of(stage: Stage, text: &str) -> Input {
        let role = match stage {
            Stage::Ingress => Role::User,
            Stage::ToolResult => Role::Tool,
            Stage::ToolCall | Stage::Egress => Role::Assistant,
        };
        let call = ToolCall { id: "call-1".into(), name: "tool".into(), arguments: text.into() };
        let message = match stage {
            Stage::ToolCall => Message { role, parts: vec![], name: None, tool_calls: vec![call], tool_call_id: None },
            Stage::ToolResult => {
                Message { role, parts: vec![Part::Text(text.into())], name: None, tool_calls: vec![], tool_call_id: Some(call.id) }
            }
            Stage::Ingress | Stage::Egress => {
                Message { role, parts: vec![Part::Text(text.into())], name: None, tool_calls: vec![], tool_call_id: None }
            }
        };
        Input::of_messages(stage, vec![message])
    }

    /// An input of these messages, everything else empty. For tests.
    pub fn of_messages(stage: Stage, messages: Vec<Message>) -> Input {
        Input {
            stage,
            run_id: String::new(),
            route: String::new(),
            model: String::new(),
            principal: Principal { id: String::new(), teams: vec![], roles: vec![] },
            time: 0,
            metadata: vec![],
            context: vec![],
            labels: vec![],
            memory: None,
            tools: vec![],
            messages,
        }
    }
}

fn parts(n: u32, message: &Message) -> impl Iterator<Item = Text<'_>> {
    (0..).zip(&message.parts).filter_map(move |(part, it)| {
        let (text, json) = match it {
            Part::Text(text) => (text, false),
            Part::Other(text) => (text, true),
            Part::Media(_) => return None,
        };
        Some(Text { at: Place::Part(PartPlace { message: n, part }), text, json, message: Some(message) })
    })
}

fn arguments(n: u32, message: &Message) -> impl Iterator<Item = Text<'_>> {
    (0..).zip(&message.tool_calls).map(move |(call, it)| {
        let at = Place::Arguments(ArgumentsPlace { message: n, call });
        Text { at, text: &it.arguments, json: true, message: Some(message) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Media, Tool};

    fn message(role: Role, parts: &[Part], arguments: &[&str]) -> Message {
        let call = |it: &&str| ToolCall { id: "1".into(), name: "f".into(), arguments: (*it).into() };
        Message { role, parts: parts.into(), name: None, tool_calls: arguments.iter().map(call).collect(), tool_call_id: None }
    }

    fn conversation(stage: Stage) -> Input {
        let text = |it: &str| Part::Text(it.into());
        let media = Part::Media(Media { mime: "image/png".into(), uri: "https://x".into() });
        let messages = vec![
            message(Role::User, &[text("u0"), media, text("u2"), Part::Other("{}".into())], &[]),
            message(Role::Assistant, &[], &["a0"]),
            message(Role::Tool, &[text("t0")], &[]),
            message(Role::Assistant, &[text("r0")], &["c0", "c1"]),
        ];
        let tools = vec![Tool { name: "f".into(), description: "d0".into(), parameters: "{}".into() }];
        Input { tools, ..Input::of_messages(stage, messages) }
    }

    #[test]
    fn a_stage_is_about_its_own_texts() {
        for (stage, expected) in
            [(Stage::Ingress, "d0 u0 u2 {} a0 t0 r0 c0 c1"), (Stage::ToolResult, "t0"), (Stage::ToolCall, "c0 c1"), (Stage::Egress, "r0")]
        {
            let input = conversation(stage);
            let texts: Vec<&str> = input.texts().map(|it| it.text).collect();
            assert_eq!(texts.join(" "), expected, "{stage:?}");
        }
    }

    #[test]
    fn places_count_what_has_no_text_too() {
        let input = conversation(Stage::Ingress);
        let at = |text: &str| input.texts().find(|it| it.text == text).unwrap().at;
        assert_eq!(at("d0"), Place::Tool(0));
        assert_eq!(at("u2"), Place::Part(PartPlace { message: 0, part: 2 }));
        assert_eq!(at("c1"), Place::Arguments(ArgumentsPlace { message: 3, call: 1 }));
    }

    #[test]
    fn an_input_of_one_text_has_that_text_at_every_stage() {
        for stage in [Stage::Ingress, Stage::ToolResult, Stage::ToolCall, Stage::Egress] {
            let input = Input::of(stage, "x");
            assert_eq!(input.texts().map(|it| it.text).collect::<Vec<_>>(), ["x"], "{stage:?}");
        }
        assert_eq!(Input::of_messages(Stage::Egress, vec![]).texts().count(), 0);
    }
}
