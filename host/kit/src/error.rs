//! Why there is no component. Each says what to do.

use crate::Language;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// The file or folder cannot be read, or is not there.
    #[error("{path}: {source}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// More bytes than a guard may have.
    #[error("{path}: a guard has at most {limit} bytes", path = .path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// In bytes.
        limit: u64,
    },
    /// It cannot be written.
    #[error("{path}: {source}", path = .path.display())]
    Write {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing that this version can build.
    #[error("{path}: expected a folder with a guard in {}, or a file .wasm or .wat", or(Language::ALL, Language::title), path = .path.display())]
    Unknown {
        /// What was given.
        path: PathBuf,
    },
    /// The folder's files are of several languages.
    #[error("{path}: this may be {}: say which with --lang {}", or(.languages, Language::title), or(.languages, Language::name), path = .path.display())]
    Ambiguous {
        /// What was given.
        path: PathBuf,
        /// What it may be.
        languages: Vec<Language>,
    },
    /// No language of this name.
    #[error("there is no language \"{0}\" here: write {names}", names = or(Language::ALL, Language::name))]
    NoSuchLanguage(String),
    /// A name that is not one in every language.
    #[error("\"{0}\" is no name for a guard: use small letters, digits and single hyphens, a letter first, as in my-guard")]
    Name(String),
    /// There is something already.
    #[error("{path} is there already, and not empty", path = .path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
    },
    /// A tool is not there, or too old.
    #[error("this needs {needed} ({found}). Install it with \"{install}\", or set {variable} to what calls it")]
    MissingTool {
        /// Its name, and the oldest version that will do.
        needed: String,
        /// What there is.
        found: String,
        /// A command.
        install: String,
        /// An environment variable.
        variable: &'static str,
    },
    /// The guard's folder is not as its language wants it.
    #[error("{0}")]
    Source(String),
    /// Neither WebAssembly nor its text format.
    #[error("this is no WebAssembly: {0}")]
    NotWasm(String),
    /// No Rust that can compile to WebAssembly.
    #[error(
        "building a Rust guard needs a Rust toolchain with a WebAssembly target: {0}. With rustup: \
         \"rustup target add wasm32-unknown-unknown\". On Debian: \"apt-get install rustc-web cargo-web rust-web-src lld\""
    )]
    NoToolchain(String),
    /// A tool could not be started.
    #[error("{tool} could not be started: {source}")]
    Start {
        /// Which.
        tool: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A tool refused; it has said why on stderr.
    #[error("{tool} failed ({status}); it says why above")]
    Tool {
        /// Its file's name.
        tool: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// Cargo's own description of the crate makes no sense.
    #[error("\"cargo metadata\" gave something unexpected: {0}")]
    Metadata(String),
    /// The crate has no library that is a module.
    #[error("the crate makes no WebAssembly module: write crate-type = [\"cdylib\"] under [lib] in its Cargo.toml")]
    NoModule,
    /// A workspace of several guards.
    #[error("the folder holds several guards ({}): build them one by one, each from its own folder", .0.join(", "))]
    SeveralModules(Vec<String>),
    /// Compiled for WASI as it was before preview 1, which no adapter stands for.
    #[error("the module is for WASI as it was before preview 1 (it imports {0}): compile it for wasm32-wasip1 or wasm32-unknown-unknown")]
    Wasi(String),
    /// WebAssembly, but no guard.
    #[error("this is no guard: a guard exports aegis:guard/scanner@0.1.x, and this exports {}", list(.0))]
    NotAGuard(Vec<String>),
    /// A guard for a contract that this version does not know.
    #[error("this guard was built for {0}; this version of aegis takes aegis:guard/scanner@0.1.x")]
    Version(String),
    /// The core module does not fit the contract.
    #[error("the module does not fit the contract: {0}")]
    Module(String),
    /// Not a valid component, or its scanner is not the contract's.
    #[error("the component does not fit the contract: {0}")]
    Component(String),
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}

fn or(languages: &[Language], name: fn(Language) -> &'static str) -> String {
    let names: Vec<&str> = languages.iter().map(|it| name(*it)).collect();
    match names[..] {
        [ref first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => names.join(""),
    }
}
