//! YAML as it was written: every key and value with its place, doubled keys included. Nothing is known here about what may stand where.

use super::mistake::{Mistakes, Place};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::{Location, Spanned};
use std::fmt;

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One line of a map.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Where the key stands.
    pub(super) place: Place,
    pub(super) value: Node,
}

/// Far more than any configuration has, far less than would be felt: bombs of nesting and aliases end here.
const NODES: usize = 20_000;
const DEPTH: usize = 32;

impl Node {
    /// Reads YAML. What is no YAML at all is one mistake, because nothing after it can be trusted.
    pub(super) fn read(text: &str, mistakes: &mut Mistakes) -> Option<Node> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_depth: DEPTH, flow_nesting_limit: DEPTH, max_nodes: NODES, max_events: 4 * NODES, max_aliases: 1000, max_documents: 1,
            },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: NODES },
            duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough,
            strict_booleans: true,
            with_snippet: false,
        };
        match serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options) {
            Ok(root) => Some(root.into()),
            Err(error) => {
                mistakes.invalid(&error.location().map_or(Place::Whole, place), explain(&error));
                None
            }
        }
    }

    /// A value that came as text and is meant as text.
    pub(super) fn text(place: Place, text: &str) -> Node {
        Node { place, value: Value::Text(text.into()) }
    }

    /// Says of it and everything in it that it stands at `place`.
    pub(super) fn move_to(&mut self, place: &Place) {
        self.place = place.clone();
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|it| it.move_to(place)),
            Value::Map(entries) => entries.iter_mut().for_each(|it| {
                it.place = place.clone();
                it.value.move_to(place);
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
        }
    }

    /// The entries of a map; of anything else none.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|it| it.key == key).map(|it| &it.value)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries().iter().map(|it| it.key.as_str())
    }

    /// The value of `key`, made if it is not there; null becomes a map on the way.
    pub(super) fn entry(&mut self, key: &str, place: &Place) -> Option<&mut Node> {
        if matches!(self.value, Value::Null) {
            self.value = Value::Map(vec![]);
        }
        let Value::Map(entries) = &mut self.value else { return None };
        let index = entries.iter().position(|it| it.key == key).unwrap_or_else(|| {
            let value = Node { place: place.clone(), value: Value::Null };
            entries.push(Entry { key: key.into(), place: place.clone(), value });
            entries.len() - 1
        });
        Some(&mut entries[index].value)
    }

    /// Where the value at `path` stands, or what is nearest above it; numbers count list items.
    pub(super) fn place_of(&self, path: &[&str]) -> &Place {
        let Some((first, rest)) = path.split_first() else { return &self.place };
        let below = match &self.value {
            Value::List(items) => first.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => self.get(first),
        };
        below.map_or(&self.place, |it| it.place_of(rest))
    }

    /// What it is, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

fn explain(error: &serde_saphyr::Error) -> String {
    let text = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let text = text.lines().next().unwrap_or_default();
    let text = text.split(" at line ").next().unwrap_or(text);
    format!("this is not YAML that can be read here: {text}")
}

fn place(at: Location) -> Place {
    if at == Location::UNKNOWN { Place::Whole } else { Place::File { line: at.line(), column: at.column() } }
}

impl From<Spanned<Value>> for Node {
    fn from(it: Spanned<Value>) -> Node {
        Node { place: place(it.referenced), value: it.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        from.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map, a list, text, a number, true, false or null")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(Value::Bool(it))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(Value::Number(it.into()))
    }

    fn visit_u64<E>(self, it: u64) -> Result<Value, E> {
        Ok(Value::Number(it.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, it: f64) -> Result<Value, E> {
        Number::from_f64(it).map(Value::Number).ok_or_else(|| E::custom("this number is not finite"))
    }

    fn visit_str<E>(self, it: &str) -> Result<Value, E> {
        Ok(Value::Text(it.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = vec![];
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            list.push(item.into());
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = vec![];
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let value = entries.next_value::<Spanned<Value>>()?.into();
            map.push(Entry { key: key.value, place: place(key.referenced), value });
        }
        Ok(Value::Map(map))
    }
}
