//! `aegis guard`: what a guard's author needs. One file per command; no server.

mod asked;
mod bench;
mod build;
mod cases;
mod check;
mod diff;
mod inspect;
mod new;
mod run;
mod sample;
mod streams;
mod test;
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
    /// Run a guard's cases against its component
    Test(test::Test),
    /// Say what a component is: name, stages, settings, imports
    Inspect(inspect::Inspect),
    /// Let a guard judge once, in the real sandbox
    Run(run::Run),
    /// Measure what its scans cost
    Bench(bench::Bench),
    /// Try whether a component keeps to the contract, rule by rule
    Check(check::Check),
}

impl Guard {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Guard::New(new) => blocking(|| new.run()).await,
            Guard::Build(build) => blocking(|| build.run()).await,
            Guard::Test(test) => test.run().await,
            Guard::Inspect(inspect) => blocking(|| inspect.run()).await,
            Guard::Run(run) => run.run().await,
            Guard::Bench(bench) => bench.run().await,
            Guard::Check(check) => check.run().await,
        }
    }
}

/// All of a file, or of stdin for `-`. A folder is most likely a guard's, and not built yet.
fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::new(Code::CLI_FILE, format!("{}: {why}", path.display()));
    if path.is_dir() {
        return Err(wrong(
            &"this is a folder: a component is made of a guard's folder by `aegis guard build`, so name the .wasm that it wrote",
        ));
    }
    let from: Box<dyn Read> =
        if path == Path::new("-") { Box::new(stdin()) } else { Box::new(File::open(path).map_err(|error| wrong(&error))?) };
    let mut bytes = Vec::new();
    from.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|error| wrong(&error))?;
    if bytes.len() > limit { Err(wrong(&format!("more than {limit} bytes"))) } else { Ok(bytes) }
}

/// JSON, or the file that `@` stands before; none at all is `{}`.
pub(crate) fn settings(text: &str) -> Result<serde_json::Value, Failure> {
    let text = match text.strip_prefix('@') {
        Some(file) => read(Path::new(file), aegis_wasm::Limits::default().input)?,
        None => text.as_bytes().to_vec(),
    };
    let wrong = |error| Failure::new(Code::GRD_SETTINGS, format!("the settings are no JSON: {error}"));
    let json: serde_json::Value = serde_json::from_slice(&text).map_err(wrong)?;
    Ok(if json.is_null() { serde_json::json!({}) } else { json })
}
