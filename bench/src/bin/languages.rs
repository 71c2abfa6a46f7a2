//! What a guard costs in each language: builds the example guard in all of them with the `aegis` beside this program, measures it with `aegis guard bench`,
//! and writes the table into docs/languages.md. A language whose tools are missing keeps no old figures: its row says what is missing.

use aegis_bench::{machine, table::Table, table::short};
use aegis_kit::Language;
use clap::Parser;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

const BEGIN: &str = "<!-- written by `make languages`: begin -->\n";
const END: &str = "<!-- written by `make languages`: end -->\n";
const SETTINGS: &str = r#"{"phrases":["financial advice"]}"#;

#[derive(Parser)]
#[command(about = "Measures the example guard in every language and writes the table of docs/languages.md")]
struct Arguments {
    /// The repository
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// How long to measure each kind of scan, in seconds
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Print the table and write nothing
    #[arg(long)]
    print: bool,
    /// Only these
    languages: Vec<Language>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("languages: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let aegis = beside().ok_or("there is no aegis beside this program: build it with the same profile")?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let measuring = Measuring { aegis, root: arguments.root.clone(), folder: folder.path().into(), seconds: arguments.seconds };
    let mut table =
        Table::new(&["language", "component", "cold start, ms", "fresh scan, µs", "warm scan, µs", "linear memory", "resident", "imports"]);
    for language in Language::ALL.iter().filter(|it| arguments.languages.is_empty() || arguments.languages.contains(it)) {
        eprintln!("{language}");
        table.row(measuring.row(language.name(), language.title()));
    }
    let text = format!("{}\n\n{table}", measuring.conditions());
    println!("{text}");
    if arguments.print { Ok(()) } else { write(&arguments.root.join("docs/languages.md"), &text) }
}

fn beside() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.with_file_name("aegis")).filter(|it| it.is_file())
}

/// Where the example is built and measured.
struct Measuring {
    aegis: PathBuf,
    root: PathBuf,
    folder: PathBuf,
    seconds: f64,
}

impl Measuring {
    fn conditions(&self) -> String {
        let profile = if self.aegis.components().any(|it| it.as_os_str() == "release") { "release" } else { "development" };
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().filter(|it| !it.is_empty()).map_or_else(String::new, |it| format!("; load {it}"));
        format!("{}; {profile} build{load}.", machine::describe(&self.folder))
    }

    fn row(&self, name: &str, title: &str) -> Vec<String> {
        match self.measure(name) {
            Ok(cells) => std::iter::once(title.to_owned()).chain(cells).collect(),
            Err(why) => vec![title.to_owned(), format!("not measured: {why}")],
        }
    }

    fn measure(&self, name: &str) -> Result<Vec<String>, String> {
        let component = self.folder.join(format!("{name}.wasm"));
        let component = component.to_str().ok_or("the folder's name is no text")?;
        let source = self.root.join("examples/guards").join(name);
        self.aegis(&["guard", "build", source.to_str().ok_or("the folder's name is no text")?, "-o", component])?;
        let inspected = json(&self.aegis(&["guard", "inspect", component, "--json"])?)?;
        let seconds = self.seconds.to_string();
        let bench = json(&self.aegis(&["guard", "bench", component, "--settings", SETTINGS, "--seconds", &seconds, "--json"])?)?;
        let size = std::fs::metadata(component).map_err(|error| error.to_string())?.len();
        Ok(cells(size, &inspected, &bench))
    }

    /// What it printed. Its compile cache is in this folder, so that everything is loaded for the first time.
    fn aegis(&self, args: &[&str]) -> Result<Output, String> {
        let mut command = Command::new(&self.aegis);
        command.env("AEGIS__SERVER__CACHE_DIR", self.folder.join("cache")).args(args);
        let output = command.output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said.lines().find(|it| it.starts_with("AEG-")).unwrap_or("aegis failed");
        if output.status.success() { Ok(output) } else { Err(why.to_owned()) }
    }
}

fn json(output: &Output) -> Result<Value, String> {
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

fn cells(size: u64, inspected: &Value, bench: &Value) -> Vec<String> {
    let number = |value: &Value| value.as_f64().map_or_else(|| "–".to_owned(), short);
    let fresh = number(&bench["fresh_microseconds"]["p50"]);
    let imports = inspected["imports"].as_array().map_or(0, Vec::len);
    vec![
        bytes(size as f64),
        number(&bench["load"]["milliseconds"]),
        if bench["snapshot"] == true { fresh } else { format!("{fresh} (no snapshot)") },
        number(&bench["warm_microseconds"]["p50"]),
        bench["memory_bytes"].as_f64().map_or_else(|| "–".to_owned(), bytes),
        bench["resident_bytes"].as_f64().map_or_else(|| "–".to_owned(), bytes),
        if imports == 0 { "none".into() } else { imports.to_string() },
    ]
}

fn bytes(count: f64) -> String {
    if count < 1_048_576.0 { format!("{:.0} KiB", count / 1024.0) } else { format!("{:.1} MiB", count / 1_048_576.0) }
}

fn write(file: &Path, table: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(failed)?;
    let text = replaced(&text, table).ok_or_else(|| format!("{}: the lines that mark the table are gone", file.display()))?;
    std::fs::write(file, text).map_err(failed)
}

/// With another table between the marks; `None` where they are not there.
fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = format!("before\n{BEGIN}old\n{END}after\n");
        assert_eq!(replaced(&text, "new").unwrap(), format!("before\n{BEGIN}\nnew\n{END}after\n"));
        assert_eq!(replaced("no marks", "new"), None);
    }

    #[test]
    fn sizes_are_in_the_unit_that_suits_them() {
        assert_eq!((&*bytes(8030.0), &*bytes(4_538_234.0)), ("8 KiB", "4.3 MiB"));
    }
}
