//! Texts to warm up with: prose, code and numbers, strewn with what the patterns look for and what only looks like it. The same every time, so
//! that the same settings are the same snapshot.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Bytes of all texts together.
const LENGTH: usize = 300_000;
/// Bytes of one example, and steps to make it.
const EXAMPLE: usize = 300;
const STEPS: usize = 2_000;

const WORDS: &str = r##"
the of and to a in that is I it for you was with on as have but be they please could order delivery yesterday invoice customer
because understanding Internationalization Hello, Thanks! don't it's we'll well-known e-mail (see below) "quoted" Dr. U.S. NASA
iPhone 12 7 2024 1,234.56 3.14 100% #42 €19.99 09:30 2024-05-17 17.05.2024 v1.20.3 4471 00123456 +49 (030) 555 901820 10.0.0.1
SKU-88 A4 B2B GB82 deadbeef 3f2a 0x1F f47ac10b-58cc Qk1abc09Xy https://shop.example/help?a=1&b=2 www.example.org jane@example.com
@alice C:\temp\x.txt /usr/bin/env file_name.rs key=value token: password secret user: {"id": [1,2,3]} fn main() -> && <b>bold</b>
**bold** Müller naïve Привет 你好
"##;

/// Texts in which examples of all patterns stand. Each ends soon after its first example: nobody reads on in a text in which every pattern has
/// been found, and of one pattern that is the first place.
pub(crate) fn texts(patterns: &[&Hir]) -> Vec<String> {
    let (words, mut random) = (WORDS.split_whitespace().collect::<Vec<_>>(), Random(0x9E37_79B9_7F4A_7C15));
    let (mut texts, mut text, mut length) = (vec![], String::new(), 0);
    for pattern in patterns.iter().cycle() {
        for _ in 0..4 {
            text.push_str(random.one_of(&words));
            text.push(' ');
            token(&mut text, &mut random);
        }
        let example = example(pattern, &mut random);
        if random.below(8) > 0 {
            near_miss(&example, &mut text, &mut random);
            text.push(if random.below(20) == 0 { '\n' } else { ' ' });
            continue;
        }
        text.push_str(&example);
        token(&mut text, &mut random);
        length += text.len();
        texts.push(std::mem::take(&mut text));
        if length >= LENGTH {
            break;
        }
    }
    texts
}

/// Letters or digits of one kind, as words, numbers and keys are, and what may stand behind them. Texts have words that no list has, and an automaton
/// has to have seen every letter after every beginning that means something to it.
fn token(text: &mut String, random: &mut Random) {
    const KINDS: [(&str, usize); 5] = [
        ("etaoinshrdlucmfwypvbgkjqxz", 8),
        ("abcdefghijklmnopqrstuvwxyz", 6),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 3),
        ("0123456789", 4),
        ("äéøßñĳжи你好👋", 3),
    ];
    const BETWEEN: [&str; 16] = [" ", " ", " ", " ", ", ", ". ", "\n", "-", ".", ":", "/", "'", "\"", ")", "=", "_"];
    for _ in 0..1 + random.below(3) {
        let (letters, most) = KINDS[random.below(KINDS.len())];
        let letters: Vec<char> = letters.chars().collect();
        for n in 0..1 + random.below(most) {
            let letter = letters[random.below(letters.len())];
            text.extend(if n == 0 && random.below(4) == 0 { letter.to_uppercase().next() } else { Some(letter) });
        }
        text.push_str(random.one_of(&BETWEEN));
    }
}

/// The beginning of an example, and then something else.
fn near_miss(example: &str, text: &mut String, random: &mut Random) {
    let most = [6, 16, EXAMPLE][random.below(3)];
    let length = 1 + random.below(example.len().clamp(1, most));
    text.push_str(&example[..example.floor_char_boundary(length)]);
    token(text, random);
}

/// A text that the pattern finds, unless its assertions contradict it or it is long.
fn example(pattern: &Hir, random: &mut Random) -> String {
    let mut example = Example { text: String::new(), steps: STEPS };
    example.add(pattern, random);
    example.text
}

struct Example {
    text: String,
    steps: usize,
}

impl Example {
    fn add(&mut self, hir: &Hir, random: &mut Random) {
        if self.steps == 0 || self.text.len() > EXAMPLE {
            return;
        }
        self.steps -= 1;
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(it) => self.text.push_str(&String::from_utf8_lossy(&it.0)),
            HirKind::Class(it) => self.text.push(member(it, random)),
            HirKind::Capture(it) => self.add(&it.sub, random),
            HirKind::Concat(all) => all.iter().for_each(|it| self.add(it, random)),
            HirKind::Alternation(all) => self.add(&all[random.below(all.len())], random),
            HirKind::Repetition(it) => {
                let more = it.max.map_or(8, |max| max - it.min).min(16);
                for _ in 0..(it.min as usize).min(EXAMPLE) + random.below(more as usize + 1) {
                    self.add(&it.sub, random);
                }
            }
        }
    }
}

/// One of ASCII that can be seen, where there is one.
fn member(class: &Class, random: &mut Random) -> char {
    let ranges: Vec<(u32, u32)> = match class {
        Class::Unicode(it) => it.ranges().iter().map(|it| (it.start().into(), it.end().into())).collect(),
        Class::Bytes(it) => it.ranges().iter().map(|it| (it.start().into(), it.end().into())).collect(),
    };
    let seen: Vec<(u32, u32)> =
        ranges.iter().map(|(start, end)| (*start.max(&33), *end.min(&126))).filter(|(start, end)| start <= end).collect();
    let ranges = if seen.is_empty() { ranges } else { seen };
    let Some((start, end)) = ranges.get(random.below(ranges.len().max(1))) else { return ' ' };
    char::from_u32(start + random.below((end - start) as usize + 1) as u32).unwrap_or(' ')
}

/// Numbers that look random and are always the same (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 20) % n as u64) as usize
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::Parsed;
    use regex::Regex;

    #[test]
    fn an_example_is_found_by_its_pattern() {
        let mut random = Random(1);
        for pattern in [r"[^ :@/]+:[^ @/]+@", r"(?:25[0-5]|\d)\.x{2,5}?", r"(?i)straße\s", r"[α-ω]{3}", r"\p{Han}", r".", "a|bc|d"] {
            let parsed = Parsed::new(pattern).unwrap();
            for _ in 0..50 {
                let example = example(parsed.hir(), &mut random);
                assert!(Regex::new(pattern).unwrap().is_match(&example), "{pattern}: {example:?}");
            }
        }
    }

    #[test]
    fn texts_are_always_the_same_and_never_endless() {
        let hirs: Vec<Hir> = [r"(?:\b){900}{900}a", r"(?:(?:a{99}){99}){99}", r"[a&&b]x"].map(|it| regex_syntax::parse(it).unwrap()).into();
        let texts = texts(&hirs.iter().collect::<Vec<_>>());
        let length = texts.iter().map(String::len).sum::<usize>();
        assert!((LENGTH..LENGTH + 100 * EXAMPLE).contains(&length), "{length}");
        assert_eq!(texts, super::texts(&hirs.iter().collect::<Vec<_>>()));
    }

    #[test]
    fn no_example_ends_a_text_early() {
        let parsed = Parsed::new(r"\bSKU-[0-9]{6}\b").unwrap();
        let (pattern, texts) = (Regex::new(r"\bSKU-[0-9]{6}\b").unwrap(), texts(&[parsed.hir()]));
        let read = texts.iter().map(|it| pattern.find(it).map_or(it.len(), |hit| hit.end())).sum::<usize>();
        assert!(read > LENGTH * 3 / 4, "{read}");
    }
}
