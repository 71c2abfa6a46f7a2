//! Settings that fit a schema, as few as there can be. Only what is common is understood; the schema itself says in the end whether they fit.

use serde_json::{Map, Value, json};

/// Elements of a list at most.
const ELEMENTS: u64 = 8;
/// A list in so many others has one element: what is made must not grow eightfold with every bracket of a stranger's schema.
const LISTS: u32 = 3;

/// # Errors
/// That the schema is none, or is of nothing that settings can be.
pub(super) fn settings(schema: &str) -> Result<Value, String> {
    if schema.trim().is_empty() {
        return Ok(json!({}));
    }
    let schema: Value = serde_json::from_str(schema).map_err(|error| format!("the schema is no JSON: {error}"))?;
    if schema["type"] != "object" { Err("the schema is not of an object".into()) } else { Ok(of(&schema, 0)) }
}

/// `lists`: in how many it stands.
fn of(schema: &Value, lists: u32) -> Value {
    let given =
        ["default", "const"].iter().find_map(|it| schema.get(it)).or_else(|| ["examples", "enum"].iter().find_map(|it| schema[it].get(0)));
    if let Some(value) = given {
        return value.clone();
    }
    let first = ["oneOf", "anyOf", "allOf"].iter().find_map(|it| schema[it].get(0));
    match (schema["type"].as_str(), first) {
        (Some("object"), _) => object(schema, lists),
        (Some("array"), _) => {
            let count = schema["minItems"].as_u64().unwrap_or(1).min(if lists < LISTS { ELEMENTS } else { 1 });
            (0..count).map(|_| of(&schema["items"], lists + 1)).collect()
        }
        (Some("integer" | "number"), _) => schema.get("minimum").cloned().unwrap_or(json!(1)),
        (Some("boolean"), _) => json!(true),
        (_, Some(first)) => of(first, lists),
        (Some("string") | None, None) => json!("example"),
        _ => Value::Null,
    }
}

fn object(schema: &Value, lists: u32) -> Value {
    let names = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut made = Map::new();
    for name in names {
        // Named twice it is made once.
        made.entry(name).or_insert_with(|| of(&schema["properties"][name], lists));
    }
    made.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_is_filled_in() {
        for (schema, expected) in [
            ("", json!({})),
            (r#"{"type":"object"}"#, json!({})),
            (
                r#"{"type":"object","required":["a","n","e"],"properties":{"a":{"type":"array","items":{"type":"string"}},"n":{"type":"integer","minimum":3},
                    "e":{"enum":["x","y"]},"optional":{"type":"string"}}}"#,
                json!({"a": ["example"], "n": 3, "e": "x"}),
            ),
            (r#"{"type":"object","required":["p"],"properties":{"p":{"oneOf":[{"type":"boolean"}]}}}"#, json!({"p": true})),
        ] {
            assert_eq!(settings(schema), Ok(expected), "{schema}");
        }
        assert!(settings("[").is_err() && settings(r#"{"type":"string"}"#).is_err());
    }

    #[test]
    fn what_is_nested_stays_small() {
        let list = |of: Value| json!({"type": "array", "minItems": 8, "items": of});
        let object = |of: Value| json!({"type": "object", "required": ["o", "o"], "properties": {"o": of}});
        let schema = (0..20).fold(json!({"type": "string"}), |of, _| object(list(of)));
        assert!(settings(&schema.to_string()).unwrap().to_string().len() < 100_000);
    }
}
