//! Many regular expressions over one text: one pass says which are found in it, then those alone say where.

use crate::ascii::ascii;
use regex::{Regex, RegexBuilder};
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::{Input, MatchError, MatchKind, PatternID, PatternSet};
use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::{Hir, translate::Translator};
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// Bytes of one compiled pattern.
const COMPILED: usize = 2 << 20;
/// Bytes of all patterns together, compiled.
const COMPILED_TOGETHER: usize = 8 << 20;
/// Bytes of the automaton that grows while texts are read. Larger than the default: it is filled at load, and then only read.
const AUTOMATON: usize = 8 << 20;
/// Bytes of it that are filled before the first text comes.
const FILLED: usize = 5 << 20;
/// Of so many states of it all transitions are found out before the first text comes, times the states of the patterns: finding one out may visit
/// each of them.
const STEPS: usize = 4_000_000;
/// Bytes of the texts that the patterns read one by one, all of them together.
const EACH: usize = 4_000_000;
/// Groups within groups.
const NESTED: u32 = 100;

/// Compiled patterns.
pub(crate) struct Matcher {
    which: DFA,
    caches: Pool<Cache, NewCache>,
    each: Vec<Regex>,
}

type NewCache = Box<dyn Fn() -> Cache + Send + Sync + UnwindSafe + RefUnwindSafe>;

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
        let which = together(patterns).map_err(|why| (None, why))?;
        let caches = Pool::new(Box::new({
            let which = which.clone();
            move || which.create_cache()
        }) as NewCache);
        Ok(Matcher { which, caches, each })
    }

    /// Reads texts like those that will come, so that little is left to be found out when they come.
    pub(crate) fn prepare(&self, texts: &[String]) {
        let cache = &mut self.caches.get();
        // An automaton that has no beginning is asked in vain each time, and the patterns one by one.
        let _ = self.fill(cache, texts);
        let mut left = EACH / self.each.len().max(1);
        for text in texts {
            let Some(less) = left.checked_sub(text.len()) else { break };
            left = less;
            self.each.iter().for_each(|it| _ = it.find_iter(text).count());
        }
    }

    /// Finds out where each letter leads from the states that are reached most: a transition that is found out during a scan costs a page of memory.
    fn fill(&self, cache: &mut Cache, texts: &[String]) -> Result<(), MatchError> {
        let mut reached = BTreeMap::new();
        for text in texts {
            let mut state = self.which.start_state_forward(cache, &Input::new(text))?;
            for &letter in text.as_bytes() {
                *reached.entry(state).or_insert(0) += 1;
                if full(cache) {
                    return Ok(());
                }
                match self.which.next_state(cache, state, letter) {
                    Ok(next) if !next.is_quit() && !next.is_dead() => state = next,
                    _ => break,
                }
            }
        }
        let mut states: Vec<(LazyStateID, u32)> = reached.into_iter().collect();
        states.sort_unstable_by_key(|(state, times)| (std::cmp::Reverse(*times), *state));
        let known = STEPS / self.which.get_nfa().states().len().max(1);
        for (state, _) in states.into_iter().take(known) {
            for letter in self.which.byte_classes().representatives(..) {
                if full(cache) {
                    return Ok(());
                }
                let _ = match letter.as_u8() {
                    Some(letter) => self.which.next_state(cache, state, letter),
                    None => self.which.next_eoi_state(cache, state),
                };
            }
        }
        Ok(())
    }

    /// Calls `hit` with the number of a pattern and the bytes where it is found, pattern by pattern, of each the first `most`.
    pub(crate) fn find(&self, text: &str, most: usize, mut hit: impl FnMut(usize, Range<usize>)) {
        let mut which = PatternSet::new(self.each.len());
        // Where Unicode's words are asked for, it cannot tell.
        let unknown = self.which.try_which_overlapping_matches(&mut self.caches.get(), &Input::new(text), &mut which).is_err();
        let found = self.each.iter().enumerate().filter(|(n, _)| unknown || which.contains(PatternID::must(*n)));
        found.for_each(|(n, pattern)| pattern.find_iter(text).take(most).for_each(|it| hit(n, it.range())));
    }
}

/// Whether it is enough; and a state is known by its number only until the automaton is emptied for the first time.
fn full(cache: &Cache) -> bool {
    cache.memory_usage() > FILLED || cache.clear_count() > 0
}

/// The automaton that says which patterns are found. It ends early only in texts in which all are.
fn together(patterns: &[Parsed]) -> Result<DFA, String> {
    let hirs: Vec<&Hir> = patterns.iter().map(Parsed::hir).collect();
    let config = thompson::Config::new().which_captures(WhichCaptures::None).nfa_size_limit(Some(COMPILED_TOGETHER));
    let nfa = thompson::Compiler::new().configure(config).build_many_from_hir(&hirs);
    let nfa = nfa.map_err(|error| if error.size_limit().is_some() { more_than(COMPILED_TOGETHER) } else { error.to_string() })?;
    let config = DFA::config().match_kind(MatchKind::All).unicode_word_boundary(true);
    let config = config.cache_capacity(AUTOMATON).skip_cache_capacity_check(true);
    DFA::builder().configure(config).build_from_nfa(nfa).map_err(|error| error.to_string())
}

fn too_large(error: &regex::Error, most: usize) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => more_than(most),
        other => other.to_string(),
    }
}

fn more_than(most: usize) -> String {
    format!("more than {} MiB when compiled: repeat fewer times, or fewer alternatives", most >> 20)
}
