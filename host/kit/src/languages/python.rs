//! From a Python guard's folder to a component, by componentize-py: the interpreter, frozen with everything imported.

use super::{Kit, Project};
use crate::component::WIT;
use crate::tools::{Tool, run};
use crate::{KitError, read, sdk};
use std::fs;
use std::path::Path;

pub(crate) const KIT: Kit = Kit { name: "python", title: "Python", recognises: |names| names.ends(&[".py"]), build };

const COMPONENTIZE_PY: Tool = Tool {
    name: "componentize-py",
    variable: "COMPONENTIZE_PY",
    programs: &["componentize-py"],
    module: None,
    version: &["--version"],
    least: [0, 25, 1],
    install: "pip install componentize-py==0.25.1",
    runtime: None,
};

/// Names at the top of a folder that are no part of a guard.
const NOT_OURS: [&str; 4] = ["__pycache__", "node_modules", "cases", "tests"];

/// Works on a copy: the interpreter leaves its caches beside what it reads.
fn build(project: &Project, progress: &mut dyn FnMut(&str)) -> Result<Vec<u8>, KitError> {
    let tool = COMPONENTIZE_PY.find(&project.folder)?;
    let source = project.source(&[".py"])?;
    let (scratch, sdk_folder) = (project.scratch()?, project.sdk()?);
    let (code, world) = (scratch.join("code"), project.world(&source));
    copy(&project.folder, &project.folder, &code)?;
    // A name of our own: the tool generates modules, and may not meet one of the guard's.
    sdk::write(&code.join("aegis_component.py"), entry(source.trim_end_matches(".py"), world).as_bytes())?;
    sdk::write(&scratch.join("guard.wit"), WIT.as_bytes())?;
    progress("freezing the interpreter with componentize-py (ten seconds or so)");
    let mut command = tool.command(&scratch);
    command.args(["-q", "-d", "guard.wit", "-w", world, "componentize", "--stub-wasi", "-p", "code", "-p"]);
    command.arg(sdk_folder).args(["aegis_component", "-o", "guard.wasm"]);
    // Packages come from the folder's own environment, or from the one that is active, and from nowhere else: without one the tool would take
    // whatever this machine has.
    let own = project.folder.join(".venv");
    let packages = match std::env::var_os("VIRTUAL_ENV") {
        _ if own.is_dir() => own,
        Some(active) => active.into(),
        None => no_packages(&scratch)?,
    };
    command.env("VIRTUAL_ENV", packages).env("RUST_BACKTRACE", "0");
    run(command)?;
    read(&scratch.join("guard.wasm"))
}

fn entry(module: &str, world: &str) -> String {
    let (name, made) = if world == "guard" { ("scanner_of", "Scanner") } else { ("scanners_of", "Scanner, StreamScanner") };
    format!("import {module}\nfrom aegis_guard._component import {name}\n\n{made} = {name}({module})\n")
}

/// An environment without a package, as the tool expects one.
fn no_packages(scratch: &Path) -> Result<std::path::PathBuf, KitError> {
    let environment = scratch.join("no-packages");
    sdk::write(&environment.join("lib/python3/site-packages/.empty"), b"")?;
    Ok(environment)
}

/// Everything that the guard's module may import or read when it is built; no caches, no environments, and nothing that is not in `whole`, the
/// guard's folder: what a link leads to would be in the component, for whoever gets that.
fn copy(whole: &Path, from: &Path, to: &Path) -> Result<(), KitError> {
    let failed = |source| KitError::Read { path: from.into(), source };
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let ours = !name.starts_with('.') && !name.ends_with(".wasm") && !NOT_OURS.contains(&&*name) && !path.join("pyvenv.cfg").exists();
        if ours && path.is_symlink() && !path.canonicalize().is_ok_and(|it| it.starts_with(whole)) {
            return Err(KitError::Read { path, source: std::io::Error::other("it is a link that leads out of the guard's folder") });
        }
        if ours && path.is_dir() {
            copy(whole, &path, &to.join(&*name))?;
        } else if ours && path.is_file() {
            sdk::write(&to.join(&*name), &read(&path)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_part_of_a_guard_is_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let (from, to) = (folder.join("from"), folder.join("to"));
        for name in [
            "guard.py",
            "words/list.txt",
            "cases/a.yaml",
            "env/pyvenv.cfg",
            "env/lib/x.py",
            "__pycache__/guard.pyc",
            "old.wasm",
            ".git/HEAD",
        ] {
            sdk::write(&from.join(name), b"x").unwrap();
        }
        copy(&from, &from, &to).unwrap();
        let copied = |name: &str| to.join(name).exists();
        assert!(copied("guard.py") && copied("words/list.txt"));
        for name in ["cases", "env", "__pycache__", "old.wasm", ".git"] {
            assert!(!copied(name), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_a_link_leads_to_outside_of_the_folder_gets_into_no_component() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let (from, to) = (folder.join("from"), folder.join("to"));
        sdk::write(&folder.join("secret"), b"x").unwrap();
        sdk::write(&from.join("words.txt"), b"x").unwrap();
        std::os::unix::fs::symlink("words.txt", from.join("same.txt")).unwrap();
        copy(&from, &from, &to).unwrap();
        assert!(to.join("same.txt").is_file());
        std::os::unix::fs::symlink(folder.join("secret"), from.join("more.txt")).unwrap();
        let why = copy(&from, &from, &to).unwrap_err().to_string();
        assert!(why.contains("leads out of the guard's folder") && !to.join("more.txt").exists(), "{why}");
    }
}
