//! The SDKs as they were when this binary was built. What is written to a guard's folder is the same for everyone who has this binary.

use crate::KitError;
use std::fs;
use std::path::{Path, PathBuf};

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Files below one folder of `sdk/`: their names from there, and what is in them.
pub(crate) fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static [u8])> {
    FILES.iter().filter_map(move |(name, bytes)| Some((name.strip_prefix(folder)?.strip_prefix('/')?, *bytes)))
}

/// A language's SDK without its template and tests, below `folder`: each file is written only where it is not there or another one, so that tools which
/// look at times have nothing to do. Files that an earlier version wrote and this one does not have are taken away.
pub(crate) fn unpack(language: &str, folder: &Path) -> Result<(), KitError> {
    let files: Vec<_> = below(language).filter(|(name, _)| !name.starts_with("template/") && !name.starts_with("tests/")).collect();
    for (name, bytes) in &files {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|there| there == *bytes) {
            continue;
        }
        write(&path, bytes)?;
    }
    let listed = folder.join(".files");
    let before = fs::read_to_string(&listed).unwrap_or_default();
    let gone = before.lines().filter(|line| !files.iter().any(|(name, _)| name == line) && is_plain(line));
    gone.for_each(|name| drop(fs::remove_file(folder.join(name)))); // whoever took it away already has done what we wanted
    let names = files.iter().map(|(name, _)| format!("{name}\n")).collect::<String>();
    if names == before { Ok(()) } else { write(&listed, names.as_bytes()) }
}

/// Whether it is a name below the folder, whoever wrote the list.
fn is_plain(name: &str) -> bool {
    Path::new(name).components().all(|it| matches!(it, std::path::Component::Normal(_)))
}

/// With the folders that it needs.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), KitError> {
    let failed = |source| KitError::Write { path: PathBuf::from(path), source };
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
    fs::write(path, bytes).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sdk_is_unpacked_as_it_is_and_only_where_it_differs() {
        let folder = tempfile::tempdir().unwrap();
        let (lib, old) = (folder.path().join("src/lib.rs"), folder.path().join("src/old.rs"));
        write(&lib, b"an older one").unwrap();
        write(&old, b"of an older version").unwrap();
        write(&folder.path().join(".files"), b"src/old.rs\n../escapes\n").unwrap();
        unpack("rust", folder.path()).unwrap();
        assert_eq!(fs::read(&lib).unwrap(), include_bytes!("../../../sdk/rust/src/lib.rs"));
        assert!(!old.exists() && folder.path().join("wit/guard.wit").is_file() && !folder.path().join("template").exists());
        let modified = || fs::metadata(&lib).unwrap().modified().unwrap();
        let first = modified();
        unpack("rust", folder.path()).unwrap();
        assert_eq!(modified(), first);
    }

    #[test]
    fn nothing_that_tools_leave_behind_is_embedded() {
        assert!(!FILES.is_empty());
        let made = |name: &str| name.split('/').any(|it| ["target", "node_modules", "__pycache__"].contains(&it));
        assert_eq!(FILES.iter().find(|(name, _)| made(name)), None);
    }
}
