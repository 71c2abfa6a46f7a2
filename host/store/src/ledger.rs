//! The ledger as it is stored: streams of lines, each sealed over the one before. Appending is the stores' business;
//! nothing here writes.

use aegis_core::{Digest, Link};
use std::collections::BTreeMap;

/// One entry in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerLine {
    /// The stream's name; one writer per stream.
    pub stream: String,
    /// Its number in the stream, from 1, without gaps.
    pub n: u64,
    /// The hash of the line before; zeros before line 1.
    pub previous: Digest,
    /// An [`aegis_core::Entry`] as JSON, byte for byte as it was sealed.
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

/// Follows lines from the first one on and tells where the chain is broken.
#[derive(Debug, Default)]
pub struct Verifier(BTreeMap<String, Link>);

impl Verifier {
    /// Takes the next line of its stream.
    ///
    /// # Errors
    /// What is wrong with it; after that this stream cannot be followed any further.
    pub fn follow(&mut self, line: &LedgerLine) -> Result<(), String> {
        let link = self.0.remove(&line.stream).unwrap_or_else(|| Link::first(&line.stream));
        if line.n != link.n {
            return Err(format!("ledger {}: line {} is missing, {} stands in its place", line.stream, link.n, line.n));
        }
        if link.seal(&line.entry) != line.hash {
            return Err(format!("ledger {}: line {} or the one before was changed", line.stream, line.n));
        }
        self.0.insert(line.stream.clone(), link.next(line.hash));
        Ok(())
    }
}

/// An entry as it is stored and sealed.
pub(crate) fn bytes(entry: &aegis_core::Entry) -> Vec<u8> {
    serde_json::to_vec(entry).expect("an entry has no maps with keys that are not strings")
}
