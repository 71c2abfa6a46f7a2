//! What the world tells a run. `step` says which want it answers: an answer that comes late or twice is refused.

use crate::{Code, Decision, Message, Principal, Report};
use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A guard judged, or failed.
    Judged {
        /// From [`crate::Input::step`].
        step: u64,
        /// What it said.
        result: Result<Report, GuardFailure>,
    },
    /// The provider answered, or failed.
    Answered {
        /// From [`crate::Call::step`].
        step: u64,
        /// What it said.
        result: Result<Answer, ProviderFailure>,
    },
    /// Said first by a driver that takes up a run in `Calling` which it did not put there itself: the provider may or
    /// may not have been asked.
    Interrupted,
    /// Someone entitled decided.
    Decided(Decision),
    /// Someone who may do so wants the run to end.
    Cancelled {
        /// Who. The caller has checked that it is the creator or an admin.
        by: Principal,
    },
    /// What the plan names is not there any more.
    Lost(Missing),
    /// Nothing but time: back-off is over, a question has expired.
    TimePassed,
}

/// Why a guard has no verdict. A guard that failed has not looked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum GuardFailure {
    /// It said itself that it could not judge.
    #[error("could not judge: {0}")]
    Declined(String),
    /// It stopped in the middle: the trap.
    #[error("trapped: {0}")]
    Trap(String),
    /// It ran longer than its limit.
    #[error("ran into its time limit")]
    Timeout,
    /// It wanted more memory, table space or stack than its limit.
    #[error("ran into its memory limit")]
    Memory,
    /// It handed back more than its limit.
    #[error("handed back more than its output limit")]
    Output,
    /// What it said breaks the contract.
    #[error("broke the contract: {0}")]
    Contract(String),
}

impl GuardFailure {
    /// Without the guard's words.
    pub fn kind(&self) -> FailureKind {
        match self {
            GuardFailure::Declined(_) => FailureKind::Declined,
            GuardFailure::Trap(_) => FailureKind::Trap,
            GuardFailure::Timeout => FailureKind::Timeout,
            GuardFailure::Memory => FailureKind::Memory,
            GuardFailure::Output => FailureKind::Output,
            GuardFailure::Contract(_) => FailureKind::Contract,
        }
    }

    /// What is said of it beyond its kind.
    pub fn words(&self) -> Option<&str> {
        match self {
            GuardFailure::Declined(words) | GuardFailure::Trap(words) | GuardFailure::Contract(words) => Some(words),
            GuardFailure::Timeout | GuardFailure::Memory | GuardFailure::Output => None,
        }
    }
}

/// How a guard failed, in one word: for the ledger, counters and logs. What a guard says of its failure may quote what it was
/// shown, and stays out of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "`GuardFailure` says it")]
pub enum FailureKind {
    Declined,
    Trap,
    Timeout,
    Memory,
    Output,
    Contract,
}

impl FailureKind {
    /// All there are.
    pub const ALL: [FailureKind; 6] =
        [FailureKind::Declined, FailureKind::Trap, FailureKind::Timeout, FailureKind::Memory, FailureKind::Output, FailureKind::Contract];

    /// As it is written.
    pub fn name(self) -> &'static str {
        ["declined", "trap", "timeout", "memory", "output", "contract"][self as usize]
    }

    /// The failure of this kind with these words, where it has any.
    pub fn saying(self, words: &str) -> GuardFailure {
        match self {
            FailureKind::Declined => GuardFailure::Declined(words.into()),
            FailureKind::Trap => GuardFailure::Trap(words.into()),
            FailureKind::Timeout => GuardFailure::Timeout,
            FailureKind::Memory => GuardFailure::Memory,
            FailureKind::Output => GuardFailure::Output,
            FailureKind::Contract => GuardFailure::Contract(words.into()),
        }
    }

    /// The code that users look it up by.
    pub fn code(self) -> Code {
        match self {
            FailureKind::Declined => Code::GRD_DECLINED,
            FailureKind::Trap => Code::GRD_TRAP,
            FailureKind::Timeout => Code::GRD_TIMEOUT,
            FailureKind::Memory => Code::GRD_MEMORY,
            FailureKind::Output => Code::GRD_OUTPUT,
            FailureKind::Contract => Code::GRD_CONTRACT,
        }
    }
}

/// What a provider gave back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The model's message, of role `assistant`.
    pub message: Message,
    /// Why the model stopped, as the provider says it.
    pub finish_reason: Option<String>,
    /// What it cost.
    pub usage: Usage,
}

/// A reply as it stands now: guards and people may have edited its message.
pub type Reply = Answer;

/// Tokens, as the provider counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are OpenAI's")]
pub struct Usage {
    #[serde(default)]
    pub prompt_tokens: u64,
    #[serde(default)]
    pub completion_tokens: u64,
    #[serde(default)]
    pub total_tokens: u64,
}

/// Why a provider has no answer. `message` says it without keys, prompts or addresses with secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderFailure {
    /// Another attempt may help.
    Transient {
        /// For people.
        message: String,
        /// Milliseconds that the provider asks to be left alone.
        retry_after: Option<u64>,
        /// Per mille of the pause to take off, from the driver: the core has no dice.
        jitter: u16,
    },
    /// No other attempt would help.
    Permanent {
        /// For people.
        message: String,
    },
}

/// What a plan names and the host no longer has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// This guard with this component and these settings.
    Guard(String),
    /// This provider.
    Provider(String),
    /// The provider of that name is another one by now.
    OtherProvider(String),
}
