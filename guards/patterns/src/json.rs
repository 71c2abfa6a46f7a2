//! The strings and numbers of a JSON text, each as it is meant and with the way back to its bytes. What holds them together is never looked at,
//! so that a mask cannot break it.

use std::borrow::Cow;
use std::ops::Range;

/// One string or number.
pub(crate) struct Piece<'a> {
    /// What it means: a string without its quotes and escapes.
    pub(crate) text: Cow<'a, str>,
    /// Where that begins in the JSON.
    start: usize,
    /// In order, after each escape: the byte of `text`, and that of the JSON.
    bends: Vec<(usize, usize)>,
    /// Whether it has quotes around it.
    pub(crate) quoted: bool,
}

impl<'a> Piece<'a> {
    /// All pieces; nothing where the text is no JSON.
    pub(crate) fn all(json: &'a str) -> Option<Vec<Piece<'a>>> {
        serde_json::from_str::<serde::de::IgnoredAny>(json).ok()?;
        Some(Pieces { json, at: 0 }.collect())
    }

    /// A text that is no JSON, as it stands.
    pub(crate) fn whole(text: &'a str) -> Piece<'a> {
        Piece { text: text.into(), start: 0, bends: vec![], quoted: true }
    }

    /// Bytes of the JSON for bytes of the text: whole escapes, and of a number all of it.
    pub(crate) fn original(&self, range: Range<usize>) -> Range<usize> {
        if !self.quoted {
            return self.start..self.start + self.text.len();
        }
        self.back(range.start)..self.back(range.end)
    }

    /// Of a place between two characters.
    fn back(&self, at: usize) -> usize {
        let (text, json) = self.bends[..self.bends.partition_point(|(text, _)| *text <= at)].last().copied().unwrap_or((0, self.start));
        json + (at - text)
    }
}

struct Pieces<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let rest = &self.json[self.at..];
        let start = self.at + rest.find(|it: char| it == '"' || it == '-' || it.is_ascii_digit())?;
        Some(if self.json.as_bytes()[start] == b'"' { self.string(start + 1) } else { self.number(start) })
    }
}

impl<'a> Pieces<'a> {
    fn number(&mut self, start: usize) -> Piece<'a> {
        let length = self.json[start..].find(|it: char| !(it.is_ascii_digit() || "+-.eE".contains(it)));
        self.at = length.map_or(self.json.len(), |it| start + it);
        Piece { text: self.json[start..self.at].into(), start, bends: vec![], quoted: false }
    }

    fn string(&mut self, start: usize) -> Piece<'a> {
        let mut piece = Piece { text: "".into(), start, bends: vec![], quoted: true };
        let mut from = start;
        loop {
            let rest = &self.json[from..];
            let length = rest.find(['"', '\\']).expect("the JSON was checked");
            piece.add(&rest[..length]);
            if rest.as_bytes()[length] == b'"' {
                self.at = from + length + 1;
                return piece;
            }
            let (means, escape) = unescape(&rest[length..]);
            from += length + escape;
            piece.text.to_mut().push(means);
            piece.bends.push((piece.text.len(), from));
        }
    }
}

impl<'a> Piece<'a> {
    /// Copies nothing until a second piece comes.
    fn add(&mut self, text: &'a str) {
        if self.text.is_empty() { self.text = text.into() } else { self.text.to_mut().push_str(text) }
    }
}

/// What the escape at the beginning means, and its length. Half of a surrogate pair alone means the replacement character.
fn unescape(text: &str) -> (char, usize) {
    let it = match text.as_bytes()[1] {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => {
            let unit = |at: usize| u16::from_str_radix(text.get(at..)?.strip_prefix("\\u")?.get(..4)?, 16).ok();
            let means = char::decode_utf16([unit(0), unit(6)].into_iter().flatten()).next();
            let means = means.and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER);
            return (means, if means.len_utf16() == 2 { 12 } else { 6 });
        }
        other => other.into(),
    };
    (it, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_numbers_are_what_they_mean() {
        let json = r#" {"a\n": [-1.5e+3, true, "é\u00e9\ud83d\udc4b\"\\/", null, "", 0], "\u0062": {"c": "\ud83d x"}} "#;
        let pieces = Piece::all(json).unwrap();
        let texts: Vec<&str> = pieces.iter().map(|it| it.text.as_ref()).collect();
        assert_eq!(texts, ["a\n", "-1.5e+3", "éé👋\"\\/", "", "0", "b", "c", "\u{fffd} x"]);
        for json in ["", "{", "hello", r#"{"a": "b}"#, r#""\x""#] {
            assert!(Piece::all(json).is_none(), "{json}");
        }
    }

    #[test]
    fn every_range_leads_back_to_the_bytes_that_mean_it() {
        let json = r#"["é\u00e9\ud83d\udc4bab\n", 4111]"#;
        let pieces = Piece::all(json).unwrap();
        let back = |piece: usize, text: &str| {
            let at = pieces[piece].text.find(text).unwrap();
            &json[pieces[piece].original(at..at + text.len())]
        };
        for (text, expected) in
            [("é", "é"), ("éé", r"é\u00e9"), ("👋", r"\ud83d\udc4b"), ("👋a", r"\ud83d\udc4ba"), ("b", "b"), ("\n", r"\n")]
        {
            assert_eq!(back(0, text), expected);
        }
        assert_eq!(back(1, "11"), "4111");
    }
}
