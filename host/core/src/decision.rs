//! Who asks, who may decide, and what was decided. A [`Decision`] is a proof: only [`crate::Run::decide`] makes one,
//! after it has checked that this person may decide this question.

use crate::{ApprovalId, Digest, Edit, Finding, Stage, Time, word};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Who is calling, as authenticated by the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// Unique within this installation.
    pub id: String,
    /// Teams without the `team:` prefix.
    #[serde(default)]
    pub teams: Vec<String>,
    /// What it may do.
    #[serde(default)]
    pub roles: Vec<PrincipalRole>,
}

impl Principal {
    /// Everyone, where no authentication is configured.
    pub fn anonymous() -> Principal {
        Principal { id: "anonymous".into(), teams: vec![], roles: vec![PrincipalRole::User, PrincipalRole::Approver, PrincipalRole::Admin] }
    }

    /// Whether it has this role.
    pub fn is(&self, role: PrincipalRole) -> bool {
        self.roles.contains(&role)
    }

    /// Every name under which a list of approvers may mean it: its id, `team:…`, `role:…`.
    pub fn names(&self) -> impl Iterator<Item = Approver> + '_ {
        let id = std::iter::once(Approver::Principal(self.id.clone()));
        id.chain(self.teams.iter().map(|team| Approver::Team(team.clone()))).chain(self.roles.iter().map(|role| Approver::Role(*role)))
    }
}

/// What a principal may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalRole {
    /// Asks.
    User,
    /// Decides wherever no list says otherwise.
    Approver,
    /// Sees and cancels everything, and decides only like an approver.
    Admin,
}

impl PrincipalRole {
    /// As it is written: `user`, `approver`, `admin`.
    pub fn name(self) -> &'static str {
        ["user", "approver", "admin"][self as usize]
    }
}

impl FromStr for PrincipalRole {
    type Err = ApproverError;

    fn from_str(text: &str) -> Result<PrincipalRole, ApproverError> {
        let all = [PrincipalRole::User, PrincipalRole::Approver, PrincipalRole::Admin];
        all.into_iter().find(|role| role.name() == text).ok_or_else(|| ApproverError::Role(text.into()))
    }
}

/// An entry in a list of approvers: a principal's id, `team:NAME` or `role:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Approver {
    /// One principal, by id.
    Principal(String),
    /// Whoever is in that team.
    Team(String),
    /// Whoever has that role.
    Role(PrincipalRole),
}

/// A text that cannot name an approver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApproverError {
    /// Nothing, only white space, or longer than 256 bytes.
    #[error("an approver is a principal's id, team:NAME or role:NAME, of 1 to 256 bytes")]
    Shape,
    /// An unknown role.
    #[error("there is no role {0:?}: write user, approver or admin")]
    Role(String),
}

impl FromStr for Approver {
    type Err = ApproverError;

    fn from_str(text: &str) -> Result<Approver, ApproverError> {
        let name = text.strip_prefix("team:").unwrap_or(text);
        if name.trim().is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            return Err(ApproverError::Shape);
        }
        match text.split_once(':') {
            Some(("team", team)) => Ok(Approver::Team(team.into())),
            Some(("role", role)) => role.parse().map(Approver::Role),
            _ => Ok(Approver::Principal(text.into())),
        }
    }
}

impl fmt::Display for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Approver::Principal(id) => f.write_str(id),
            Approver::Team(team) => write!(f, "team:{team}"),
            Approver::Role(role) => write!(f, "role:{}", role.name()),
        }
    }
}

impl From<Approver> for String {
    fn from(it: Approver) -> String {
        it.to_string()
    }
}

impl TryFrom<String> for Approver {
    type Error = ApproverError;

    fn try_from(text: String) -> Result<Approver, ApproverError> {
        text.parse()
    }
}

/// Why `required` different people can never be found in all of `lists`, or `None` when they may be. Only lists of plain
/// principals can be counted; who is in a team or has a role is not known here. `but` may not decide (the creator, where self-approval is off).
pub fn unreachable(lists: &[Vec<Approver>], required: u32, but: Option<&str>) -> Option<String> {
    let plain = |list: &&Vec<Approver>| !list.is_empty() && list.iter().all(|it| matches!(it, Approver::Principal(_)));
    let sets = lists.iter().filter(plain).map(|list| list.iter().cloned().collect::<BTreeSet<Approver>>());
    let mut people = sets.reduce(|a, b| a.intersection(&b).cloned().collect())?;
    people.retain(|it| but.is_none_or(|but| *it != Approver::Principal(but.into())));
    let found = people.len();
    (found < required as usize).then(|| format!("{required} different approvers are required, and the lists leave {found} who may decide"))
}

/// One of the two decisions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Let it through.
    Approved,
    /// Do not.
    Denied,
}

impl Choice {
    /// As it is written: `approved`, `denied`.
    pub fn name(self) -> &'static str {
        ["approved", "denied"][self as usize]
    }
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Choice, D::Error> {
        word::read(from, &[Choice::Approved, Choice::Denied].map(|it| (it.name(), it)))
    }
}

/// A decision that was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The principal's id.
    pub by: String,
    /// Which way.
    pub choice: Choice,
    /// What the person wrote.
    pub comment: Option<String>,
    /// When it was counted.
    pub at: Time,
}

/// One question to people, raised by one guard at one stage of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// Names it.
    pub id: ApprovalId,
    /// The guard that asks.
    pub guard: String,
    /// Where it asks.
    pub stage: Stage,
    /// What it asks.
    pub prompt: String,
    /// What made it ask; places are those of the whole conversation.
    pub findings: Vec<Finding>,
    /// The lists that are not empty: of the configuration, of the request, of the guard. Who decides must be in every one; without any, role `approver` decides.
    pub approvers: Vec<Vec<Approver>>,
    /// So many different people have to approve.
    pub required: u32,
    /// The principal that created the run, where it may not decide.
    pub excluded: Option<String>,
    /// What people have decided so far, in order.
    pub decisions: Vec<Decided>,
    /// When it was asked.
    pub requested_at: Time,
    /// From then on it counts as denied.
    pub expires_at: Time,
    /// Over exactly what is shown: stage, content, guard component, settings and plan; salted, so that short contents cannot be guessed from it.
    pub digest: Digest,
}

impl Approval {
    /// Whether `who` may decide it. Time and state are another question.
    pub fn entitles(&self, who: &Principal) -> bool {
        let lists = self.lists();
        let names: Vec<Approver> = who.names().collect();
        self.excluded.as_ref() != Some(&who.id) && lists.iter().all(|list| list.iter().any(|it| names.contains(it)))
    }

    /// Whether it waits for `who`: entitled, and has not approved yet.
    pub fn awaits(&self, who: &Principal) -> bool {
        self.entitles(who) && !self.approved_by().any(|by| by == who.id)
    }

    /// Who decides must be in every one of these; never empty.
    pub(crate) fn lists(&self) -> Cow<'_, [Vec<Approver>]> {
        if self.approvers.is_empty() {
            vec![vec![Approver::Role(PrincipalRole::Approver)]].into()
        } else {
            self.approvers.as_slice().into()
        }
    }

    /// The ids of those who approved so far.
    pub fn approved_by(&self) -> impl Iterator<Item = &str> {
        self.decisions.iter().filter(|it| it.choice == Choice::Approved).map(|it| it.by.as_str())
    }
}

/// A decision by someone who may make it, on the open question of one run. Only [`crate::Run::decide`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub(crate) approval: ApprovalId,
    pub(crate) digest: Digest,
    pub(crate) by: String,
    pub(crate) choice: Choice,
    pub(crate) comment: Option<String>,
    pub(crate) edits: Vec<Edit>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<Approver> {
        names.iter().map(|it| it.parse().expect("an approver")).collect()
    }

    #[test]
    fn approvers_read_back_and_nonsense_is_refused() {
        for text in ["ada", "team:risk", "role:approver", "urn:x:y", "a:b"] {
            assert_eq!(text.parse::<Approver>().unwrap().to_string(), text);
        }
        for text in ["", " ", "team:", "team: ", "role:boss", "a\nb"] {
            assert!(text.parse::<Approver>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_quorum_that_plain_lists_cannot_reach_is_found() {
        for (lists, required, but, reachable) in [
            (vec![], 9, None, true),
            (vec![list(&["a"])], 1, None, true),
            (vec![list(&["a", "a"])], 2, None, false),
            (vec![list(&["a", "team:x"])], 9, None, true),
            (vec![list(&["a", "b"]), list(&["b", "c"])], 1, None, true),
            (vec![list(&["a", "b"]), list(&["b", "c"])], 2, None, false),
            (vec![list(&["a"]), list(&["b"])], 1, None, false),
            (vec![list(&["a", "b"])], 2, Some("b"), false),
        ] {
            assert_eq!(unreachable(&lists, required, but).is_none(), reachable, "{lists:?} {required} {but:?}");
        }
    }
}
