//! The languages that guards are written in: one file each. A language that is not here is none less welcome: whatever made a core module or a
//! component, `aegis guard build FILE.wasm` takes it.

mod assemblyscript;
mod c;
mod clang;
mod cpp;
mod go;
mod javascript;
mod nim;
mod python;
mod rust;
mod typescript;
mod wat;
mod zig;

use crate::{KitError, sdk};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A language with a template, an SDK and a way to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    /// Compiled by cargo.
    Rust,
    /// Compiled by zig or clang.
    C,
    /// Compiled by zig or clang.
    Cpp,
    /// Compiled by go.
    Go,
    /// Made by componentize-qjs.
    JavaScript,
    /// Checked by tsc, then as JavaScript.
    TypeScript,
    /// Made by componentize-py.
    Python,
    /// Compiled by zig.
    Zig,
    /// Compiled by asc.
    AssemblyScript,
    /// Compiled by nim, and then by zig or clang.
    Nim,
    /// Written by hand.
    Wat,
}

/// What a language brings along. Its SDK is `sdk/NAME/` of the repository, its template `sdk/NAME/template/`.
pub(crate) struct Kit {
    /// As `--lang` has it.
    pub(crate) name: &'static str,
    /// As people write it.
    pub(crate) title: &'static str,
    /// Whether a folder looks like a guard in this language.
    pub(crate) recognises: fn(&Names) -> bool,
    /// From the folder to a core module or a component, in binary or as text.
    pub(crate) build: Build,
}

/// The second parameter is told what begins, in a few words.
type Build = fn(&Project, &mut dyn FnMut(&str)) -> Result<Vec<u8>, KitError>;

impl Language {
    /// All there are.
    pub const ALL: &[Language] = &[
        Language::Rust,
        Language::C,
        Language::Cpp,
        Language::Go,
        Language::JavaScript,
        Language::TypeScript,
        Language::Python,
        Language::Zig,
        Language::AssemblyScript,
        Language::Nim,
        Language::Wat,
    ];

    fn kit(self) -> &'static Kit {
        match self {
            Language::Rust => &rust::KIT,
            Language::C => &c::KIT,
            Language::Cpp => &cpp::KIT,
            Language::Go => &go::KIT,
            Language::JavaScript => &javascript::KIT,
            Language::TypeScript => &typescript::KIT,
            Language::Python => &python::KIT,
            Language::Zig => &zig::KIT,
            Language::AssemblyScript => &assemblyscript::KIT,
            Language::Nim => &nim::KIT,
            Language::Wat => &wat::KIT,
        }
    }

    /// As `--lang` has it, such as `cpp`.
    pub fn name(self) -> &'static str {
        self.kit().name
    }

    /// As people write it, such as `C++`.
    pub fn title(self) -> &'static str {
        self.kit().title
    }

    /// The folder of its SDK below `sdk/`: TypeScript's is JavaScript's.
    pub(crate) fn sdk(self) -> &'static str {
        match self {
            Language::TypeScript => "javascript",
            other => other.name(),
        }
    }

    /// The language of a folder, from the names of its files.
    pub(crate) fn of(folder: &Path) -> Result<Language, KitError> {
        let names = Names::read(folder)?;
        let fitting: Vec<Language> = Language::ALL.iter().copied().filter(|it| (it.kit().recognises)(&names)).collect();
        match fitting[..] {
            [one] => Ok(one),
            [] => Err(KitError::Unknown { path: folder.into() }),
            _ => Err(KitError::Ambiguous { path: folder.into(), languages: fitting }),
        }
    }

    pub(crate) fn build(self, folder: &Path, progress: &mut dyn FnMut(&str)) -> Result<Vec<u8>, KitError> {
        let folder = folder.canonicalize().map_err(|source| KitError::Read { path: folder.into(), source })?;
        (self.kit().build)(&Project { folder, language: self }, progress)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

impl FromStr for Language {
    type Err = KitError;

    /// A name or a title in whatever case, or what its people write for short.
    fn from_str(text: &str) -> Result<Language, KitError> {
        let name = match &*text.to_ascii_lowercase() {
            "py" => "python".into(),
            "js" => "javascript".into(),
            "ts" => "typescript".into(),
            "rs" => "rust".into(),
            "golang" => "go".into(),
            other => other.to_string(),
        };
        let found = Language::ALL.iter().copied().find(|it| it.name() == name || it.title().to_ascii_lowercase() == name);
        found.ok_or_else(|| KitError::NoSuchLanguage(text.into()))
    }
}

/// The names of the files in a folder, and of those in its `src`.
pub(crate) struct Names {
    names: Vec<String>,
}

impl Names {
    fn read(folder: &Path) -> Result<Names, KitError> {
        let failed = |source| KitError::Read { path: folder.into(), source };
        let entries = std::fs::read_dir(folder).map_err(failed)?;
        let source = std::fs::read_dir(folder.join("src")).ok(); // most have none
        let names = entries.chain(source.into_iter().flatten()).flatten().map(|it| it.file_name().to_string_lossy().into_owned());
        Ok(Names { names: names.collect() })
    }

    /// Whether there is a file of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|it| it == name)
    }

    /// Whether there is a file with one of these endings, such as `.py`.
    pub(crate) fn ends(&self, endings: &[&str]) -> bool {
        self.names.iter().any(|name| endings.iter().any(|it| name.ends_with(it)))
    }
}

/// A folder that is being built.
pub(crate) struct Project {
    /// Absolute.
    pub(crate) folder: PathBuf,
    language: Language,
}

impl Project {
    /// Where the SDK stands in the folder: `.aegis/NAME`, unpacked and as this binary has it.
    pub(crate) fn sdk(&self) -> Result<PathBuf, KitError> {
        self.sdk_of(self.language.sdk())
    }

    /// Another language's, for an SDK that stands on it.
    pub(crate) fn sdk_of(&self, language: &str) -> Result<PathBuf, KitError> {
        let sdk = self.folder.join(".aegis").join(language);
        sdk::unpack(language, &sdk)?;
        Ok(sdk)
    }

    /// A folder for what is made on the way: `.aegis/build`, empty.
    pub(crate) fn scratch(&self) -> Result<PathBuf, KitError> {
        sdk::no_links(&self.folder.join(".aegis"), "build")?;
        let scratch = self.folder.join(".aegis/build");
        let failed = |source| KitError::Write { path: scratch.clone(), source };
        match std::fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        std::fs::create_dir_all(&scratch).map_err(failed)?;
        Ok(scratch)
    }

    /// Which world of the contract a guard is made for by tools that have to be told: its own file says whether it judges replies while they are
    /// written. One that does not, and only speaks of it, says so again in its manifest. One that does, and says so by a constant or in another file,
    /// is refused with what to write: by its kit when it is built, and by the host.
    pub(crate) fn world(&self, source: &str) -> &'static str {
        if self.says(source, "\"incremental\"") || self.says(source, "'incremental'") { "streaming-guard" } else { "guard" }
    }

    /// Whether this file of the folder says so.
    pub(crate) fn says(&self, file: &str, word: &str) -> bool {
        std::fs::read_to_string(self.folder.join(file)).is_ok_and(|it| it.contains(word))
    }

    /// The guard's own file, by its name in the folder: `guard.ENDING`, or the only one with one of these endings (tests and types not counted).
    pub(crate) fn source(&self, endings: &[&str]) -> Result<String, KitError> {
        let failed = |source| KitError::Read { path: self.folder.clone(), source };
        let names = std::fs::read_dir(&self.folder).map_err(failed)?.flatten().map(|it| it.file_name().to_string_lossy().into_owned());
        let ours = |name: &String| {
            let stem = endings.iter().find_map(|it| name.strip_suffix(it));
            stem.is_some_and(|it| !it.starts_with(['.', '_', '-', '@']) && !it.starts_with("test_") && !it.contains('.'))
        };
        let mut sources: Vec<String> = names.filter(ours).collect();
        sources.sort();
        let guard = sources.iter().find(|it| endings.iter().any(|ending| **it == format!("guard{ending}")));
        match (guard, &sources[..]) {
            (Some(one), _) | (None, [one]) => Ok(one.clone()),
            _ => Err(KitError::Source(format!("{}: which file is the guard? Call it guard{}", self.folder.display(), endings[0]))),
        }
    }

    /// All files with one of these endings, in the folder and in its `src`, in an order that does not depend on the machine.
    pub(crate) fn sources(&self, endings: &[&str]) -> Result<Vec<String>, KitError> {
        let mut sources = Vec::new();
        for below in ["", "src/"] {
            let folder = self.folder.join(below);
            match std::fs::read_dir(&folder) {
                Ok(entries) => sources.extend(entries.flatten().map(|it| named(below, &it.file_name().to_string_lossy()))),
                Err(_) if below == "src/" => {} // most have none
                Err(source) => return Err(KitError::Read { path: folder, source }),
            }
        }
        sources.retain(|name| endings.iter().any(|it| name.ends_with(it)));
        sources.sort();
        Ok(sources)
    }
}

/// A file as tools are told of it. What begins like this they take for an option, or for a file with options, and some options run programs.
fn named(below: &str, name: &str) -> String {
    if below.is_empty() && name.starts_with(['-', '@']) { format!("./{name}") } else { format!("{below}{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_never_taken_for_an_option() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["@args.c", "-fplugin=args.c", "guard.c", "src/-x.c"] {
            sdk::write(&folder.path().join(name), b"").unwrap();
        }
        let project = Project { folder: folder.path().into(), language: Language::C };
        let mut sources = project.sources(&[".c"]).unwrap();
        sources.sort();
        assert_eq!(sources, ["./-fplugin=args.c", "./@args.c", "guard.c", "src/-x.c"]);
    }

    #[test]
    fn a_language_may_be_written_short() {
        for (short, name) in
            [("py", "python"), ("JS", "javascript"), ("ts", "typescript"), ("rs", "rust"), ("golang", "go"), ("C++", "cpp")]
        {
            assert_eq!(short.parse::<Language>().unwrap().name(), name);
        }
        assert!("".parse::<Language>().is_err() && "cobol".parse::<Language>().is_err());
    }

    #[test]
    fn a_language_is_known_by_its_name_and_has_a_template() {
        for language in Language::ALL.iter().copied() {
            for written in [language.name(), language.title()] {
                assert_eq!(written.parse::<Language>().unwrap(), language);
            }
            let template: Vec<&str> = sdk::below(&format!("{}/template", language.name())).map(|(name, _)| name).collect();
            for needed in ["README.md", ".gitignore"] {
                assert!(template.contains(&needed), "{language}: no {needed} in {template:?}");
            }
            assert!(template.iter().any(|it| it.starts_with("cases/")), "{language}: {template:?}");
            let (_, readme) = sdk::below(&format!("{}/template", language.name())).find(|(name, _)| *name == "README.md").unwrap();
            let readme = std::str::from_utf8(readme).unwrap();
            assert!(
                readme.contains("{{name}}.wasm") && !readme.contains("{{snake}}.wasm"),
                "{language}: its component is named as the folder is"
            );
            let dev = readme.lines().find(|it| it.contains("aegis dev")).unwrap_or_default();
            assert!(dev.contains("--settings '{{name}}={\"words\""), "{language}: {dev}");
        }
        let error = "cobol".parse::<Language>().unwrap_err().to_string();
        assert!(error.contains("cobol") && error.contains("rust"), "{error}");
    }

    #[test]
    fn a_template_is_recognised_as_its_own_language_and_no_other() {
        for language in Language::ALL.iter().copied() {
            let folder = tempfile::tempdir().unwrap();
            crate::new::guard(&folder.path().join("my-guard"), language).unwrap();
            assert_eq!(Language::of(&folder.path().join("my-guard")).unwrap(), language);
        }
    }

    #[cfg(unix)]
    #[test]
    fn nothing_outside_of_the_folder_is_taken_away() {
        let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let precious = home.path().join("build/precious");
        sdk::write(&precious, b"").unwrap();
        std::os::unix::fs::symlink(home.path(), folder.path().join(".aegis")).unwrap();
        let project = Project { folder: folder.path().into(), language: Language::C };
        assert!(project.scratch().is_err() && precious.exists());
    }
}
