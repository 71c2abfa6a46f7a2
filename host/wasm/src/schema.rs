//! Checks settings against the guard's own JSON Schema. Nothing is fetched, and no pattern backtracks: a schema is
//! as little trusted as the rest of a guard.

use crate::manifest::ManifestError;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// Bytes of a schema.
const SCHEMA_BYTES: usize = 256 << 10;
/// Mistakes that are reported at once.
const MISTAKES: usize = 20;
/// Bytes of one compiled pattern.
const PATTERN_BYTES: usize = 4 << 20;

/// All mistakes in `settings`, each with its place; none: they fit. A guard without a schema takes no settings.
pub(crate) fn mistakes(schema: &str, settings: &Value) -> Result<Vec<String>, ManifestError> {
    if schema.trim().is_empty() {
        let none = settings.as_object().is_some_and(serde_json::Map::is_empty);
        return Ok(if none { vec![] } else { vec!["this guard takes no settings".into()] });
    }
    let errors = validator(schema)?;
    let line = |error: jsonschema::ValidationError<'_>| {
        let place = error.instance_path().to_string();
        if place.is_empty() { error.to_string() } else { format!("{place}: {error}") }
    };
    Ok(errors.iter_errors(settings).take(MISTAKES).map(line).collect())
}

fn validator(schema: &str) -> Result<Validator, ManifestError> {
    if schema.len() > SCHEMA_BYTES {
        return Err(ManifestError::Schema(format!("it has {} bytes, and {SCHEMA_BYTES} are allowed", schema.len())));
    }
    let wrong = |why: &dyn std::fmt::Display| ManifestError::Schema(why.to_string());
    let schema: Value = serde_json::from_str(schema).map_err(|error| wrong(&error))?;
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES);
    jsonschema::options().offline().with_pattern_options(patterns).build(&schema).map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
