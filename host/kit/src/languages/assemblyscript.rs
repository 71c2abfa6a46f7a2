//! From an AssemblyScript guard's folder to a core module, by asc. It writes no export with a name such as the contract has, so those are put
//! into its text.

use super::{Kit, Project};
use crate::tools::{NODE, Tool, run};
use crate::{KitError, read, sdk};

pub(crate) const KIT: Kit =
    Kit { name: "assemblyscript", title: "AssemblyScript", recognises: |names| names.has("asconfig.json") && names.ends(&[".ts"]), build };

const ASC: Tool = Tool {
    name: "asc",
    variable: "ASC",
    programs: &["asc"],
    module: None,
    version: &["--version"],
    least: [0, 28, 0],
    install: "npm install --save-dev assemblyscript@0.28.20",
    runtime: Some(&NODE),
};

fn build(project: &Project, progress: &mut dyn FnMut(&str)) -> Result<Vec<u8>, KitError> {
    let asc = ASC.find(&project.folder)?;
    let source = project.source(&[".ts"])?;
    project.sdk()?;
    let scratch = project.scratch()?;
    sdk::write(&scratch.join("entry.ts"), entry(source.trim_end_matches(".ts")).as_bytes())?;
    progress("compiling with asc");
    let mut command = asc.command(&project.folder);
    command.args([".aegis/build/entry.ts", "--path", ".aegis/assemblyscript", "--textFile", ".aegis/build/guard.wat"]);
    // Nothing is freed: an instance lives for one scan. Nothing is imported: an abort is a trap, and what is printed goes nowhere.
    command.args(["--runtime", "stub", "--use", "abort=", "-O3", "--shrinkLevel", "1"]);
    for name in ["trace", "console"] {
        command.arg("--use").arg(format!("{name}=~lib/aegis-guard/nowhere/{name}"));
    }
    run(command)?;
    let module = read(&scratch.join("guard.wat"))?;
    let module = String::from_utf8_lossy(&module);
    match imported(&module) {
        None => Ok(renamed(&module)),
        Some(name) => {
            Err(KitError::Source(format!("{source} needs {name} from outside: a guard has no clock, no randomness and no system")))
        }
    }
}

/// The first thing that the module imports, such as `env.seed`.
fn imported(module: &str) -> Option<String> {
    let line = module.lines().find_map(|it| it.trim_start().strip_prefix("(import \""))?;
    let mut quoted = line.split('"');
    Some(format!("{}.{}", quoted.next()?, quoted.nth(1)?))
}

/// With the contract's names, as bytes of the text format.
fn renamed(module: &str) -> Vec<u8> {
    let name = |text: String, it| text.replacen(&format!("(export \"{it}\""), &format!("(export \"aegis:guard/scanner@0.1.0#{it}\""), 1);
    ["describe", "configure", "scan"].into_iter().fold(module.to_owned(), name).into_bytes()
}

fn entry(module: &str) -> String {
    format!(
        "import * as component from \"aegis-guard/component\";
import {{ guard }} from \"../../{module}\";

export function describe(): usize {{ return component.describe(guard); }}
export function configure(at: usize, length: usize): usize {{ return component.configure(guard, at, length); }}
export function scan(at: usize): usize {{ return component.scan(guard, at); }}
export function cabi_realloc(old: usize, oldSize: usize, align: usize, size: usize): usize {{ return component.realloc(old, size); }}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_imported_is_named() {
        assert_eq!(imported("(module\n (import \"env\" \"seed\" (func))\n)").as_deref(), Some("env.seed"));
        assert_eq!(imported("(module (data \"(import\"))"), None);
    }

    #[test]
    fn only_the_exports_are_renamed() {
        let text = r#"(module (export "scan" (func $scan)) (export "memory" (memory $0)) (data "(export \"scan\""))"#;
        let expected =
            r#"(module (export "aegis:guard/scanner@0.1.0#scan" (func $scan)) (export "memory" (memory $0)) (data "(export \"scan\""))"#;
        assert_eq!(String::from_utf8(renamed(text)).unwrap(), expected);
    }
}
