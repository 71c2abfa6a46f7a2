//! Names and numbers that travel as text. Nothing in this file makes up a name: time and randomness are passed in.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt::{self, Write as _};
use std::marker::PhantomData;
use std::str::FromStr;
use uuid::Uuid;

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// `milliseconds` later; the end of time when there is no such moment.
    pub fn after(self, milliseconds: u64) -> Time {
        Time(self.0.saturating_add(milliseconds))
    }
}

/// Names a run: a UUID of version 7 (RFC 9562), so that ids sort by the time of their creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(Uuid);

impl RunId {
    /// The id of a run created at `now`; of `random`, 74 bits are used.
    pub fn new(now: Time, random: [u8; 10]) -> RunId {
        RunId(uuid::Builder::from_unix_timestamp_millis(now.0, &random).into_uuid())
    }

    /// The sixteen bytes under which stores keep it.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id that [`RunId::as_bytes`] gave.
    pub fn from_bytes(bytes: [u8; 16]) -> RunId {
        RunId(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for RunId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<RunId, IdError> {
        let hyphenated = text.len() == 36;
        Uuid::try_parse(text).ok().filter(|_| hyphenated).map(RunId).ok_or(IdError { what: "run id, a UUID" })
    }
}

/// Names one question of one run: the run's id, a dot, and its number from 1 (`0192…-….1`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApprovalId {
    /// The run that asks.
    pub run: RunId,
    /// Which of its questions, from 1.
    pub number: u32,
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.run, self.number)
    }
}

impl fmt::Debug for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ApprovalId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<ApprovalId, IdError> {
        let error = IdError { what: "approval id, a run id, a dot and a number" };
        let (run, number) = text.split_once('.').ok_or(error)?;
        let number = number.parse().map_err(|_| error)?;
        Ok(ApprovalId { run: run.parse().map_err(|_| error)?, number })
    }
}

/// A SHA-256 (FIPS 180-4), or an HMAC-SHA-256 (RFC 2104) where a salt keeps short texts from being guessed.
/// Written as `sha256:<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// Sixty-four hex digits without the prefix, as `sha256sum` prints them.
    pub fn hex(&self) -> String {
        hex_digits(self.0).as_str().into()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        f.write_str(hex_digits(self.0).as_str())
    }
}

/// Lower-case hex digits, two for each byte, on the stack: a checkpoint holds dozens of digests.
fn hex_digits(bytes: [u8; 32]) -> Written<64> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Written { bytes: [0; 64], len: 64 };
    for (pair, byte) in text.bytes.chunks_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = IdError;

    /// Reads it with and without the prefix.
    fn from_str(text: &str) -> Result<Digest, IdError> {
        let error = IdError { what: "sha256 digest, 64 hex digits" };
        let hex = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(error);
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            return Err(error);
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks(2)) {
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(Digest(bytes))
    }
}

/// A text that should name something and does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no {what}")]
pub struct IdError {
    what: &'static str,
}

/// A short text on the stack.
struct Written<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Written<N> {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("only whole texts were written")
    }
}

impl<const N: usize> fmt::Write for Written<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

struct FromText<T>(PhantomData<T>);

impl<T: FromStr<Err = IdError>> Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// As serde's `into` and `try_from` would do it, without a `String` for each.
macro_rules! travels_as_text {
    ($($name:ty: $length:literal),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let mut text = Written { bytes: [0; $length], len: 0 };
                write!(text, "{self}").expect("it is no longer than that");
                to.serialize_str(text.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$name, D::Error> {
                from.deserialize_str(FromText(PhantomData))
            }
        }
    )*};
}

// The longest of each: a UUID; with a dot and ten digits; `sha256:` and 64 digits.
travels_as_text!(RunId: 36, ApprovalId: 47, Digest: 71);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_read_back() {
        let early = RunId::new(Time(1_000), [0xff; 10]);
        let late = RunId::new(Time(1_001), [0; 10]);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(RunId::from_bytes(*early.as_bytes()), early);
        let approval = ApprovalId { run: late, number: 3 };
        assert_eq!(approval.to_string().parse(), Ok(approval));
        assert!("x".parse::<RunId>().is_err() && "x.1".parse::<ApprovalId>().is_err());
    }

    #[test]
    fn a_digest_reads_back_with_and_without_its_prefix() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.hex().parse(), Ok(digest));
        assert!("sha256:12".parse::<Digest>().is_err());
        assert!("é".repeat(32).parse::<Digest>().is_err());
    }
}
