//! The key that signs heads: Ed25519 (RFC 8032). It never stands in the store, so that whoever can change the ledger cannot
//! sign it.

use aegis_core::Digest;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const SECRET: &str = "aegis-ledger-";
const PUBLIC: &str = "ed25519:";

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no {0} and 64 hex digits")]
pub struct KeyError(&'static str);

/// Signs. Written as `aegis-ledger-<64 hex digits>`; never shown by `Debug`.
pub struct LedgerKey(Ed25519KeyPair);

impl LedgerKey {
    /// The key of 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> LedgerKey {
        LedgerKey(Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed has 32 bytes"))
    }

    /// The text of the key of these 32 random bytes.
    pub fn text(seed: &[u8; 32]) -> String {
        format!("{SECRET}{}", Digest(*seed).hex())
    }

    /// What may be shown to everyone.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().try_into().expect("a public key has 32 bytes"))
    }

    pub(super) fn sign(&self, hash: Digest) -> [u8; 64] {
        self.0.sign(&hash.0).as_ref().try_into().expect("a signature has 64 bytes")
    }
}

impl FromStr for LedgerKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<LedgerKey, KeyError> {
        bytes(text, SECRET).map(|seed| LedgerKey::from_seed(&seed))
    }
}

impl fmt::Debug for LedgerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LedgerKey({})", self.public())
    }
}

/// Verifies. Written as `ed25519:<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    pub(super) fn signed(&self, hash: Digest, signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(&hash.0, signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<PublicKey, KeyError> {
        bytes(text, PUBLIC).map(PublicKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", Digest(self.0).hex())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<PublicKey> for String {
    fn from(it: PublicKey) -> String {
        it.to_string()
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<PublicKey, KeyError> {
        text.parse()
    }
}

fn bytes(text: &str, prefix: &'static str) -> Result<[u8; 32], KeyError> {
    let hex = text.trim().strip_prefix(prefix).filter(|it| !it.starts_with("sha256:"));
    hex.and_then(|hex| hex.parse::<Digest>().ok()).map(|it| it.0).ok_or(KeyError(prefix))
}
