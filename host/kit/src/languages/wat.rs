//! WebAssembly by hand: the text is the module, and no tool is needed.

use super::{Kit, Project};
use crate::KitError;

pub(crate) const KIT: Kit = Kit {
    name: "wat",
    title: "WebAssembly text",
    recognises: |names| names.ends(&[".wat"]) && !names.has("Cargo.toml") && !names.has("package.json"),
    build,
};

fn build(project: &Project, _: &mut dyn FnMut(&str)) -> Result<Vec<u8>, KitError> {
    crate::read(&project.folder.join(project.source(&[".wat"])?))
}
