//! What a person reads before deciding: everything that the question's digest covers, whole, and who asks what and why. Pure:
//! nothing here decides who may see it.

use super::moment::Moment;
use super::text::{Text, anchor};
use aegis_core::{Approval, Content, Digest, Finding, Message, Part, PartView, Place, Run, Stage, Time, Tool};

/// So many findings are listed; every one is marked in the content.
const LISTED: usize = 50;
/// Bytes of a finding's mark, roughly.
const MARK: usize = 128;

/// One open question.
pub(super) struct Card<'a> {
    /// Names it, also in the page.
    pub(super) id: String,
    pub(super) run: String,
    pub(super) digest: String,
    pub(super) digest_short: String,
    /// Changes whenever the card does.
    pub(super) version: u64,
    pub(super) prompt: Text<'a>,
    pub(super) guard: Text<'a>,
    /// The guard's component.
    pub(super) component: Option<String>,
    pub(super) stage: &'static str,
    /// What that stage looks at.
    pub(super) subject: &'static str,
    pub(super) asker: Text<'a>,
    pub(super) route: Text<'a>,
    pub(super) model: Option<Text<'a>>,
    pub(super) asked: Moment,
    pub(super) expires: Moment,
    pub(super) required: u32,
    pub(super) approved_by: Vec<Text<'a>>,
    /// Who decides must be in every one of these; without any, role `approver` decides.
    pub(super) lists: Vec<Vec<Text<'a>>>,
    pub(super) evidence: Vec<Evidence<'a>>,
    /// Findings that are not listed.
    pub(super) unlisted: usize,
    pub(super) messages: Vec<MessageCard<'a>>,
    pub(super) tools: Vec<ToolCard<'a>>,
    pub(super) params: Vec<(Text<'a>, Text<'a>)>,
    pub(super) metadata: Vec<(Text<'a>, Text<'a>)>,
    /// Whether there is something that may be rewritten.
    pub(super) editable: bool,
}

/// One finding.
pub(super) struct Evidence<'a> {
    pub(super) rule: Text<'a>,
    /// Such as `message 2, part 1`.
    pub(super) place: String,
    /// The id of its mark.
    pub(super) anchor: String,
    /// In per cent.
    pub(super) score: Option<u8>,
}

/// One message of the conversation, or the reply.
pub(super) struct MessageCard<'a> {
    pub(super) role: &'static str,
    /// From 1.
    pub(super) number: usize,
    pub(super) is_reply: bool,
    pub(super) name: Option<Text<'a>>,
    /// The call that this answers.
    pub(super) answers: Option<Text<'a>>,
    pub(super) parts: Vec<PartCard<'a>>,
    pub(super) calls: Vec<CallCard<'a>>,
}

/// One part of a message.
pub(super) struct PartCard<'a> {
    /// None for a plain text.
    pub(super) kind: Option<&'static str>,
    /// The text, the JSON, or a description of what is no text.
    pub(super) text: Text<'a>,
}

/// A tool call that the model wants to make, or made.
pub(super) struct CallCard<'a> {
    pub(super) id: Text<'a>,
    pub(super) name: Text<'a>,
    pub(super) arguments: Text<'a>,
}

/// A tool that the model may call.
pub(super) struct ToolCard<'a> {
    pub(super) name: Text<'a>,
    pub(super) description: Text<'a>,
    pub(super) parameters: Option<Text<'a>>,
    pub(super) strict: Option<bool>,
}

impl<'a> Card<'a> {
    /// Of a paused run, as it is read at `now`.
    pub(super) fn of(run: &'a Run, now: Time) -> Option<Card<'a>> {
        let asked = run.approval()?;
        let id = asked.id.to_string();
        let marks = Marks { id: &id, findings: &asked.findings };
        let request = run.request();
        let mut messages: Vec<MessageCard<'_>> = request.messages.iter().enumerate().map(|(at, it)| message(it, at, &marks)).collect();
        if let Some(reply) = run.unjudged_reply() {
            messages.push(MessageCard { is_reply: true, ..message(&reply.message, messages.len(), &marks) });
        }
        Some(Card {
            run: run.id().to_string(),
            digest: asked.digest.to_string(),
            digest_short: short(&asked.digest),
            version: run.version(),
            prompt: Text::plain(&asked.prompt),
            guard: Text::plain(&asked.guard),
            component: component(run, asked),
            stage: asked.stage.name(),
            subject: subject(asked),
            asker: Text::plain(&run.principal().id),
            route: Text::plain(&run.plan().route),
            model: Some(run.plan().model.as_str()).filter(|it| !it.is_empty()).map(Text::plain),
            asked: Moment::seen(asked.requested_at, now),
            expires: Moment::seen(asked.expires_at, now),
            required: asked.required,
            approved_by: asked.approved_by().map(Text::plain).collect(),
            lists: asked.approvers.iter().map(|list| list.iter().map(|it| made(&it.to_string())).collect()).collect(),
            evidence: asked.findings.iter().take(LISTED).map(|it| evidence(it, run, &id)).collect(),
            unlisted: asked.findings.len().saturating_sub(LISTED),
            tools: request.tools.iter().enumerate().map(|(at, it)| tool(it, at, &marks)).collect(),
            params: request.params.iter().map(|(name, it)| (Text::plain(name), made(&it.to_string()))).collect(),
            metadata: request.metadata.iter().map(|(name, it)| (Text::plain(name), Text::plain(it))).collect(),
            editable: !run.editable().is_empty(),
            messages,
            id,
        })
    }

    /// How much there is to read, roughly, in bytes: a page holds only so much.
    pub(super) fn size(run: &Run) -> usize {
        let message = |it: &Message| {
            let part = |it: PartView<'_>| match it {
                PartView::Text(text) => text.len(),
                PartView::Media { uri, .. } => uri.len(),
                PartView::Other(json) => json.len(),
            };
            it.parts().map(part).sum::<usize>() + it.tool_calls.iter().map(|call| call.arguments.len()).sum::<usize>()
        };
        let tool = |it: &Tool| {
            let parameters = it.parameters.as_ref().map_or(0, |it| it.to_string().len());
            it.description.as_ref().map_or(0, String::len) + parameters
        };
        let request = run.request();
        let messages = request.messages.iter().chain(run.unjudged_reply().map(|it| &it.message)).map(message).sum::<usize>();
        let params = request.params.values().map(|it| it.to_string().len()).sum::<usize>();
        let marks = MARK * run.approval().map_or(0, |it| it.findings.len());
        messages + marks + request.tools.iter().map(tool).sum::<usize>() + params
    }
}

/// Twelve hex digits: enough to compare by eye.
pub(super) fn short(digest: &Digest) -> String {
    digest.hex()[..12].to_string()
}

fn component(run: &Run, asked: &Approval) -> Option<String> {
    run.plan().pipeline.at(asked.stage).iter().find(|it| it.name == asked.guard).map(|it| short(&it.component))
}

pub(super) fn subject(asked: &Approval) -> &'static str {
    match asked.stage {
        Stage::Ingress => "what goes to the model",
        Stage::ToolResult => "what tools gave back",
        Stage::ToolCall => "what the model wants to do",
        Stage::Egress => "what the model said",
    }
}

/// What the guard has found, by place.
struct Marks<'a> {
    id: &'a str,
    findings: &'a [Finding],
}

impl Marks<'_> {
    fn on<'a>(&self, text: &'a str, at: Place) -> Text<'a> {
        Text::marked(text, self.findings.iter().filter(|it| it.at == at), &prefix(self.id, at))
    }
}

/// The beginning of the ids of marks at one place.
fn prefix(id: &str, at: Place) -> String {
    match at {
        Place::Part { message, part } => format!("{id}-m{message}p{part}"),
        Place::Arguments { message, call } => format!("{id}-m{message}c{call}"),
        Place::Tool(tool) => format!("{id}-t{tool}"),
    }
}

fn evidence<'a>(finding: &'a Finding, run: &Run, id: &str) -> Evidence<'a> {
    let place = called(finding.at, run);
    let start = run.seen(finding.at).map_or(0, |text| text.floor_char_boundary(finding.start as usize));
    let score = finding.score.map(|it| (it * 100.0).round() as u8);
    Evidence { rule: Text::plain(&finding.rule), place, anchor: anchor(&prefix(id, finding.at), start), score }
}

/// A place in the words of the page, which counts from 1.
pub(super) fn called(at: Place, run: &Run) -> String {
    let in_message = |at: u32| match run.request().messages.len() == at as usize {
        true => "the reply".to_string(),
        false => format!("message {}", at + 1),
    };
    match at {
        Place::Part { message, part: 0 } => in_message(message),
        Place::Part { message, part } => format!("{}, part {}", in_message(message), part + 1),
        Place::Arguments { message, call } => format!("{}, arguments of call {}", in_message(message), call + 1),
        Place::Tool(tool) => format!("description of tool {}", tool + 1),
    }
}

fn message<'a>(it: &'a Message, at: usize, marks: &Marks<'_>) -> MessageCard<'a> {
    let index = at as u32;
    let count = it.parts().count();
    let refusal = it.refusal.as_ref().map(|_| count - 1);
    let kind = |part: usize| (refusal == Some(part)).then_some("refusal");
    let parts = it.parts().enumerate().map(|(part, view)| {
        let at = Place::Part { message: index, part: part as u32 };
        let (kind, text) = match view {
            PartView::Text(text) => (kind(part), marks.on(text, at)),
            PartView::Media { mime, uri } => (Some("media: its address, or the digest of its data"), media(it, part, &mime, &uri)),
            PartView::Other(json) => (Some("part of another kind, as JSON"), marks.on(&json, at).into_owned()),
        };
        PartCard { kind, text }
    });
    let calls = it.tool_calls.iter().enumerate().map(|(call, it)| CallCard {
        id: Text::plain(&it.id),
        name: Text::plain(&it.name),
        arguments: marks.on(&it.arguments, Place::Arguments { message: index, call: call as u32 }),
    });
    MessageCard {
        role: it.role.name(),
        number: at + 1,
        is_reply: false,
        name: it.name.as_deref().map(Text::plain),
        answers: it.tool_call_id.as_deref().map(Text::plain),
        parts: parts.collect(),
        calls: calls.collect(),
    }
}

fn media(message: &Message, part: usize, mime: &str, uri: &str) -> Text<'static> {
    let part = if let Content::Parts(parts) = &message.content { parts.get(part) } else { None };
    let detail = match part {
        Some(Part::ImageUrl(image)) => image.detail.map(|it| format!(" · detail {}", it.name())),
        Some(Part::InputAudio(audio)) => Some(format!(" · {} bytes of base64", audio.data.len())),
        _ => None,
    };
    let mime = if mime.is_empty() { String::new() } else { format!("{mime} · ") };
    made(&format!("{mime}{uri}{}", detail.unwrap_or_default()))
}

/// A text that was made for the page.
fn made(text: &str) -> Text<'static> {
    Text::plain(text).into_owned()
}

fn tool<'a>(it: &'a Tool, at: usize, marks: &Marks<'_>) -> ToolCard<'a> {
    ToolCard {
        name: Text::plain(&it.name),
        description: marks.on(it.description.as_deref().unwrap_or_default(), Place::Tool(at as u32)),
        parameters: it.parameters.as_ref().map(|it| made(&it.to_string())),
        strict: it.strict,
    }
}
