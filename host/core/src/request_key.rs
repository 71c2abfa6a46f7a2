//! What makes a request the same one when its client sends it again.

use crate::{Digest, Time};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A request that its client may send again: it named it with an `Idempotency-Key`, and that is known by its digest alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// Who sends it, by id: the keys of different principals have nothing to do with each other.
    pub principal: String,
    /// SHA-256 of the key.
    pub key: Digest,
    /// Of all that was asked for. Under the key, which is nowhere kept: a digest of a short text alone could be guessed.
    pub body: Digest,
    /// When it was sent.
    pub at: Time,
    /// From then on the key means nothing any more.
    pub expires_at: Time,
}

impl RequestKey {
    /// `asked` is all that tells one request from another; it is sent at `at`, and remembered for `kept` milliseconds.
    pub fn new(principal: &str, key: &str, asked: &[&[u8]], at: Time, kept: u64) -> RequestKey {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
        for part in asked {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let body = Digest(mac.finalize().into_bytes().into());
        RequestKey { principal: principal.into(), key: Digest::of(key.as_bytes()), body, at, expires_at: at.after(kept) }
    }
}
