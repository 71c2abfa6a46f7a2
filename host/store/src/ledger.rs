//! The ledger as it is stored: streams of lines, each sealed over the one before. Appending is the stores' business;
//! nothing here writes.

use crate::StoreError;
use aegis_core::{Digest, Entry, Link, Removal, Removed, Run, RunId};
use std::collections::{BTreeMap, BTreeSet};

/// One entry in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerLine {
    /// The stream's name; one writer per stream.
    pub stream: String,
    /// Its number in the stream, from 1, without gaps.
    pub n: u64,
    /// The hash of the line before; zeros before line 1.
    pub previous: Digest,
    /// An [`aegis_core::Record`] as JSON, byte for byte as it was sealed.
    pub entry: Vec<u8>,
    /// [`Link::seal`] over all of this.
    pub hash: Digest,
}

/// How far a reader of the ledger has come. Opaque: a store may have one stream or many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position(BTreeMap<String, u64>);

impl Position {
    /// Notes that `line` was read.
    pub fn pass(&mut self, line: &LedgerLine) {
        self.0.insert(line.stream.clone(), line.n);
    }

    /// Notes that all of `page` was read, in its order.
    pub fn pass_all(&mut self, page: &[LedgerLine]) {
        for (at, line) in page.iter().enumerate() {
            let last_of_its_stream = page.get(at + 1).is_none_or(|next| next.stream != line.stream);
            if last_of_its_stream {
                self.pass(line);
            }
        }
    }

    /// After these lines.
    pub(crate) fn at(streams: BTreeMap<String, u64>) -> Position {
        Position(streams)
    }

    /// Every stream of which a line was read, and the number of the last one.
    pub(crate) fn streams(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(stream, n)| (stream.as_str(), *n))
    }

    /// The number of the last line read of `stream`, 0 before the first.
    pub fn of(&self, stream: &str) -> u64 {
        self.0.get(stream).copied().unwrap_or(0)
    }
}

/// Follows lines from the first one on, tells where the chain is broken, and keeps what retention says that it has removed.
#[derive(Debug, Default)]
pub struct Verifier {
    links: BTreeMap<String, Link>,
    removals: Removals,
}

impl Verifier {
    /// Takes the next line of its stream.
    ///
    /// # Errors
    /// What is wrong with it; after that this stream cannot be followed any further.
    pub fn follow(&mut self, line: &LedgerLine) -> Result<(), String> {
        let link = self.links.remove(&line.stream).unwrap_or_else(|| self.removals.begin(line));
        if line.n != link.n {
            return Err(format!("ledger {}: line {} is missing, {} stands in its place", line.stream, link.n, line.n));
        }
        if link.seal(&line.entry) != line.hash {
            return Err(format!("ledger {}: line {} or the one before was changed", line.stream, line.n));
        }
        self.removals.pass(line).map_err(|error| unreadable(line, &error).to_string())?;
        self.links.insert(line.stream.clone(), link.next(line.hash));
        Ok(())
    }

    /// What all lines together say of what is not there any more.
    ///
    /// # Errors
    /// When the beginning of a stream is missing, and nothing says that retention took it.
    pub fn end(self) -> Result<Removals, String> {
        match self.removals.beheaded() {
            Some((stream, first)) => {
                Err(format!("ledger {stream}: lines 1 to {} are missing, and no line says that they were removed", first - 1))
            }
            None => Ok(self.removals),
        }
    }
}

/// What a ledger says was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// Runs that were removed whole.
    pub runs: BTreeSet<RunId>,
    /// Runs whose content was removed.
    pub content: BTreeSet<RunId>,
    /// The number and the predecessor of each stream's first line, where that is not line 1.
    begun: BTreeMap<String, (u64, Digest)>,
    /// The same of every removal of lines.
    cuts: BTreeSet<(String, u64, Digest)>,
}

impl Removals {
    /// The link before the first line that there is of a stream.
    pub(crate) fn begin(&mut self, line: &LedgerLine) -> Link {
        if line.n <= 1 || line.previous == Digest([0; 32]) {
            return Link::first(&line.stream);
        }
        self.begun.insert(line.stream.clone(), (line.n, line.previous));
        Link { stream: line.stream.clone(), n: line.n, previous: line.previous }
    }

    /// Notes what a line says that was removed.
    pub(crate) fn pass(&mut self, line: &LedgerLine) -> Result<(), serde_json::Error> {
        let Some(removal) = Removal::read(&line.entry)? else { return Ok(()) };
        match removal.what {
            Removed::Content { runs, .. } | Removed::Erased { runs, .. } => self.content.extend(runs),
            Removed::Runs { runs, .. } => self.runs.extend(runs),
            Removed::Lines { first, previous, .. } => drop(self.cuts.insert((line.stream.clone(), first, previous))),
        }
        Ok(())
    }

    /// That a run which the ledger tells of may be missing.
    ///
    /// # Errors
    /// When nothing says that it was removed.
    pub(crate) fn explain_run(&self, id: RunId) -> Result<(), String> {
        let removed = self.runs.contains(&id);
        if removed { Ok(()) } else { Err(format!("run {id} is missing, and no line of the ledger says that it was removed")) }
    }

    /// The same of a run's content.
    ///
    /// # Errors
    /// When nothing says that it was removed.
    pub(crate) fn explain_content(&self, run: &Run) -> Result<(), String> {
        let explained = run.erased().is_none() || self.content.contains(&run.id());
        if explained {
            Ok(())
        } else {
            Err(format!("the content of run {} is missing, and no line of the ledger says that it was removed", run.id()))
        }
    }

    /// A stream whose beginning is gone without a line that says so, and where it begins now.
    pub(crate) fn beheaded(&self) -> Option<(&str, u64)> {
        let unexplained =
            |(stream, (first, previous)): &(&String, &(u64, Digest))| !self.cuts.contains(&((*stream).clone(), *first, *previous));
        self.begun.iter().find(unexplained).map(|(stream, (first, _))| (stream.as_str(), *first))
    }
}

/// A line that this version cannot read.
pub(crate) fn unreadable(line: &LedgerLine, error: &serde_json::Error) -> StoreError {
    StoreError::Damaged(format!("ledger {}: line {} cannot be read: {error}", line.stream, line.n))
}

/// An entry as it is stored and sealed.
pub(crate) fn bytes(entry: &Entry) -> Vec<u8> {
    let mut bytes = vec![];
    write(entry, &mut bytes);
    bytes
}

/// The same, at the end of `to`.
pub(crate) fn write(entry: &Entry, to: &mut Vec<u8>) {
    serde_json::to_writer(to, entry).expect("an entry has no maps with keys that are not strings, and memory takes it");
}
