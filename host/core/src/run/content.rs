//! What guards are handed, and what they and people may edit.

use super::{Call, Input, Label, Run, approvers::required};
use crate::{Edit, Guard, Message, PartView, Place, Report, ReportError, Rewrite, Role, Scope, Stage, Verdict, unreachable};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, btree_map};

/// What guards are handed, and what they may touch.
impl Run {
    pub(super) fn input(&self, stage: Stage, index: usize) -> Input<'_> {
        let guard = &self.plan.pipeline.at(stage)[index];
        let params = || Label { key: "params".into(), value: Value::Object(self.request.params.clone()).to_string() };
        Input {
            step: self.step(),
            guard,
            stage,
            run: self.id,
            route: &self.plan.route,
            model: &self.plan.model,
            principal: &self.principal,
            time: self.updated_at,
            metadata: &self.request.metadata,
            context: if self.request.params.is_empty() { vec![] } else { vec![params()] },
            labels: &self.labels,
            memory: self.memory.get(&guard.name).map(String::as_str),
            tools: &self.request.tools,
            messages: self.view(stage, guard).into_iter().filter_map(|index| self.message(index)).collect(),
        }
    }

    pub(super) fn call(&self, attempt: u32) -> Call<'_> {
        Call {
            step: self.step(),
            attempt,
            provider: &self.plan.provider,
            provider_is: self.plan.provider_is,
            model: &self.plan.model,
            messages: &self.request.messages,
            tools: &self.request.tools,
            params: &self.request.params,
            idempotency_key: self.id,
        }
    }

    /// The conversation, with the reply after the last message.
    pub(super) fn message(&self, index: usize) -> Option<&Message> {
        let reply = || self.reply.as_ref().map(|it| &it.message).filter(|_| index == self.request.messages.len());
        self.request.messages.get(index).or_else(reply)
    }

    pub(super) fn message_mut(&mut self, index: usize) -> Option<&mut Message> {
        let count = self.request.messages.len();
        match index == count {
            true => self.reply.as_mut().map(|it| &mut it.message),
            false => self.request.messages.get_mut(index),
        }
    }

    pub(super) fn whole(&self, stage: Stage) -> Vec<usize> {
        (0..self.request.messages.len() + usize::from(stage.follows_the_reply())).collect()
    }

    /// Which messages this guard is handed: all, or of scope `message` those of its stage on which it has no verdict yet. The
    /// reply is always handed over whole: `tool_call` and `egress` look at different sides of it.
    pub(super) fn view(&self, stage: Stage, guard: &Guard) -> Vec<usize> {
        let reply = self.request.messages.len();
        let known = self.judged.get(&guard.name);
        let holds = |index: usize| known.and_then(|it| it.get(&index)) == Some(&self.revisions[index]);
        let belongs = |index: usize| match stage {
            Stage::Ingress => !holds(index),
            Stage::ToolResult => !holds(index) && self.request.messages[index].role == Role::Tool,
            Stage::ToolCall | Stage::Egress => index == reply,
        };
        match guard.scope {
            Scope::Conversation => self.whole(stage),
            Scope::Message => self.whole(stage).into_iter().filter(|index| belongs(*index)).collect(),
        }
    }

    pub(super) fn verdict_holds(&mut self, guard: &Guard, view: &[usize]) {
        if guard.scope == Scope::Message {
            let known = self.judged.entry(guard.name.clone()).or_default();
            known.extend(view.iter().map(|index| (*index, self.revisions[*index])));
        }
    }

    /// Checks a report and turns its places into those of the whole conversation.
    pub(super) fn place(&self, mut report: Report, stage: Stage, guard: &Guard, view: &[usize]) -> Result<Report, ReportError> {
        report.check()?;
        let mut texts = BTreeMap::new(); // thousands of findings in one large part must not write out its JSON each
        for finding in &mut report.findings {
            finding.at = whole_place(finding.at, view)?;
            let text = match texts.entry(finding.at) {
                btree_map::Entry::Occupied(it) => it.into_mut(),
                btree_map::Entry::Vacant(it) => it.insert(self.seen(finding.at).ok_or(ReportError::NoText(finding.at))?),
            };
            check_range(text, finding.at, finding.start, finding.end)?;
            if let Some(score) = finding.score.filter(|score| !(0.0..=1.0).contains(score)) {
                return Err(ReportError::Score(score));
            }
        }
        match &mut report.verdict {
            Verdict::Sanitize(edits) => {
                for edit in edits.iter_mut() {
                    edit.at = whole_place(edit.at, view)?;
                }
                self.check_edits(edits, stage, view)?;
            }
            Verdict::RequireApproval(question) => {
                let lists = self.lists(guard, question).map_err(ReportError::Question)?;
                let required = required(guard, question.required);
                unreachable(&lists, required, self.excluded(guard)).map_or(Ok(()), |why| Err(ReportError::Question(why)))?;
            }
            Verdict::Allow | Verdict::Block(_) => {}
        }
        Ok(report)
    }

    pub(super) fn check_edits(&self, edits: &[Edit], stage: Stage, view: &[usize]) -> Result<(), ReportError> {
        let mut sorted: Vec<&Edit> = edits.iter().collect();
        sorted.sort_by_key(|edit| (edit.at, edit.start, edit.end));
        for edit in &sorted {
            let text = self.text(edit.at).ok_or(ReportError::NoText(edit.at))?;
            check_range(text, edit.at, edit.start, edit.end)?;
            match () {
                _ if !self.may_edit(edit.at, stage, view) => return Err(ReportError::Forbidden(edit.at, stage)),
                _ if edit.text.contains('\0') => return Err(ReportError::Nul),
                _ => {}
            }
        }
        // Two insertions at one byte have no order, so they overlap, too.
        let clash = |pair: &&[&Edit]| pair[0].at == pair[1].at && (pair[1].start < pair[0].end || pair[1].start == pair[0].start);
        sorted.windows(2).find(clash).map_or(Ok(()), |pair| Err(ReportError::Overlap(pair[1].at)))
    }

    pub(super) fn may_edit(&self, at: Place, stage: Stage, view: &[usize]) -> bool {
        let reply = self.request.messages.len();
        match (stage, at) {
            (Stage::Ingress, Place::Tool(_)) => true,
            (_, Place::Tool(_)) => false,
            (_, Place::Part { message, .. } | Place::Arguments { message, .. }) if !view.contains(&(message as usize)) => false,
            (Stage::Ingress, _) => true,
            (Stage::ToolResult, Place::Part { message, .. } | Place::Arguments { message, .. }) => {
                self.message(message as usize).is_some_and(|it| it.role == Role::Tool)
            }
            (Stage::ToolCall, place) => matches!(place, Place::Arguments { message, .. } if message as usize == reply),
            (Stage::Egress, place) => matches!(place, Place::Part { message, .. } if message as usize == reply),
        }
    }

    /// What a guard sees at a place of the whole conversation: its text, or of a part of another kind the JSON it came in, where
    /// there may be evidence, but no edits.
    pub fn seen(&self, at: Place) -> Option<Cow<'_, str>> {
        let Place::Part { message, part } = at else { return self.text(at).map(Cow::from) };
        match self.message(message as usize)?.part(part as usize)? {
            PartView::Text(text) => Some(text.into()),
            PartView::Other(json) => Some(json.into()),
            PartView::Media { .. } => None,
        }
    }

    /// The text at a place of the whole conversation.
    pub fn text(&self, at: Place) -> Option<&str> {
        match at {
            Place::Tool(index) => self.request.tools.get(index as usize).map(|it| it.description.as_deref().unwrap_or_default()),
            Place::Arguments { message, call } => {
                self.message(message as usize)?.tool_calls.get(call as usize).map(|it| it.arguments.as_str())
            }
            Place::Part { message, part } => match self.message(message as usize)?.part(part as usize)? {
                PartView::Text(text) => Some(text),
                PartView::Media { .. } | PartView::Other(_) => None,
            },
        }
    }

    pub(super) fn text_mut(&mut self, at: Place) -> Option<&mut String> {
        match at {
            Place::Tool(index) => self.request.tools.get_mut(index as usize).map(|it| it.description.get_or_insert_default()),
            Place::Arguments { message, call } => {
                self.message_mut(message as usize)?.tool_calls.get_mut(call as usize).map(|it| &mut it.arguments)
            }
            Place::Part { message, part } => self.message_mut(message as usize)?.text_mut(part as usize),
        }
    }

    /// The edits by which people who approve rewrite what the open question is about. What would change nothing is no edit.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn amend(&self, rewrites: &[Rewrite]) -> Result<Vec<Edit>, ReportError> {
        let Some(asked) = self.approval() else { return Ok(vec![]) };
        let all = |at: Place| (0, self.text(at).map_or(0, str::len) as u32);
        let edit = |it: &Rewrite| {
            let (start, end) = it.range.unwrap_or_else(|| all(it.at));
            Edit { at: it.at, start, end, text: it.text.clone() }
        };
        let mut edits: Vec<Edit> = rewrites.iter().map(edit).collect();
        self.check_edits(&edits, asked.stage, &self.whole(asked.stage))?;
        edits.retain(|it| self.text(it.at).and_then(|text| text.get(it.start as usize..it.end as usize)) != Some(&it.text));
        let mut after = self.clone();
        after.edit(&edits);
        let broken = |at: &Place| matches!(at, Place::Arguments { .. }) && !after.text(*at).is_some_and(is_json);
        let broken = edits.iter().map(|it| it.at).find(broken);
        broken.map_or(Ok(edits), |at| Err(ReportError::NoJson(at)))
    }

    /// Every text that whoever approves the open question may rewrite.
    pub fn editable(&self) -> Vec<Place> {
        let Some(asked) = self.approval() else { return vec![] };
        let view = self.whole(asked.stage);
        let of_message = |index: usize| {
            let (message, count) = (index as u32, self.message(index).map_or((0, 0), |it| (it.parts().count(), it.tool_calls.len())));
            let parts = (0..count.0 as u32).map(move |part| Place::Part { message, part });
            parts.chain((0..count.1 as u32).map(move |call| Place::Arguments { message, call }))
        };
        let tools = (0..self.request.tools.len() as u32).map(Place::Tool);
        let all = view.iter().flat_map(|index| of_message(*index)).chain(tools);
        all.filter(|at| self.text(*at).is_some() && self.may_edit(*at, asked.stage, &view)).collect()
    }

    /// Makes edits that were checked: thousands in one text cost no more than writing it once.
    pub(super) fn edit(&mut self, edits: &[Edit]) {
        let mut sorted: Vec<&Edit> = edits.iter().collect();
        sorted.sort_by_key(|edit| (edit.at, edit.start));
        for edits in sorted.chunk_by(|a, b| a.at == b.at) {
            let at = edits[0].at;
            self.keep_original(at);
            if let Some(text) = self.text_mut(at) {
                *text = edited(text, edits);
            }
            if let Place::Part { message, .. } | Place::Arguments { message, .. } = at {
                self.revisions[message as usize] += edits.len() as u32;
            }
        }
    }
}

fn check_range(text: &str, at: Place, start: u32, end: u32) -> Result<(), ReportError> {
    let whole = text.get(start as usize..end as usize).is_some();
    if whole { Ok(()) } else { Err(ReportError::Range { at, start, end, length: text.len() }) }
}

/// A text with edits that do not overlap, sorted by where they begin.
fn edited(text: &str, edits: &[&Edit]) -> String {
    let mut out = String::with_capacity(text.len() + edits.iter().map(|it| it.text.len()).sum::<usize>());
    let mut from = 0;
    for edit in edits {
        out.push_str(&text[from..edit.start as usize]);
        out.push_str(&edit.text);
        from = edit.end as usize;
    }
    out + &text[from..]
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn whole_place(at: Place, view: &[usize]) -> Result<Place, ReportError> {
    let find = |message: u32| view.get(message as usize).map(|index| *index as u32).ok_or(ReportError::NoText(at));
    Ok(match at {
        Place::Tool(_) => at,
        Place::Part { message, part } => Place::Part { message: find(message)?, part },
        Place::Arguments { message, call } => Place::Arguments { message: find(message)?, call },
    })
}
