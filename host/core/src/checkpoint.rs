//! A run as stores keep it: versioned data, never code, with the few facts beside it by which it is found.

use crate::pack::{UnpackError, pack, unpack};
use crate::{ApprovalId, Approver, Entry, RequestKey, Run, RunId, Status, Time};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;

/// What one transaction has to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Replaces the checkpoint with the version before.
    pub checkpoint: Checkpoint,
    /// Follow what the run's ledger holds already, in order.
    pub entries: Vec<Entry>,
    /// The request that led to this, where its client named it; a store keeps that in the same transaction.
    pub request: Option<RequestKey>,
}

/// A run, encoded, and what stores index it by.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Whose checkpoint it is.
    pub run: RunId,
    /// From 1, one more with every commit.
    pub version: u64,
    /// Where it stands.
    pub status: Status,
    /// The route's name.
    pub route: String,
    /// Who created the run, by id.
    pub principal: String,
    /// When it was created.
    pub created_at: Time,
    /// When it moved last.
    pub updated_at: Time,
    /// When it has to be woken: a question expires, a back-off is over.
    pub due: Option<Time>,
    /// The open question.
    pub approval: Option<ApprovalRow>,
    /// [`Run::decode`] reads them.
    pub bytes: Vec<u8>,
}

/// Who may decide an open question, for lists that filter by caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRow {
    /// The question.
    pub id: ApprovalId,
    /// Never empty: who decides must be in every one.
    pub lists: Vec<Vec<Approver>>,
    /// Principals that may not decide any more: who approved already, and the creator where it may not.
    pub excluded: Vec<String>,
}

/// Why bytes are no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer Aegis.
    #[error("the checkpoint has format {0}, and this version reads up to {FORMAT}: use the version that wrote it, or a newer one")]
    Format(u32),
    /// Damaged. Where, and no word of what stands there: it may be content.
    #[error("the checkpoint is damaged: {} error at byte {} of its JSON", kind(.0), .0.column())]
    Damaged(#[from] serde_json::Error),
    /// Damaged before that.
    #[error("the checkpoint is damaged: {0}")]
    Packed(#[from] UnpackError),
    /// It reads, but no run can stand there.
    #[error("the checkpoint is damaged: {0}")]
    Impossible(&'static str),
}

fn kind(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        Category::Io | Category::Eof => "an early-end",
        Category::Syntax => "a syntax",
        Category::Data => "a data",
    }
}

const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    run: &'a Run,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Deserialize)]
struct Read {
    format: u32,
    run: Run,
}

impl Run {
    /// The run as JSON; [`Run::decode`] gives back an equal one, in this version and all later ones.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(&Written { format: FORMAT, run: self }).expect("a run has no maps with keys that are not strings or numbers")
    }

    /// The same as stores have it.
    pub fn packed(&self) -> Vec<u8> {
        pack(self.encode())
    }

    /// Reads a checkpoint of this or any earlier version, packed as stores have it or plain.
    ///
    /// # Errors
    /// When it is damaged, or of a later version.
    pub fn decode(bytes: &[u8]) -> Result<Run, DecodeError> {
        let bytes = &*unpack(bytes)?;
        let read = serde_json::from_slice(bytes);
        // Another format may read as well, or not at all: its number comes first.
        let format = match &read {
            Ok(Read { format, .. }) => *format,
            Err(_) => serde_json::from_slice::<Format>(bytes)?.format,
        };
        if format != FORMAT {
            return Err(DecodeError::Format(format));
        }
        let Read { run, .. } = read?;
        run.check().map_err(DecodeError::Impossible)?;
        Ok(run)
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            run: self.id(),
            version: self.version(),
            status: self.status(),
            route: self.plan().route.clone(),
            principal: self.principal().id.clone(),
            created_at: self.created_at(),
            updated_at: self.updated_at(),
            due: self.due(),
            approval: self.approval().map(|it| {
                let excluded = it.excluded.iter().cloned().chain(it.approved_by().map(String::from));
                ApprovalRow { id: it.id, lists: it.lists().into_owned(), excluded: excluded.collect() }
            }),
            bytes: self.packed(),
        }
    }
}
