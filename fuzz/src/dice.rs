//! Bytes as a source of choices: the fuzzer chooses, and what it chose comes again when the same bytes do.

use serde_json::{Value, json};

/// What is left of the bytes; zeros after their end.
pub(crate) struct Dice<'a>(&'a [u8]);

impl<'a> Dice<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Dice<'a> {
        Dice(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// From 0; never `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let roll = u16::from_le_bytes([self.byte(), if end > 256 { self.byte() } else { 0 }]);
        usize::from(roll) % end.max(1)
    }

    pub(crate) fn of<'b, T>(&mut self, all: &'b [T]) -> &'b T {
        &all[self.below(all.len())]
    }

    /// Mostly small, sometimes at an edge.
    pub(crate) fn number(&mut self) -> u32 {
        match self.byte() {
            small @ 0..200 => u32::from(small) % 24,
            large => [24, 255, 256, 4096, 65_536, u32::MAX / 2, u32::MAX - 1, u32::MAX][usize::from(large) % 8],
        }
    }

    pub(crate) fn text(&mut self) -> String {
        let texts =
            ["", "a", "é", "h\u{1F600}llo", "{}", "{\"a\":1}", "\0", "team:risk", "role:approver", "role:boss", "ada", "words", "people"];
        match self.below(texts.len() + 2) {
            known if known < texts.len() => texts[known].into(),
            _ => texts[self.below(texts.len())].repeat(self.below(40)),
        }
    }

    pub(crate) fn many<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| one(self)).collect()
    }

    /// The JSON with a few of its values exchanged, doubled, taken out or put in.
    pub(crate) fn change(&mut self, json: &mut Value) {
        for _ in 0..1 + self.below(4) {
            let mut places = vec![];
            list(json, String::new(), &mut places);
            let at = self.of::<String>(&places).clone();
            let other = json.pointer(self.of::<String>(&places)).cloned().unwrap_or_default();
            let way = self.byte() % 8;
            let new = self.value(other);
            match (json.pointer_mut(&at).expect("it was listed"), way) {
                (Value::Array(list), 0 | 1) => list.insert(self.below(list.len() + 1), new),
                (Value::Array(list), 2) if !list.is_empty() => drop(list.remove(self.below(list.len()))),
                (Value::Array(list), 3) if !list.is_empty() => {
                    let twice = self.of(list).clone();
                    list.push(twice);
                }
                (Value::Object(map), 2) if !map.is_empty() => {
                    let name = map.keys().nth(self.below(map.len())).cloned().unwrap_or_default();
                    map.remove(&name);
                }
                (Value::Object(map), 3) => drop(map.insert(self.text(), new)),
                (place, _) => *place = new,
            }
        }
    }

    /// Something that may stand in a run, or what stands elsewhere in it.
    fn value(&mut self, other: Value) -> Value {
        match self.byte() % 16 {
            0 => Value::Null,
            1 => json!(self.byte() % 2 == 0),
            2 | 3 => json!(self.number()),
            4 => json!([u64::MAX, u64::MAX - 1, 1 << 31, 1 << 32][self.below(4)]),
            5 | 6 => json!(self.text()),
            7 => json!([]),
            8 => self.edit(),
            9 | 10 => json!({"place": self.number(), "edits": self.many(3, Dice::edit)}),
            11 => json!({"at": self.place(), "text": self.text()}),
            12 => json!([self.text()]),
            _ => other,
        }
    }

    fn place(&mut self) -> Value {
        match self.byte() % 4 {
            0 => json!({"tool": self.number()}),
            1 => json!({"arguments": {"message": self.number(), "call": self.number()}}),
            _ => json!({"part": {"message": self.number(), "part": self.number()}}),
        }
    }

    fn edit(&mut self) -> Value {
        json!({"at": self.place(), "start": self.number(), "end": self.number(), "text": self.text()})
    }

    /// Of a type that is read from JSON of that shape.
    pub(crate) fn edits(&mut self) -> Vec<aegis_core::Edit> {
        self.many(4, |dice| serde_json::from_value(dice.edit()).expect("it has the shape of an edit"))
    }

    pub(crate) fn at(&mut self) -> aegis_core::Place {
        serde_json::from_value(self.place()).expect("it has the shape of a place")
    }
}

fn list(json: &Value, at: String, places: &mut Vec<String>) {
    match json {
        Value::Array(items) => items.iter().enumerate().for_each(|(index, it)| list(it, format!("{at}/{index}"), places)),
        Value::Object(map) => {
            map.iter().for_each(|(name, it)| list(it, format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), places));
        }
        _ => {}
    }
    places.push(at);
}
