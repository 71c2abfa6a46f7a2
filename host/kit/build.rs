//! Embeds `sdk/`: nothing of it is in a registry, and a guard's folder gets its copy from the binary. Left out is what tools have left there.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Made by tools, never by us.
const MADE: [&str; 8] = ["target", "node_modules", "__pycache__", ".aegis", ".venv", ".zig-cache", "zig-out", "nimcache"];

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where we are");
    let sdk = Path::new(&here).join("../../sdk").canonicalize().expect("sdk/ stands beside host/");
    let mut files = Vec::new();
    walk(&sdk, &mut files);
    files.sort();
    let mut code = String::from("pub(crate) const FILES: &[(&str, &[u8])] = &[\n");
    for file in &files {
        let name = file.strip_prefix(&sdk).expect("below sdk").to_str().expect("our names are text").replace('\\', "/");
        writeln!(code, "    ({name:?}, include_bytes!({:?})),", file.to_str().expect("paths are text")).expect("a string takes everything");
    }
    code.push_str("];\n");
    let out = std::env::var("OUT_DIR").expect("cargo says where to");
    std::fs::write(Path::new(&out).join("embedded.rs"), code).expect("the folder for generated code is writable");
}

/// All files below `folder`. Cargo watches a folder with all that is in it, so those that tools write to are watched file by file. Whether there
/// is such a one in it.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> bool {
    let entries = std::fs::read_dir(folder).expect("a folder of the repository").map(|it| it.expect("readable").path());
    let (folders, plain): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|it| it.is_dir());
    let (made, own): (Vec<PathBuf>, Vec<PathBuf>) = folders.into_iter().partition(|it| MADE.iter().any(|made| it.ends_with(made)));
    let written = own.iter().fold(!made.is_empty(), |written, it| walk(it, files) || written);
    let watched = if written { plain.clone() } else { vec![folder.to_owned()] };
    for it in watched {
        println!("cargo::rerun-if-changed={}", it.display());
    }
    files.extend(plain.into_iter().filter(|it| it.extension().is_none_or(|it| it != "pyc")));
    written
}
