//! From a guard's folder or file to a component. Nothing of a guard is ever run in this crate.

mod component;
mod error;
mod languages;
mod new;
mod sdk;
mod tools;

pub use error::KitError;
pub use languages::Language;
pub use new::guard as new;

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::panic::catch_unwind;
use std::path::Path;

/// Bytes of the largest file that is read: four times the largest guard seen so far, one with a whole JavaScript engine in it.
const LARGEST: u64 = 64 << 20;

/// A component that exports `aegis:guard/scanner@0.1.x`.
#[derive(Clone, Debug)]
pub struct Built {
    /// The component.
    pub component: Vec<u8>,
    /// SHA-256 of its bytes, as `sha256sum` prints it.
    pub sha256: String,
    /// The language of the folder; `None` for what came as a file.
    pub language: Option<Language>,
    /// Bytes of the core module it was made from; `None` for what came as a component.
    pub core_size: Option<usize>,
    /// What it imports, by name, such as `wasi:cli/stdout@0.2.12`; not counted is `aegis:guard/types`, which holds types only.
    pub imports: Vec<String>,
}

/// Builds what stands at `path`: a folder with a guard, or a file with a core module or a component, binary or text. The language is that of the
/// folder's files unless one is said. `progress` is told what begins, in a few words; what tools say goes to stderr as it is.
///
/// # Errors
/// Why there is no component, and what to do: a tool is missing or has refused, or what it made does not fit the contract.
pub fn build(path: &Path, language: Option<Language>, progress: &mut dyn FnMut(&str)) -> Result<Built, KitError> {
    let kind = path.extension().and_then(|it| it.to_str());
    let (language, bytes) = match kind {
        _ if path.is_dir() => {
            let language = language.map_or_else(|| Language::of(path), Ok)?;
            (Some(language), language.build(path, progress)?)
        }
        Some("wasm" | "wat") if path.is_file() => (None, read(path)?),
        _ => return Err(unknown(path)),
    };
    progress("making and checking the component");
    Ok(Built { language, ..from_bytes(&bytes)? })
}

/// Makes a component of a core module, or checks a component; both may be in the text format.
///
/// # Errors
/// It is no WebAssembly, no guard, or does not fit the contract.
pub fn from_bytes(bytes: &[u8]) -> Result<Built, KitError> {
    // The bytes are a stranger's, and the libraries that read components panic at some that they take for impossible.
    let unknown = |_| Err(KitError::Component("the component tools do not know what they met in it".into()));
    catch_unwind(|| made(bytes)).unwrap_or_else(unknown)
}

fn made(bytes: &[u8]) -> Result<Built, KitError> {
    let bytes = wat::parse_bytes(bytes).map_err(|error| KitError::NotWasm(error.to_string()))?;
    let core_size = wasmparser::Parser::is_core_wasm(&bytes).then_some(bytes.len());
    let component = if core_size.is_some() { component::of_core(&bytes)? } else { bytes.into_owned() };
    let imports = component::check(&component)?;
    Ok(Built { sha256: sha256(&component), component, language: None, core_size, imports })
}

/// SHA-256 of some bytes, as `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, KitError> {
    let failed = |source| KitError::Read { path: path.into(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST { Err(KitError::TooLarge { path: path.into(), limit: LARGEST }) } else { Ok(bytes) }
}

fn unknown(path: &Path) -> KitError {
    match path.metadata() {
        Err(source) => KitError::Read { path: path.into(), source },
        Ok(_) => KitError::Unknown { path: path.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_built_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: u64| {
            File::create(folder.path().join(name)).and_then(|it| it.set_len(bytes)).unwrap();
            folder.path().join(name)
        };
        for (path, expected) in [
            (folder.path().to_owned(), "expected a folder with a guard in"),
            (folder.path().join("not-there"), "No such file"),
            (folder.path().join("not-there.wasm"), "No such file"),
            (file("guard.txt", 1), "expected a folder with a guard in"),
            (file("empty.wasm", 0), "no WebAssembly"),
            (file("zeros.wasm", 8), "no WebAssembly"),
            (file("huge.wasm", LARGEST + 1), "at most 67108864 bytes"),
        ] {
            let error = build(&path, None, &mut |_| ()).map(|_| ()).expect_err(expected).to_string();
            assert!(error.contains(expected), "{}: {error}", path.display());
        }
    }
}
