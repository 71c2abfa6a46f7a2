//! The one place where time and randomness come from. Nothing else in this crate asks the system for either.

use aegis_core::Time;
use jiff::fmt::temporal::DateTimePrinter;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds by which the clock of the store is ahead of this machine's: hosts that share one go by that, however theirs are set.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// Now. A clock set before 1970 counts as 1970.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let machine = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Time(machine.saturating_add_signed(AHEAD.load(Ordering::Relaxed)))
}

/// Goes by a clock that is so much ahead from now on.
pub(crate) fn follow(ahead: i64) {
    AHEAD.store(ahead, Ordering::Relaxed);
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

/// `N` unguessable bytes as lower-case hex digits.
pub(crate) fn random_hex<const N: usize>() -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).expect("half a byte is one hex digit");
    random::<N>().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// As it is written for people and programs: RFC 3339 in UTC with milliseconds, such as `2026-01-31T12:00:00.000Z`.
pub fn rfc3339(time: Time) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    let moment = i64::try_from(time.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    PRINTER.timestamp_to_string(&moment.unwrap_or(jiff::Timestamp::MAX))
}

/// `serialize_with` for fields that hold a [`Time`].
pub(crate) fn as_rfc3339<S: serde::Serializer>(time: &Time, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&rfc3339(*time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_milliseconds_and_the_end_of_time_is_no_panic() {
        assert_eq!(rfc3339(Time(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Time(1_769_860_800_007)), "2026-01-31T12:00:00.007Z");
        assert!(rfc3339(Time(u64::MAX)).starts_with("9999-12-3"));
    }
}
