//! Where a person rewrites what a question is about, one field for each text. What may be rewritten is the core's to say; what
//! stays as it was is no edit.

use super::card::{called, short, subject};
use super::forms::DecisionForm;
use super::moment::Moment;
use super::text::Text;
use crate::api::ApiError;
use crate::app::NewDecision;
use aegis_core::{Choice, Place, Rewrite, Run, Time};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Rows of a field at most.
const ROWS: usize = 24;
/// A form may take so many times the bytes of what is in it.
const WORST: usize = 4;

/// One open question with the texts that may be rewritten.
pub(super) struct Editor<'a> {
    pub(super) id: String,
    pub(super) run: String,
    pub(super) digest: String,
    pub(super) digest_short: String,
    pub(super) prompt: Text<'a>,
    pub(super) guard: Text<'a>,
    pub(super) stage: &'static str,
    pub(super) subject: &'static str,
    pub(super) expires: Moment,
    pub(super) texts: Vec<EditableText<'a>>,
    /// Texts for which a form has no room.
    pub(super) left_out: usize,
}

/// One text that may be rewritten.
pub(super) struct EditableText<'a> {
    /// Of its field.
    pub(super) name: String,
    /// Such as `message 2, part 1`.
    pub(super) place: String,
    /// Who says it, or what is called.
    pub(super) about: Text<'a>,
    pub(super) found: bool,
    pub(super) code: bool,
    pub(super) rows: usize,
    pub(super) text: &'a str,
}

impl<'a> Editor<'a> {
    /// Of a paused run, as it is read at `now`; the form that comes back has `room` bytes at most. None where nothing may be rewritten.
    pub(super) fn of(run: &'a Run, now: Time, room: usize) -> Option<Editor<'a>> {
        let asked = run.approval()?;
        let found = |at: Place| asked.findings.iter().any(|it| it.at == at);
        let mut places = run.editable();
        let count = places.len();
        // What was found comes first to the room that there is, and everything stays in its order.
        let mut room = room / WORST;
        let mut fits = |at: &Place| run.text(*at).and_then(|it| room.checked_sub(it.len())).map(|left| room = left).is_some();
        let with: Vec<Place> = places.iter().filter(|at| found(**at)).filter(|at| fits(at)).copied().collect();
        let without: Vec<Place> = places.iter().filter(|at| !found(**at)).filter(|at| fits(at)).copied().collect();
        places.retain(|at| with.contains(at) || without.contains(at));
        Some(Editor {
            id: asked.id.to_string(),
            run: run.id().to_string(),
            digest: asked.digest.to_string(),
            digest_short: short(&asked.digest),
            prompt: Text::plain(&asked.prompt),
            guard: Text::plain(&asked.guard),
            stage: asked.stage.name(),
            subject: subject(asked),
            expires: Moment::seen(asked.expires_at, now),
            left_out: count - places.len(),
            texts: places.iter().filter_map(|at| EditableText::of(run, *at, found(*at))).collect(),
        })
        .filter(|_| count > 0)
    }
}

impl<'a> EditableText<'a> {
    fn of(run: &'a Run, at: Place, found: bool) -> Option<EditableText<'a>> {
        let text = run.text(at)?;
        let message = |index: u32| run.request().messages.get(index as usize).or(run.unjudged_reply().map(|it| &it.message));
        let about = match at {
            Place::Part { message: index, .. } => message(index)?.role.name(),
            Place::Arguments { message: index, call } => &message(index)?.tool_calls.get(call as usize)?.name,
            Place::Tool(tool) => &run.request().tools.get(tool as usize)?.name,
        };
        let rows = text.lines().map(|line| 1 + line.len() / 90).sum::<usize>().clamp(2, ROWS);
        let code = matches!(at, Place::Arguments { .. });
        Some(EditableText { name: field(at), place: called(at, run), about: Text::plain(about), found, code, rows, text })
    }
}

/// The name of the field for a place.
fn field(at: Place) -> String {
    match at {
        Place::Part { message, part } => format!("text-m{message}p{part}"),
        Place::Arguments { message, call } => format!("text-m{message}c{call}"),
        Place::Tool(tool) => format!("text-t{tool}"),
    }
}

/// What the form of one question sends: what every decision needs, and the texts by the names of their fields.
#[derive(Deserialize)]
pub(super) struct EditsForm {
    #[serde(flatten)]
    fields: BTreeMap<String, String>,
}

impl EditsForm {
    pub(super) fn token(&self) -> &str {
        self.fields.get("token").map_or("", String::as_str)
    }

    /// Of a question that is not open any more there is nothing to rewrite: the decision itself is refused for that.
    pub(super) fn read(mut self, run: &Run) -> Result<NewDecision, ApiError> {
        let wrong = |name: &str, message: &str| ApiError::request(Some(name.into()), message);
        let mut take = |name: &str| self.fields.remove(name).ok_or_else(|| wrong(name, "the form lacks this field"));
        let form = DecisionForm {
            token: take("token")?,
            approval_id: take("approval_id")?.parse().map_err(|_| wrong("approval_id", "this names no question"))?,
            digest: take("digest")?.parse().map_err(|_| wrong("digest", "this is no digest"))?,
            decision: Choice::Approved,
            comment: take("comment")?,
        };
        let is_open = run.approval().is_some_and(|open| open.id == form.approval_id);
        let rewrites = run.editable().into_iter().filter_map(|at| self.rewrite(run, at)).collect();
        match self.fields.keys().next() {
            Some(name) if is_open => Err(wrong(name, "there is no such text to edit")),
            _ => Ok(NewDecision { rewrites, ..form.read()? }),
        }
    }

    /// Browsers write every line break as Windows does, whatever it was: that alone is no edit.
    fn rewrite(&mut self, run: &Run, at: Place) -> Option<Rewrite> {
        let plain = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
        let text = plain(&self.fields.remove(&field(at))?);
        (plain(run.text(at)?) != text).then_some(Rewrite { at, range: None, text })
    }
}
