//! Checks settings against the guard's own JSON Schema. Nothing is fetched, no pattern backtracks, and nothing goes on without end: a schema is
//! as little trusted as the rest of a guard.

use crate::effort;
use crate::manifest::ManifestError;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use std::sync::mpsc;
use std::time::Duration;

/// Bytes of a schema.
const SCHEMA_BYTES: usize = 256 << 10;
/// Mistakes that are reported at once.
const MISTAKES: usize = 20;
/// Bytes of one compiled pattern.
const PATTERN_BYTES: usize = 4 << 20;

/// Bytes of stack: schemas within schemas are checked within each other.
const STACK: usize = 16 << 20;

/// All mistakes in `settings`, each with its place; none: they fit. A guard without a schema takes no settings.
///
/// # Errors
/// The schema is none, asks for too much, or is not done with within `time`: then its thread is left to itself.
pub(crate) fn mistakes(schema: &str, settings: &Value, time: Duration) -> Result<Vec<String>, ManifestError> {
    if schema.trim().is_empty() {
        let none = settings.as_object().is_some_and(serde_json::Map::is_empty);
        return Ok(if none { vec![] } else { vec!["this guard takes no settings".into()] });
    }
    if schema.len() > SCHEMA_BYTES {
        return Err(ManifestError::Schema(format!("it has {} bytes, and {SCHEMA_BYTES} are allowed", schema.len())));
    }
    let schema: Value = serde_json::from_str(schema).map_err(|error| wrong(&error))?;
    let (tell, told) = mpsc::sync_channel(1);
    let settings = settings.clone();
    let check = move || drop(tell.send(checked(&schema, &settings))); // nobody listens any more when the time was up
    let thread = std::thread::Builder::new().name("aegis-schema".into()).stack_size(STACK).spawn(check);
    thread.map_err(|error| wrong(&error))?;
    told.recv_timeout(time).unwrap_or_else(|_| Err(wrong(&format_args!("it is not checked within {time:?}: it asks for too much"))))
}

fn wrong(why: &dyn std::fmt::Display) -> ManifestError {
    ManifestError::Schema(why.to_string())
}

fn checked(schema: &Value, settings: &Value) -> Result<Vec<String>, ManifestError> {
    effort::measure(schema, settings).map_err(|error| wrong(&error))?;
    let errors = validator(schema)?;
    let line = |error: jsonschema::ValidationError<'_>| {
        let place = error.instance_path().to_string();
        if place.is_empty() { error.to_string() } else { format!("{place}: {error}") }
    };
    Ok(errors.iter_errors(settings).take(MISTAKES).map(line).collect())
}

fn validator(schema: &Value) -> Result<Validator, ManifestError> {
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES);
    jsonschema::options().offline().with_pattern_options(patterns).build(schema).map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Instant;

    fn mistakes(schema: &str, settings: &Value) -> Result<Vec<String>, ManifestError> {
        super::mistakes(schema, settings, Duration::from_secs(60))
    }

    /// Forty levels, each twice the one below.
    fn doubled() -> String {
        let twice = |n| format!(r##""{n}":{{"allOf":[{{"$ref":"#/$defs/{m}"}},{{"$ref":"#/$defs/{m}"}}]}}"##, m = n + 1);
        let levels: Vec<String> = (0..40).map(twice).collect();
        format!(r##"{{"$defs":{{{},"40":{{"type":"object"}}}},"$ref":"#/$defs/0"}}"##, levels.join(","))
    }

    #[test]
    fn a_schema_that_doubles_forty_times_is_refused_at_once_with_the_reason() {
        let begun = Instant::now();
        let why = mistakes(&doubled(), &json!({})).expect_err("too much").to_string();
        assert!(why.contains("checks") && begun.elapsed() < Duration::from_secs(20), "{why} after {:?}", begun.elapsed());
    }

    #[test]
    fn what_cannot_be_counted_is_given_up_when_the_time_is_over() {
        let begun = Instant::now();
        let patterns: Vec<String> = (0..5_000).map(|n| format!(r#"{{"pattern":"(x{{1,90}}{n}){{1,90}}"}}"#)).collect();
        let schema = format!(r#"{{"anyOf":[{}]}}"#, patterns.join(","));
        let why = super::mistakes(&schema, &json!("y"), Duration::from_millis(100)).expect_err("too slow").to_string();
        assert!(why.contains("not checked within") && begun.elapsed() < Duration::from_secs(20), "{why}");
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let schema = r#"{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"additionalProperties":false}"#;
        assert_eq!(mistakes(schema, &json!({"a": 1})), Ok(vec![]));
        let told = mistakes(schema, &json!({"a": "x", "b": 2, "c": 3})).expect("a schema").join("\n");
        assert!(told.contains("/a: ") && told.contains("/b: ") && told.contains("'c'"), "{told}");
    }

    #[test]
    fn without_a_schema_there_are_no_settings() {
        assert_eq!(mistakes("", &json!({})), Ok(vec![]));
        assert_eq!(mistakes(" ", &json!({"a": 1})).expect("no schema").len(), 1);
    }

    #[test]
    fn a_hostile_schema_neither_fetches_nor_hangs() {
        let refused = |schema: &str| mistakes(schema, &json!({"a": "a".repeat(40)})).expect_err(schema);
        refused(r#"{"$ref":"http://127.0.0.1:1/schema.json"}"#);
        refused(r#"{"$ref":"file:///etc/passwd"}"#);
        refused("[");
        refused(&"[".repeat(100_000));
        refused(&" ".repeat(SCHEMA_BYTES + 1).replacen(' ', "{", 1));
        let slow = r#"{"properties":{"a":{"pattern":"^(a+)+$x"}}}"#;
        assert_eq!(mistakes(slow, &json!({"a": "a".repeat(100_000)})).expect("a pattern that backtracks elsewhere").len(), 1);
        for circle in [
            r##"{"$ref":"#"}"##,
            r##"{"allOf":[{"$ref":"#"}]}"##,
            r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"not":{"$ref":"#/$defs/a"}}},"$ref":"#/$defs/a"}"##,
        ] {
            let _ = mistakes(circle, &json!({"a": 1}));
        }
    }
}
