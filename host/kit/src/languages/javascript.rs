//! From a JavaScript guard's folder to a component: bundled by esbuild, put into QuickJS by componentize-qjs.

use super::{Kit, Project};
use crate::component::WIT;
use crate::tools::{NODE, Tool, run, stdout};
use crate::{KitError, read, sdk};

pub(crate) const KIT: Kit = Kit {
    name: "javascript",
    title: "JavaScript",
    recognises: |names| names.ends(&[".js", ".mjs"]) && !names.ends(&[".ts"]),
    build: |project, progress| component(project, &[".js", ".mjs"], progress),
};

const ESBUILD: Tool = Tool {
    name: "esbuild",
    variable: "ESBUILD",
    programs: &["esbuild"],
    module: None,
    version: &["--version"],
    least: [0, 25, 0],
    install: "npm install --save-dev esbuild@0.28.2 componentize-qjs@0.4.5",
    runtime: Some(&NODE),
};

/// It knows no question for its version.
const COMPONENTIZE_QJS: Tool = Tool {
    name: "componentize-qjs",
    variable: "COMPONENTIZE_QJS",
    programs: &["componentize-qjs"],
    module: None,
    version: &["--help"],
    least: [0; 3],
    install: "npm install --save-dev componentize-qjs@0.4.5",
    runtime: Some(&NODE),
};

/// For TypeScript as well: esbuild takes either, and does not look at types.
pub(super) fn component(project: &Project, endings: &[&str], progress: &mut dyn FnMut(&str)) -> Result<Vec<u8>, KitError> {
    let (esbuild, qjs) = (ESBUILD.find(&project.folder)?, COMPONENTIZE_QJS.find(&project.folder)?);
    let source = project.source(endings)?;
    project.sdk()?;
    let scratch = project.scratch()?;
    let world = project.world(&source);
    sdk::write(&scratch.join("entry.js"), entry(&source, world).as_bytes())?;
    sdk::write(&scratch.join("guard.wit"), WIT.as_bytes())?;
    progress("bundling with esbuild");
    // From the folder, with relative names: they get into the bundle's comments. Names are kept, for they are in error messages.
    let mut bundle = esbuild.command(&project.folder);
    bundle.args(["./.aegis/build/entry.js", "--bundle", "--format=esm", "--target=es2023", "--keep-names", "--log-level=warning"]);
    bundle.args(["--alias:aegis-guard=./.aegis/javascript/index.ts", "--outfile=./.aegis/build/bundle.js"]);
    run(bundle)?;
    progress("putting it into QuickJS with componentize-qjs");
    let mut component = qjs.command(&scratch);
    component.args(["--sync", "--stub-wasi", "--wit", "guard.wit", "-n", world, "--js", "bundle.js", "-o", "guard.wasm"]);
    stdout(component)?; // what it prints when all went well is of no use
    read(&scratch.join("guard.wasm"))
}

fn entry(source: &str, world: &str) -> String {
    let (name, made) = if world == "guard" {
        ("scannerOf", "scanner = scannerOf(guard)")
    } else {
        ("scannersOf", "{ scanner, streamScanner } = scannersOf(guard)")
    };
    format!("import guard from \"../../{source}\";\nimport {{ {name} }} from \"../javascript/component.ts\";\n\nexport const {made};\n")
}
