//! What a guard says. A verdict only says; [`crate::Run::handle`] alone acts on it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where in the pipeline a guard is asked; the provider is called between `ToolResult` and `ToolCall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// What goes to the model: the whole conversation.
    Ingress,
    /// What tools gave back, before the model sees it.
    ToolResult,
    /// What the model wants to do, before anyone gets it.
    ToolCall,
    /// What the model said, before anyone reads it.
    Egress,
}

impl Stage {
    /// In the order of the pipeline.
    pub const ALL: [Stage; 4] = [Stage::Ingress, Stage::ToolResult, Stage::ToolCall, Stage::Egress];

    /// As it is written in configurations and answers.
    pub fn name(self) -> &'static str {
        ["ingress", "tool_result", "tool_call", "egress"][self as usize]
    }

    /// Whether it judges the model's reply rather than the request.
    pub fn follows_the_reply(self) -> bool {
        self >= Stage::ToolCall
    }
}

/// A place in the input. Numbers count from 0, in the messages and tools as they were handed to the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Place {
    /// A part of a message.
    Part {
        /// Which message.
        message: u32,
        /// Which of its parts.
        part: u32,
    },
    /// The arguments of a tool call.
    Arguments {
        /// Which message.
        message: u32,
        /// Which of its calls.
        call: u32,
    },
    /// The description of a tool.
    Tool(
        /// Which tool.
        u32,
    ),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Part { message, part } => write!(f, "part {part} of message {message}"),
            Place::Arguments { message, call } => write!(f, "the arguments of call {call} of message {message}"),
            Place::Tool(tool) => write!(f, "the description of tool {tool}"),
        }
    }
}

/// Replaces the bytes `start..end` of the UTF-8 text at one place. Edits do not overlap and do not split characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// Where.
    pub at: Place,
    /// First byte, from 0.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// What stands there afterwards.
    pub text: String,
}

/// What a person has written instead of a text. [`crate::Run::amend`] makes edits of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Where, as a place of the whole conversation.
    pub at: Place,
    /// First byte and one past the last byte of what is replaced; none: all of it.
    pub range: Option<(u32, u32)>,
    /// What stands there afterwards.
    pub text: String,
}

/// Evidence: which rule saw what, where. Never the text itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The guard's own name for what it looks for.
    pub rule: String,
    /// Where. In a run and its ledger: as places of the whole conversation, the reply being the message after the last.
    pub at: Place,
    /// First byte of the UTF-8 text at that place, from 0.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// How sure the guard is, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
}

/// What people have to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Shown to them.
    pub prompt: String,
    /// Only these may decide; empty: whoever the configuration names. Can only narrow it.
    #[serde(default)]
    pub approvers: Vec<String>,
    /// At least so many people; 0: as many as the configuration says. Can only raise it.
    #[serde(default)]
    pub required: u32,
}

/// One guard's judgement of one input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing against it.
    Allow,
    /// May go on with these edits.
    Sanitize(Vec<Edit>),
    /// May not go on: why; shown to the caller.
    Block(String),
    /// A person must decide.
    RequireApproval(Question),
}

/// All that a guard hands back from one scan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The judgement.
    pub verdict: Verdict,
    /// The evidence for it.
    pub findings: Vec<Finding>,
    /// Notes for guards that run later in this run.
    pub labels: Vec<crate::Label>,
    /// What this guard wants to be handed at a later stage of this run.
    pub memory: Option<String>,
}

impl Report {
    /// Nothing found, nothing kept.
    pub fn of(verdict: Verdict) -> Report {
        Report { verdict, findings: vec![], labels: vec![], memory: None }
    }

    /// Whether it may be kept: all of it but the edits goes into every later checkpoint of its run, most of it into the ledger
    /// and before people. So a run grows by no more than a few hundred KiB with each guard that is asked.
    pub(crate) fn check(&self) -> Result<(), ReportError> {
        most("findings", self.findings.len(), FINDINGS)?;
        self.findings.iter().try_for_each(|it| text("bytes in a finding's rule", &it.rule, RULE))?;
        most("labels", self.labels.len(), LABELS)?;
        for label in &self.labels {
            text("bytes in a label's name", &label.key, LABEL_KEY)?;
            text("bytes in a label", &label.value, LABEL_VALUE)?;
        }
        text("bytes in its memory", self.memory.as_deref().unwrap_or_default(), MEMORY)?;
        match &self.verdict {
            Verdict::Allow => Ok(()),
            Verdict::Sanitize(edits) => most("edits", edits.len(), EDITS),
            Verdict::Block(why) => text("bytes in its reason", why, WORDS),
            Verdict::RequireApproval(question) => question.check(),
        }
    }
}

impl Question {
    fn check(&self) -> Result<(), ReportError> {
        text("bytes in its prompt", &self.prompt, WORDS)?;
        most("approvers in its question", self.approvers.len(), APPROVERS)?;
        most("people required by its question", self.required as usize, APPROVERS)
    }
}

const FINDINGS: usize = 4_096;
/// Bytes of the name of a rule.
const RULE: usize = 128;
const EDITS: usize = 16_384;
const LABELS: usize = 32;
/// Bytes.
const LABEL_KEY: usize = 128;
/// Bytes.
const LABEL_VALUE: usize = 4 << 10;
/// Bytes.
const MEMORY: usize = 64 << 10;
/// Bytes of what people are told: the reason for a block, a question's prompt.
const WORDS: usize = 8 << 10;
/// Approvers in one question, and people that it may require.
const APPROVERS: usize = 64;

fn most(what: &'static str, size: usize, most: usize) -> Result<(), ReportError> {
    if size <= most { Ok(()) } else { Err(ReportError::Large { what, size, most }) }
}

fn text(what: &'static str, text: &str, bytes: usize) -> Result<(), ReportError> {
    most(what, text.len(), bytes)?;
    if text.contains('\0') { Err(ReportError::Nul) } else { Ok(()) }
}

/// What makes a report worthless: its guard has failed ([`crate::GuardFailure::Contract`]).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReportError {
    /// There is no text at that place.
    #[error("there is no text at {0}")]
    NoText(Place),
    /// That place exists, but may not be edited at this stage.
    #[error("{0} may not be edited at {stage}", stage = .1.name())]
    Forbidden(Place, Stage),
    /// The range is backwards, ends behind the text, or splits a character.
    #[error("{start}..{end} at {at} is not a range of whole characters in a text of {length} bytes")]
    Range {
        /// Where.
        at: Place,
        /// First byte.
        start: u32,
        /// One past the last byte.
        end: u32,
        /// Bytes of the text that stands there.
        length: usize,
    },
    /// Two edits replace the same bytes.
    #[error("two edits overlap at {0}")]
    Overlap(Place),
    /// A tool could not read what a person would have it called with.
    #[error("{0} would not be JSON any more")]
    NoJson(Place),
    /// A score that is no number from 0 to 1.
    #[error("the score {0} is not between 0 and 1")]
    Score(f32),
    /// An approver that cannot be one, or too few of them for the number required.
    #[error("the question cannot be answered: {0}")]
    Question(String),
    /// More than a run may keep of one report.
    #[error("{size} {what}: at most {most} are allowed")]
    Large {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        size: usize,
        /// How much is allowed.
        most: usize,
    },
    /// Stores and terminals cannot carry U+0000.
    #[error("a text may not contain U+0000")]
    Nul,
}
