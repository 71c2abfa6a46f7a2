//! What the worlds are made of: plans, requests, replies and people.

use crate::dice::Dice;
use aegis_core::{
    ApprovalRule, Approver, Backoff, Content, Digest, Guard, ImageUrl, Message, Mode, OnFailure, OnUnknown, Part, Plan, Principal,
    PrincipalRole, Request, Role, Scope, Stage, Stages, Tool, ToolCall,
};

pub(crate) const TEXTS: [&str; 7] = ["", "a", "é: 12", "call 555", "日本語", "x\ny", "pay 9€ now"];

/// Whoever may stand in a list of approvers; `nobody` never comes.
pub(crate) const NAMES: [&str; 9] = ["ada", "bo", "cy", "ada", "team:risk", "team:lead", "role:approver", "role:admin", "nobody"];

pub(crate) fn people() -> Vec<Principal> {
    let person = |id: &str, teams: &[&str], roles: &[PrincipalRole]| Principal {
        id: id.into(),
        teams: teams.iter().map(|it| String::from(*it)).collect(),
        roles: roles.to_vec(),
    };
    use PrincipalRole::{Admin, Approver, User};
    vec![
        person("cy", &["risk"], &[User, Approver]),
        person("ada", &["risk", "lead"], &[User, Approver]),
        person("bo", &["lead"], &[User, Approver]),
        person("dan", &["risk"], &[Approver, Admin]),
        person("root", &[], &[Admin]),
        person("eve", &[], &[User]),
    ]
}

fn approvers(dice: &mut Dice) -> Vec<Approver> {
    if dice.one_in(2) {
        return vec![];
    }
    dice.some(&NAMES, 3).iter().map(|it| it.parse().expect("a good name")).collect()
}

fn guard(dice: &mut Dice, number: usize) -> Guard {
    Guard {
        name: format!("g{number}"),
        component: Digest::of(&[number as u8]),
        settings: Digest::of(&[dice.roll(3) as u8]),
        scope: *dice.pick(&[Scope::Message, Scope::Conversation]),
        mode: *dice.pick(&[Mode::Enforce, Mode::Enforce, Mode::Enforce, Mode::Monitor]),
        on_failure: *dice.pick(&[OnFailure::Block, OnFailure::Allow]),
        approval: ApprovalRule {
            approvers: approvers(dice),
            required: 1 + [0, 0, 0, 1, 1, 2][dice.index(6)],
            expires_after: [0, 300, 3_000, 30_000][dice.index(4)],
            self_approval: !dice.one_in(3),
        },
    }
}

pub(crate) fn plan(dice: &mut Dice) -> Plan {
    let known: Vec<Guard> = (0..5).map(|number| guard(dice, number)).collect();
    let mut pipeline = Stages::default();
    for stage in Stage::ALL {
        *pipeline.at_mut(stage) = dice.some(&known, 3);
    }
    Plan {
        route: (*dice.pick(&["default", "payments"])).into(),
        provider: "main".into(),
        provider_is: Some(Digest::of(b"main")),
        model: "m".into(),
        pipeline,
        attempts: 1 + dice.roll(4) as u32,
        backoff: Backoff { first: [0, 1, 500, 999, 1_500][dice.index(5)], longest: [400, 2_000, 5_000][dice.index(3)] },
        on_unknown: *dice.pick(&[OnUnknown::Retry, OnUnknown::Retry, OnUnknown::Error]),
    }
}

fn text(dice: &mut Dice) -> String {
    (*dice.pick(&TEXTS)).into()
}

fn content(dice: &mut Dice) -> Content {
    match dice.roll(6) {
        0 => Content::None,
        1 | 2 => Content::Parts((0..1 + dice.roll(3)).map(|_| part(dice)).collect()),
        _ => Content::Text(text(dice)),
    }
}

fn part(dice: &mut Dice) -> Part {
    match dice.roll(5) {
        0 => Part::ImageUrl(ImageUrl { url: "data:image/png;base64,AAAA".into(), detail: None }),
        1 => Part::Other(serde_json::json!({"type": "file", "file": {"n": 1.5}})),
        _ => Part::Text(text(dice)),
    }
}

pub(crate) fn message(dice: &mut Dice, role: Role) -> Message {
    let calls = if role == Role::Assistant { dice.roll(3) } else { 0 };
    let call = |n: u64, dice: &mut Dice| ToolCall { id: n.to_string(), name: "f".into(), arguments: text(dice) };
    Message {
        role,
        content: content(dice),
        refusal: (role == Role::Assistant && dice.one_in(4)).then(|| text(dice)),
        name: dice.one_in(5).then(|| "n".into()),
        tool_calls: (0..calls).map(|n| call(n, dice)).collect(),
        tool_call_id: (role == Role::Tool).then(|| "0".into()),
    }
}

pub(crate) fn request(dice: &mut Dice) -> Request {
    let roles = [Role::System, Role::User, Role::User, Role::Assistant, Role::Tool, Role::Tool];
    let tool = |n: u64, dice: &mut Dice| Tool {
        name: n.to_string(),
        description: (!dice.one_in(3)).then(|| text(dice)),
        parameters: dice.one_in(2).then(|| serde_json::json!({"type": "object"})),
        strict: None,
    };
    let params = if dice.one_in(2) { serde_json::json!({"temperature": 0.5, "n": 1}) } else { serde_json::json!({}) };
    Request {
        messages: (0..1 + dice.roll(3))
            .map(|_| *dice.pick(&roles))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|role| message(dice, role))
            .collect(),
        tools: (0..dice.roll(3)).map(|n| tool(n, dice)).collect(),
        params: params.as_object().expect("it is one").clone(),
        metadata: dice.some(&[("ticket".to_owned(), "T-1".to_owned())], 1).into_iter().collect(),
        approvers: if dice.one_in(3) { approvers(dice) } else { vec![] },
    }
}
