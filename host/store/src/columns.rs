//! How values stand in the columns of a database, and how they come out again: the same in every one.

use crate::StoreError;
use aegis_core::{Approver, Run, RunId, Time};

/// A database's numbers end earlier than ours; the end of time is the end of time.
pub(crate) fn milliseconds(time: Time) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

/// What [`milliseconds`] wrote.
pub(crate) fn time(milliseconds: i64) -> Time {
    Time(milliseconds.cast_unsigned())
}

/// A limit, as SQL has it.
pub(crate) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// An approver as one text. Its kind is part of it: a principal may have the id `team:risk`, and is not that team.
pub(crate) fn name(approver: &Approver) -> String {
    match approver {
        Approver::Principal(id) => format!("principal {id}"),
        Approver::Team(team) => format!("team {team}"),
        Approver::Role(role) => format!("role {}", role.name()),
    }
}

/// The run of a checkpoint, which has to be the one whose row it stands in.
pub(crate) fn decode(id: RunId, checkpoint: &[u8]) -> Result<Run, StoreError> {
    let run = Run::decode(checkpoint).map_err(|error| StoreError::unreadable(id, error))?;
    if run.id() == id {
        Ok(run)
    } else {
        Err(StoreError::Damaged(format!("run {id} cannot be read: in its place stands run {}", run.id())))
    }
}
