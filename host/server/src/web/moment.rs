//! Times as people read them: absolute, and how far away. The time of reading is passed in.

use crate::clock::rfc3339;
use aegis_core::Time;

/// A point in time on a page.
pub(super) struct Moment {
    /// For programs.
    pub(super) iso: String,
    /// Such as `2026-01-31 12:00:00 UTC`.
    pub(super) absolute: String,
    /// Such as `in 23 hours`.
    pub(super) relative: String,
}

impl Moment {
    /// As it is read at `now`.
    pub(super) fn seen(it: Time, now: Time) -> Moment {
        let iso = rfc3339(it);
        let absolute = format!("{} UTC", iso.split('.').next().unwrap_or_default().replace('T', " "));
        Moment { absolute, relative: relative(it, now), iso }
    }
}

/// The largest unit of which there are at least two, rounded; else seconds. The page's script says it with the same words.
fn relative(it: Time, now: Time) -> String {
    let seconds = it.0.abs_diff(now.0) / 1000;
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let (length, unit) = units.into_iter().find(|(length, _)| seconds >= 2 * length).unwrap_or((1, "second"));
    let count = (seconds + length / 2) / length;
    let unit = if count == 1 { unit.to_string() } else { format!("{unit}s") };
    if it > now { format!("in {count} {unit}") } else { format!("{count} {unit} ago") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_words() {
        let now = Time(1_769_860_800_000);
        let cases: [(i64, &str); 10] = [
            (0, "0 seconds ago"),
            (1_000, "in 1 second"),
            (-59_000, "59 seconds ago"),
            (-119_000, "119 seconds ago"),
            (-120_000, "2 minutes ago"),
            (7_199_000, "in 120 minutes"),
            (24 * 3_600_000 - 1_000, "in 24 hours"),
            (7_200_000, "in 2 hours"),
            (24 * 3_600_000, "in 24 hours"),
            (-2 * 86_400_000, "2 days ago"),
        ];
        for (difference, expected) in cases {
            assert_eq!(relative(Time(now.0.saturating_add_signed(difference)), now), expected);
        }
        let moment = Moment::seen(Time(now.0 + 7), now);
        assert_eq!((moment.iso.as_str(), moment.absolute.as_str()), ("2026-01-31T12:00:00.007Z", "2026-01-31 12:00:00 UTC"));
        assert!(Moment::seen(Time(u64::MAX), now).absolute.starts_with("9999-12-3"), "no panic at the end of time");
    }
}
