//! What can be said of a file without settings: its outside always, and what it says of itself where it may be run.

use crate::engine::Sandbox;
use crate::imports::{Kind, Outside};
use crate::limits::Limits;
use crate::load::LoadError;
use crate::manifest::Manifest;
use crate::snapshot;
use crate::weight::weigh;
use aegis_core::Digest;

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Component, module or neither.
    pub kind: Kind,
    /// Bytes.
    pub size: usize,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// What it asks for; types of the contract are not counted.
    pub imports: Vec<String>,
    /// Those of them that are not granted.
    pub refused: Vec<String>,
    /// What it offers.
    pub exports: Vec<String>,
    /// The version of the contract that it was built against, such as `0.1.0`.
    pub contract: Option<String>,
    /// Whether a snapshot of the configured guard can be taken, as far as that can be told without settings; if not, why.
    pub snapshot: Result<(), String>,
    /// What it says of itself, or why it could not be asked.
    pub manifest: Result<Manifest, LoadError>,
}

impl Sandbox {
    /// Looks at a file, and asks it what it is, with nothing granted. Blocks while the component is compiled.
    pub fn inspect(&self, bytes: &[u8]) -> Inspection {
        let outside = Outside::read(bytes);
        let outside_is_fine = outside.kind == Kind::Component && outside.refused().is_empty() && weigh(bytes).is_ok();
        Inspection {
            kind: outside.kind,
            size: bytes.len(),
            digest: Digest::of(bytes),
            refused: outside.refused(),
            contract: outside.exported("scanner").map(str::to_owned),
            imports: outside.imports,
            exports: outside.exports,
            snapshot: if outside_is_fine { snapshot::possible(bytes) } else { Err("it cannot be run at all".into()) },
            manifest: self.describe(bytes.to_vec(), Limits::default()),
        }
    }
}
