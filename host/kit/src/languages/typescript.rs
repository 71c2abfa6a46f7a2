//! From a TypeScript guard's folder to a component: its types are checked by tsc, then it is built as JavaScript.

use super::{Kit, Project, javascript};
use crate::tools::{NODE, Tool, run};
use crate::{KitError, sdk};

pub(crate) const KIT: Kit =
    Kit { name: "typescript", title: "TypeScript", recognises: |names| names.ends(&[".ts"]) && !names.has("asconfig.json"), build };

const TSC: Tool = Tool {
    name: "tsc",
    variable: "TSC",
    programs: &["tsc"],
    module: None,
    version: &["--version"],
    least: [5, 5, 0],
    install: "npm install --save-dev typescript@6.0.3 esbuild@0.28.2 componentize-qjs@0.4.5",
    runtime: Some(&NODE),
};

/// For a folder that has no configuration of its own; its paths are those of the folder for what is made on the way.
const CONFIGURATION: &str = include_str!("../../../../sdk/typescript/template/tsconfig.json");

fn build(project: &Project, progress: &mut dyn FnMut(&str)) -> Result<Vec<u8>, KitError> {
    let tsc = TSC.find(&project.folder)?;
    project.sdk()?;
    let mut configuration = "tsconfig.json";
    if !project.folder.join(configuration).is_file() {
        let ours = CONFIGURATION.replace("./.aegis/", "../").replace("*.ts", "../../*.ts");
        sdk::write(&project.scratch()?.join("tsconfig.json"), ours.as_bytes())?;
        configuration = ".aegis/build/tsconfig.json";
    }
    progress("checking types with tsc");
    let mut check = tsc.command(&project.folder);
    check.args(["--noEmit", "--pretty", "false", "--project", configuration]);
    run(check)?;
    javascript::component(project, &[".ts"], progress)
}
