//! `aegis guard build`

use super::inspect;
use super::new::{language, names};
use crate::failure::Failure;
use crate::loading;
use crate::terminal::{print, tell};
use aegis_core::Code;
use aegis_kit::Language;
use clap::Args;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 when the component was written and keeps to the contract, 1 when not, 2 for wrong usage.")]
pub(crate) struct Build {
    /// A guard's folder, or a file with a core module or a component: .wasm or .wat
    #[arg(value_name = "DIR|FILE")]
    path: PathBuf,
    /// Where the component goes: NAME.wasm in this folder when left out
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    #[arg(long, value_name = "L", value_parser = language, help = format!("The folder's language, where its files leave a doubt: {}", names()))]
    lang: Option<Language>,
}

impl Build {
    pub(super) fn run(self) -> Result<(), Failure> {
        let output = self.output()?;
        let built =
            aegis_kit::build(&self.path, self.lang, &mut |step| tell(step)).map_err(|error| Failure::new(Code::GRD_BUILD, error))?;
        write(&output, &built.component)?;
        let inspection = loading::inspector()?.inspect(&built.component);
        print(&format!("{}\n\n{}", output.display(), inspect::render(&inspection)))?;
        inspection.manifest.map(drop).map_err(|error| Failure::new(error.code(), format!("{}: {error}", output.display())))
    }

    fn output(&self) -> Result<PathBuf, Failure> {
        let output = self.output.clone().map_or_else(|| by_itself(&self.path), Ok)?;
        let same = fs::canonicalize(&output).is_ok_and(|it| fs::canonicalize(&self.path).is_ok_and(|path| path == it));
        let wrong =
            || Failure::new(Code::CLI_FILE, format!("{} is what the component is made of: write another one with -o", output.display()));
        if same { Err(wrong()) } else { Ok(output) }
    }
}

/// `guards/no-secrets` and `no-secrets.wat` make `no-secrets.wasm`, in this folder.
fn by_itself(path: &Path) -> Result<PathBuf, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::new(Code::CLI_FILE, format!("{}: {why}", path.display()));
    let whole = fs::canonicalize(path).map_err(|error| wrong(&error))?;
    let name = if whole.is_dir() { whole.file_name() } else { whole.file_stem() };
    let name = name.ok_or_else(|| wrong(&"it has no name: say where the component goes with -o"))?.to_string_lossy().into_owned();
    Ok(PathBuf::from(name + ".wasm"))
}

/// Whole or not at all: a server may be loading the file that stands there.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let part = path.with_extension("wasm.part");
    // Taken away first: it may be what an earlier build has left, or a link of somebody else's.
    let _ = fs::remove_file(&part);
    let written = fs::File::create_new(&part).and_then(|mut it| it.write_all(bytes)).and_then(|()| fs::rename(&part, path));
    written.map_err(|error| Failure::new(Code::CLI_FILE, format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_named_after_what_it_is_made_of() {
        let folder = tempfile::tempdir().unwrap();
        let (guard, file) = (folder.path().join("no-secrets"), folder.path().join("a-b.wat"));
        fs::create_dir(&guard).unwrap();
        fs::write(&file, "").unwrap();
        assert_eq!(by_itself(&guard).unwrap(), Path::new("no-secrets.wasm"));
        assert_eq!(by_itself(&file).unwrap(), Path::new("a-b.wasm"));
        assert_eq!(by_itself(Path::new("/")).unwrap_err().code, Code::CLI_FILE.id);
    }

    #[test]
    fn nothing_is_built_over_its_source() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("g.wasm");
        fs::write(&file, "").unwrap();
        assert!(Build { path: file.clone(), output: Some(file), lang: None }.output().is_err());
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, precious) = (folder.path().join("g.wasm"), folder.path().join("precious"));
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, folder.path().join("g.wasm.part")).unwrap();
        write(&file, b"component").unwrap();
        assert!(fs::read(&precious).unwrap() == b"precious" && fs::read(&file).unwrap() == b"component");
    }
}
