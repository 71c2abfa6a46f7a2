//! What a host has removed, as lines of the ledger that belong to no run: without them nobody could tell what retention took from
//! what was stolen. Removing itself is done elsewhere.

use crate::{Digest, Entry, RunId, Time};
use serde::{Deserialize, Serialize};

/// The host removed something; written in the transaction that removes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// When.
    pub time: Time,
    /// What, and why.
    pub what: Removed,
}

/// What was removed, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Removed {
    /// The content of runs that had been over for long.
    Content {
        /// These.
        runs: Vec<RunId>,
        /// All of them were over before that.
        ended_before: Time,
    },
    /// The content of all runs of one principal, because somebody asked for it.
    Erased {
        /// These.
        runs: Vec<RunId>,
        /// Whose they were, by id.
        principal: String,
        /// Who asked, by id.
        by: String,
    },
    /// Whole runs that had been over for long; what the ledger says of them stays.
    Runs {
        /// These.
        runs: Vec<RunId>,
        /// All of them were over before that.
        ended_before: Time,
    },
    /// The oldest lines of this stream, all before one.
    Lines {
        /// The number of the line that comes first now.
        first: u64,
        /// The hash of the line before it, which it follows.
        previous: Digest,
        /// All of them were written before that.
        written_before: Time,
    },
}

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Something happened to a run.
    Run(Entry),
    /// The host removed something.
    Removal(Removal),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<T> {
    removal: T,
}

/// How every removal begins, and no entry of a run.
const BEGINNING: &[u8] = b"{\"removal\":";

impl Removal {
    /// The line as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&Written { removal: self }).expect("a removal has string keys only")
    }

    /// The removal that a line tells of; `None` when it is about a run.
    ///
    /// # Errors
    /// When it is a removal of a kind that this version does not know.
    pub fn read(line: &[u8]) -> Result<Option<Removal>, serde_json::Error> {
        let removal = line.starts_with(BEGINNING);
        removal.then(|| serde_json::from_slice(line).map(|it: Written<Removal>| it.removal)).transpose()
    }

    /// The runs that lost something.
    pub fn runs(&self) -> &[RunId] {
        match &self.what {
            Removed::Content { runs, .. } | Removed::Erased { runs, .. } | Removed::Runs { runs, .. } => runs,
            Removed::Lines { .. } => &[],
        }
    }
}

impl Record {
    /// What a line says.
    ///
    /// # Errors
    /// When it is no line of this version.
    pub fn read(line: &[u8]) -> Result<Record, serde_json::Error> {
        match Removal::read(line)? {
            Some(removal) => Ok(Record::Removal(removal)),
            None => serde_json::from_slice(line).map(Record::Run),
        }
    }

    /// When it happened.
    pub fn time(&self) -> Time {
        match self {
            Record::Run(entry) => entry.time,
            Record::Removal(removal) => removal.time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_reads_back_and_is_no_entry_of_a_run() {
        let (id, principal) = (RunId::from_bytes([1; 16]), String::from("ada"));
        for what in [
            Removed::Content { runs: vec![id], ended_before: Time(7) },
            Removed::Erased { runs: vec![id], principal, by: "root".into() },
            Removed::Runs { runs: vec![id], ended_before: Time(7) },
            Removed::Lines { first: 8, previous: Digest([2; 32]), written_before: Time(7) },
        ] {
            let removal = Removal { time: Time(9), what };
            let line = removal.to_json();
            assert_eq!(Record::read(&line).expect("it reads"), Record::Removal(removal.clone()));
            assert!(serde_json::from_slice::<Entry>(&line).is_err());
        }
        let unknown = br#"{"removal":{"time":1,"what":{"type":"everything"}}}"#;
        assert!(Removal::read(unknown).is_err(), "what nobody knows is not taken for something else");
    }
}
