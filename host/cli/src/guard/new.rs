//! `aegis guard new`: a folder that builds, and what to do with it.

use crate::failure::Failure;
use crate::terminal::{is_a_person_there, print, tell};
use aegis_core::Code;
use aegis_kit::Language;
use clap::Args;
use std::io::{BufRead, Write, stderr, stdin};
use std::path::{Path, PathBuf};

/// What the guard of every template has to be told.
const SETTINGS: &str = r#"{"words": ["advice"]}"#;

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 when the folder is there, 1 when nothing was written, 2 for wrong usage.")]
pub(crate) struct New {
    /// The guard's name, or a path that ends with it; the folder must not be there yet
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    #[arg(short, long, value_name = "L", value_parser = language, help = format!("Its language; asked for when left out: {}", names()))]
    lang: Option<Language>,
}

impl New {
    pub(super) fn run(self) -> Result<(), Failure> {
        let language = self.lang.map_or_else(ask, Ok)?;
        let written = aegis_kit::new(&self.folder, language).map_err(|error| Failure::new(Code::CLI_NEW, error))?;
        print(&self.next(language, &written))
    }

    fn next(&self, language: Language, written: &[PathBuf]) -> String {
        let files: Vec<String> = written.iter().map(|it| it.display().to_string()).collect();
        let steps = steps(&self.folder, language);
        let width = steps.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
        let lines: Vec<String> = steps.iter().map(|(command, what)| format!("  {command:width$}   # {what}")).collect();
        format!("{}: a guard in {language} ({})\n\nNext:\n\n{}", self.folder.display(), files.join(", "), lines.join("\n"))
    }
}

/// From the folder to verdicts: commands that work as they stand, with the settings that every template wants, and what each does.
fn steps(folder: &Path, language: Language) -> Vec<(String, String)> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let component = format!("{name}.wasm");
    let tools = match language {
        Language::Python => Some(format!("pip install -r {}/requirements.txt", folder.display())),
        Language::JavaScript | Language::TypeScript | Language::AssemblyScript => {
            Some(format!("npm install --prefix {}", folder.display()))
        }
        _ => None,
    };
    let install = tools.map(|it| (it, "once: the tools that build it".into()));
    let rest = [
        (format!("aegis guard build {}", folder.display()), format!("makes {component}")),
        (format!("aegis guard test {}", folder.display()), "builds it and runs its cases: one fails on purpose".into()),
        (format!("aegis guard run {component} --text \"I need advice\" --settings '{SETTINGS}'"), "one verdict".into()),
        (format!("aegis dev --guard {name}={component} --settings '{name}={SETTINGS}'"), "in front of a model".into()),
    ];
    install.into_iter().chain(rest).collect()
}

/// Which language, from whoever sits at the terminal; a script has to say it.
fn ask() -> Result<Language, Failure> {
    if !is_a_person_there() {
        return Err(Failure::new(Code::CLI_NEW, format!("say which language with --lang: {}", names())));
    }
    for (number, language) in (1..).zip(Language::ALL) {
        tell(&format!("{number:>3}  {language}"));
    }
    let mut answer = String::new();
    let count = Language::ALL.len();
    let _ = write!(stderr(), "Which language? [1-{count}] ");
    let read = stdin().lock().read_line(&mut answer);
    let chosen = read.ok().and_then(|_| choice(answer.trim()));
    chosen.ok_or_else(|| Failure::new(Code::CLI_NEW, format!("that is none of 1 to {count}, nor a name of {}", names())))
}

/// A number of the list, or a name.
fn choice(answer: &str) -> Option<Language> {
    let numbered = answer.parse::<usize>().ok().and_then(|it| Language::ALL.get(it.checked_sub(1)?).copied());
    numbered.or_else(|| answer.to_ascii_lowercase().parse().ok())
}

/// Of all languages.
pub(super) fn names() -> String {
    Language::ALL.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ")
}

/// For `--lang`.
pub(super) fn language(text: &str) -> Result<Language, String> {
    text.parse().map_err(|error: aegis_kit::KitError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_chosen_by_its_number_or_its_name() {
        assert_eq!(choice("1"), Some(Language::ALL[0]));
        assert_eq!(choice("Rust"), Some(Language::Rust));
        for answer in ["", "0", "99", "cobol"] {
            assert_eq!(choice(answer), None, "{answer}");
        }
    }
}
