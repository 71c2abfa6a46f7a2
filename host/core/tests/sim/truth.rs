//! What the world itself knows of a run: its own record of what was really judged, edited, asked and decided. Written
//! from the contract, not from the core, and in another way, so that the same mistake would have to be made twice.

use aegis_core::{
    Approval, ApprovalId, ApprovalRule, Approver, Choice, Content, Digest, Edit, Guard, Label, Message, Mode, OnFailure, Part, Phase,
    Place, Plan, Principal, PrincipalRole, Request, Role, Scope, Stage, Time, Tool,
};
use std::collections::{BTreeMap, BTreeSet};

/// The road through a plan, laid out flat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mile {
    Guard(Stage, usize),
    Call,
    End,
}

pub(crate) fn road(plan: &Plan) -> Vec<Mile> {
    let guards = |stage: Stage| (0..plan.pipeline.at(stage).len()).map(move |it| Mile::Guard(stage, it));
    let before = guards(Stage::Ingress).chain(guards(Stage::ToolResult));
    let after = guards(Stage::ToolCall).chain(guards(Stage::Egress));
    before.chain([Mile::Call]).chain(after).chain([Mile::End]).collect()
}

/// A question as the world saw it asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) id: ApprovalId,
    pub(crate) stage: Stage,
    pub(crate) guard: usize,
    pub(crate) lists: Vec<Vec<String>>,
    pub(crate) required: u32,
    pub(crate) excluded: Option<String>,
    pub(crate) expires: u64,
    pub(crate) digest: Digest,
    pub(crate) decided: Vec<(String, Choice)>,
}

impl Asked {
    pub(crate) fn entitles(&self, who: &Principal) -> bool {
        let default = vec![vec!["role:approver".to_owned()]];
        let lists = if self.lists.is_empty() { &default } else { &self.lists };
        self.excluded.as_deref() != Some(who.id.as_str()) && lists.iter().all(|list| named(list, who))
    }

    pub(crate) fn approvals(&self) -> BTreeSet<&str> {
        self.decided.iter().filter(|it| it.1 == Choice::Approved).map(|it| it.0.as_str()).collect()
    }

    pub(crate) fn is(&self, approval: &Approval) -> bool {
        let lists: Vec<Vec<String>> = approval.approvers.iter().map(|list| list.iter().map(|it| it.to_string()).collect()).collect();
        let decided: Vec<(String, Choice)> = approval.decisions.iter().map(|it| (it.by.clone(), it.choice)).collect();
        (self.id, self.stage, &self.lists, self.required, &self.excluded)
            == (approval.id, approval.stage, &lists, approval.required, &approval.excluded)
            && (self.expires, self.digest, &self.decided) == (approval.expires_at.0, approval.digest, &decided)
    }
}

fn named(list: &[String], who: &Principal) -> bool {
    list.iter().any(|name| match name.split_once(':') {
        Some(("team", team)) => who.teams.iter().any(|it| it == team),
        Some(("role", role)) => who.roles.iter().any(|it| it.name() == role),
        _ => who.id == *name,
    })
}

pub(crate) fn strings(list: &[Approver]) -> Vec<String> {
    list.iter().map(Approver::to_string).collect()
}

/// Whether so many people can be found who stand in every list that names people only.
pub(crate) fn reachable(lists: &[Vec<String>], required: u32, excluded: Option<&str>) -> bool {
    let plain: Vec<&Vec<String>> = lists.iter().filter(|it| !it.is_empty() && it.iter().all(|name| !name.contains(':'))).collect();
    let candidates: BTreeSet<&String> = plain.iter().copied().flatten().collect();
    let fit = |name: &&&String| Some(name.as_str()) != excluded && plain.iter().all(|list| list.contains(name));
    plain.is_empty() || candidates.iter().filter(fit).count() >= required.max(1) as usize
}

pub(crate) fn excluded<'a>(rule: &ApprovalRule, creator: &'a Principal) -> Option<&'a str> {
    if rule.self_approval { None } else { Some(&creator.id) }
}

/// How a guard let something pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum How {
    Allowed,
    Sanitized,
    Approved,
    FailedButAllowed,
    Monitored,
}

/// One guard that let pass what it was shown, and what it left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    pub(crate) guard: usize,
    pub(crate) how: How,
    pub(crate) before: u64,
    pub(crate) after: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Truth {
    pub(crate) messages: Vec<Message>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) reply: Option<Message>,
    pub(crate) phase: Phase,
    pub(crate) labels: Vec<Label>,
    pub(crate) memory: BTreeMap<String, String>,
    pub(crate) asked: Vec<Asked>,
    /// Per stage, since it began or was started again.
    pub(crate) passes: BTreeMap<Stage, Vec<Pass>>,
    /// One more with every change of content.
    pub(crate) content: u64,
    /// What `content` was when the reply came.
    pub(crate) replied: u64,
    /// Per message, the reply last: the change of content that touched it last.
    stamps: Vec<u64>,
    judged: BTreeMap<(String, usize), u64>,
    pub(crate) updated: u64,
    pub(crate) entries: usize,
    pub(crate) committed: usize,
    pub(crate) version: u64,
    pub(crate) decided_last: bool,
}

impl Truth {
    pub(crate) fn new(plan: &Plan, request: &Request, now: u64) -> Truth {
        let mut truth = Truth {
            messages: request.messages.clone(),
            tools: request.tools.clone(),
            reply: None,
            phase: Phase::Calling { attempt: 1 },
            labels: vec![],
            memory: BTreeMap::new(),
            asked: vec![],
            passes: Stage::ALL.into_iter().map(|it| (it, vec![])).collect(),
            content: 0,
            replied: 0,
            stamps: vec![0; request.messages.len()],
            judged: BTreeMap::new(),
            updated: now,
            entries: 1,
            committed: 0,
            version: 0,
            decided_last: false,
        };
        truth.phase = Truth::stand(road(plan)[0]);
        truth
    }

    fn stand(mile: Mile) -> Phase {
        match mile {
            Mile::Guard(stage, guard) => Phase::Judging { stage, guard },
            Mile::Call => Phase::Calling { attempt: 1 },
            Mile::End => Phase::Done(aegis_core::Outcome::Completed),
        }
    }

    /// The next mile after this one.
    pub(crate) fn go_on(&mut self, plan: &Plan, from: Mile) {
        let road = road(plan);
        let at = road.iter().position(|it| *it == from).expect("it is on the road");
        self.phase = Truth::stand(road[at + 1]);
    }

    pub(crate) fn pass(&mut self, plan: &Plan, stage: Stage, guard: usize, how: How, before: u64) {
        self.passes.get_mut(&stage).expect("all stages").push(Pass { guard, how, before, after: self.content });
        self.go_on(plan, Mile::Guard(stage, guard));
    }

    /// Every guard of these stages judged what the one before left, in order, and nothing changed since.
    pub(crate) fn all_judged(&self, plan: &Plan, stages: [Stage; 2], since: u64) {
        let mut left = since;
        for stage in stages {
            let passes = &self.passes[&stage];
            let order: Vec<usize> = passes.iter().map(|it| it.guard).collect();
            assert_eq!(
                order,
                (0..plan.pipeline.at(stage).len()).collect::<Vec<_>>(),
                "not every guard of {stage:?} has judged, once, in order"
            );
            for pass in passes {
                assert!(pass.before >= left, "a guard judged something older than what the one before it left");
                assert!(pass.before == left || pass.guard == 0, "the content changed between two guards");
                let guard = &plan.pipeline.at(stage)[pass.guard];
                assert_eq!(pass.how == How::Monitored, guard.mode == Mode::Monitor, "{} is acted on as it should not be", guard.name);
                assert!(pass.how != How::FailedButAllowed || guard.on_failure == OnFailure::Allow, "{} failed open", guard.name);
                left = pass.after;
            }
        }
        assert_eq!(left, self.content, "the content changed after the last guard had judged it");
    }

    pub(crate) fn message(&self, index: usize) -> &Message {
        if index == self.messages.len() { self.reply.as_ref().expect("there is a reply") } else { &self.messages[index] }
    }

    pub(crate) fn answered(&mut self, message: Message) {
        self.reply = Some(message);
        self.content += 1;
        self.replied = self.content;
        self.stamps.push(self.content);
    }

    pub(crate) fn view(&self, stage: Stage, guard: &Guard) -> Vec<usize> {
        let after = matches!(stage, Stage::ToolCall | Stage::Egress);
        let mut all: Vec<usize> = (0..self.messages.len()).collect();
        all.extend(after.then_some(self.messages.len()));
        if guard.scope == Scope::Message {
            match after {
                true => all.retain(|it| *it == self.messages.len()),
                false => all.retain(|it| self.judged.get(&(guard.name.clone(), *it)) != Some(&self.stamps[*it])),
            }
            all.retain(|it| stage != Stage::ToolResult || self.messages[*it].role == Role::Tool);
        }
        all
    }

    /// The verdict of a guard that has really looked holds.
    pub(crate) fn holds(&mut self, guard: &Guard, view: &[usize]) {
        for index in view {
            self.judged.insert((guard.name.clone(), *index), self.stamps[*index]);
        }
    }

    /// Every text there is, by its place in the whole conversation.
    pub(crate) fn texts(&self) -> Vec<(Place, String)> {
        let mut texts = vec![];
        let count = self.messages.len() + usize::from(self.reply.is_some());
        for (index, message) in (0..count).map(|it| (it as u32, self.message(it))) {
            let mut part = 0;
            let mut push = |text: Option<&String>| {
                texts.extend(text.map(|it| (Place::Part { message: index, part }, it.clone())));
                part += 1;
            };
            match &message.content {
                Content::None => {}
                Content::Text(text) => push(Some(text)),
                Content::Parts(parts) => parts.iter().for_each(|it| push(if let Part::Text(text) = it { Some(text) } else { None })),
            }
            push(message.refusal.as_ref());
            for (call, it) in message.tool_calls.iter().enumerate() {
                texts.push((Place::Arguments { message: index, call: call as u32 }, it.arguments.clone()));
            }
        }
        texts.extend(self.tools.iter().enumerate().map(|(n, it)| (Place::Tool(n as u32), it.description.clone().unwrap_or_default())));
        texts
    }

    /// What may be edited at a stage by someone who sees `view`: the table of the contract.
    pub(crate) fn may_edit(&self, stage: Stage, view: &[usize], at: Place) -> bool {
        let reply = self.messages.len();
        let (message, part) = match at {
            Place::Tool(_) => return stage == Stage::Ingress,
            Place::Part { message, .. } => (message as usize, true),
            Place::Arguments { message, .. } => (message as usize, false),
        };
        view.contains(&message)
            && match stage {
                Stage::Ingress => true,
                Stage::ToolResult => self.message(message).role == Role::Tool,
                Stage::ToolCall => message == reply && !part,
                Stage::Egress => message == reply && part,
            }
    }

    /// Edits from the front, by building each text anew.
    pub(crate) fn edit(&mut self, edits: &[Edit]) {
        if edits.is_empty() {
            return;
        }
        self.content += 1;
        for (at, old) in self.texts() {
            let mut mine: Vec<&Edit> = edits.iter().filter(|it| it.at == at).collect();
            mine.sort_by_key(|it| it.start);
            let (mut text, mut done) = (String::new(), 0);
            for edit in &mine {
                text += &old[done..edit.start as usize];
                text += &edit.text;
                done = edit.end as usize;
            }
            text += &old[done..];
            if !mine.is_empty() {
                self.put(at, text);
            }
        }
    }

    fn put(&mut self, at: Place, text: String) {
        let (Place::Part { message, .. } | Place::Arguments { message, .. }) = at else {
            let Place::Tool(index) = at else { unreachable!("there are three kinds") };
            self.tools[index as usize].description = Some(text);
            return;
        };
        self.stamps[message as usize] = self.content;
        let is_reply = message as usize == self.messages.len();
        let message = if is_reply { self.reply.as_mut().expect("there is a reply") } else { &mut self.messages[message as usize] };
        match at {
            Place::Arguments { call, .. } => message.tool_calls[call as usize].arguments = text,
            Place::Part { part, .. } => match &mut message.content {
                Content::Text(content) if part == 0 => *content = text,
                Content::Parts(parts) if (part as usize) < parts.len() => parts[part as usize] = Part::Text(text),
                _ => message.refusal = Some(text),
            },
            Place::Tool(_) => unreachable!("handled above"),
        }
    }

    pub(crate) fn open(&self) -> Option<&Asked> {
        self.asked.last().filter(|_| matches!(self.phase, Phase::Awaiting { .. }))
    }

    pub(crate) fn may_decide_before_anything_is_asked(request: &Request, who: &Principal) -> bool {
        match request.approvers.is_empty() {
            true => who.roles.contains(&PrincipalRole::Approver),
            false => named(&strings(&request.approvers), who),
        }
    }

    pub(crate) fn must_be_durable(&self) -> bool {
        let outside = matches!(self.phase, Phase::Calling { .. } | Phase::Backoff { .. } | Phase::Awaiting { .. } | Phase::Done(_));
        self.entries > self.committed && (outside || self.decided_last)
    }

    /// Time as the run counts it: it never goes back.
    pub(crate) fn time(&self, now: u64) -> Time {
        Time(now.max(self.updated))
    }
}
