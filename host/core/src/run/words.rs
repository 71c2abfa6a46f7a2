//! What guards say in words. It may quote content, so it stands in the run beside the content and can be erased with it; the
//! ledger holds salted digests.

use super::{Phase, Run};
use crate::{Digest, Entry, Fact, GuardFailure, Outcome, Ruling};

/// Stands where words were erased.
const ERASED: &str = "erased with the content";

/// What guards say in words.
impl Run {
    /// Keeps the words of the entry that comes next.
    pub(super) fn say(&mut self, words: String) -> Digest {
        let digest = self.spoken(&words);
        self.words.insert(self.history.len() as u32 + 1, words);
        digest
    }

    /// The digest of words.
    pub(super) fn spoken(&self, words: &str) -> Digest {
        self.salted(&[b"words", words.as_bytes()])
    }

    /// What the guard said at this entry: its reason, its question, what it says of its failure. `None` when it said nothing, or
    /// when its words were erased with the content.
    pub fn words(&self, entry: &Entry) -> Option<&str> {
        match &entry.fact {
            Fact::Judged { ruling: Ruling::RequireApproval { approval, .. }, .. } => {
                self.approvals.iter().find(|it| it.id == *approval).map(|it| it.prompt.as_str()).filter(|_| self.erased.is_none())
            }
            _ => self.words.get(&entry.place).map(String::as_str),
        }
    }

    /// How the guard failed at this entry.
    pub fn failure(&self, entry: &Entry) -> Option<GuardFailure> {
        let Fact::Judged { ruling: Ruling::Failed { kind, .. }, .. } = &entry.fact else { return None };
        Some(kind.saying(self.words(entry).unwrap_or(ERASED)))
    }

    /// Why a guard has blocked it, for the caller.
    pub fn why_blocked(&self) -> Option<String> {
        let Phase::Done(Outcome::Blocked { .. }) = self.phase else { return None };
        let last = self.history.last()?;
        Some(self.failure(last).map_or_else(|| self.words(last).unwrap_or(ERASED).into(), |failure| failure.to_string()))
    }
}
