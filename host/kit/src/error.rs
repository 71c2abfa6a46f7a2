//! Why there is no component. Each says what to do.

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
    /// Nothing that this version can build.
    #[error("{path}: expected a folder with a Cargo.toml, or a file .wasm or .wat", path = .path.display())]
    Unknown {
        /// What was given.
        path: PathBuf,
    },
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
    /// Cargo refused; it has said why on stderr.
    #[error("cargo failed ({0}); it says why above")]
    Cargo(ExitStatus),
    /// Cargo's own description of the crate makes no sense.
    #[error("\"cargo metadata\" gave something unexpected: {0}")]
    Metadata(String),
    /// The crate has no library that is a module.
    #[error("the crate makes no WebAssembly module: write crate-type = [\"cdylib\"] under [lib] in its Cargo.toml")]
    NoModule,
    /// A workspace of several guards.
    #[error("the folder holds several guards ({}): build them one by one, each from its own folder", .0.join(", "))]
    SeveralModules(Vec<String>),
    /// Compiled for a system that guards do not have.
    #[error(
        "the module wants a system to run on (it imports {0}): a guard runs on none. Compile for wasm32-unknown-unknown, or make a \
         component of it with your language's own tools"
    )]
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
