//! Settings that fit a schema, as few as there can be. Only what is common is understood; the schema itself says in the end whether they fit.

use serde_json::{Map, Value, json};

/// # Errors
/// That the schema is none, or is of nothing that settings can be.
pub(super) fn settings(schema: &str) -> Result<Value, String> {
    if schema.trim().is_empty() {
        return Ok(json!({}));
    }
    let schema: Value = serde_json::from_str(schema).map_err(|error| format!("the schema is no JSON: {error}"))?;
    if schema["type"] != "object" { Err("the schema is not of an object".into()) } else { Ok(of(&schema)) }
}

fn of(schema: &Value) -> Value {
    let given =
        ["default", "const"].iter().find_map(|it| schema.get(it)).or_else(|| ["examples", "enum"].iter().find_map(|it| schema[it].get(0)));
    if let Some(value) = given {
        return value.clone();
    }
    let first = ["oneOf", "anyOf", "allOf"].iter().find_map(|it| schema[it].get(0));
    match (schema["type"].as_str(), first) {
        (Some("object"), _) => object(schema),
        (Some("array"), _) => {
            let count = schema["minItems"].as_u64().unwrap_or(1).min(8);
            (0..count).map(|_| of(&schema["items"])).collect()
        }
        (Some("integer" | "number"), _) => schema.get("minimum").cloned().unwrap_or(json!(1)),
        (Some("boolean"), _) => json!(true),
        (_, Some(first)) => of(first),
        (Some("string") | None, None) => json!("example"),
        _ => Value::Null,
    }
}

fn object(schema: &Value) -> Value {
    let names = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    names.map(|name| (name.to_owned(), of(&schema["properties"][name]))).collect::<Map<String, Value>>().into()
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
}
