//! Mistakes in a configuration: each with its place, what is wrong and what to write instead. Never the value of a secret.

use aegis_core::Code;
use std::fmt;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file; both count from 1.
    File {
        /// The line.
        line: u64,
        /// The character in the line.
        column: u64,
    },
    /// In the environment variable of this name.
    Variable(String),
    /// Nowhere: it concerns the file as a whole.
    Whole,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// `CFG_INVALID`, `CFG_SECRET` or `CFG_UNSUPPORTED`.
    pub code: Code,
    /// Where it stands.
    pub place: Place,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// All that is wrong with a configuration, in the order of the file. Displays like a compiler: `aegis.yaml:12:5: …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// The file as it was named; `configuration` when there is none.
    pub file: String,
    /// At least one.
    pub mistakes: Vec<Mistake>,
}

/// More than anyone reads at once.
const SHOWN: usize = 50;

impl ConfigErrors {
    /// The code of all of them, or that of a wrong configuration when they differ.
    pub fn code(&self) -> Code {
        let first = self.mistakes.first().map_or(Code::CFG_INVALID, |it| it.code);
        if self.mistakes.iter().all(|it| it.code == first) { first } else { Code::CFG_INVALID }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.mistakes.iter().take(SHOWN).map(|it| it.within(&self.file));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))?;
        let more = self.mistakes.len().saturating_sub(SHOWN);
        if more > 0 { write!(f, "\nand {more} more") } else { Ok(()) }
    }
}

impl Mistake {
    /// One line, with the file's name before it.
    pub fn within(&self, file: &str) -> String {
        match &self.place {
            Place::File { line, column } => format!("{file}:{line}:{column}: {}", self.message),
            Place::Variable(name) => format!("{name}: {}", self.message),
            Place::Whole => format!("{file}: {}", self.message),
        }
    }
}

/// Gathers mistakes, so that one does not hide the next.
#[derive(Default)]
pub(super) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(super) fn add(&mut self, code: Code, place: &Place, message: impl Into<String>) {
        self.0.push(Mistake { code, place: place.clone(), message: message.into() });
    }

    pub(super) fn invalid(&mut self, place: &Place, message: impl Into<String>) {
        self.add(Code::CFG_INVALID, place, message);
    }

    pub(super) fn all(mut self) -> Vec<Mistake> {
        self.0.sort_by(|a, b| (&a.place, &a.message).cmp(&(&b.place, &b.message)));
        // One cause may be found from several routes.
        self.0.dedup();
        self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `: did you mean "x"?` where one of `known` is close to `word`, else `: write one of …`, else nothing.
pub(super) fn instead<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match closest(word, &known) {
        Some(near) => format!(": did you mean {near:?}?"),
        None if known.is_empty() => String::new(),
        None => format!(": write {}", one_of(&known)),
    }
}

/// The same for a key. `taken` stand in the file already: they are no way out, but may be what was meant.
pub(super) fn instead_of_key(key: &str, taken: &[&str], free: &[&str]) -> String {
    match (closest(key, free), closest(key, taken)) {
        (None, Some(near)) => format!(": did you mean {near:?}, which stands here already?"),
        _ => instead(key, free.iter().copied()),
    }
}

/// `a, b or c`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// The one that a slip of the finger turns into `word`.
pub(super) fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |it: &str| strsim::damerau_levenshtein(&plain(word), &plain(it));
    let near = known.iter().map(|it| (distance(it), *it)).min()?;
    (word.len() <= 64 && near.0 <= (near.1.chars().count() / 3).max(1)).then_some(near.1)
}

fn plain(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}
