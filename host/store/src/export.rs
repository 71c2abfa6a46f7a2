//! The ledger on its way out: lines that carry all that their hash covers, and a signed head over all streams. What is written
//! here can be verified anywhere, without the store. The format is `docs/ledger.md`.

mod head;
mod key;
mod verify;

pub use head::{End, Filter, Head};
pub use key::{KeyError, LedgerKey, PublicKey};
pub use verify::{Broken, Fault, Verified, verify};

use crate::{LedgerLine, Position, Runs, StoreError};
use aegis_core::{Digest, Fact, Record, Removal, RunId, Time};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// So many lines are in memory at once.
const PAGE: usize = 1_000;

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Retention was faster: lines that were still to come are not there any more.
    #[error("retention has removed lines of the ledger while it was exported: export it again")]
    Pruned,
    /// Nobody takes it.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// What a line says beside its entry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    stream: String,
    n: u64,
    previous: Digest,
    hash: Digest,
}

/// Between the place and the entry.
const ENTRY: &[u8] = b",\"entry\":";

impl LedgerLine {
    /// The line as JSON; the entry stands last and byte for byte as it was sealed.
    pub fn to_json(&self) -> Vec<u8> {
        let place = Place { stream: self.stream.clone(), n: self.n, previous: self.previous, hash: self.hash };
        let mut json = serde_json::to_vec(&place).expect("a place has string keys only");
        json.pop();
        json.extend_from_slice(ENTRY);
        json.extend_from_slice(&self.entry);
        json.push(b'}');
        json
    }

    /// The line that [`LedgerLine::to_json`] gave.
    fn from_json(json: &[u8]) -> Option<LedgerLine> {
        // Quotes inside of strings are escaped, so this is where the entry begins.
        let at = json.windows(ENTRY.len()).position(|it| it == ENTRY)?;
        let entry = json[at + ENTRY.len()..].strip_suffix(b"}")?;
        let Place { stream, n, previous, hash } = serde_json::from_slice(&[&json[..at], b"}"].concat()).ok()?;
        Some(LedgerLine { stream, n, previous, entry: entry.to_vec(), hash })
    }
}

/// Writes what `filter` asks for as JSON lines and a head after them, signed where there is a key. Reads the whole ledger
/// whatever the filter says: the head tells where every stream ends.
///
/// # Errors
/// When it cannot be read or written; what was written so far has no head, and does not verify.
pub async fn export(
    store: &(impl Runs + ?Sized),
    filter: &Filter,
    key: Option<&LedgerKey>,
    now: Time,
    to: &mut impl Write,
) -> Result<Head, ExportError> {
    let mut export = Export { filter, theirs: BTreeSet::new(), ends: BTreeMap::new(), entries: 0, lines: Sha256::new() };
    if let Some(principal) = &filter.principal {
        export.theirs = runs_of(store, principal).await?;
    }
    let mut position = Position::default();
    loop {
        let page = store.ledger_list(&position, PAGE).await?;
        if page.is_empty() {
            break;
        }
        position.pass_all(&page);
        if page.first().is_some_and(|it| export.misses_lines_before(it)) {
            let first = store.ledger_list(&Position::default(), 1).await?;
            if first.first() == page.first() {
                return Err(ExportError::Pruned);
            }
        }
        for line in &page {
            export.pass(line, to)?;
        }
    }
    let Export { ends, entries, lines, .. } = export;
    let head = Head::new(now, filter.clone(), entries, Digest(lines.finalize().into()), ends.into_values().collect(), key);
    let mut json = head.to_json();
    json.push(b'\n');
    to.write_all(&json)?;
    to.flush()?;
    Ok(head)
}

/// Runs that this principal has created. Looked for first: a run that moved from host to host stands in several streams, and in any order.
async fn runs_of(store: &(impl Runs + ?Sized), principal: &str) -> Result<BTreeSet<RunId>, StoreError> {
    let (mut position, mut theirs) = (Position::default(), BTreeSet::new());
    loop {
        let page = store.ledger_list(&position, PAGE).await?;
        if page.is_empty() {
            return Ok(theirs);
        }
        position.pass_all(&page);
        for line in &page {
            if let Record::Run(entry) = Record::read(&line.entry).map_err(|error| crate::ledger::unreadable(line, &error))?
                && matches!(&entry.fact, Fact::Created { principal: it, .. } if it == principal)
            {
                theirs.insert(entry.run);
            }
        }
    }
}

struct Export<'a> {
    filter: &'a Filter,
    /// Runs of the principal that is asked for.
    theirs: BTreeSet<RunId>,
    ends: BTreeMap<String, End>,
    entries: u64,
    lines: Sha256,
}

impl Export<'_> {
    /// Whether lines between those that were passed and this one are not there.
    fn misses_lines_before(&self, line: &LedgerLine) -> bool {
        self.ends.get(&line.stream).is_some_and(|end| line.n > end.n + 1)
    }

    fn pass(&mut self, line: &LedgerLine, to: &mut impl Write) -> Result<(), ExportError> {
        let end = self.ends.entry(line.stream.clone()).or_insert_with(|| End::before(line));
        (end.n, end.hash) = (line.n, line.hash);
        if self.is_wanted(line)? {
            let mut json = line.to_json();
            json.push(b'\n');
            to.write_all(&json)?;
            self.entries += 1;
            self.lines.update(line.hash.0);
        }
        Ok(())
    }

    fn is_wanted(&self, line: &LedgerLine) -> Result<bool, StoreError> {
        if self.filter.is_everything() {
            return Ok(true);
        }
        let Filter { run, principal, since, until } = self.filter;
        let entry = match Record::read(&line.entry).map_err(|error| crate::ledger::unreadable(line, &error))? {
            Record::Run(entry) => entry,
            Record::Removal(removal) => return Ok(self.is_about(&removal)),
        };
        Ok(run.is_none_or(|run| run == entry.run)
            && (principal.is_none() || self.theirs.contains(&entry.run))
            && since.is_none_or(|since| entry.time >= since)
            && until.is_none_or(|until| entry.time < until))
    }

    /// Whether something was removed of what is asked for.
    fn is_about(&self, removal: &Removal) -> bool {
        let Filter { run, principal, since, until } = self.filter;
        run.is_none_or(|run| removal.runs().contains(&run))
            && (principal.is_none() || removal.runs().iter().any(|it| self.theirs.contains(it)))
            && since.is_none_or(|since| removal.time >= since)
            && until.is_none_or(|until| removal.time < until)
    }
}

#[cfg(test)]
mod tests;
