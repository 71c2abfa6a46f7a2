//! Words: one of a few, written as text. A derived enum would also take `{"approved": null}`, and call a number where a word should
//! stand a fault of syntax; here both are told which words there are.

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};
use std::fmt;

/// Reads one of `words`, by its name.
pub(crate) fn read<'de, D: Deserializer<'de>, T: Copy>(from: D, words: &[(&str, T)]) -> Result<T, D::Error> {
    from.deserialize_str(Words(words))
}

struct Words<'w, T>(&'w [(&'w str, T)]);

impl<T: Copy> Visitor<'_> for Words<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("{word:?}")).collect();
        f.write_str(&words.join(" or "))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let found = self.0.iter().find(|(word, _)| *word == text);
        found.map(|(_, it)| *it).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Choice, Detail, Role};

    #[test]
    fn a_word_is_one_of_those_there_are_and_nothing_else() {
        assert_eq!(serde_json::from_str::<Choice>(r#""denied""#).unwrap(), Choice::Denied);
        assert_eq!(serde_json::from_str::<Role>(r#""function""#).unwrap(), Role::Tool);
        for wrong in [r#""deny""#, r#""""#, r#""Approved""#, "1", "null", "true", r#"["approved"]"#, r#"{"approved":null}"#] {
            let error = serde_json::from_str::<Choice>(wrong).expect_err(wrong).to_string();
            assert!(error.contains(r#"expected "approved" or "denied""#), "{wrong}: {error}");
            assert!(serde_json::from_str::<Role>(wrong).is_err() && serde_json::from_str::<Detail>(wrong).is_err(), "{wrong}");
        }
    }
}
