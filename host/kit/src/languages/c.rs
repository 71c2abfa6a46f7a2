//! From the C files of a folder to a core module.

use super::clang::Compiler;
use super::{Kit, Project};
use crate::KitError;

pub(crate) const KIT: Kit = Kit {
    name: "c",
    title: "C",
    recognises: |names| names.ends(&[".c"]) && !names.ends(&[".cpp", ".cc", ".nim", ".zig", ".go", ".py"]) && !names.has("Cargo.toml"),
    build,
};

fn build(project: &Project, progress: &mut dyn FnMut(&str)) -> Result<Vec<u8>, KitError> {
    let compiler = Compiler::find(&project.folder)?;
    project.sdk()?;
    let mut sources = project.sources(&[".c"])?;
    sources.push(".aegis/c/aegis_guard.c".into());
    progress("compiling C (a minute the first time: the C library is compiled too)");
    compiler.module(&project.folder, &project.scratch()?, &sources, &[".aegis/c", "."])
}
