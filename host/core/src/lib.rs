//! The pure part of Aegis: what a run is and how it moves. No clock, no network, no store, no wasm and no
//! randomness in this crate; whoever drives a run brings all of that.
//!
//! Start with [`Run`]: [`Run::wants`] says what has to happen next, [`Run::handle`] takes in what happened.

mod checkpoint;
mod code;
mod decision;
mod event;
mod id;
mod json;
mod ledger;
mod message;
mod pack;
mod plan;
mod removal;
mod request_key;
mod run;
mod verdict;
mod word;

pub use checkpoint::{ApprovalRow, Checkpoint, Commit, DecodeError};
pub use code::Code;
pub use decision::{Approval, Approver, ApproverError, Choice, Decided, Decision, Principal, PrincipalRole, unreachable};
pub use event::{Answer, Event, FailureKind, GuardFailure, Missing, ProviderFailure, Reply, Usage};
pub use id::{ApprovalId, Digest, IdError, RunId, Time};
pub use json::{Strict, once};
pub use ledger::{Entry, Fact, Finish, LedgerError, Link, Replayed, Ruling, replay};
pub use message::{Content, Detail, ImageUrl, InputAudio, MAX_DEPTH, Message, Part, PartView, Role, Tool, ToolCall, too_deep};
pub use pack::{UnpackError, pack_into, unpack, unpacked_len};
pub use plan::{ApprovalRule, Backoff, Guard, Mode, OnFailure, OnUnknown, Plan, Scope, SharedPlan, Stages};
pub use removal::{Record, Removal, Removed};
pub use request_key::RequestKey;
pub use run::{Again, Call, Failure, Input, Label, Outcome, Phase, Refused, Request, Run, Status, Unproved, Want};
pub use verdict::{Edit, Finding, Place, Question, Report, ReportError, Rewrite, Stage, Verdict};
