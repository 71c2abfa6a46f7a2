//! A new guard's folder, from the language's template.

use crate::languages::Language;
use crate::{KitError, sdk};
use std::path::{Path, PathBuf};

/// Makes `folder`, which must not be there or be empty, a guard in this language that builds; its name is the folder's. The files written.
///
/// # Errors
/// The name is none in some language, something is there already, or the folder cannot be written; then some files may be.
pub fn guard(folder: &Path, language: Language) -> Result<Vec<PathBuf>, KitError> {
    let name = name(folder)?;
    if std::fs::read_dir(folder).is_ok_and(|mut it| it.next().is_some()) || folder.is_file() {
        return Err(KitError::Occupied { path: folder.into() });
    }
    let mut written = Vec::new();
    for (file, bytes) in sdk::below(&format!("{}/template", language.name())) {
        let file = PathBuf::from(filled(file, &name));
        let text = std::str::from_utf8(bytes).map(|text| filled(text, &name).into_bytes());
        sdk::write(&folder.join(&file), &text.unwrap_or_else(|_| bytes.to_vec()))?;
        written.push(file);
    }
    sdk::unpack(language.sdk(), &folder.join(".aegis").join(language.sdk()))?;
    Ok(written)
}

/// A name that is one in every language and on every file system.
fn name(folder: &Path) -> Result<String, KitError> {
    let name = folder.file_name().and_then(|it| it.to_str()).unwrap_or_default();
    let mut letters = name.chars();
    let begins = letters.next().is_some_and(|it| it.is_ascii_lowercase());
    let fine = begins && letters.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-') && name.len() <= 64;
    if fine && !name.ends_with('-') && !name.contains("--") { Ok(name.into()) } else { Err(KitError::Name(name.into())) }
}

/// `{{name}}` is `my-guard`, `{{snake}}` `my_guard`, `{{Camel}}` `MyGuard`; in files and in their names.
fn filled(text: &str, name: &str) -> String {
    let camel = name.split('-').map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect::<String>();
    text.replace("{{name}}", name).replace("{{snake}}", &name.replace('-', "_")).replace("{{Camel}}", &camel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_in_every_language() {
        for (path, fine) in [
            ("g", true),
            ("a/my-guard-2", true),
            ("My", false),
            ("2x", false),
            ("a_b", false),
            ("a--b", false),
            ("a-", false),
            ("..", false),
            ("é", false),
        ] {
            assert_eq!(name(Path::new(path)).is_ok(), fine, "{path}");
        }
    }

    #[test]
    fn a_name_is_filled_in_as_the_language_writes_it() {
        assert_eq!(filled("{{name}} {{snake}} {{Camel}}", "my-guard-2"), "my-guard-2 my_guard_2 MyGuard2");
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let guard_folder = folder.path().join("my-guard");
        std::fs::create_dir(&guard_folder).unwrap();
        let written = guard(&guard_folder, Language::Rust).unwrap();
        assert!(written.contains(&"Cargo.toml".into()) && guard_folder.join(".aegis/rust/src/lib.rs").is_file());
        let manifest = std::fs::read_to_string(guard_folder.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("name = \"my-guard\"") && !manifest.contains("{{"), "{manifest}");
        assert!(matches!(guard(&guard_folder, Language::Rust), Err(KitError::Occupied { .. })));
    }
}
