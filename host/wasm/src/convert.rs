//! The one door between the core's types and the contract's. Nothing is judged here, and texts on their way in are
//! not copied.

use crate::bindings as wit;
use crate::bindings::aegis::guard::types as t;
use crate::manifest::Manifest;
use aegis_core::{Edit, Finding, Input, Label, Message, PartView, Place, Question, Report, Role, Scope, Stage, ToolCall, Verdict};

/// What the contract's input borrows from.
pub(crate) struct Prepared<'a> {
    input: &'a Input<'a>,
    run: String,
    roles: Vec<String>,
    parameters: Vec<String>,
    parts: Vec<Vec<PartView<'a>>>,
}

/// The contract's lists, which borrow from [`Prepared`].
pub(crate) struct Lists<'a> {
    teams: Vec<&'a str>,
    roles: Vec<&'a str>,
    metadata: Vec<t::LabelParam<'a>>,
    context: Vec<t::LabelParam<'a>>,
    labels: Vec<t::LabelParam<'a>>,
    tools: Vec<t::Tool<'a>>,
    parts: Vec<Vec<t::Part<'a>>>,
    calls: Vec<Vec<t::ToolCall<'a>>>,
}

impl<'a> Prepared<'a> {
    pub(crate) fn new(input: &'a Input<'a>) -> Prepared<'a> {
        Prepared {
            input,
            run: input.run.to_string(),
            roles: input.principal.roles.iter().map(|role| role.name().to_owned()).collect(),
            parameters: input.tools.iter().map(|tool| tool.parameters.as_ref().map(ToString::to_string).unwrap_or_default()).collect(),
            parts: input.messages.iter().map(|message| message.parts().collect()).collect(),
        }
    }

    pub(crate) fn lists(&'a self) -> Lists<'a> {
        let input = self.input;
        let tool = |(tool, parameters): (&'a aegis_core::Tool, &'a String)| t::Tool {
            name: &tool.name,
            description: tool.description.as_deref().unwrap_or_default(),
            parameters,
        };
        Lists {
            teams: input.principal.teams.iter().map(String::as_str).collect(),
            roles: self.roles.iter().map(String::as_str).collect(),
            metadata: input.metadata.iter().map(|(key, value)| t::LabelParam { key, value }).collect(),
            context: input.context.iter().map(label).collect(),
            labels: input.labels.iter().map(label).collect(),
            tools: input.tools.iter().zip(&self.parameters).map(tool).collect(),
            parts: self.parts.iter().map(|parts| parts.iter().map(part).collect()).collect(),
            calls: input.messages.iter().map(|message| message.tool_calls.iter().map(call).collect()).collect(),
        }
    }

    pub(crate) fn messages(&'a self, lists: &'a Lists<'a>) -> Vec<t::Message<'a>> {
        let all = self.input.messages.iter().zip(&lists.parts).zip(&lists.calls);
        all.map(|((message, parts), calls)| message_of(message, parts, calls)).collect()
    }

    pub(crate) fn input(&'a self, lists: &'a Lists<'a>, messages: &'a [t::Message<'a>]) -> t::Input<'a> {
        let input = self.input;
        t::Input {
            stage: stage(input.stage),
            run_id: &self.run,
            route: input.route,
            model: input.model,
            principal: t::Principal { id: &input.principal.id, teams: &lists.teams, roles: &lists.roles },
            time: input.time.0,
            metadata: &lists.metadata,
            context: &lists.context,
            labels: &lists.labels,
            memory: input.memory,
            tools: &lists.tools,
            messages,
        }
    }

    /// Bytes of all texts in it, and 64 for each thing that has any.
    pub(crate) fn size(&self) -> usize {
        let input = self.input;
        let label = |it: &Label| 64 + it.key.len() + it.value.len();
        let labels: usize = input.context.iter().chain(input.labels).map(label).sum();
        let metadata: usize = input.metadata.iter().map(|(key, value)| 64 + key.len() + value.len()).sum();
        let tools: usize = input.tools.iter().map(|it| 64 + it.name.len() + it.description.as_ref().map_or(0, String::len)).sum();
        let parameters: usize = self.parameters.iter().map(String::len).sum();
        let calls = input.messages.iter().flat_map(|it| &it.tool_calls);
        let calls: usize = calls.map(|it| 64 + it.id.len() + it.name.len() + it.arguments.len()).sum();
        let option = |it: &Option<String>| it.as_ref().map_or(0, String::len);
        let messages: usize = input.messages.iter().map(|it| 64 + option(&it.name) + option(&it.tool_call_id)).sum();
        let parts: usize = self.parts.iter().flatten().map(part_size).sum();
        labels + metadata + tools + parameters + calls + messages + parts + input.memory.map_or(0, str::len)
    }
}

fn part_size(part: &PartView<'_>) -> usize {
    64 + match part {
        PartView::Text(text) => text.len(),
        PartView::Media { mime, uri } => mime.len() + uri.len(),
        PartView::Other(json) => json.len(),
    }
}

fn message_of<'a>(message: &'a Message, parts: &'a [t::Part<'a>], calls: &'a [t::ToolCall<'a>]) -> t::Message<'a> {
    t::Message {
        role: match message.role {
            Role::System => t::Role::System,
            Role::Developer => t::Role::Developer,
            Role::User => t::Role::User,
            Role::Assistant => t::Role::Assistant,
            Role::Tool => t::Role::Tool,
        },
        parts,
        name: message.name.as_deref(),
        tool_calls: calls,
        tool_call_id: message.tool_call_id.as_deref(),
    }
}

fn stage(stage: Stage) -> t::Stage {
    match stage {
        Stage::Ingress => t::Stage::Ingress,
        Stage::ToolResult => t::Stage::ToolResult,
        Stage::ToolCall => t::Stage::ToolCall,
        Stage::Egress => t::Stage::Egress,
    }
}

fn label(label: &Label) -> t::LabelParam<'_> {
    t::LabelParam { key: &label.key, value: &label.value }
}

fn call(call: &ToolCall) -> t::ToolCall<'_> {
    t::ToolCall { id: &call.id, name: &call.name, arguments: &call.arguments }
}

fn part<'a>(part: &'a PartView<'a>) -> t::Part<'a> {
    match part {
        PartView::Text(text) => t::Part::Text(text),
        PartView::Media { mime, uri } => t::Part::Media(t::Media { mime, uri }),
        PartView::Other(json) => t::Part::Other(json),
    }
}

/// What a guard said, in the core's words.
pub(crate) fn report(it: wit::exports::aegis::guard::scanner::Report) -> Report {
    Report {
        verdict: verdict(it.verdict),
        findings: it.findings.into_iter().map(finding).collect(),
        labels: it.labels.into_iter().map(|it| Label { key: it.key, value: it.value }).collect(),
        memory: it.memory,
    }
}

fn verdict(it: t::Verdict) -> Verdict {
    match it {
        t::Verdict::Allow => Verdict::Allow,
        t::Verdict::Sanitize(edits) => Verdict::Sanitize(edits.into_iter().map(edit).collect()),
        t::Verdict::Block(why) => Verdict::Block(why),
        t::Verdict::RequireApproval(it) => {
            Verdict::RequireApproval(Question { prompt: it.prompt, approvers: it.approvers, required: it.required })
        }
    }
}

fn edit(it: t::Edit) -> Edit {
    Edit { at: place(it.at), start: it.start, end: it.end, text: it.text }
}

fn finding(it: t::Finding) -> Finding {
    Finding { rule: it.rule, at: place(it.at), start: it.start, end: it.end, score: it.score }
}

fn place(it: t::Place) -> Place {
    match it {
        t::Place::Part(it) => Place::Part { message: it.message, part: it.part },
        t::Place::Arguments(it) => Place::Arguments { message: it.message, call: it.call },
        t::Place::Tool(tool) => Place::Tool(tool),
    }
}

/// What a guard says of itself.
pub(crate) fn manifest(it: wit::exports::aegis::guard::scanner::Manifest) -> Manifest {
    let stage = |it: t::Stage| match it {
        t::Stage::Ingress => Stage::Ingress,
        t::Stage::ToolResult => Stage::ToolResult,
        t::Stage::ToolCall => Stage::ToolCall,
        t::Stage::Egress => Stage::Egress,
    };
    Manifest {
        name: it.name,
        version: it.version,
        description: it.description,
        stages: it.stages.into_iter().map(stage).collect(),
        scope: match it.scope {
            t::Scope::Message => Scope::Message,
            t::Scope::Conversation => Scope::Conversation,
        },
        streaming: matches!(it.streaming, t::StreamingMode::Incremental),
        settings_schema: it.settings_schema,
        notes: it.notes.into_iter().map(|it| (it.key, it.value)).collect(),
    }
}
