//! Expectations as text: to be compared line by line by people, and to be written into files with cases.

use super::cases::{Case, list};
use crate::terminal::{Look, line};
use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};
use similar::{ChangeTag, TextDiff};

/// What differs, each line with what it is: `-` expected, `+` told.
pub(super) fn rendered(expected: &Map<String, Value>, told: &Map<String, Value>, look: Look) -> String {
    let (expected, told) = (written(expected, ""), written(told, ""));
    let diff = TextDiff::from_lines(&expected, &told);
    let lines = diff.iter_all_changes().map(|it| {
        let text = line(it.value().trim_end_matches('\n'));
        match it.tag() {
            ChangeTag::Equal => format!("  {text}"),
            ChangeTag::Delete => coloured(AnsiColor::Red, &format!("- {text}"), look),
            ChangeTag::Insert => coloured(AnsiColor::Green, &format!("+ {text}"), look),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn coloured(colour: AnsiColor, text: &str, look: Look) -> String {
    let style = Style::new().fg_color(Some(colour.into()));
    if look.colour { format!("{style}{text}{}", anstyle::Reset) } else { text.into() }
}

/// YAML: one line for each name, and one for each element of a list.
fn written(expect: &Map<String, Value>, indent: &str) -> String {
    let one = |(name, value): (&String, &Value)| match value {
        Value::Array(elements) if !elements.is_empty() => {
            let elements = elements.iter().map(|it| format!("{indent}  - {}\n", flow(it)));
            format!("{indent}{name}:\n{}", elements.collect::<String>())
        }
        other => format!("{indent}{name}: {}\n", flow(other)),
    };
    expect.iter().map(one).collect()
}

/// JSON is YAML; a plain word needs no quotes.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) if is_word(text) => text.clone(),
        Value::Object(it) => {
            format!("{{{}}}", it.iter().map(|(name, value)| format!("{name}: {}", flow(value))).collect::<Vec<_>>().join(", "))
        }
        Value::Array(it) => format!("[{}]", it.iter().map(flow).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn is_word(text: &str) -> bool {
    let fine = text.chars().all(|it| it.is_ascii_alphanumeric() || it == '_' || it == '-');
    let begins = text.starts_with(|it: char| it.is_ascii_alphabetic());
    fine && begins && !["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str())
}

/// The file with other expectations, by the number of their case. All else, comments too, stays as it is.
///
/// # Errors
/// Which case is written in a way that cannot be changed here.
pub(super) fn rewritten(yaml: &str, changes: &[(usize, Map<String, Value>)]) -> Result<String, String> {
    let cases = list(yaml)?;
    let mut lines: Vec<String> = yaml.lines().map(String::from).collect();
    let starts = starts(&lines);
    for (number, expect) in changes.iter().rev() {
        let named =
            || format!("{:?}: write its `expect:` on a line of its own, below `- name:`, so that it can be changed", cases[*number].name);
        if starts.len() != cases.len() {
            return Err(named());
        }
        let end = starts.get(number + 1).copied().unwrap_or(lines.len());
        replace(&mut lines, starts[*number], end, expect).ok_or_else(named)?;
    }
    let text = lines.join("\n") + "\n";
    let now = list(&text)?;
    let as_meant = |(number, (before, after)): (usize, (&Case, &Case))| {
        let change = changes.iter().find(|it| it.0 == number).map(|it| &it.1);
        before.name == after.name && after.expect.as_ref() == change.or(before.expect.as_ref())
    };
    let fine = now.len() == cases.len() && cases.iter().zip(&now).enumerate().all(as_meant);
    if fine { Ok(text) } else { Err("it is written in a way that cannot be changed here: change it by hand".into()) }
}

/// The lines on which cases begin.
fn starts(lines: &[String]) -> Vec<usize> {
    let indent = lines.iter().find(|it| it.trim_start().starts_with("- ")).map_or(0, |it| indent(it));
    let begins = |it: &String| it.get(indent..).is_some_and(|rest| rest.starts_with("- ")) && it[..indent].trim().is_empty();
    lines.iter().enumerate().filter(|(_, it)| begins(it)).map(|(index, _)| index).collect()
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Puts an expectation in place of the one between these lines, or below them where there is none.
fn replace(lines: &mut Vec<String>, start: usize, end: usize, expect: &Map<String, Value>) -> Option<()> {
    let inner = indent(&lines[start]) + 2;
    if lines[start].trim_start().starts_with("- {") {
        return None;
    }
    let is_blank = |it: &String| it.trim().is_empty() || it.trim_start().starts_with('#');
    let belongs = |it: &String| is_blank(it) || indent(it) > inner;
    let last_used = |from: usize, to: usize, lines: &[String]| (from..to).rev().find(|at| !is_blank(&lines[*at])).map(|it| it + 1);
    let found = (start + 1..end).find(|at| indent(&lines[*at]) == inner && lines[*at].trim_start().starts_with("expect:"));
    let (from, to) = match found {
        Some(from) => {
            let to = (from + 1..end).find(|at| !belongs(&lines[*at])).unwrap_or(end);
            (from, last_used(from, to, lines)?)
        }
        None => (last_used(start, end, lines)?, last_used(start, end, lines)?),
    };
    let pad = " ".repeat(inner);
    let text = format!("{pad}expect:\n{}", written(expect, &format!("{pad}  ")));
    lines.splice(from..to, text.lines().map(String::from));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PLAIN: Look = Look { terminal: false, colour: false };

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_differs_is_seen_line_by_line() {
        let expected = map(json!({"verdict": "allow", "findings": [{"rule": "a b", "start": 0}, {"rule": "c", "start": 4}]}));
        let told = map(json!({"verdict": "block", "findings": [{"rule": "a b", "start": 0}, {"rule": "c", "start": 5}]}));
        insta::assert_snapshot!(rendered(&expected, &told, PLAIN), @r#"
        - verdict: allow
        + verdict: block
          findings:
            - {rule: "a b", start: 0}
        -   - {rule: c, start: 4}
        +   - {rule: c, start: 5}
        "#);
    }

    #[test]
    fn only_the_expectations_that_are_meant_are_written_anew() {
        let yaml = "# On top.\n- name: one\n  input: a # x\n  expect: {verdict: allow}\n\n# Before two.\n- name: two\n  input: b\n  \
                    expect:\n    verdict: allow\n    # inside\n    findings:\n      - {rule: x}\n\n- name: three\n  input: |\n    expect:\n      c\n";
        let changes = [(1, map(json!({"verdict": {"block": "it's: \"so\""}, "findings": []}))), (2, map(json!({"error": "no"})))];
        let text = rewritten(yaml, &changes).unwrap();
        insta::assert_snapshot!(text, @r#"
        # On top.
        - name: one
          input: a # x
          expect: {verdict: allow}

        # Before two.
        - name: two
          input: b
          expect:
            verdict: {block: "it's: \"so\""}
            findings: []

        - name: three
          input: |
            expect:
              c
          expect:
            error: "no"
        "#);
    }

    #[test]
    fn what_cannot_be_changed_safely_is_refused() {
        let flow = "- {name: one, input: a, expect: {verdict: allow}}\n";
        assert!(rewritten(flow, &[(0, map(json!({"verdict": "block"})))]).unwrap_err().contains("one"));
    }
}
