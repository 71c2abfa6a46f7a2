//! Foreign text made fit to be judged: no character in it can hide, reorder its neighbours or become markup, and what guards
//! have found is marked. Nothing is left out.

use aegis_core::Finding;
use askama::Template;
use askama::filters::HtmlSafe;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

/// So many characters of a rule's name stand in the title of a mark: a long name over many marks would fill the memory.
const RULE_IN_TITLE: usize = 80;
/// So many rules stand in the title of a mark.
const RULES_IN_TITLE: usize = 3;

/// A text on its way into a page. Its template escapes it.
#[derive(Template)]
#[template(path = "approvals/text.html")]
pub(super) struct Text<'a> {
    spans: Vec<Span<'a>>,
}

impl HtmlSafe for Text<'_> {}

struct Span<'a> {
    mark: Option<Mark>,
    pieces: Vec<Piece<'a>>,
}

struct Mark {
    /// For links; none where no finding begins.
    id: Option<String>,
    title: String,
}

#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Seen(Cow<'a, str>),
    /// Stands for characters that nobody would see.
    Unseen(String),
}

impl<'a> Text<'a> {
    /// Without marks.
    pub(super) fn plain(text: &'a str) -> Text<'a> {
        Text { spans: vec![Span { mark: None, pieces: pieces(text) }] }
    }

    /// Whether there is nothing to read.
    pub(super) fn is_empty(&self) -> bool {
        self.spans.iter().all(|span| span.pieces.is_empty())
    }

    /// The same, where the text was made for the page and does not outlive it.
    pub(super) fn into_owned(self) -> Text<'static> {
        let own = |piece: Piece<'a>| match piece {
            Piece::Seen(text) => Piece::Seen(text.into_owned().into()),
            Piece::Unseen(token) => Piece::Unseen(token),
        };
        let span = |span: Span<'a>| Span { mark: span.mark, pieces: span.pieces.into_iter().map(own).collect() };
        Text { spans: self.spans.into_iter().map(span).collect() }
    }

    /// With a mark over every finding. Findings may overlap and may be empty; one that does not fit the text marks what is there.
    /// `at` is the beginning of the marks' ids, see [`anchor`].
    pub(super) fn marked<'f>(text: &'a str, findings: impl Iterator<Item = &'f Finding>, at: &str) -> Text<'a> {
        let (mut spans, mut open, mut from, mut begins) = (vec![], Rules::default(), 0, false);
        for (to, edge) in edges(text, findings) {
            if from < to {
                spans.push(Span { mark: open.mark(begins.then(|| anchor(at, from))), pieces: pieces(&text[from..to]) });
            }
            if !edge.points.is_empty() {
                let mut points = Rules::default();
                edge.points.iter().for_each(|rule| points.open(rule));
                spans.push(Span { mark: points.mark(edge.opens.is_empty().then(|| anchor(at, to))), pieces: vec![] });
            }
            edge.closes.iter().for_each(|rule| open.close(rule));
            edge.opens.iter().for_each(|rule| open.open(rule));
            (from, begins) = (to, !edge.opens.is_empty());
        }
        Text { spans }
    }
}

/// The id of the mark over the finding that begins at byte `start` of a place.
pub(super) fn anchor(at: &str, start: usize) -> String {
    format!("{at}-{start}")
}

/// The text as a plain string in which nothing hides: for titles and other attributes.
fn visible(text: &str) -> String {
    pieces(text).iter().map(Piece::shown).collect()
}

impl Piece<'_> {
    fn shown(&self) -> &str {
        match self {
            Piece::Seen(text) => text,
            Piece::Unseen(token) => token,
        }
    }
}

/// What begins and ends at one byte.
#[derive(Default)]
struct Edge<'f> {
    opens: Vec<&'f str>,
    closes: Vec<&'f str>,
    /// Findings of no length.
    points: Vec<&'f str>,
}

/// Where marks change, in order; the last one is the end of the text.
fn edges<'f>(text: &str, findings: impl Iterator<Item = &'f Finding>) -> BTreeMap<usize, Edge<'f>> {
    let mut edges: BTreeMap<usize, Edge<'f>> = BTreeMap::new();
    for finding in findings {
        let (start, end) = (text.floor_char_boundary(finding.start as usize), text.floor_char_boundary(finding.end as usize));
        if start < end {
            edges.entry(start).or_default().opens.push(&finding.rule);
            edges.entry(end).or_default().closes.push(&finding.rule);
        } else {
            edges.entry(start).or_default().points.push(&finding.rule);
        }
    }
    edges.entry(text.len()).or_default();
    edges
}

/// The rules that have something against the same bytes, and how often each.
#[derive(Default)]
struct Rules<'f>(BTreeMap<&'f str, usize>);

impl<'f> Rules<'f> {
    fn open(&mut self, rule: &'f str) {
        *self.0.entry(rule).or_default() += 1;
    }

    fn close(&mut self, rule: &'f str) {
        if let Some(count) = self.0.get_mut(rule) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(rule);
            }
        }
    }

    fn mark(&self, id: Option<String>) -> Option<Mark> {
        let short = |rule: &&str| visible(&rule.chars().take(RULE_IN_TITLE).collect::<String>());
        let named: Vec<String> = self.0.keys().take(RULES_IN_TITLE).map(short).collect();
        let more = self.0.len().saturating_sub(RULES_IN_TITLE);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!named.is_empty()).then(|| Mark { id, title: named.join(", ") + &more })
    }
}

/// Cuts a text where characters begin that nobody would see. A row of them becomes one token, so that a text made of them does
/// not become a page of a hundred times its size.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut seen, mut row, mut before) = (vec![], 0, Row::default(), None);
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        let next = chars.peek().map_or(text.len(), |it| it.0);
        if is_unseen(char, before, &text[next..]) {
            if seen < at {
                pieces.extend(row.token());
                pieces.push(Piece::Seen(text[seen..at].into()));
            }
            row.push(char);
            seen = next;
        }
        before = Some(char);
    }
    pieces.extend(row.token());
    if seen < text.len() {
        pieces.push(Piece::Seen(text[seen..].into()));
    }
    pieces
}

/// Unseen characters that stand next to each other.
#[derive(Default)]
struct Row(Vec<(char, usize)>);

impl Row {
    fn push(&mut self, char: char) {
        match self.0.last_mut() {
            Some((last, count)) if *last == char => *count += 1,
            _ => self.0.push((char, 1)),
        }
    }

    /// Such as `⟦U+202E⟧` or `⟦U+200B×3 U+FEFF⟧`; empties the row.
    fn token<'a>(&mut self) -> Option<Piece<'a>> {
        let mut token = String::new();
        for (char, count) in self.0.drain(..) {
            let gap = if token.is_empty() { "⟦" } else { " " };
            let times = if count > 1 { format!("×{count}") } else { String::new() };
            write!(token, "{gap}U+{:04X}{times}", u32::from(char)).expect("strings can be written");
        }
        (!token.is_empty()).then(|| Piece::Unseen(token + "⟧"))
    }
}

/// Whether a reader would overlook it, or it changes the order of what stands around it.
fn is_unseen(char: char, before: Option<char>, after: &str) -> bool {
    match char {
        '\n' | '\t' => false,
        // A line break of Windows is a line break.
        '\r' => !after.starts_with('\n'),
        // After a character one of these chooses its look, as in "❤️"; a row of them hides data.
        '\u{FE0E}' | '\u{FE0F}' => before.is_none_or(|it| it.is_whitespace() || is_unseen(it, None, "")),
        '\u{FE00}'..='\u{FE0D}' | '\u{E0000}'..='\u{E0FFF}' => true,
        // Controls, and the line breaks that hardly anything breaks a line at.
        _ if char.is_control() => true,
        '\u{2028}' | '\u{2029}' => true,
        // Format characters: joiners, directions, and what else has no glyph.
        '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' => {
            true
        }
        '\u{600}'..='\u{605}' | '\u{6DD}' | '\u{70F}' | '\u{890}' | '\u{891}' | '\u{8E2}' | '\u{FFF9}'..='\u{FFFB}' => true,
        '\u{110BD}' | '\u{110CD}' | '\u{13430}'..='\u{1345F}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' => true,
        // Letters, marks and symbols that look like nothing.
        '\u{34F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}' | '\u{2800}' | '\u{3164}' | '\u{FFA0}' => {
            true
        }
        '\u{1D159}' => true,
        // Noncharacters.
        '\u{FDD0}'..='\u{FDEF}' => true,
        _ => u32::from(char) & 0xFFFE == 0xFFFE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::Place;

    fn finding(rule: &str, start: u32, end: u32) -> Finding {
        Finding { rule: rule.into(), at: Place::Part { message: 0, part: 0 }, start, end, score: None }
    }

    /// The page's text with marks as `[rule:…]` and tokens as they are.
    fn sketch(text: &Text<'_>) -> String {
        let inner = |span: &Span<'_>| span.pieces.iter().map(Piece::shown).collect::<String>();
        let outer = |span: &Span<'_>| match &span.mark {
            Some(mark) => format!("[{}:{}]", mark.title, inner(span)),
            None => inner(span),
        };
        text.spans.iter().map(outer).collect()
    }

    #[test]
    fn findings_are_marked_wherever_they_lie() {
        type Found = &'static [(&'static str, u32, u32)];
        let cases: [(&str, Found, &str); 11] = [
            ("abcdef", &[], "abcdef"),
            ("", &[("a", 0, 0)], "[a:]"),
            ("abcdef", &[("a", 2, 4)], "ab[a:cd]ef"),
            ("abcdef", &[("a", 0, 6)], "[a:abcdef]"),
            ("abcdef", &[("b", 3, 6), ("a", 0, 3)], "[a:abc][b:def]"),
            ("abcdef", &[("a", 0, 4), ("b", 2, 6)], "[a:ab][a, b:cd][b:ef]"),
            ("abcdef", &[("a", 0, 6), ("b", 2, 4)], "[a:ab][a, b:cd][a:ef]"),
            ("abcdef", &[("a", 1, 2), ("a", 1, 2), ("a", 1, 3)], "a[a:b][a:c]def"),
            ("abcdef", &[("a", 3, 3), ("b", 6, 6)], "abc[a:]def[b:]"),
            ("é: 12", &[("n", 4, 6)], "é: [n:12]"),
            ("é", &[("a", 1, 2), ("b", 2, 1), ("c", 7, 9)], "[a:é][b, c:]"),
        ];
        for (text, findings, expected) in cases {
            let findings: Vec<Finding> = findings.iter().map(|(rule, start, end)| finding(rule, *start, *end)).collect();
            assert_eq!(sketch(&Text::marked(text, findings.iter(), "m0p0")), expected);
        }
    }

    #[test]
    fn every_finding_has_a_mark_to_link_to() {
        let findings = [finding("a", 0, 4), finding("b", 2, 6), finding("c", 2, 3), finding("d", 6, 6), finding("e", 2, 2)];
        let page = Text::marked("abcdef", findings.iter(), "m0p0").to_string();
        for start in [0, 2, 6] {
            assert_eq!(page.matches(&format!("id=\"m0p0-{start}\"")).count(), 1, "{page}");
        }
    }

    #[test]
    fn ten_thousand_findings_are_all_marked_and_the_page_stays_within_bounds() {
        let text = "found it ".repeat(10_000);
        let findings: Vec<Finding> = (0..10_000).map(|it| finding("a rule", it * 9, it * 9 + 5)).collect();
        let page = Text::marked(&text, findings.iter(), "019a-m0p0").to_string();
        assert_eq!((page.matches("<mark").count(), page.matches("found</mark>").count()), (10_000, 10_000));
        assert!(page.len() < text.len() + findings.len() * 64, "{}", page.len());
    }

    #[test]
    fn many_rules_and_long_ones_do_not_fill_the_title() {
        let findings: Vec<Finding> = (0..9).map(|it| finding(&format!("{it}{}", "x".repeat(1000)), 0, 1)).collect();
        let page = Text::marked("a", findings.iter(), "p").to_string();
        assert!(page.contains(" and 6 more") && page.len() < 400, "{page}");
    }

    #[test]
    fn nothing_in_a_text_hides() {
        let cases = [
            ("plain\n\ttext é 漢字 עברית", "plain\n\ttext é 漢字 עברית"),
            ("a\u{202E}b\u{202C}", "a⟦U+202E⟧b⟦U+202C⟧"),
            ("\u{200B}\u{200B}\u{200B}\u{FEFF}x", "⟦U+200B×3 U+FEFF⟧x"),
            ("\u{2066}a\u{2069}", "⟦U+2066⟧a⟦U+2069⟧"),
            ("\u{E0041}\u{E0042}", "⟦U+E0041 U+E0042⟧"),
            ("\u{1b}[31m\u{7}\u{85}", "⟦U+001B⟧[31m⟦U+0007 U+0085⟧"),
            ("a\r\nb\rc", "a\r\nb⟦U+000D⟧c"),
            ("❤\u{FE0F} b\u{FE0F}\u{FE0F}", "❤\u{FE0F} b\u{FE0F}⟦U+FE0F⟧"),
            ("\u{3164}\u{AD}\u{2028}\u{FFFF}", "⟦U+3164 U+00AD U+2028 U+FFFF⟧"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(sketch(&Text::plain(text)), expected);
            assert_eq!(visible(text), expected);
        }
    }

    #[test]
    fn an_unseen_character_may_be_part_of_what_was_found() {
        let findings = [finding("zero width", 1, 4)];
        assert_eq!(sketch(&Text::marked("a\u{200B}b", findings.iter(), "p")), "a[zero width:⟦U+200B⟧]b");
    }

    #[test]
    fn markup_stays_text() {
        let hostile = r#"</mark><script>alert("1")</script><img src=x onerror='x'>&amp;"#;
        let findings = [finding(hostile, 0, 3)];
        let page = Text::marked(hostile, findings.iter(), "p").to_string();
        assert_eq!((page.matches('<').count(), page.matches("<mark").count(), page.matches("</mark>").count()), (2, 1, 1), "{page}");
        assert!(!page.contains("\"1\"") && page.contains("&#38;amp;"), "{page}");
    }

    #[test]
    fn a_text_of_nothing_but_unseen_characters_stays_small() {
        let text: String = std::iter::repeat_n('\u{200B}', 100_000).collect();
        assert!(Text::plain(&text).to_string().len() < 200);
        let mixed: String = ['\u{200B}', '\u{200C}'].into_iter().cycle().take(100_000).collect();
        assert!(Text::plain(&mixed).to_string().len() < 3 * mixed.len());
        let between: String = ['a', '\u{200B}'].into_iter().cycle().take(100_000).collect();
        assert!(Text::plain(&between).to_string().len() < 6 * between.len());
    }
}
