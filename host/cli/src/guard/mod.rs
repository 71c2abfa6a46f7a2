//! `aegis guard`: what a guard's author needs. One file per command; no server.

mod build;
mod inspect;
mod new;
mod run;
mod trial;

use crate::failure::Failure;
use crate::loading::blocking;
use aegis_core::Code;
use clap::Subcommand;
use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

#[derive(Debug, Subcommand)]
pub(crate) enum Guard {
    /// Begin a guard: a folder that builds, with a case that fails on purpose
    New(new::New),
    /// Make a component of a guard's folder, or of a .wasm or .wat file
    Build(build::Build),
    /// Say what a component is: name, stages, settings, imports
    Inspect(inspect::Inspect),
    /// Let a guard judge once, in the real sandbox
    Run(run::Run),
}

impl Guard {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Guard::New(new) => blocking(|| new.run()).await,
            Guard::Build(build) => blocking(|| build.run()).await,
            Guard::Inspect(inspect) => blocking(|| inspect.run()).await,
            Guard::Run(run) => run.run().await,
        }
    }
}

/// All of a file, or of stdin for `-`.
fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::new(Code::CLI_FILE, format!("{}: {why}", path.display()));
    let from: Box<dyn Read> =
        if path == Path::new("-") { Box::new(stdin()) } else { Box::new(File::open(path).map_err(|error| wrong(&error))?) };
    let mut bytes = Vec::new();
    from.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|error| wrong(&error))?;
    if bytes.len() > limit { Err(wrong(&format!("more than {limit} bytes"))) } else { Ok(bytes) }
}
