//! What a file is and what it asks for, read before anything of it runs. Nothing is granted but an empty WASI.

use std::collections::BTreeSet;
use wasmparser::{Encoding, Parser, Payload};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A component: what a guard has to be.
    Component,
    /// A core module: `aegis guard build` may make a component of it.
    Module,
    /// No WebAssembly at all, or damaged.
    Other,
}

/// The outside of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outside {
    pub(crate) kind: Kind,
    /// Without `aegis:guard/types`, which holds types only.
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

impl Outside {
    const NOTHING: Outside = Outside { kind: Kind::Other, imports: vec![], exports: vec![] };

    /// Of nested modules and components nothing is read: they get only what the outermost hands on.
    pub(crate) fn read(bytes: &[u8]) -> Outside {
        Outside::parse(bytes).unwrap_or(Outside::NOTHING)
    }

    fn parse(bytes: &[u8]) -> wasmparser::Result<Outside> {
        let mut outside = Outside::NOTHING;
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { encoding, .. } if outside.kind == Kind::Other => {
                    outside.kind = if encoding == Encoding::Component { Kind::Component } else { Kind::Module };
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth > 0 => {}
                Payload::ComponentImportSection(section) => {
                    for import in section {
                        outside.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) => {
                    for export in section {
                        outside.exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        outside.imports.push(format!("{} {}", import.module, import.name));
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        outside.exports.push(export?.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        outside.imports.retain(|name| !name.starts_with("aegis:guard/types@"));
        Ok(outside)
    }

    /// All imports that are not granted, in the order of their names.
    pub(crate) fn refused(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.imports.iter().filter(|name| !granted(name)).collect();
        names.into_iter().cloned().collect()
    }

    /// Whether it needs a WASI at all.
    pub(crate) fn wants_wasi(&self) -> bool {
        self.imports.iter().any(|name| name.starts_with("wasi:"))
    }

    /// The version of an exported interface of the contract, such as `0.1.0`.
    pub(crate) fn exported(&self, interface: &str) -> Option<&str> {
        let version = |name: &'_ String| name.strip_prefix("aegis:guard/").and_then(|it| it.strip_prefix(interface)).map(|it| it.len());
        let name = self.exports.iter().find(|name| version(name).is_some())?;
        name.split_once('@').map(|(_, version)| version)
    }
}

/// What can be linked from nothing.
fn granted(name: &str) -> bool {
    const FROM_NOTHING: [&str; 18] = [
        "wasi:cli/environment",
        "wasi:cli/exit",
        "wasi:cli/stderr",
        "wasi:cli/stdin",
        "wasi:cli/stdout",
        "wasi:cli/terminal-input",
        "wasi:cli/terminal-output",
        "wasi:cli/terminal-stderr",
        "wasi:cli/terminal-stdin",
        "wasi:cli/terminal-stdout",
        "wasi:clocks/monotonic-clock",
        "wasi:clocks/wall-clock",
        "wasi:io/error",
        "wasi:io/poll",
        "wasi:io/streams",
        "wasi:random/insecure",
        "wasi:random/insecure-seed",
        "wasi:random/random",
    ];
    name.split_once('@').is_some_and(|(interface, version)| version.starts_with("0.2.") && FROM_NOTHING.contains(&interface))
}

/// What a host would have to grant for an import: `nothing`, or what is never granted.
pub fn need(import: &str) -> &'static str {
    let interface = import.split_once('/').map_or(import, |(package, _)| package);
    match interface {
        _ if granted(import) => "nothing: answered from an empty sandbox",
        "wasi:filesystem" => "files, which are never granted",
        "wasi:sockets" => "the network, which is never granted",
        "wasi:http" => "HTTP, which is never granted",
        "wasi:cli" | "wasi:io" | "wasi:clocks" | "wasi:random" => "another version of WASI than 0.2",
        _ if import.starts_with("wasi_snapshot_preview1 ") => "a system, which aegis guard build takes away",
        _ => "something that no host has",
    }
}

/// What to do about refused imports.
pub(crate) fn hint(refused: &[String]) -> &'static str {
    if refused.iter().any(|name| name.starts_with("wasi:")) {
        "files, sockets and HTTP are never granted; where only the language's runtime asks for them, build with an empty WASI: \
         `componentize-py --stub-wasi`, `componentize-qjs --stub-wasi`, or `aegis guard build` for a core module"
    } else {
        "a guard judges by what it is handed; build it without these imports"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_wasi_is_granted_and_files_sockets_and_http_are_not() {
        assert!(granted("wasi:cli/stdout@0.2.9") && granted("wasi:random/random@0.2.0"));
        for name in ["wasi:filesystem/types@0.2.9", "wasi:sockets/tcp@0.2.9", "wasi:http/types@0.2.9", "wasi:cli/stdout@0.3.0", "log"] {
            assert!(!granted(name), "{name}");
        }
    }

    #[test]
    fn an_import_says_what_it_would_need() {
        for (import, words) in [
            ("wasi:io/streams@0.2.9", "nothing"),
            ("wasi:io/streams@0.3.0", "another version"),
            ("wasi:sockets/tcp@0.2.9", "never granted"),
            ("wasi_snapshot_preview1 fd_write", "takes away"),
            ("env log", "no host"),
        ] {
            assert!(need(import).contains(words), "{import}: {}", need(import));
        }
    }

    #[test]
    fn what_is_no_webassembly_is_said_to_be_none() {
        assert_eq!(Outside::read(b"#!/bin/sh").kind, Kind::Other);
        assert_eq!(Outside::read(b"\0asm\x01\0\0\0").kind, Kind::Module);
        assert_eq!(Outside::read(b"\0asm\x0d\0\x01\0").kind, Kind::Component);
        assert_eq!(Outside::read(b"").kind, Kind::Other);
    }
}
