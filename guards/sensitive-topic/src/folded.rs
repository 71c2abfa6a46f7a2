//! A text as it is compared, and the way back to the bytes it came from. No tables: the mappings are those of the standard library.

use std::ops::Range;

/// Letters of one case, one space for white space of any length, and nothing for what cannot be seen. Some letters are longer or shorter than
/// what they were made from: `İ`, `ẞ`, the Kelvin sign.
#[derive(Default)]
pub(crate) struct Folded {
    /// For searching.
    pub(crate) text: String,
    /// In order; between them bytes correspond.
    bends: Vec<Bend>,
}

/// One character whose folding has another length, or is several characters or none.
struct Bend {
    folded: Range<usize>,
    original: Range<usize>,
}

impl Folded {
    /// Of a text as it stands.
    pub(crate) fn plain(text: &str) -> Folded {
        let mut folded = Folded { text: String::with_capacity(text.len()), bends: vec![] };
        folded.add(text, 0);
        folded
    }

    /// Of JSON, with the escapes of its strings read: `"cr\u00e9dit"` means "crédit".
    pub(crate) fn json(text: &str) -> Folded {
        let mut folded = Folded { text: String::with_capacity(text.len()), bends: vec![] };
        let (mut at, mut from) = (0, 0);
        while let Some(length) = text[from..].find('\\') {
            let escaped = from + length;
            from = escaped + 1;
            if let Some((it, length)) = escape(&text[escaped..]) {
                folded.add(&text[at..escaped], at);
                from = escaped + length;
                folded.character(it, escaped..from);
                at = from;
            }
        }
        folded.add(&text[at..], at);
        folded
    }

    /// What stands at this byte of the original. Most of it is plain, and goes as a whole.
    fn add(&mut self, mut text: &str, mut at: usize) {
        loop {
            let (plain, rest) = text.split_at(plain(text.as_bytes()));
            self.text.push_str(plain);
            let start = self.text.len() - plain.len();
            self.text[start..].make_ascii_lowercase();
            at += plain.len();
            let Some(it) = rest.chars().next() else { return };
            self.character(it, at..at + it.len_utf8());
            at += it.len_utf8();
            text = &rest[it.len_utf8()..];
        }
    }

    fn character(&mut self, it: char, original: Range<usize>) {
        let start = self.text.len();
        match it {
            _ if unseen(it) => {}
            _ if !it.is_whitespace() => self.text.extend(fold(it)),
            _ if self.text.ends_with(' ') => {}
            _ => self.text.push(' '),
        }
        let added = &self.text[start..];
        if added.len() != original.len() || added.chars().nth(1).is_some() {
            self.bends.push(Bend { folded: start..self.text.len(), original });
        }
    }

    /// Where `phrase`, folded, stands: bytes of the original, whole characters.
    pub(crate) fn find(&self, phrase: &str) -> impl Iterator<Item = Range<usize>> {
        self.text.match_indices(phrase).map(|(at, hit)| self.original(at..at + hit.len()))
    }

    fn original(&self, range: Range<usize>) -> Range<usize> {
        let start = match self.bend(range.start) {
            Some(bend) if range.start < bend.folded.end => bend.original.start,
            Some(bend) => bend.original.end + (range.start - bend.folded.end),
            None => range.start,
        };
        let end = match self.bend(range.end - 1) {
            Some(bend) if range.end <= bend.folded.end => bend.original.end,
            Some(bend) => bend.original.end + (range.end - bend.folded.end),
            None => range.end,
        };
        start..end
    }

    /// The last bend that begins at this byte or before.
    fn bend(&self, at: usize) -> Option<&Bend> {
        let next = self.bends.partition_point(|it| it.folded.start <= at);
        self.bends[..next].last()
    }
}

/// Bytes at the beginning that are letters, digits and signs of ASCII, and single spaces between them.
fn plain(text: &[u8]) -> usize {
    let mut before = b' ';
    let end = text.iter().position(|&it| {
        let ends = !(it.is_ascii_graphic() || it == b' ' && before != b' ');
        before = it;
        ends
    });
    end.unwrap_or(text.len())
}

/// Joins, marks and hyphens with which a word still looks as it did.
fn unseen(it: char) -> bool {
    matches!(it, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

/// Lower, upper and lower again comes to Unicode's full case folding and a little more: `ẞ`, `ß` and `SS` are one, and so are `ı`, `i` and `I`.
fn fold(it: char) -> impl Iterator<Item = char> {
    it.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// The character that an escape at the beginning of `text` means, and the escape's length.
fn escape(text: &str) -> Option<(char, usize)> {
    let it = match text.strip_prefix('\\')?.bytes().next()? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => return unicode(text),
        it @ (b'"' | b'\\' | b'/') => it.into(),
        _ => return None,
    };
    Some((it, 2))
}

/// `\u` and four digits, or two of them that are the halves of a surrogate pair.
fn unicode(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| u16::from_str_radix(text.get(at..)?.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let units = [Some(unit(0)?), unit(6)];
    let it = char::decode_utf16(units.into_iter().flatten()).next()?.ok()?;
    Some((it, 6 * it.len_utf16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(folded: Folded, original: &str, phrase: &str) -> Vec<String> {
        folded.find(&Folded::plain(phrase).text).map(|range| original[range].to_owned()).collect()
    }

    #[test]
    fn letters_are_found_in_every_case_with_their_own_bytes() {
        for (text, phrase, expected) in [
            ("I need Financial Advice.", "financial advice", &["Financial Advice"][..]),
            ("ééé FINANCIAL advice ééé", "Financial Advice", &["FINANCIAL advice"]),
            ("İİİ financial advice İ financial advice", "financial advice", &["financial advice", "financial advice"]),
            ("300 K is 27 °C, 300 k too", "300 k", &["300 K", "300 k"]),
            ("STRASSE straße STRAẞE", "Straße", &["STRASSE", "straße", "STRAẞE"]),
            ("ẞẞ financial advice", "financial advice", &["financial advice"]),
            ("İSTANBUL i\u{307}stanbul", "İstanbul", &["İSTANBUL", "i\u{307}stanbul"]),
            ("ΟΔΥΣΣΕΥΣ οδυσσευς", "Οδυσσεύς", &[]),
            ("ΟΔΟΣ οδος οδοσ", "οδος", &["ΟΔΟΣ", "οδος", "οδοσ"]),
            ("ﬁnancial aﬀairs", "financial affairs", &["ﬁnancial aﬀairs"]),
            ("МОСКВА и москва", "Москва", &["МОСКВА", "москва"]),
            ("你好,财务建议", "财务建议", &["财务建议"]),
            ("Maß", "s", &["ß", "ß"]),
            ("nothing here", "financial advice", &[]),
            ("financial  advice, \tfinancial\r\n\u{a0}advice", "financial advice", &["financial  advice", "financial\r\n\u{a0}advice"]),
            ("a financial advice", " financial  advice", &[" financial advice"]),
            (
                "fin\u{200b}anc\u{ad}ial\u{feff} \u{200d} adviÇE\u{2060}!",
                "financial adviçe",
                &["fin\u{200b}anc\u{ad}ial\u{feff} \u{200d} adviÇE"],
            ),
            ("\u{200b}ß\u{200b}s\u{200b}", "ss", &["ß"]),
            ("\u{200b}ß\u{200b}s\u{200b}", "sss", &["ß\u{200b}s"]),
        ] {
            assert_eq!(found(Folded::plain(text), text, phrase), expected, "{text}: {phrase}");
        }
    }

    #[test]
    fn json_says_what_its_escapes_mean() {
        for (text, phrase, expected) in [
            (r#"{"q":"cr\u00e9dit"}"#, "CRÉDIT", &[r"cr\u00e9dit"][..]),
            (r#"{"q":"\u0046inancial\u0020advice \ud83d\udc4b"}"#, "financial advice 👋", &[r"\u0046inancial\u0020advice \ud83d\udc4b"]),
            (r#"{"q":"a\nb\\nb"}"#, "a\nb", &[r"a\nb"]),
            (r#"{"q":"a\n \u200B\tb  c"}"#, "a b c", &[r"a\n \u200B\tb  c"]),
            (r#"{"q":"C:\\users"}"#, r"c:\users", &[r"C:\\users"]),
            (r#"{"q":"Maß \u0130 advice"}"#, "advice", &["advice"]),
            (r#"{"q":"no json: \ud83d \uzzzz \x advice \"#, r"\x advice \", &[r"\x advice \"]),
        ] {
            assert_eq!(found(Folded::json(text), text, phrase), expected, "{text}: {phrase}");
        }
    }

    #[test]
    fn every_character_keeps_its_place_and_is_one_with_its_other_cases() {
        let before = Folded::plain("ẞİ").text.len();
        let folded = |text: &mut dyn Iterator<Item = char>| Folded::plain(&text.collect::<String>()).text;
        for it in ('\u{80}'..=char::MAX).filter(|it| it.is_alphabetic()) {
            let mine = fold(it).collect::<String>();
            let range = Folded::plain(&format!("ẞİ{it}K")).original(before..before + mine.len());
            assert_eq!(range, 5..5 + it.len_utf8(), "{it:?}");
            assert_eq!(folded(&mut it.to_lowercase()), mine, "{it:?}");
            assert_eq!(folded(&mut it.to_uppercase()), mine, "{it:?}");
        }
    }
}
