//! What guards say in the simulated world: sense, nonsense and nothing.

use crate::dice::Dice;
use crate::scene::{NAMES, TEXTS};
use crate::truth::{Truth, excluded, reachable, strings};
use aegis_core::{Edit, Finding, Guard, GuardFailure, Label, Place, Principal, Question, Report, Request, Stage, Verdict};

/// A report, and whether it keeps to the contract; places are those of the whole conversation.
pub(crate) struct Said {
    pub(crate) whole: Report,
    pub(crate) sound: bool,
}

/// The lists that bind a question of this guard.
pub(crate) fn lists(guard: &Guard, request: &Request, asked: &[String]) -> Vec<Vec<String>> {
    let lists = [strings(&guard.approval.approvers), strings(&request.approvers), asked.to_vec()];
    lists.into_iter().filter(|it| !it.is_empty()).collect()
}

pub(crate) struct Scene<'a> {
    pub(crate) truth: &'a Truth,
    pub(crate) stage: Stage,
    pub(crate) guard: &'a Guard,
    pub(crate) view: &'a [usize],
    pub(crate) request: &'a Request,
    pub(crate) creator: &'a Principal,
}

impl Scene<'_> {
    pub(crate) fn says(&self, dice: &mut Dice) -> Result<Said, GuardFailure> {
        if dice.one_in(10) {
            return Err(failure(dice));
        }
        let mut sound = true;
        let verdict = match dice.roll(20) {
            0 => Verdict::Block("not this".into()),
            1..5 => Verdict::Sanitize(edits(dice, self.truth, self.stage, self.view)),
            5..9 => {
                let question = question(dice);
                let lists = lists(self.guard, self.request, &question.approvers);
                let required = question.required.max(self.guard.approval.required);
                sound = reachable(&lists, required, excluded(&self.guard.approval, self.creator));
                Verdict::RequireApproval(question)
            }
            _ => Verdict::Allow,
        };
        let mut whole = Report {
            verdict,
            findings: findings(dice, self.truth, self.view),
            labels: dice.some(&[Label { key: "k".into(), value: format!("{}:{}", self.guard.name, self.truth.entries) }], 1),
            memory: dice.one_in(3).then(|| format!("{} at {}", self.guard.name, self.truth.entries)),
        };
        if dice.one_in(8) && self.spoil(dice, &mut whole) {
            sound = false;
        }
        Ok(Said { whole, sound })
    }

    /// Breaks the contract in one way; `false` when that way does not exist here.
    fn spoil(&self, dice: &mut Dice, report: &mut Report) -> bool {
        let seen = |at: &Place| match at {
            Place::Tool(_) => true,
            Place::Part { message, .. } | Place::Arguments { message, .. } => self.view.contains(&(*message as usize)),
        };
        let texts: Vec<(Place, String)> = self.truth.texts().into_iter().filter(|it| seen(&it.0)).collect();
        let may = |at: &Place| self.truth.may_edit(self.stage, self.view, *at);
        let mine: Vec<&(Place, String)> = texts.iter().filter(|it| may(&it.0)).collect();
        let edit = |at: Place, start: usize, end: usize, text: &str| Edit { at, start: start as u32, end: end as u32, text: text.into() };
        let finding = |at: Place, start: u32, end: u32, score: f32| Finding { rule: "r".into(), at, start, end, score: Some(score) };
        let bad = match dice.roll(10) {
            0 => texts.first().map(|it| report.findings.push(finding(it.0, 0, it.1.len() as u32 + 1, 0.5))),
            1 => texts.first().map(|it| report.findings.push(finding(it.0, 0, 0, 1.5))),
            2 => texts.first().map(|it| report.findings.push(finding(it.0, 0, 0, f32::NAN))),
            3 => {
                let nowhere = [Place::Tool(9), Place::Part { message: 99, part: 0 }, Place::Arguments { message: 99, call: 0 }];
                report.findings.push(finding(*dice.pick(&nowhere), 0, 0, 1.0));
                Some(())
            }
            4 => texts.iter().find(|it| !may(&it.0)).map(|it| report.verdict = Verdict::Sanitize(vec![edit(it.0, 0, 0, "evil")])),
            5 => mine.first().map(|it| report.verdict = Verdict::Sanitize(vec![edit(it.0, 0, it.1.len(), "a"), edit(it.0, 0, 0, "b")])),
            6 => {
                let wide = mine.iter().find(|it| it.1.chars().next().is_some_and(|c| c.len_utf8() > 1));
                wide.map(|it| report.verdict = Verdict::Sanitize(vec![edit(it.0, 1, it.1.len(), "split")]))
            }
            7 => {
                mine.iter().find(|it| it.1.len() > 1).map(|it| report.verdict = Verdict::Sanitize(vec![edit(it.0, it.1.len(), 0, "back")]))
            }
            8 => mine.first().map(|it| report.verdict = Verdict::Sanitize(vec![edit(it.0, 0, 0, "\0")])),
            _ => {
                let (approvers, required) =
                    [(vec!["role:boss".into()], 0), (vec![String::new()], 0), (vec!["nobody".into(), "nobody".into()], 2)][dice.index(3)]
                        .clone();
                report.verdict = Verdict::RequireApproval(Question { prompt: "?".into(), approvers, required });
                Some(())
            }
        };
        bad.is_some()
    }
}

fn failure(dice: &mut Dice) -> GuardFailure {
    match dice.roll(6) {
        0 => GuardFailure::Declined("cannot".into()),
        1 => GuardFailure::Trap("unreachable".into()),
        2 => GuardFailure::Timeout,
        3 => GuardFailure::Memory,
        4 => GuardFailure::Output,
        _ => GuardFailure::Contract("nonsense".into()),
    }
}

fn question(dice: &mut Dice) -> Question {
    let approvers = if dice.one_in(3) { dice.some(&NAMES, 3).into_iter().map(String::from).collect() } else { vec![] };
    Question { prompt: "may it?".into(), approvers, required: [0, 0, 0, 1, 2, 3][dice.index(6)] }
}

fn findings(dice: &mut Dice, truth: &Truth, view: &[usize]) -> Vec<Finding> {
    let texts = truth.texts();
    let seen: Vec<&(Place, String)> = texts
        .iter()
        .filter(|it| match it.0 {
            Place::Tool(_) => true,
            Place::Part { message, .. } | Place::Arguments { message, .. } => view.contains(&(message as usize)),
        })
        .collect();
    if seen.is_empty() || dice.one_in(2) {
        return vec![];
    }
    let (at, text) = dice.pick(&seen);
    let score = dice.one_in(2).then(|| dice.roll(1_001) as f32 / 1_000.0);
    vec![Finding { rule: "r".into(), at: *at, start: 0, end: text.len() as u32, score }]
}

/// Good edits, in any order, at places that may be edited.
pub(crate) fn edits(dice: &mut Dice, truth: &Truth, stage: Stage, view: &[usize]) -> Vec<Edit> {
    let mut places: Vec<(Place, String)> = truth.texts().into_iter().filter(|it| truth.may_edit(stage, view, it.0)).collect();
    let mut edits = vec![];
    while !places.is_empty() && edits.len() < 4 && (edits.is_empty() || dice.one_in(2)) {
        let (at, text) = places.swap_remove(dice.index(places.len()));
        let mut bounds: Vec<u32> = (0..=text.len()).filter(|it| text.is_char_boundary(*it)).map(|it| it as u32).collect();
        let mut new = |start: u32, end: u32, dice: &mut Dice| edits.push(Edit { at, start, end, text: (*dice.pick(&TEXTS)).into() });
        if bounds.len() > 2 && dice.one_in(2) {
            let middle = 1 + dice.index(bounds.len() - 1);
            new(bounds[middle], bounds[bounds.len() - 1], dice);
            bounds.truncate(middle + 1);
            // Ends where the other begins: they touch, and do not overlap.
            let start = dice.index(bounds.len() - 1);
            new(bounds[start], bounds[middle], dice);
        } else {
            let start = dice.index(bounds.len());
            new(bounds[start], bounds[start + dice.index(bounds.len() - start)], dice);
        }
    }
    if dice.one_in(2) {
        edits.reverse();
    }
    edits
}

/// From places of the whole conversation to those of what a guard was handed.
pub(crate) fn as_handed(report: &Report, view: &[usize]) -> Report {
    let find = |message: u32| view.iter().position(|it| *it == message as usize).map_or(message, |it| it as u32);
    let local = |at: Place| match at {
        Place::Tool(_) => at,
        Place::Part { message, part } => Place::Part { message: find(message), part },
        Place::Arguments { message, call } => Place::Arguments { message: find(message), call },
    };
    let mut report = report.clone();
    report.findings.iter_mut().for_each(|it| it.at = local(it.at));
    if let Verdict::Sanitize(edits) = &mut report.verdict {
        edits.iter_mut().for_each(|it| it.at = local(it.at));
    }
    report
}
