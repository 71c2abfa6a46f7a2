//! What people see. Nothing that came from outside reaches the terminal unescaped, and a closed pipe is no failure.

use crate::failure::Failure;
use aegis_core::{Code, Time};
use anstyle::{Effects, Style};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use std::io::{BufRead, ErrorKind, IsTerminal, Write, stderr, stdin, stdout};

/// How stdout wants it: for people on a terminal, or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) terminal: bool,
    pub(crate) colour: bool,
}

impl Look {
    pub(crate) fn of_stdout() -> Look {
        let terminal = stdout().is_terminal();
        Look { terminal, colour: terminal && colours_wanted() }
    }

    pub(crate) fn of_stderr() -> Look {
        let terminal = stderr().is_terminal();
        Look { terminal, colour: terminal && colours_wanted() }
    }
}

/// Whether somebody can be asked something: scripts have no terminal to answer on.
pub(crate) fn is_a_person_there() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// Whether the person at the terminal says yes. Anything else is no, the end of the input too.
pub(crate) fn confirm(question: &str) -> bool {
    let mut answer = String::new();
    let _ = write!(stderr(), "{question} [y/N] ");
    let read = stdin().lock().read_line(&mut answer);
    read.is_ok() && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

/// <https://no-color.org>: set and not empty means no.
pub(crate) fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()) && std::env::var_os("TERM").is_none_or(|it| it != "dumb")
}

/// Writes `text` and a line break to stdout. Whoever closed the pipe has read enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_on(text).map(drop)
}

/// The same, and whether there is still somebody to read more.
pub(crate) fn print_on(text: &str) -> Result<Reading, Failure> {
    let mut stdout = stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reading::GoesOn),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reading::Ended),
        Err(error) => Err(Failure::new(Code::CLI_FILE, format!("stdout: {error}"))),
    }
}

/// Whether somebody still reads what is printed.
#[derive(Debug, PartialEq)]
#[must_use]
pub(crate) enum Reading {
    GoesOn,
    /// The pipe was closed.
    Ended,
}

/// Writes `text` and a line break to stderr, where nobody may be listening.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// JSON for programs, laid out for people who look at it.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    print(&serde_json::to_string_pretty(value).expect("what we print has string keys only"))
}

/// `text` with everything escaped that a terminal obeys or that hides: control, bidirectional, invisible characters.
/// Line breaks stay.
pub(crate) fn shown(text: &str) -> String {
    escaped(text, |c| c == '\n')
}

/// The same on one line.
pub(crate) fn line(text: &str) -> String {
    escaped(text, |_| false)
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if keep(c) || is_visible(c) { out.push(c) } else { out.extend(c.escape_default()) }
    }
    out
}

/// The standard library knows which characters cannot be seen: `escape_debug` escapes those. It does so with quotes, which are
/// harmless, with spaces of other scripts, which are seen as spaces, and with marks that stand alone, which here never do.
fn is_visible(c: char) -> bool {
    match c {
        ' '..='~' => true,
        _ if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => false,
        _ => c.is_whitespace() || String::from_iter(['x', c]).escape_debug().count() == 2,
    }
}

/// Columns: a table on a terminal, tabs for programs.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>], look: Look) -> String {
    if !look.terminal {
        let lines = std::iter::once(head.join("\t")).chain(rows.iter().map(|row| row.join("\t")));
        return lines.collect::<Vec<_>>().join("\n");
    }
    let mut table = Table::new();
    // Ids are there to be copied: long lines are the terminal's to wrap.
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().map(|it| it.to_uppercase())).add_rows(rows);
    table.trim_fmt()
}

/// Names and values below each other; a value of several lines stays in its column.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let fact = |(name, value): &(&str, String)| {
        let value = value.replace('\n', &format!("\n{:width$}  ", ""));
        format!("{name:width$}  {value}")
    };
    facts.iter().map(fact).collect::<Vec<_>>().join("\n")
}

/// `text` escaped, with the byte ranges in it marked: inverted where there is colour, else between `[[` and `]]`.
pub(crate) fn marked(text: &str, ranges: &[(usize, usize)], look: Look) -> String {
    let (invert, plain) = (Style::new().effects(Effects::INVERT), anstyle::Reset);
    let mut out = String::new();
    let mut done = 0;
    for (start, end) in joined(ranges) {
        let (Some(before), Some(inside)) = (text.get(done..start), text.get(start..end)) else { continue };
        out.push_str(&shown(before));
        out.push_str(&if look.colour { format!("{invert}{}{plain}", shown(inside)) } else { format!("[[{}]]", shown(inside)) });
        done = end;
    }
    out + &shown(&text[done..])
}

/// Ranges that overlap or touch become one.
fn joined(ranges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut joined: Vec<(usize, usize)> = vec![];
    for (start, end) in sorted {
        match joined.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

/// A moment for people, in UTC to the second.
pub(crate) fn moment(time: Time) -> String {
    i64::try_from(time.0).ok().and_then(|it| Timestamp::from_millisecond(it).ok()).map_or_else(|| time.0.to_string(), readable)
}

/// The same from RFC 3339; what is no time stays as it is.
pub(crate) fn when(text: &str) -> String {
    text.parse().map_or_else(|_| line(text), readable)
}

fn readable(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { terminal: false, colour: false };
    const COLOUR: Look = Look { terminal: true, colour: true };

    #[test]
    fn what_hides_or_steers_is_shown_as_such() {
        for (what, text, seen) in [
            ("plain text", "it's \"fine\" \\ 100 %", "it's \"fine\" \\ 100 %"),
            ("other scripts", "Zürich 東京\u{3000}हिन्दी e\u{301}", "Zürich 東京\u{3000}हिन्दी e\u{301}"),
            ("colours", "\u{1b}[31mred", "\\u{1b}[31mred"),
            ("C1 controls", "\u{9b}31m", "\\u{9b}31m"),
            ("a bell and a backspace", "\u{7}\u{8}", "\\u{7}\\u{8}"),
            ("right to left", "a\u{202e}b\u{2066}c", "a\\u{202e}b\\u{2066}c"),
            ("invisible", "a\u{200b}\u{feff}\u{e0041}b", "a\\u{200b}\\u{feff}\\u{e0041}b"),
            ("line separators", "a\u{2028}\u{85}b", "a\\u{2028}\\u{85}b"),
            ("line breaks stay", "a\nb\r\tc", "a\nb\\r\\tc"),
        ] {
            assert_eq!(shown(text), seen, "{what}");
            assert_eq!(line(text), seen.replace('\n', "\\n"), "{what}");
        }
    }

    #[test]
    fn findings_are_marked_in_their_text() {
        let cases: [(&[(usize, usize)], &str); 5] = [
            (&[], "financial advice"),
            (&[(0, 9)], "[[financial]] advice"),
            (&[(10, 16), (0, 9)], "[[financial]] [[advice]]"),
            (&[(0, 12), (10, 16)], "[[financial advice]]"),
            (&[(4, 99)], "financial advice"),
        ];
        for (ranges, seen) in cases {
            assert_eq!(marked("financial advice", ranges, PLAIN), seen, "{ranges:?}");
        }
    }

    #[test]
    fn marks_count_bytes_and_their_text_is_escaped_too() {
        assert_eq!(marked("é\u{1b}ß", &[(2, 3)], PLAIN), "é[[\\u{1b}]]ß");
        assert_eq!(marked("é\u{1b}ß", &[(1, 3)], PLAIN), "é\\u{1b}ß");
        assert_eq!(marked("ab", &[(1, 2)], COLOUR), "a\u{1b}[7mb\u{1b}[0m");
    }

    #[test]
    fn programs_get_tabs_and_people_a_table() {
        let rows = [vec!["1".into(), "paused".into()]];
        assert_eq!(table(&["id", "status"], &rows, PLAIN), "id\tstatus\n1\tpaused");
        let seen = table(&["id", "status"], &rows, COLOUR);
        assert!(seen.contains("ID") && seen.contains("paused") && !seen.contains('\t'), "{seen}");
    }

    #[test]
    fn values_of_several_lines_stay_in_their_column() {
        assert_eq!(facts(&[("a", "1".into()), ("long", "2\n3".into())]), "a     1\nlong  2\n      3");
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(when("2026-11-22T23:07:10.123Z"), "2026-11-22 23:07:10 UTC");
        assert_eq!(when("soon\u{7}"), "soon\\u{7}");
        assert_eq!(moment(Time(0)), "1970-01-01 00:00:00 UTC");
    }
}
