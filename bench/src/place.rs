//! How every measuring program begins and ends: what it measures, where it puts data, what it says when it cannot.

use crate::machine;
use crate::server::Build;
use clap::Args;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tempfile::TempDir;

/// What is measured.
#[derive(Clone, Debug, Args)]
pub struct Subject {
    /// The server's binary; the one beside this program when left out
    #[arg(long, value_name = "F")]
    pub binary: Option<PathBuf>,
    /// Its configuration, with the routes of bench/aegis.yaml; where it keeps runs is not taken from there
    #[arg(long, value_name = "F", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/aegis.yaml"))]
    pub config: PathBuf,
}

/// What is started, and where its data goes.
#[derive(Debug)]
pub struct Place {
    /// The server.
    pub build: Build,
    folder: PathBuf,
}

impl Place {
    /// Beside this program.
    ///
    /// # Errors
    /// There is no such binary, or no such configuration.
    pub fn new(subject: &Subject) -> Result<Place> {
        let here = std::env::current_exe()?;
        let folder = here.parent().ok_or_else(|| Error::other("this program is in no folder"))?.to_path_buf();
        let binary = subject.binary.clone().unwrap_or_else(|| folder.join("aegis"));
        let missing = |path: &Path, what: &str| Error::new(ErrorKind::NotFound, format!("there is no {}: {what}", path.display()));
        let config = subject.config.canonicalize().map_err(|_| missing(&subject.config, "name a configuration by --config"))?;
        Ok(Place { build: Build { binary: binary.canonicalize().map_err(|_| missing(&binary, "say `make bench`"))?, config }, folder })
    }

    /// Beside the build, on whatever disk that is: in memory, as `/tmp` often is, there would be no disk to wait for.
    pub fn below(&self) -> &Path {
        &self.folder
    }

    /// A new folder there, which goes when it is dropped.
    ///
    /// # Errors
    /// It cannot be written to.
    pub fn folder(&self) -> Result<TempDir> {
        tempfile::Builder::new().prefix("bench-").tempdir_in(&self.folder)
    }

    /// What the figures are measured on, as [`machine::describe`] says it.
    pub fn describe(&self) -> String {
        machine::describe(&self.folder)
    }
}

/// How a program ends that has measured this.
pub fn ended(measured: Result<()>) -> ExitCode {
    let Err(error) = measured else { return ExitCode::SUCCESS };
    eprintln!("bench: {error}");
    ExitCode::FAILURE
}
