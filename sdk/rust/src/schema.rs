//! The JSON Schema of settings, from their type. It is put together as text: a generator of JSON would make the component half as large again.

pub use aegis_guard_derive::Schema;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// A type that settings may have. `#[derive(Schema)]` beside `#[derive(serde::Deserialize)]` does it for structs, and for enums whose variants have no
/// fields: doc comments become descriptions, `Option` and `#[serde(default)]` what may be left out, `#[schema(min_items = 1)]` whatever else JSON Schema knows.
pub trait Schema {
    /// Whether a field of this type may be left out.
    const OPTIONAL: bool = false;

    /// As JSON. Empty for a guard that takes none.
    fn schema() -> String;

    /// What `Default` gives, as JSON, where that is known.
    fn default_value() -> Option<String> {
        None
    }
}

macro_rules! plain {
    ($schema:literal, $default:literal: $($type:ty),+) => {
        $(impl Schema for $type {
            fn schema() -> String {
                $schema.into()
            }

            fn default_value() -> Option<String> {
                Some($default.into())
            }
        })+
    };
}

plain!(r#"{"type":"string"}"#, r#""""#: String);
plain!(r#"{"type":"boolean"}"#, "false": bool);
plain!(r#"{"type":"integer"}"#, "0": i8, i16, i32, i64, isize);
plain!(r#"{"type":"integer","minimum":0}"#, "0": u8, u16, u32, u64, usize);
plain!(r#"{"type":"number"}"#, "0.0": f32, f64);

impl Schema for serde_json::Value {
    fn schema() -> String {
        "{}".into()
    }
}

impl<T: Schema> Schema for Option<T> {
    const OPTIONAL: bool = true;

    fn schema() -> String {
        format!(r#"{{"anyOf":[{},{{"type":"null"}}]}}"#, T::schema())
    }

    fn default_value() -> Option<String> {
        Some("null".into())
    }
}

impl<T: Schema> Schema for Box<T> {
    const OPTIONAL: bool = T::OPTIONAL;

    fn schema() -> String {
        T::schema()
    }

    fn default_value() -> Option<String> {
        T::default_value()
    }
}

/// Begins like this in every type that is a list.
const LIST: &str = r#"{"type":"array","items":"#;

macro_rules! list {
    ($($type:ident),+) => {
        $(impl<T: Schema> Schema for $type<T> {
            fn schema() -> String {
                format!("{LIST}{}}}", T::schema())
            }

            fn default_value() -> Option<String> {
                Some("[]".into())
            }
        })+
    };
}

list!(Vec, BTreeSet, HashSet);

macro_rules! map {
    ($($type:ident),+) => {
        $(impl<T: Schema> Schema for $type<String, T> {
            fn schema() -> String {
                format!(r#"{{"type":"object","additionalProperties":{}}}"#, T::schema())
            }

            fn default_value() -> Option<String> {
                Some("{}".into())
            }
        })+
    };
}

map!(BTreeMap, HashMap);

/// The schema of a struct in the making: what the derived code calls.
#[doc(hidden)]
#[derive(Default)]
pub struct Object {
    members: Vec<String>,
    required: Vec<&'static str>,
}

impl Object {
    /// `name` is JSON already; `own` and `items` are members of objects in JSON.
    pub fn member<T: Schema>(&mut self, name: &'static str, own: &str, items: &str, has_default: bool, told_default: bool) {
        let mut schema = T::schema();
        if let Some(inner) = schema.strip_prefix(LIST).and_then(|it| it.strip_suffix('}')).filter(|_| !items.is_empty()) {
            schema = format!("{LIST}{}}}", with(inner, items));
        }
        schema = with(&schema, own);
        if let Some(value) = T::default_value().filter(|_| told_default) {
            schema = with(&schema, &format!("\"default\":{value}"));
        }
        self.members.push(format!("{name}:{schema}"));
        if !has_default && !T::OPTIONAL {
            self.required.push(name);
        }
    }

    /// As JSON.
    pub fn finish(self) -> String {
        let required = if self.required.is_empty() { String::new() } else { format!(r#","required":[{}]"#, self.required.join(",")) };
        format!(r#"{{"type":"object","additionalProperties":false{required},"properties":{{{}}}}}"#, self.members.join(","))
    }
}

/// An object in JSON with more members.
fn with(object: &str, more: &str) -> String {
    let comma = if object == "{}" { "" } else { "," };
    match object.strip_suffix('}') {
        Some(open) if !more.is_empty() => format!("{open}{comma}{more}}}"),
        _ => object.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[derive(serde::Deserialize, Schema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "some of its fields are looked at by their type alone")]
    struct Settings {
        /// What asks for review,
        /// in whatever "case"
        #[schema(min_items = 1, items(min_length = 1, pattern = "\\w"))]
        words: Vec<String>,
        #[serde(default)]
        action: Action,
        /// Shown to people
        prompt: Option<String>,
        #[serde(rename = "type", default = "one")]
        #[schema(maximum = 9)]
        kind: u32,
        rules: BTreeMap<String, Rule>,
        #[serde(default)]
        anything: Value,
    }

    fn one() -> u32 {
        1
    }

    #[derive(Clone, Copy, Default, serde::Deserialize, Schema)]
    #[serde(rename_all = "snake_case")]
    enum Action {
        #[default]
        RequireApproval,
        Block,
    }

    #[derive(Default, serde::Deserialize, Schema)]
    #[serde(rename_all = "camelCase", default)]
    struct Rule {
        how_sure: f64,
        on: bool,
    }

    #[test]
    fn a_schema_says_what_serde_reads() {
        let schema: Value = serde_json::from_str(&Settings::schema()).expect("JSON");
        assert_eq!(
            schema,
            json!({"type": "object", "additionalProperties": false, "required": ["words", "rules"], "properties": {
                "words": {"type": "array", "items": {"type": "string", "minLength": 1, "pattern": "\\w"}, "minItems": 1,
                    "description": "What asks for review, in whatever \"case\""},
                "action": {"enum": ["require_approval", "block"], "default": "require_approval"},
                "prompt": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "Shown to people"},
                "type": {"type": "integer", "minimum": 0, "maximum": 9},
                "rules": {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": false,
                    "properties": {"howSure": {"type": "number"}, "on": {"type": "boolean"}}}},
                "anything": {},
            }})
        );
        let read = serde_json::from_value::<Settings>(json!({"words": ["a"], "rules": {"r": {"howSure": 0.5}}, "action": "block"}));
        let read = read.expect("settings that fit");
        assert!(read.kind == 1 && matches!(read.action, Action::Block) && read.rules["r"].how_sure == 0.5 && !read.rules["r"].on);
    }
}
