//! Verifies an export without the store: every line, their order, and the head. Says exactly where it breaks.

use super::{End, Head, PublicKey, head::VERSION};
use crate::{LedgerLine, Removals};
use aegis_core::{Digest, Link};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, Read};

/// Bytes of the longest line.
const LONGEST: u64 = 256 << 20;

/// What a sound export holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// Its last line.
    pub head: Head,
    /// Whether the key that was asked for has signed it; otherwise whoever made the export could have changed it all.
    pub trusted: bool,
    /// What its lines say was removed.
    pub removals: Removals,
}

/// Where an export breaks, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The line of the file, from 1.
    pub line: u64,
    /// The stream and the number in it of that line, where it could be read and is no head.
    pub place: Option<(String, u64)>,
    /// Why.
    pub fault: Fault,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some((stream, n)) = &self.place {
            write!(f, ", stream {stream}, n {n}")?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl std::error::Error for Broken {}

/// What is wrong with an export.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
    /// Neither a line of the ledger nor a head.
    #[error("this is no line of a ledger")]
    Shape,
    /// What the line says is not what was sealed.
    #[error("the line was changed: its hash is not that of what it says")]
    Changed,
    /// It does not follow the line before it in its stream.
    #[error("the line does not follow the one before it in its stream: one of them was changed")]
    Torn,
    /// A line stands where an earlier or the same one should.
    #[error("lines are out of order: {0} stands before it")]
    Order(u64),
    /// Lines between are not there.
    #[error("lines {0} to {1} of the stream are missing before it")]
    Missing(u64, u64),
    /// Nothing says how it should end.
    #[error("the head is missing: the end was cut off")]
    Headless,
    /// A head of another format.
    #[error("the head has version {0}, and this version of Aegis knows {VERSION}")]
    Version(u32),
    /// Something comes after the head.
    #[error("something stands after the head")]
    AfterHead,
    /// The head is not what it was.
    #[error("the head was changed: its hash is not that of what it says")]
    HeadChanged,
    /// The head counts other lines.
    #[error("the head counts {said} entries, and there are {found}")]
    Count {
        /// By the head.
        said: u64,
        /// In the file.
        found: u64,
    },
    /// The head was made of other lines.
    #[error("the head was made of other lines than these")]
    Lines,
    /// The stream goes on in the head.
    #[error("the stream {stream} ends at {found}, and by the head at {said}: its end was cut off")]
    Cut {
        /// Which stream.
        stream: String,
        /// By the head.
        said: u64,
        /// In the file.
        found: u64,
    },
    /// The stream does not begin at its beginning, and no line says that retention took what was before.
    #[error("lines 1 to {} of the stream {stream} are missing, and no line says that they were removed", .first - 1)]
    Beheaded {
        /// Which stream.
        stream: String,
        /// Its first line in the file.
        first: u64,
    },
    /// A line of a kind that a later version writes.
    #[error("the line tells of something that this version of Aegis does not know")]
    Unknown,
    /// The head knows nothing of it.
    #[error("the head knows no stream {0}")]
    Foreign(String),
    /// The signature is there and wrong, or it is half there.
    #[error("the signature is not that of the key {0}")]
    Signature(String),
    /// Nobody has signed, and a key was asked for.
    #[error("nobody has signed it")]
    Unsigned,
    /// Another key has signed.
    #[error("it was signed by {0}, not by the key that you trust")]
    OtherKey(String),
}

/// What is known of one stream of the file so far.
struct Stream {
    first: u64,
    previous: Digest,
    n: u64,
    hash: Digest,
}

#[derive(Default)]
struct Reading {
    line: u64,
    entries: u64,
    lines: Sha256,
    streams: BTreeMap<String, Stream>,
    removals: Removals,
    /// The first place where lines are missing: no fault where some were left out on purpose.
    gap: Option<Broken>,
    head: Option<Head>,
}

/// Reads an export from its beginning to its end, in little memory.
///
/// # Errors
/// The first place where it breaks.
pub fn verify(mut from: impl BufRead, trusted: Option<&PublicKey>) -> Result<Verified, Broken> {
    let mut reading = Reading::default();
    let mut bytes = vec![];
    loop {
        bytes.clear();
        reading.line += 1;
        let read = (&mut from).take(LONGEST).read_until(b'\n', &mut bytes);
        match read.map_err(|error| reading.broken(Fault::Unreadable(error.to_string())))? {
            0 => break,
            _ => reading.take(bytes.strip_suffix(b"\n").unwrap_or(&bytes))?,
        }
    }
    reading.end(trusted)
}

impl Reading {
    fn broken(&self, fault: Fault) -> Broken {
        Broken { line: self.line, place: None, fault }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        if self.head.is_some() {
            return Err(self.broken(Fault::AfterHead));
        }
        match LedgerLine::from_json(bytes) {
            Some(line) => self.follow(&line),
            None => {
                self.head = Some(Head::from_json(bytes).ok_or_else(|| self.broken(Fault::Shape))?);
                Ok(())
            }
        }
    }

    fn follow(&mut self, line: &LedgerLine) -> Result<(), Broken> {
        let at = |fault| Broken { line: self.line, place: Some((line.stream.clone(), line.n)), fault };
        let link = Link { stream: line.stream.clone(), n: line.n, previous: line.previous };
        if link.seal(&line.entry) != line.hash {
            return Err(at(Fault::Changed));
        }
        match self.streams.get(&line.stream) {
            Some(before) if line.n <= before.n => return Err(at(Fault::Order(before.n))),
            Some(before) if line.n == before.n + 1 && line.previous != before.hash => return Err(at(Fault::Torn)),
            Some(before) if line.n > before.n + 1 => {
                let gap = at(Fault::Missing(before.n + 1, line.n - 1));
                self.gap.get_or_insert(gap);
            }
            _ => {}
        }
        self.removals.pass(line).map_err(|_| at(Fault::Unknown))?;
        if !self.streams.contains_key(&line.stream) {
            self.removals.begin(line);
        }
        let new = || Stream { first: line.n, previous: line.previous, n: line.n, hash: line.hash };
        let stream = self.streams.entry(line.stream.clone()).or_insert_with(new);
        (stream.n, stream.hash) = (line.n, line.hash);
        self.entries += 1;
        self.lines.update(line.hash.0);
        Ok(())
    }

    fn end(mut self, trusted: Option<&PublicKey>) -> Result<Verified, Broken> {
        let head = self.head.take();
        // The head is the last line that was read; without one, it is missing from the line after the last.
        self.line -= u64::from(head.is_some());
        let Some(head) = head else { return Err(self.gap.clone().unwrap_or_else(|| self.broken(Fault::Headless))) };
        if let Some(gap) = self.gap.take().filter(|_| head.filter.is_everything()) {
            return Err(gap);
        }
        self.check(&head).and_then(|()| signed(&head, trusted)).map_err(|fault| self.broken(fault))?;
        Ok(Verified { head, trusted: trusted.is_some(), removals: self.removals })
    }

    fn check(&self, head: &Head) -> Result<(), Fault> {
        if head.version != VERSION {
            return Err(Fault::Version(head.version));
        }
        if let Some(foreign) = self.streams.keys().find(|name| !head.streams.iter().any(|end| end.stream == **name)) {
            return Err(Fault::Foreign(foreign.clone()));
        }
        head.streams.iter().try_for_each(|end| self.check_end(end, head.filter.is_everything()))?;
        match () {
            _ if head.entries != self.entries => Err(Fault::Count { said: head.entries, found: self.entries }),
            _ if head.lines != Digest(self.lines.clone().finalize().into()) => Err(Fault::Lines),
            _ if head.complete != head.filter.is_everything() || head.sealed() != head.hash => Err(Fault::HeadChanged),
            _ => self.beheaded(head).map_or(Ok(()), Err),
        }
    }

    fn beheaded(&self, head: &Head) -> Option<Fault> {
        let (stream, first) = self.removals.beheaded().filter(|_| head.filter.is_everything())?;
        Some(Fault::Beheaded { stream: stream.into(), first })
    }

    fn check_end(&self, end: &End, complete: bool) -> Result<(), Fault> {
        let cut = |found| Fault::Cut { stream: end.stream.clone(), said: end.n, found };
        let Some(stream) = self.streams.get(&end.stream) else { return if complete { Err(cut(0)) } else { Ok(()) } };
        match () {
            _ if stream.n < end.n && complete => Err(cut(stream.n)),
            _ if stream.n > end.n => Err(Fault::HeadChanged),
            _ if stream.n == end.n && stream.hash != end.hash => Err(Fault::HeadChanged),
            _ if stream.first < end.first => Err(Fault::HeadChanged),
            _ if complete && stream.first > end.first => Err(Fault::Missing(end.first, stream.first - 1)),
            _ if stream.first == end.first && stream.previous != end.previous => Err(Fault::HeadChanged),
            _ if end.first == 1 && end.previous != Digest([0; 32]) => Err(Fault::HeadChanged),
            _ => Ok(()),
        }
    }
}

fn signed(head: &Head, trusted: Option<&PublicKey>) -> Result<(), Fault> {
    match (&head.key, &head.signature, trusted) {
        (None, None, None) => Ok(()),
        (None, None, Some(_)) => Err(Fault::Unsigned),
        (key, ..) if !head.is_signed() => Err(Fault::Signature(key.map_or("that is not named".into(), |it| it.to_string()))),
        (Some(key), _, Some(trusted)) if key != trusted => Err(Fault::OtherKey(key.to_string())),
        _ => Ok(()),
    }
}
