//! Settings that fit a schema, as few as there can be. Only what is common is understood; the schema itself says in the end whether they fit.

use serde_json::{Map, Value, json};

/// Bytes of all values together. A few lines of a schema can ask for lists within lists without end.
const ROOM: usize = 64 << 10;

/// # Errors
/// That the schema is none, or is of nothing that settings can be.
pub(super) fn settings(schema: &str) -> Result<Value, String> {
    if schema.trim().is_empty() {
        return Ok(json!({}));
    }
    let schema: Value = serde_json::from_str(schema).map_err(|error| format!("the schema is no JSON: {error}"))?;
    if schema["type"] != "object" {
        return Err("the schema is not of an object".into());
    }
    let mut room = ROOM;
    let settings = of(&schema, &mut room);
    if room == 0 { Err(format!("the least that fits the schema has more than {ROOM} bytes: say --settings")) } else { Ok(settings) }
}

/// Nothing more once there is no `room` left.
fn of(schema: &Value, room: &mut usize) -> Value {
    *room = room.saturating_sub(1);
    let given =
        ["default", "const"].iter().find_map(|it| schema.get(it)).or_else(|| ["examples", "enum"].iter().find_map(|it| schema[it].get(0)));
    if let Some(value) = given {
        *room = room.saturating_sub(value.to_string().len());
        return value.clone();
    }
    let first = ["oneOf", "anyOf", "allOf"].iter().find_map(|it| schema[it].get(0));
    match (schema["type"].as_str(), first) {
        (Some("object"), _) => object(schema, room),
        (Some("array"), _) => {
            let count = schema["minItems"].as_u64().unwrap_or(1).min(8);
            (0..count).map_while(|_| (*room > 0).then(|| of(&schema["items"], room))).collect()
        }
        (Some("integer" | "number"), _) => schema.get("minimum").cloned().unwrap_or(json!(1)),
        (Some("boolean"), _) => json!(true),
        (_, Some(first)) => of(first, room),
        (Some("string") | None, None) => json!("example"),
        _ => Value::Null,
    }
}

fn object(schema: &Value, room: &mut usize) -> Value {
    let mut object = Map::new();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        *room = room.saturating_sub(name.len());
        if *room == 0 {
            break;
        }
        object.insert(name.to_owned(), of(&schema["properties"][name], room));
    }
    object.into()
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
    fn a_schema_that_asks_for_more_and_more_is_given_up() {
        let lists =
            (0..30).fold(r#"{"type":"string"}"#.to_owned(), |inner, _| format!(r#"{{"type":"array","minItems":8,"items":{inner}}}"#));
        let twice = |inner: String, _| format!(r#"{{"type":"object","required":["a","a"],"properties":{{"a":{inner}}}}}"#);
        let (objects, long) = ((0..40).fold(r#"{"type":"string"}"#.to_owned(), twice), "x".repeat(ROOM));
        for schema in [
            format!(r#"{{"type":"object","required":["a"],"properties":{{"a":{lists}}}}}"#),
            objects,
            format!(r#"{{"type":"object","required":["a"],"properties":{{"a":{{"default":"{long}"}}}}}}"#),
        ] {
            assert!(settings(&schema).is_err_and(|why| why.contains("say --settings")), "{:.100}", schema);
        }
    }
}
