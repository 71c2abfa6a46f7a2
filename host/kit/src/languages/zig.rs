//! From a Zig file to a core module.

use super::clang::ZIG;
use super::{Kit, Project};
use crate::KitError;
use crate::tools::run;

pub(crate) const KIT: Kit = Kit { name: "zig", title: "Zig", recognises: |names| names.ends(&[".zig"]) && !names.has("Cargo.toml"), build };

/// Safety checks stay in: what goes wrong in a guard is a trap, not a verdict.
fn build(project: &Project, progress: &mut dyn FnMut(&str)) -> Result<Vec<u8>, KitError> {
    let zig = ZIG.find(&project.folder)?;
    project.sdk()?;
    let guard = project.source(&[".zig"])?;
    let module = project.scratch()?.join("core.wasm");
    progress("compiling Zig");
    let mut command = zig.command(&project.folder);
    command.args(["build-exe", "-target", "wasm32-freestanding", "-O", "ReleaseSafe", "-fstrip", "-fno-entry", "-rdynamic"]);
    command.args(["--stack", "262144", "--cache-dir", ".aegis/zig-cache", "--name", "core", "--dep", "aegis_guard"]);
    command.arg(format!("-Mroot={guard}")).arg("-Maegis_guard=.aegis/zig/aegis_guard.zig");
    command.arg(format!("-femit-bin={}", module.display()));
    run(command)?;
    crate::read(&module)
}
