//! Many regular expressions over one text: one pass says which are found in it, then those alone say where.

use crate::ascii::ascii;
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::{Hir, translate::Translator};
use std::ops::Range;

/// Bytes of one compiled pattern.
const COMPILED: usize = 2 << 20;
/// Bytes of all patterns together, compiled.
const COMPILED_TOGETHER: usize = 8 << 20;
/// Bytes of the automaton that grows while texts are read. Larger than the default: it is filled at load, and then only read.
const AUTOMATON: usize = 8 << 20;
/// Groups within groups.
const NESTED: u32 = 100;

/// Compiled patterns.
pub(crate) struct Matcher {
    which: RegexSet,
    each: Vec<Regex>,
}

/// A pattern whose syntax is right, with classes of ASCII.
pub(crate) struct Parsed {
    pattern: String,
    hir: Hir,
}

impl Parsed {
    /// What it means.
    pub(crate) fn hir(&self) -> &Hir {
        &self.hir
    }

    /// Checks a pattern's syntax. An error says in one line what is wrong and at which character.
    pub(crate) fn new(pattern: &str) -> Result<Parsed, String> {
        let pattern = ascii(pattern, &parse(pattern)?);
        let hir = Translator::new().translate(&pattern, &parse(&pattern)?).map_err(|it| told(&it.kind(), it.span(), &pattern))?;
        if hir.properties().minimum_len() == Some(0) {
            return Err("it also matches where nothing is, and would be found everywhere: write + in place of *".into());
        }
        Ok(Parsed { pattern, hir })
    }
}

fn parse(pattern: &str) -> Result<Ast, String> {
    let mut parser = ast::parse::ParserBuilder::new().nest_limit(NESTED).build();
    parser.parse(pattern).map_err(|it| told(it.kind(), it.span(), pattern))
}

fn told(what: &dyn std::fmt::Display, span: &ast::Span, pattern: &str) -> String {
    let at = pattern.get(..span.start.offset).map_or(0, |it| it.chars().count()) + 1;
    format!("{what}, at character {at}")
}

impl Matcher {
    /// Compiles all patterns. An error names what is too large.
    pub(crate) fn new(patterns: &[Parsed]) -> Result<Matcher, (Option<usize>, String)> {
        let one = |(n, it): (usize, &Parsed)| {
            let built = RegexBuilder::new(&it.pattern).size_limit(COMPILED).build();
            built.map_err(|error| (Some(n), too_large(&error, COMPILED)))
        };
        let each = patterns.iter().enumerate().map(one).collect::<Result<_, _>>()?;
        let mut which = RegexSetBuilder::new(patterns.iter().map(|it| &it.pattern));
        let which = which.size_limit(COMPILED_TOGETHER).dfa_size_limit(AUTOMATON).build();
        Ok(Matcher { which: which.map_err(|error| (None, too_large(&error, COMPILED_TOGETHER)))?, each })
    }

    /// Calls `hit` with the number of a pattern and the bytes where it is found, pattern by pattern, of each the first `most`.
    pub(crate) fn find(&self, text: &str, most: usize, mut hit: impl FnMut(usize, Range<usize>)) {
        for n in &self.which.matches(text) {
            self.each[n].find_iter(text).take(most).for_each(|it| hit(n, it.range()));
        }
    }
}

fn too_large(error: &regex::Error, most: usize) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => format!("more than {} MiB when compiled: repeat fewer times, or fewer alternatives", most >> 20),
        other => other.to_string(),
    }
}
