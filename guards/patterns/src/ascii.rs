//! `\b`, `\d`, `\s` and `\w` of ASCII in place of Unicode's, everything else as it was. Where a pattern asks about Unicode's words, one "ü" in
//! the text sends it to an engine that is ten times slower.

use regex_syntax::ast::{self, AssertionKind, Ast, ClassPerlKind, Flag, FlagsItemKind};
use std::ops::Range;

/// The same pattern with classes of ASCII; as it is where it says itself, with the flag `u` or `-u`, which ones it means.
pub(crate) fn ascii(pattern: &str, ast: &Ast) -> String {
    let mut found = Found::default();
    ast::visit(ast, &mut found).expect("it only collects");
    if found.says_which {
        return pattern.into();
    }
    let mut rewritten = pattern.to_owned();
    found.classes.sort_by_key(|(range, _)| range.start);
    for (range, class) in found.classes.into_iter().rev() {
        rewritten.replace_range(range, &class);
    }
    rewritten
}

#[derive(Default)]
struct Found {
    classes: Vec<(Range<usize>, String)>,
    says_which: bool,
}

impl Found {
    fn class(&mut self, class: &ast::ClassPerl) {
        let set = match class.kind {
            ClassPerlKind::Digit => "0-9",
            ClassPerlKind::Space => r"\t\n\x0B\x0C\r\x20",
            ClassPerlKind::Word => "0-9A-Za-z_",
        };
        self.replace(&class.span, format!("[{}{set}]", if class.negated { "^" } else { "" }));
    }

    fn replace(&mut self, span: &ast::Span, class: String) {
        self.classes.push((span.start.offset..span.end.offset, class));
    }

    fn flags(&mut self, flags: &ast::Flags) {
        self.says_which |= flags.items.iter().any(|it| it.kind == FlagsItemKind::Flag(Flag::Unicode));
    }
}

impl ast::Visitor for &mut Found {
    type Output = ();
    type Err = ();

    fn finish(self) -> Result<(), ()> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), ()> {
        match ast {
            Ast::ClassPerl(class) => self.class(class),
            Ast::Flags(it) => self.flags(&it.flags),
            Ast::Group(it) => it.flags().into_iter().for_each(|it| self.flags(it)),
            Ast::Assertion(it) => {
                let class = match it.kind {
                    AssertionKind::WordBoundary => r"(?-u:\b)",
                    AssertionKind::NotWordBoundary => r"(?-u:\B)",
                    AssertionKind::WordBoundaryStart => r"(?-u:\b{start})",
                    AssertionKind::WordBoundaryEnd => r"(?-u:\b{end})",
                    AssertionKind::WordBoundaryStartAngle => r"(?-u:\<)",
                    AssertionKind::WordBoundaryEndAngle => r"(?-u:\>)",
                    AssertionKind::WordBoundaryStartHalf => r"(?-u:\b{start-half})",
                    AssertionKind::WordBoundaryEndHalf => r"(?-u:\b{end-half})",
                    _ => return Ok(()),
                };
                self.replace(&it.span, class.into());
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), ()> {
        if let ast::ClassSetItem::Perl(class) = item {
            self.class(class);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    fn rewritten(pattern: &str) -> String {
        ascii(pattern, &ast::parse::Parser::new().parse(pattern).unwrap())
    }

    #[test]
    fn classes_become_those_of_ascii_wherever_they_stand() {
        for (pattern, expected) in [
            (r"\bé\b", r"(?-u:\b)é(?-u:\b)"),
            (r"a\\d\d+", r"a\\d[0-9]+"),
            (r"[\w.-]\S", r"[[0-9A-Za-z_].-][^\t\n\x0B\x0C\r\x20]"),
            (r"[^\d[\s]]", r"[^[0-9][[\t\n\x0B\x0C\r\x20]]]"),
            (r"(?i:(\D))\b{start}x", r"(?i:([^0-9]))(?-u:\b{start})x"),
            (r"\p{L}[[:alpha:]].", r"\p{L}[[:alpha:]]."),
            (r"(?u)\b\d", r"(?u)\b\d"),
            (r"x(?-u:\b)\d", r"x(?-u:\b)\d"),
        ] {
            assert_eq!(rewritten(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn a_rewritten_pattern_finds_the_same_in_ascii_and_whole_characters_elsewhere() {
        for pattern in
            [r"\b\w+\b", r"\B.", r"[^\s]+", r"(?x) \d \D # digits", r"\<a\>", r"[\w&&[^a]]+", r"\b{start-half}\w\b{end-half}", r"\W\S"]
        {
            let (before, after) = (Regex::new(pattern).unwrap(), Regex::new(&rewritten(pattern)).unwrap());
            for text in ["a b12 c_d\t.", "", "a", "9 \r\n\x0B\x0C"] {
                let found = |it: &Regex| it.find_iter(text).map(|it| it.range()).collect::<Vec<_>>();
                assert_eq!(found(&before), found(&after), "{pattern}: {text:?}");
            }
            assert!(after.find_iter("ü ß9 á 你好").all(|it| !it.as_str().contains('\u{fffd}')), "{pattern}");
        }
    }
}
