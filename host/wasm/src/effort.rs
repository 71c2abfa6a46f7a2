//! How much work a schema makes of settings, counted before any of it is done: forty lines that each refer twice to the next ask for more checks
//! than a machine makes in a year. Each pair of a schema that is referred to and a value is counted once and remembered, so counting stays cheap.

use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::collections::HashMap;

/// Schemas held against values. Settings of a megabyte with a schema as people write them make a tenth of it; this many take a second or two.
const MOST: u64 = 2_000_000;
/// Schemas within each other, references followed.
const DEPTH: usize = 500;

/// Why a schema is not held against settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Effort {
    #[error(
        "holding these settings against it takes more than {MOST} checks: say with \"allOf\", \"anyOf\", \"$ref\" and the like the same thing once, not many times"
    )]
    Much,
    #[error(
        "{0:?} is no place in it that can be counted: refer to parts of this schema, as \"#/$defs/NAME\", and give no part an \"$id\" of its own"
    )]
    Elsewhere(String),
    #[error("it refers to itself, or goes on, for more than {DEPTH} levels without coming to an end")]
    Deep,
}

/// Schemas that are held against the value that the schema around them is held against, and whether it is asked first if they fit, and then once more
/// why not.
const HERE: [(&str, bool); 12] = [
    ("allOf", false),
    ("$ref", false),
    ("$dynamicRef", false),
    ("$recursiveRef", false),
    ("then", false),
    ("else", false),
    ("dependentSchemas", false),
    ("dependencies", false),
    ("anyOf", true),
    ("oneOf", true),
    ("not", true),
    ("if", true),
];
/// Schemas that are held against what is in that value.
const BELOW: [&str; 10] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "prefixItems",
    "additionalItems",
    "unevaluatedItems",
    "contains",
];

/// # Errors
/// It is too much.
pub(crate) fn measure(schema: &Value, settings: &Value) -> Result<(), Effort> {
    let mut names = HashMap::new();
    schema.as_object().into_iter().flat_map(|it| it.values()).try_for_each(own_base)?;
    anchors(schema, &mut names);
    let mut count = Count { root: schema, names, known: HashMap::new(), visits: 0 };
    if count.of(schema, settings, 0)?.told > MOST { Err(Effort::Much) } else { Ok(()) }
}

/// Schemas held against values.
#[derive(Clone, Copy)]
struct Cost {
    /// To say whether all fits.
    asked: u64,
    /// To say what does not.
    told: u64,
}

const ONE: Cost = Cost { asked: 1, told: 1 };
const NONE: Cost = Cost { asked: 0, told: 0 };

impl Cost {
    fn and(self, other: Cost) -> Cost {
        Cost { asked: self.asked.saturating_add(other.asked), told: self.told.saturating_add(other.told) }
    }

    fn asked_first(self) -> Cost {
        Cost { told: self.told.saturating_add(self.asked), ..self }
    }
}

/// A part with an `$id` is a document of its own, in which references mean something else.
fn own_base(schema: &Value) -> Result<(), Effort> {
    match schema {
        Value::Object(members) => match members.get("$id") {
            Some(Value::String(id)) => Err(Effort::Elsewhere(id.chars().take(80).collect())),
            _ => members.values().try_for_each(own_base),
        },
        Value::Array(items) => items.iter().try_for_each(own_base),
        _ => Ok(()),
    }
}

/// Parts of the schema that are referred to by a name.
fn anchors<'a>(schema: &'a Value, names: &mut HashMap<&'a str, &'a Value>) {
    match schema {
        Value::Object(members) => {
            let named = ["$anchor", "$dynamicAnchor"].iter().filter_map(|it| members.get(*it)?.as_str());
            names.extend(named.map(|it| (it, schema)));
            members.values().for_each(|it| anchors(it, names));
        }
        Value::Array(items) => items.iter().for_each(|it| anchors(it, names)),
        _ => {}
    }
}

struct Count<'a> {
    root: &'a Value,
    names: HashMap<&'a str, &'a Value>,
    /// What a part of the schema that is referred to makes of a value, by their addresses.
    known: HashMap<(*const Value, *const Value), Cost>,
    visits: u64,
}

impl<'a> Count<'a> {
    fn of(&mut self, schema: &'a Value, value: &'a Value, depth: usize) -> Result<Cost, Effort> {
        self.visits += 1;
        if depth > DEPTH {
            return Err(Effort::Deep);
        }
        if self.visits > MOST {
            return Err(Effort::Much);
        }
        let Value::Object(members) = schema else { return Ok(ONE) };
        let mut sum = ONE;
        for (name, asked_first) in HERE {
            let Some(it) = members.get(name) else { continue };
            let cost = self.here(name, it, value, depth)?;
            sum = sum.and(if asked_first { cost.asked_first() } else { cost });
        }
        // What is left over is what no other branch has looked at: each of them is asked once more.
        if members.contains_key("unevaluatedProperties") || members.contains_key("unevaluatedItems") {
            sum = Cost { asked: sum.asked.saturating_mul(2), ..sum.asked_first() };
        }
        for name in BELOW {
            let Some(it) = members.get(name) else { continue };
            sum = sum.and(self.below(name, it, value, depth)?);
        }
        Ok(sum)
    }

    fn here(&mut self, name: &str, schemas: &'a Value, value: &'a Value, depth: usize) -> Result<Cost, Effort> {
        match schemas {
            Value::String(reference) => self.referred(reference, value, depth),
            Value::Array(them) => self.all(them.iter().map(|it| (it, value)), depth),
            Value::Object(by_name) if name.starts_with("depende") => self.all(by_name.values().map(|it| (it, value)), depth),
            one => self.of(one, value, depth + 1),
        }
    }

    fn referred(&mut self, reference: &str, value: &'a Value, depth: usize) -> Result<Cost, Effort> {
        let schema = self.target(reference).ok_or_else(|| Effort::Elsewhere(reference.chars().take(80).collect()))?;
        let pair = (std::ptr::from_ref(schema), std::ptr::from_ref(value));
        if let Some(known) = self.known.get(&pair) {
            return Ok(*known);
        }
        let cost = self.of(schema, value, depth + 1)?;
        self.known.insert(pair, cost);
        Ok(cost)
    }

    /// Within this document; nothing else is looked up.
    fn target(&self, reference: &str) -> Option<&'a Value> {
        let plain = percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?;
        if plain.is_empty() { Some(self.root) } else { self.root.pointer(&plain).or_else(|| self.names.get(&*plain).copied()) }
    }

    fn below(&mut self, name: &str, schemas: &'a Value, value: &'a Value, depth: usize) -> Result<Cost, Effort> {
        match (name, schemas, value) {
            ("properties", Value::Object(schemas), Value::Object(values)) => {
                self.all(schemas.iter().filter_map(|(name, it)| Some((it, values.get(name)?))), depth)
            }
            ("patternProperties", Value::Object(schemas), Value::Object(values)) => {
                self.all(schemas.values().flat_map(|it| values.values().map(move |value| (it, value))), depth)
            }
            ("additionalProperties" | "unevaluatedProperties" | "propertyNames", _, Value::Object(values)) => {
                self.all(values.values().map(|it| (schemas, it)), depth)
            }
            ("items" | "prefixItems", Value::Array(schemas), Value::Array(values)) => self.all(schemas.iter().zip(values), depth),
            ("items" | "additionalItems" | "unevaluatedItems" | "contains", _, Value::Array(values)) => {
                Ok(self.all(values.iter().map(|it| (schemas, it)), depth)?.asked_first())
            }
            _ => Ok(NONE),
        }
    }

    fn all(&mut self, mut pairs: impl Iterator<Item = (&'a Value, &'a Value)>, depth: usize) -> Result<Cost, Effort> {
        pairs.try_fold(NONE, |sum, (schema, value)| Ok(sum.and(self.of(schema, value, depth + 1)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    /// Each level twice the one below, in this way.
    fn doubled(levels: usize, keyword: &str) -> Value {
        let twice = |n: usize| json!({keyword: [{"$ref": format!("#/$defs/{}", n + 1)}, {"$ref": format!("#/$defs/{}", n + 1)}]});
        let mut defs: Map<String, Value> = (0..levels).map(|n| (n.to_string(), twice(n))).collect();
        defs.insert(levels.to_string(), json!({"type": "object"}));
        json!({"$defs": defs, "$ref": "#/$defs/0"})
    }

    #[test]
    fn a_schema_that_doubles_at_each_level_is_too_much() {
        for keyword in ["allOf", "anyOf", "oneOf"] {
            assert_eq!(measure(&doubled(40, keyword), &json!({})), Err(Effort::Much), "{keyword}");
            assert_eq!(measure(&doubled(8, keyword), &json!({})), Ok(()), "{keyword}");
        }
    }

    #[test]
    fn a_reference_is_followed_however_it_is_written_or_refused() {
        let text = doubled(40, "allOf").to_string();
        for (written, said) in [
            ("#/%24defs/", "Much"),
            ("#/%24%64efs/", "Much"),
            ("n", "Elsewhere"),
            ("other.json#/$defs/", "Elsewhere"),
            ("#/nowhere/", "Elsewhere"),
        ] {
            let schema: Value = serde_json::from_str(&text.replace("#/$defs/", written)).unwrap();
            let found = measure(&schema, &json!({})).expect_err(written);
            assert!(format!("{found:?}").starts_with(said), "{written}: {found:?}");
        }
        let based = json!({"$defs": {"a": {"$id": "b", "$ref": "#"}}});
        assert_eq!(measure(&based, &json!({})), Err(Effort::Elsewhere("b".into())));
        assert_eq!(measure(&json!({"$id": "https://example.com/settings", "type": "object"}), &json!({})), Ok(()));
    }

    #[test]
    fn a_schema_that_doubles_with_each_level_of_the_settings_is_too_much_for_deep_ones() {
        let again = json!({"$ref": "#"});
        let schema = json!({"properties": {"a": {"allOf": [again, again]}}});
        let settings = |levels| (0..levels).fold(json!({}), |inner, _| json!({"a": inner}));
        assert_eq!((measure(&schema, &settings(50)), measure(&schema, &settings(5))), (Err(Effort::Much), Ok(())));
    }

    #[test]
    fn what_leads_back_to_itself_without_a_value_between_comes_to_no_end() {
        for schema in
            [json!({"$ref": "#"}), json!({"allOf": [{"not": {"$ref": "#/allOf/0"}}]}), json!({"$anchor": "a", "not": {"$ref": "#a"}})]
        {
            assert_eq!(measure(&schema, &json!({})), Err(Effort::Deep), "{schema}");
        }
    }

    #[test]
    fn large_settings_with_a_schema_as_people_write_them_are_not_too_much() {
        let schema = json!({"$defs": {"rule": {"type": "object", "properties": {"name": {"type": "string"},
            "when": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}, "then": {"oneOf": [{"const": "block"}, {"const": "mask"}]}}}},
            "type": "object", "properties": {"rules": {"type": "array", "items": {"$ref": "#/$defs/rule"}}}});
        let rule = json!({"name": "r", "when": ["a", "b", "c"], "then": "mask"});
        assert_eq!(measure(&schema, &json!({"rules": vec![rule; 20_000]})), Ok(()));
    }
}
