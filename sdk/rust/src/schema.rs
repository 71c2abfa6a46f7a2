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

/// A type of settings that is a list, or may be one: what `#[schema(items(…))]` can say more of.
///
/// ```
/// # use aegis_guard::Schema;
/// #[derive(serde::Deserialize, Schema)]
/// struct Settings {
///     #[schema(items(min_length = 1))]
///     words: Option<Vec<String>>,
/// }
/// ```
///
/// Of anything else it is an error of the compiler:
///
/// ```compile_fail
/// # use aegis_guard::Schema;
/// #[derive(serde::Deserialize, Schema)]
/// struct Settings {
///     #[schema(items(min_length = 1))]
///     words: Option<String>,
/// }
/// ```
#[diagnostic::on_unimplemented(message = "`{Self}` is no list: `items` says more of the items of one", label = "has no items")]
pub trait List: Schema {
    /// As [`Schema::schema`], with the schema of its items as this makes it.
    fn schema_with(items: &dyn Fn(&str) -> String) -> String;
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
plain!(r#"{"type":"number"}"#, "0.0": f32, f64);

macro_rules! integer {
    ($($type:ty),+) => {
        $(impl Schema for $type {
            fn schema() -> String {
                format!(r#"{{"type":"integer","minimum":{},"maximum":{}}}"#, <$type>::MIN, <$type>::MAX)
            }

            fn default_value() -> Option<String> {
                Some("0".into())
            }
        })+
    };
}

integer!(i8, i16, i32, i64, isize, u8, u16, u32, u64, usize);

impl Schema for serde_json::Value {
    fn schema() -> String {
        "{}".into()
    }
}

impl<T: Schema> Schema for Option<T> {
    const OPTIONAL: bool = true;

    fn schema() -> String {
        or_null(&T::schema())
    }

    fn default_value() -> Option<String> {
        Some("null".into())
    }
}

impl<T: List> List for Option<T> {
    fn schema_with(items: &dyn Fn(&str) -> String) -> String {
        or_null(&T::schema_with(items))
    }
}

fn or_null(schema: &str) -> String {
    format!(r#"{{"anyOf":[{schema},{{"type":"null"}}]}}"#)
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

impl<T: List> List for Box<T> {
    fn schema_with(items: &dyn Fn(&str) -> String) -> String {
        T::schema_with(items)
    }
}

macro_rules! list {
    ($($type:ident),+) => {
        $(impl<T: Schema> Schema for $type<T> {
            fn schema() -> String {
                Self::schema_with(&str::to_owned)
            }

            fn default_value() -> Option<String> {
                Some("[]".into())
            }
        }

        impl<T: Schema> List for $type<T> {
            fn schema_with(items: &dyn Fn(&str) -> String) -> String {
                format!(r#"{{"type":"array","items":{}}}"#, items(&T::schema()))
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
    /// `name` and `schema` are JSON already.
    pub fn member<T: Schema>(&mut self, name: &'static str, mut schema: String, has_default: bool, told_default: bool) {
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
#[doc(hidden)]
pub fn with(object: &str, more: &str) -> String {
    let comma = if object == "{}" { "" } else { "," };
    match object.strip_suffix('}') {
        Some(open) if !more.is_empty() => format!("{open}{comma}{more}}}"),
        _ => object.to_owned(),
    }
}

/// A schema without the bound that an integer has from its type, where another is said. `bound` is how it begins, from the comma before it.
#[doc(hidden)]
pub fn without(schema: &str, bound: &str) -> String {
    match schema.split_once(bound) {
        Some((before, after)) if before.starts_with(r#"{"type":"integer""#) => {
            before.to_owned() + after.trim_start_matches(|it: char| it == '-' || it.is_ascii_digit())
        }
        _ => schema.to_owned(),
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

    #[derive(Schema)]
    #[expect(dead_code, reason = "its fields are looked at by their type alone")]
    struct Bounds {
        #[schema(minimum = -7)]
        least: i8,
        #[schema(maximum = 7)]
        most: i8,
        #[schema(maximum = 7, minimum = 1)]
        both: u8,
        #[schema(exclusive_minimum = 1)]
        other: u8,
        #[schema(minimum = 1)]
        number: f64,
        #[schema(maximum = 9)]
        option: Option<u8>,
        #[schema(items(maximum = 9), max_items = 3)]
        list: Box<Option<Vec<u8>>>,
        #[schema(items(minimum = 1))]
        numbers: Vec<f64>,
    }

    #[test]
    fn an_integer_has_the_bounds_of_its_type_or_those_that_are_said_once_each() {
        for (told, expected) in [
            (i8::schema(), r#"{"type":"integer","minimum":-128,"maximum":127}"#),
            (u64::schema(), r#"{"type":"integer","minimum":0,"maximum":18446744073709551615}"#),
            (i64::schema(), r#"{"type":"integer","minimum":-9223372036854775808,"maximum":9223372036854775807}"#),
        ] {
            assert_eq!(told, expected);
        }
        let schema = Bounds::schema();
        for expected in [
            r#""least":{"type":"integer","maximum":127,"minimum":-7}"#,
            r#""most":{"type":"integer","minimum":-128,"maximum":7}"#,
            r#""both":{"type":"integer","maximum":7,"minimum":1}"#,
            r#""other":{"type":"integer","minimum":0,"maximum":255,"exclusiveMinimum":1}"#,
            r#""number":{"type":"number","minimum":1}"#,
            r#""option":{"anyOf":[{"type":"integer","minimum":0,"maximum":255},{"type":"null"}],"maximum":9}"#,
            r#""list":{"anyOf":[{"type":"array","items":{"type":"integer","minimum":0,"maximum":9}},{"type":"null"}],"maxItems":3}"#,
            r#""numbers":{"type":"array","items":{"type":"number","minimum":1}}"#,
        ] {
            assert!(schema.contains(expected), "{expected} in {schema}");
        }
    }
}
