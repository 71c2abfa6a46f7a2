//! The house keeps its doors: wasmtime, SQL and axum occur only in the crate that owns them.

use crate::host::root;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the repository").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs" || it == "toml") {
            found.push(path);
        }
    }
}

#[test]
fn each_technology_occurs_only_behind_its_door() {
    let host = root().join("host");
    let mut files = Vec::new();
    sources(&host, &mut files);
    assert!(files.len() > 30, "the sources are not where this test looks");
    for (words, door) in [
        (&["wasmtime"][..], "wasm"),
        (&["rusqlite", "tokio_postgres", "tokio-postgres", "INSERT INTO", "SELECT "][..], "store"),
        (&["axum", "askama", "utoipa"][..], "server"),
        (&["wit_component", "wit-component"][..], "kit"),
        (&["clap", "indicatif"][..], "cli"),
    ] {
        for file in &files {
            let inside = file.strip_prefix(&host).expect("below host");
            let text = std::fs::read_to_string(file).expect("text");
            // Prose may name what code may not use.
            let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            let test_help = door == "kit" && inside.starts_with("wasm/");
            let found = words.iter().find(|word| code.contains(*word)).filter(|_| !inside.starts_with(door) && !test_help);
            assert!(found.is_none(), "{found:?} occurs in {}, outside host/{door}", inside.display());
        }
    }
}

#[test]
fn every_dependency_version_stands_once_in_the_workspace() {
    for name in
        ["core", "kit", "wasm", "store", "provider", "server", "cli", "../tests", "../tests/programs", "../tests/postgres", "../bench"]
    {
        let path = root().join("host").join(name).join("Cargo.toml");
        let text = std::fs::read_to_string(&path).expect("a manifest");
        let mut dependencies = false;
        for line in text.lines() {
            if line.starts_with('[') {
                dependencies = line.contains("dependencies");
            } else if dependencies && line.contains('=') {
                assert!(line.contains("workspace = true"), "{}: {line}", path.display());
            }
        }
    }
}

#[test]
fn each_crate_knows_only_those_that_the_arrows_point_to() {
    for (name, known) in [
        ("core", &[][..]),
        ("kit", &[]),
        ("wasm", &["core", "programs"]),  // the hostile guests, for its tests
        ("store", &["core", "postgres"]), // a real one, for its tests
        ("provider", &["core"]),
        ("server", &["core", "provider", "store", "wasm"]),
        ("cli", &["core", "kit", "server", "store", "wasm"]), // the store for `keys`, `ledger` and `db`, which work beside a host
    ] {
        let manifest = std::fs::read_to_string(root().join("host").join(name).join("Cargo.toml")).expect("a manifest");
        let depends = manifest.lines().filter_map(|line| line.strip_prefix("aegis-")?.split(['.', ' ', '=']).next());
        for other in depends {
            assert!(known.contains(&other), "host/{name} knows aegis-{other}");
        }
    }
}

#[test]
fn the_core_does_no_io() {
    let manifest = std::fs::read_to_string(root().join("host/core/Cargo.toml")).expect("a manifest");
    for banned in ["tokio", "reqwest", "rusqlite", "getrandom", "tracing"] {
        assert!(!manifest.contains(banned), "{banned} is in the core's manifest");
    }
}
