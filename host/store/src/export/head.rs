//! The last line of an export: how many entries there are, where every stream ends, and a signature over all of it.

use super::{LedgerKey, PublicKey};
use crate::{LedgerLine, Position};
use aegis_core::{Digest, RunId, Time};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What an export leaves out; what is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Only this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Only runs that this principal created, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Nothing that happened before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Nothing that happened then or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

impl Filter {
    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        *self == Filter::default()
    }
}

/// Where a stream stands: what it begins after, and its last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Its name.
    pub stream: String,
    /// The number of its first line: 1, unless lines of long ago were removed.
    pub first: u64,
    /// The hash of the line before the first; zeros before line 1.
    pub previous: Digest,
    /// The number of its last line.
    pub n: u64,
    /// The hash of its last line.
    pub hash: Digest,
}

impl End {
    pub(super) fn before(first: &LedgerLine) -> End {
        End { stream: first.stream.clone(), first: first.n, previous: first.previous, n: first.n, hash: first.hash }
    }
}

/// The last line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Of this format.
    pub version: u32,
    /// When the export was made.
    pub time: Time,
    /// What was left out; nothing in a complete export. A filtered one proves that each of its lines is in the ledger, and not
    /// that none is missing.
    pub filter: Filter,
    /// `true` when nothing was left out.
    pub complete: bool,
    /// So many lines come before.
    pub entries: u64,
    /// SHA-256 over the hashes of those lines, in order.
    pub lines: Digest,
    /// Every stream of the ledger, by name, also those of which no line was asked for.
    pub streams: Vec<End>,
    /// SHA-256 over all of the above.
    pub hash: Digest,
    /// Who signed.
    pub key: Option<PublicKey>,
    /// Ed25519 over the 32 bytes of `hash`, as 128 hex digits.
    pub signature: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    head: Head,
}

/// Of the format of heads.
pub(super) const VERSION: u32 = 1;

impl Head {
    pub(super) fn new(time: Time, filter: Filter, entries: u64, lines: Digest, streams: Vec<End>, key: Option<&LedgerKey>) -> Head {
        let complete = filter.is_everything();
        let none = Digest([0; 32]);
        let mut head = Head { version: VERSION, time, filter, complete, entries, lines, streams, hash: none, key: None, signature: None };
        head.hash = head.sealed();
        head.key = key.map(LedgerKey::public);
        head.signature = key.map(|key| hex(&key.sign(head.hash)));
        head
    }

    /// The hash that it should have: SHA-256 over its fields, each length-prefixed with eight bytes, numbers of eight bytes, big
    /// end first; a part of the filter that is left out is empty.
    pub(super) fn sealed(&self) -> Digest {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        let time = |time: Option<Time>| time.map_or(vec![], |it| it.0.to_be_bytes().to_vec());
        field(b"aegis-ledger-head-1");
        field(&time(Some(self.time)));
        field(self.filter.run.map(|it| it.to_string()).unwrap_or_default().as_bytes());
        field(self.filter.principal.as_deref().unwrap_or_default().as_bytes());
        field(&time(self.filter.since));
        field(&time(self.filter.until));
        field(&self.entries.to_be_bytes());
        field(&self.lines.0);
        for end in &self.streams {
            field(end.stream.as_bytes());
            field(&end.first.to_be_bytes());
            field(&end.previous.0);
            field(&end.n.to_be_bytes());
            field(&end.hash.0);
        }
        Digest(hash.finalize().into())
    }

    /// Whether its own key has signed it.
    pub(super) fn is_signed(&self) -> bool {
        let signature = self.signature.as_deref().and_then(unhex);
        self.key.zip(signature).is_some_and(|(key, signature)| key.signed(self.hash, &signature))
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&Line { head: self.clone() }).expect("a head has string keys only")
    }

    pub(super) fn from_json(json: &[u8]) -> Option<Head> {
        serde_json::from_slice(json).ok().map(|it: Line| it.head)
    }
}

fn hex(bytes: &[u8; 64]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 64]> {
    let (first, second) = text.split_at_checked(64)?;
    let half = |text: &str| text.parse::<Digest>().ok().filter(|it| it.hex() == text);
    [half(first)?.0, half(second)?.0].concat().try_into().ok()
}

impl Position {
    /// As text, for those who come back for the next page.
    pub fn to_text(&self) -> String {
        self.streams().map(|(stream, n)| format!("{n}.{stream}")).collect::<Vec<_>>().join("~")
    }

    /// The position that [`Position::to_text`] gave.
    pub fn from_text(text: &str) -> Option<Position> {
        let read = |it: &str| it.split_once('.').and_then(|(n, stream)| Some((stream.to_string(), n.parse().ok()?)));
        text.split('~').filter(|it| !it.is_empty()).map(read).collect::<Option<_>>().map(Position::at)
    }
}
