//! From the C++ files of a folder to a core module.

use super::clang::Compiler;
use super::{Kit, Project};
use crate::KitError;

pub(crate) const KIT: Kit = Kit {
    name: "cpp",
    title: "C++",
    recognises: |names| names.ends(&[".cpp", ".cc"]) && !names.ends(&[".nim", ".zig", ".go", ".py"]) && !names.has("Cargo.toml"),
    build,
};

/// The SDK stands on that of C.
fn build(project: &Project, progress: &mut dyn FnMut(&str)) -> Result<Vec<u8>, KitError> {
    let compiler = Compiler::find(&project.folder)?;
    project.sdk()?;
    project.sdk_of("c")?;
    let mut sources = project.sources(&[".cpp", ".cc", ".c"])?;
    sources.push(".aegis/c/aegis_guard.c".into());
    progress("compiling C++ (two minutes the first time: the C++ library is compiled too)");
    compiler.module(&project.folder, &project.scratch()?, &sources, &[".aegis/cpp", ".aegis/c", "."])
}
