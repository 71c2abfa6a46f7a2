//! From a Rust guard's folder to a core module, by whatever Rust there is. No path of this machine gets into the module.

use super::{Kit, Project};
use crate::KitError;
use crate::tools::stdout;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) const KIT: Kit = Kit { name: "rust", title: "Rust", recognises: |names| names.has("Cargo.toml"), build };

const TARGET: &str = "wasm32-unknown-unknown";

/// Meant for the host's own build, and wrong or misleading in this one: flags and wrappers for other targets, and the libraries of another Rust.
const NOT_OURS: [&str; 11] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "RUSTC",
    "CARGO_BUILD_RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "LD_LIBRARY_PATH",
];

/// A Rust that can compile to WebAssembly.
struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    /// The linker to use where the standard library has to be compiled too; `None` where it comes compiled.
    linker: Option<PathBuf>,
    /// Where its standard library was compiled from.
    sysroot: PathBuf,
}

/// The SDK is written only where the manifest asks for it: crates of this repository know it by its own path.
fn build(project: &Project, progress: &mut dyn FnMut(&str)) -> Result<Vec<u8>, KitError> {
    if project.says("Cargo.toml", ".aegis/rust") {
        project.sdk()?;
    }
    crate::read(&compile(&project.folder, progress)?)
}

/// Compiles the crate in `folder`; the path of its module.
fn compile(folder: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, KitError> {
    let toolchain = Toolchain::find(folder)?;
    let flags = toolchain.path_flags(folder)?;
    progress(match toolchain.linker {
        None => "compiling with cargo",
        Some(_) => "compiling with cargo, the standard library too (a minute or more the first time)",
    });
    let mut cargo = toolchain.cargo(folder);
    cargo.args(["build", "--release", "--lib", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    cargo.arg("--config").arg(format!("target.{TARGET}.rustflags={}", Value::from(flags)));
    if toolchain.linker.is_some() {
        cargo.arg("-Zbuild-std=std,panic_abort");
    }
    one_module(&stdout(cargo)?)
}

impl Toolchain {
    fn find(folder: &Path) -> Result<Toolchain, KitError> {
        Toolchain::with_target(folder).or_else(|| Toolchain::with_source(folder, Path::new("/usr/bin"))).ok_or_else(|| {
            let rustc = ask(folder, OsStr::new("rustc"), &["--version"]);
            KitError::NoToolchain(match rustc {
                None => "there is no rustc on PATH".into(),
                Some(version) => format!("{version} has no {TARGET}"),
            })
        })
    }

    /// The Rust on `PATH`, as the folder's `rust-toolchain.toml` has it, with the target's standard library.
    fn with_target(folder: &Path) -> Option<Toolchain> {
        let rustc = PathBuf::from("rustc");
        let library = ask(folder, rustc.as_os_str(), &["--print", "target-libdir", "--target", TARGET])?;
        let sysroot = ask(folder, rustc.as_os_str(), &["--print", "sysroot"])?.into();
        Path::new(&library).is_dir().then(|| Toolchain { cargo: "cargo".into(), rustc, linker: None, sysroot })
    }

    /// A distribution's Rust, which has the standard library as source. Named by its path: on `PATH` rustup stands before it.
    fn with_source(folder: &Path, bin: &Path) -> Option<Toolchain> {
        let (cargo, rustc) = (bin.join("cargo"), bin.join("rustc"));
        let sysroot = PathBuf::from(ask(folder, rustc.as_os_str(), &["--print", "sysroot"])?);
        let linker = bin.join("wasm-ld");
        let usable = sysroot.join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file() && cargo.is_file() && linker.is_file();
        usable.then_some(Toolchain { cargo, rustc, linker: Some(linker), sysroot })
    }

    fn cargo(&self, folder: &Path) -> Command {
        let mut cargo = command(folder, self.cargo.as_os_str());
        if let Some(linker) = &self.linker {
            // The standard library is compiled by a stable compiler with options that only it may use.
            cargo.env("RUSTC", &self.rustc).env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        cargo
    }

    /// Compiler flags that give every path a name that is the same on every machine. Panic messages have paths of sources in them.
    fn path_flags(&self, folder: &Path) -> Result<Vec<String>, KitError> {
        let mut cargo = self.cargo(folder);
        cargo.args(["metadata", "--format-version", "1", "--filter-platform", TARGET]);
        let metadata: Value = serde_json::from_slice(&stdout(cargo)?).map_err(|error| KitError::Metadata(error.to_string()))?;
        let text = |value: &Value, name: &'static str| {
            value[name].as_str().map(str::to_owned).ok_or_else(|| KitError::Metadata(format!("no {name}")))
        };
        let mut names = vec![(self.sysroot.join("lib/rustlib/src/rust").display().to_string(), "rust".to_owned())];
        names.extend(cargo_home().map(|it| (it.display().to_string(), "cargo".to_owned())));
        names.push((text(&metadata, "target_directory")?, "target".into()));
        for package in metadata["packages"].as_array().into_iter().flatten().filter(|it| it["source"].is_null()) {
            let manifest = text(package, "manifest_path")?;
            names.push((manifest.trim_end_matches("Cargo.toml").trim_end_matches(['/', '\\']).into(), text(package, "name")?));
        }
        Ok(names.into_iter().map(|(path, name)| format!("--remap-path-prefix={path}={name}")).collect())
    }
}

fn cargo_home() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cargo")))
}

/// A tool that works in the guard's folder, so that its own toolchain file and cargo configuration hold.
fn command(folder: &Path, tool: &OsStr) -> Command {
    let mut command = Command::new(tool);
    command.current_dir(folder).stdin(Stdio::null());
    for name in NOT_OURS {
        command.env_remove(name);
    }
    command
}

/// What the tool answers, on one line; `None` when it is not there or refuses.
fn ask(folder: &Path, tool: &OsStr, question: &[&str]) -> Option<String> {
    let output = command(folder, tool).args(question).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The only module among the artifacts that cargo names, one JSON object a line.
fn one_module(messages: &[u8]) -> Result<PathBuf, KitError> {
    let messages = messages.split(|it| *it == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let files =
        messages.filter(|it| it["reason"] == "compiler-artifact").flat_map(|it| it["filenames"].as_array().cloned().unwrap_or_default());
    let mut modules: Vec<String> = files.filter_map(|it| Some(it.as_str().filter(|it| it.ends_with(".wasm"))?.to_owned())).collect();
    match modules.len() {
        0 => Err(KitError::NoModule),
        1 => Ok(modules.remove(0).into()),
        _ => Err(KitError::SeveralModules(modules)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_names_one_module_or_it_is_an_error() {
        let artifact = |file: &str| format!(r#"{{"reason":"compiler-artifact","filenames":["{file}"]}}"#);
        for (messages, expected) in [
            (vec![artifact("/t/libserde.rlib"), artifact("/t/guard.wasm"), r#"{"reason":"build-finished"}"#.into()], Ok("/t/guard.wasm")),
            (vec![artifact("/t/libguard.rlib")], Err("cdylib")),
            (vec![artifact("/t/a.wasm"), artifact("/t/b.wasm")], Err("/t/a.wasm, /t/b.wasm")),
        ] {
            match (one_module(messages.join("\n").as_bytes()), expected) {
                (Ok(path), Ok(expected)) => assert_eq!(path, Path::new(expected)),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (outcome, _) => panic!("{messages:?}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn a_distribution_without_the_sources_of_std_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Toolchain::with_source(folder.path(), folder.path()).is_none());
    }
}
