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
    let ours = |name: &str| name.starts_with("template/") || name.starts_with("tests/") || name.ends_with("_test.go");
    let files: Vec<_> = below(language).filter(|(name, _)| !ours(name)).collect();
    for (name, bytes) in &files {
        let path = folder.join(name);
        no_links(folder, name)?;
        if fs::read(&path).is_ok_and(|there| there == *bytes) {
            continue;
        }
        write(&path, bytes)?;
    }
    no_links(folder, ".files")?;
    let listed = folder.join(".files");
    let before = fs::read_to_string(&listed).unwrap_or_default();
    let gone =
        before.lines().filter(|line| !files.iter().any(|(name, _)| name == line) && is_plain(line) && no_links(folder, line).is_ok());
    gone.for_each(|name| drop(fs::remove_file(folder.join(name)))); // whoever took it away already has done what we wanted
    let names = files.iter().map(|(name, _)| format!("{name}\n")).collect::<String>();
    if names == before { Ok(()) } else { write(&listed, names.as_bytes()) }
}

/// Whoever sent the folder may have put a link where we write or take away, and meant what it leads to.
///
/// # Errors
/// `folder`, what it is in, or something between it and `name` is a link.
pub(crate) fn no_links(folder: &Path, name: &str) -> Result<(), KitError> {
    let whole = folder.join(name);
    let depth = Path::new(name).components().count() + 2;
    let linked = whole.ancestors().take(depth).find(|it| it.is_symlink());
    let failed =
        |it: &Path| KitError::Write { path: it.into(), source: std::io::Error::other("it is a link, and what it leads to is not ours") };
    linked.map_or(Ok(()), |it| Err(failed(it)))
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

    #[cfg(unix)]
    #[test]
    fn no_link_is_followed_out_of_the_folder() {
        use std::os::unix::fs::symlink;
        let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (sdk, precious) = (folder.path().join(".aegis/rust"), home.path().join("lib.rs"));
        write(&precious, b"precious").unwrap();
        let kept = || fs::read(&precious).is_ok_and(|it| it == b"precious");
        write(&sdk.join("src/.kept"), b"").unwrap();
        symlink(&precious, sdk.join("src/lib.rs")).unwrap();
        assert!(unpack("rust", &sdk).is_err() && kept(), "a file");
        fs::remove_dir_all(&sdk).unwrap();
        write(&sdk.join(".files"), b"old/lib.rs\n").unwrap();
        symlink(home.path(), sdk.join("old")).unwrap();
        unpack("rust", &sdk).unwrap();
        assert!(kept(), "a folder of an earlier version");
        fs::remove_dir_all(folder.path().join(".aegis")).unwrap();
        symlink(home.path(), folder.path().join(".aegis")).unwrap();
        assert!(unpack("rust", &sdk).is_err() && !home.path().join("rust").exists(), "the folder itself");
    }

    #[test]
    fn nothing_that_tools_leave_behind_is_embedded() {
        assert!(!FILES.is_empty());
        let made = |name: &str| name.split('/').any(|it| ["target", "node_modules", "__pycache__"].contains(&it));
        assert_eq!(FILES.iter().find(|(name, _)| made(name)), None);
    }
}
