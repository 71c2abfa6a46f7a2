//! Finds regular expressions and blocks, masks or asks. It reads letters and understands nothing.

mod ascii;
mod json;
mod matcher;
mod sample;

use aegis_guard::{Edit, Finding, Guard, Input, Part, Place, Report, Schema, Scope, Text, Verdict};
use json::Piece;
use matcher::{Matcher, Parsed};
use std::cmp::Reverse;

/// Patterns, as `settings.json` has it, too.
const PATTERNS: usize = 200;
/// Bytes of one pattern.
const PATTERN: usize = 4096;
/// Bytes of a pattern's name.
const NAME: usize = 64;
/// Bytes of all samples together.
const SAMPLES: usize = 256 << 10;
/// Bytes of the text to warm up with: what it took of memory is there for the texts that come.
const ROOM: usize = 64 << 10;
/// So many findings are enough to decide; a text made of nothing but hits must not become a report of megabytes.
const ENOUGH: usize = 100;
/// A text with more masks than this says nothing any more.
const MASKS: usize = 5_000;

/// What it looks for, and what follows: `settings.json` says it to the host.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    patterns: Vec<Written>,
    #[serde(default)]
    action: Action,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    prompt: Option<String>,
    #[serde(default)]
    samples: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "expected a pattern, as text or as {name, pattern}")]
enum Written {
    Plain(String),
    Named(Named),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(default)]
    name: Option<String>,
    pattern: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    #[default]
    Block,
    Mask,
    RequireApproval,
}

impl Schema for Settings {
    fn schema() -> String {
        include_str!("settings.json").into()
    }
}

/// The guard.
pub struct Patterns {
    matcher: Matcher,
    names: Vec<String>,
    action: Action,
    reason: Option<String>,
    prompt: Option<String>,
    sample: String,
}

impl Guard for Patterns {
    type Settings = Settings;
    const NAME: &str = env!("CARGO_PKG_NAME");
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &str = env!("CARGO_PKG_DESCRIPTION");
    const SCOPE: Scope = Scope::Message;

    fn new(settings: Settings) -> Result<Patterns, String> {
        let Settings { patterns, action, reason, prompt, mut samples } = settings;
        check(&patterns, action, reason.is_some(), prompt.is_some(), &samples)?;
        let (names, parsed) = parse(patterns)?;
        let matcher = Matcher::new(&parsed).map_err(|(which, why)| match which {
            Some(n) => format!("patterns[{n}] ({}): {why}", names[n]),
            None => format!("patterns: together {why}"),
        })?;
        samples.extend(sample::texts(&parsed.iter().map(Parsed::hir).collect::<Vec<_>>()));
        matcher.prepare(&samples);
        let mut sample = samples.concat();
        sample.truncate(sample.floor_char_boundary(ROOM));
        Ok(Patterns { matcher, names, action, reason, prompt, sample })
    }

    fn scan(&self, input: &Input) -> Result<Report, String> {
        let mut hits = vec![];
        for text in input.texts() {
            self.hits(&text, &mut hits);
            if hits.len() >= self.most() {
                break;
            }
        }
        Ok(match hits.first() {
            None => Report::allow(),
            Some(first) => self.report(&self.names[first.pattern], &hits, input),
        })
    }

    fn warm_up(&self) -> Vec<String> {
        vec![self.sample.clone()]
    }
}

/// Sizes, and settings that would mean nothing.
fn check(patterns: &[Written], action: Action, reason: bool, prompt: bool, samples: &[String]) -> Result<(), String> {
    if patterns.is_empty() || patterns.len() > PATTERNS {
        return Err(format!(r#"patterns: write from 1 to {PATTERNS}, such as [{{"name": "number", "pattern": "\\b\\d{{3}}\\b"}}]"#));
    }
    if samples.iter().map(String::len).sum::<usize>() > SAMPLES {
        return Err(format!("samples: at most {SAMPLES} bytes together"));
    }
    if reason && action != Action::Block {
        return Err("reason: nobody would read it, for it belongs to the action block".into());
    }
    if prompt && action != Action::RequireApproval {
        return Err("prompt: nobody would be asked, for it belongs to the action require_approval".into());
    }
    Ok(())
}

/// Names and patterns; all mistakes in them at once.
fn parse(patterns: Vec<Written>) -> Result<(Vec<String>, Vec<Parsed>), String> {
    let (mut names, mut parsed, mut mistakes) = (vec![], vec![], vec![]);
    for (n, written) in patterns.into_iter().enumerate() {
        let (name, pattern) = match written {
            Written::Plain(pattern) => (None, pattern),
            Written::Named(it) => (it.name, it.pattern),
        };
        let name = name.unwrap_or_else(|| format!("pattern-{}", n + 1));
        match checked(&name, &pattern) {
            Ok(it) => parsed.push(it),
            Err(why) => mistakes.push(format!("patterns[{n}] ({name:.64}): {why}")),
        }
        names.push(name);
    }
    if mistakes.is_empty() { Ok((names, parsed)) } else { Err(mistakes.join("; ")) }
}

fn checked(name: &str, pattern: &str) -> Result<Parsed, String> {
    if name.trim().is_empty() || name.len() > NAME || name.contains(char::is_control) {
        return Err(format!("its name has to be 1 to {NAME} bytes on one line"));
    }
    if pattern.len() > PATTERN {
        return Err(format!("it has {} bytes, and at most {PATTERN} are allowed", pattern.len()));
    }
    Parsed::new(pattern)
}

/// Where a pattern is found.
struct Hit {
    pattern: usize,
    at: Place,
    start: usize,
    end: usize,
    inside: Inside,
}

/// What surrounds a hit, for whoever puts something else in its place.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Text,
    /// A string of JSON.
    String,
    /// JSON, with no quotes around it.
    Number,
}

impl Patterns {
    /// In the order of the text; of those that begin together the longest first, for it says most.
    fn hits(&self, text: &Text<'_>, hits: &mut Vec<Hit>) {
        let before = hits.len();
        match text.json.then(|| Piece::all(text.text)).flatten() {
            None => self.hits_in(text, &Piece::whole(text.text), Inside::Text, hits),
            Some(pieces) => {
                for piece in pieces {
                    self.hits_in(text, &piece, if piece.quoted { Inside::String } else { Inside::Number }, hits);
                }
            }
        }
        hits[before..].sort_by_key(|it| (it.start, Reverse(it.end)));
    }

    fn hits_in(&self, text: &Text<'_>, piece: &Piece<'_>, inside: Inside, hits: &mut Vec<Hit>) {
        self.matcher.find(&piece.text, self.most(), |pattern, range| {
            let range = piece.original(range);
            hits.push(Hit { pattern, at: text.at, start: range.start, end: range.end, inside });
        });
    }

    /// From this number of hits on, more of them change nothing.
    fn most(&self) -> usize {
        if self.action == Action::Mask { MASKS + 1 } else { ENOUGH }
    }

    fn report(&self, first: &str, hits: &[Hit], input: &Input) -> Report {
        let findings = hits.iter().take(ENOUGH).map(|it| self.finding(it)).collect();
        match self.action {
            Action::Block => Report::block(self.reason.clone().unwrap_or_else(|| format!("{first} is not allowed")), findings),
            Action::RequireApproval => {
                Report::require_approval(self.prompt.clone().unwrap_or_else(|| format!("{first} requires human review")), findings)
            }
            Action::Mask => match self.edits(hits, input) {
                Ok(edits) => Report { verdict: Verdict::Sanitize(edits), findings, ..Report::allow() },
                Err(why) => Report::block(why, findings),
            },
        }
    }

    fn finding(&self, hit: &Hit) -> Finding {
        let Hit { pattern, at, start, end, .. } = *hit;
        Finding { rule: self.names[pattern].clone(), at, start: start as u32, end: end as u32, score: None }
    }

    /// One for each place that is covered by hits; why there can be none.
    fn edits(&self, hits: &[Hit], input: &Input) -> Result<Vec<Edit>, String> {
        if hits.len() > MASKS {
            return Err(format!("more than {MASKS} places would have to be masked"));
        }
        let mut edits: Vec<Edit> = vec![];
        for hit in hits {
            let Finding { at, start, end, .. } = self.finding(hit);
            if let Some(other) = uneditable(at, input) {
                return Err(format!("{} stands in {other}, where nothing can be masked", self.names[hit.pattern]));
            }
            match edits.last_mut().filter(|last| last.at == at && start < last.end) {
                Some(last) => last.end = last.end.max(end),
                None => edits.push(Edit { at, start, end, text: mask(&self.names[hit.pattern], hit.inside) }),
            }
        }
        Ok(edits)
    }
}

/// A part of another kind has no text that could be replaced.
fn uneditable(at: Place, input: &Input) -> Option<&'static str> {
    let Place::Part(at) = at else { return None };
    let part = input.messages.get(at.message as usize)?.parts.get(at.part as usize)?;
    matches!(part, Part::Other(_)).then_some("a part of another kind than text")
}

/// What stands in place of a hit.
fn mask(name: &str, inside: Inside) -> String {
    let quoted = || serde_json::Value::from(format!("[{name}]")).to_string();
    match inside {
        Inside::Text => format!("[{name}]"),
        Inside::String => quoted().trim_matches('"').into(),
        Inside::Number => quoted(),
    }
}

aegis_guard::export!(Patterns);

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_guard::Stage;

    fn guard(settings: &str) -> Result<Patterns, String> {
        Patterns::new(serde_json::from_str(settings).map_err(|it| it.to_string())?)
    }

    #[test]
    fn the_cases_hold() {
        aegis_guard::cases::check::<Patterns>("cases");
    }

    #[test]
    fn settings_that_mean_nothing_are_refused_with_what_is_wrong() {
        let many = format!(r#"{{"patterns":[{}"b"]}}"#, r#""a","#.repeat(PATTERNS));
        let long = format!(r#"{{"patterns":["{}"]}}"#, "a".repeat(PATTERN + 1));
        let samples = format!(r#"{{"patterns":["a"],"samples":["{}"]}}"#, "a".repeat(SAMPLES + 1));
        let deep = format!(r#"{{"patterns":["{}a{}"]}}"#, "(".repeat(101), ")".repeat(101));
        let together = format!(r#"{{"patterns":[{}"b"]}}"#, r#""(?:[a-z]{90}){90}","#.repeat(60));
        for (settings, named) in [
            ("{}", "patterns"),
            (r#"{"patterns":[]}"#, "from 1 to 200"),
            (&many, "from 1 to 200"),
            (&long, "4097 bytes, and at most 4096"),
            (&samples, "samples: at most 262144 bytes"),
            (&deep, "patterns[0] (pattern-1): "),
            (&together, "patterns: together more than 8 MiB"),
            (r#"{"patterns":["a","é("]}"#, "patterns[1] (pattern-2): unclosed group, at character 2"),
            (r#"{"patterns":["(",{"name":"ok","pattern":"a"},{"name":"two","pattern":"[b"}]}"#, "; patterns[2] (two): unclosed"),
            (r#"{"patterns":["a*"]}"#, "would be found everywhere"),
            (r#"{"patterns":["(?=a)b"]}"#, "look-around"),
            (r#"{"patterns":["(?-u:\\xff)"]}"#, "invalid UTF-8"),
            (r#"{"patterns":["(?:\\pL{100}){100}"]}"#, "patterns[0] (pattern-1): more than 2 MiB when compiled"),
            (r#"{"patterns":[{"name":" ","pattern":"a"}]}"#, "its name"),
            (r#"{"patterns":[{"name":"a\nb","pattern":"a"}]}"#, "its name"),
            (r#"{"patterns":[{"nam":"a","pattern":"a"}]}"#, "{name, pattern}"),
            (r#"{"patterns":["a"],"action":"allow"}"#, "allow"),
            (r#"{"patterns":["a"],"action":"mask","reason":"x"}"#, "reason"),
            (r#"{"patterns":["a"],"prompt":"x"}"#, "prompt"),
        ] {
            let error = guard(settings).map(|_| ()).expect_err(settings);
            assert!(error.contains(named) && error.len() < 1000, "{settings}: {error}");
        }
    }

    #[test]
    fn a_text_of_nothing_but_hits_is_no_report_of_megabytes() {
        let text = Input::of(Stage::Ingress, &"ab ".repeat(1 << 19));
        for action in ["block", "require_approval", "mask"] {
            let report = guard(&format!(r#"{{"patterns":["a","b"],"action":"{action}"}}"#)).unwrap().scan(&text).unwrap();
            assert_eq!(report.findings.len(), ENOUGH);
            assert!(!matches!(report.verdict, Verdict::Allow | Verdict::Sanitize(_)), "{action}");
        }
    }

    #[test]
    fn whatever_is_masked_in_json_it_is_json_afterwards() {
        let guard =
            guard(r#"{"patterns":[{"name":"a\"\\","pattern":"\\S+"},{"name":"n","pattern":"\\d+|[\\s\\S]"}],"action":"mask"}"#).unwrap();
        for json in [r#"{"a\n":[1,-2.5e3,"\u0041\" x",""],"b":{"c":null}}"#, r#""x""#, "7", "[]"] {
            let report = guard.scan(&Input::of(Stage::ToolCall, json)).unwrap();
            let mut text = json.to_owned();
            if let Verdict::Sanitize(edits) = &report.verdict {
                edits.iter().rev().for_each(|it| text.replace_range(it.start as usize..it.end as usize, &it.text));
            }
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{json}: {text}");
            assert_eq!(text == json, json == "[]");
        }
    }
}
