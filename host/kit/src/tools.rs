//! Other people's tools: found, asked for their version, run. Nothing is installed here; whoever lacks one is told the command.

use crate::KitError;
use std::ffi::{OsStr, OsString};
use std::io::stderr;
use std::path::Path;
use std::process::{Command, Stdio};

/// A tool that a language needs.
pub(crate) struct Tool {
    /// As people call it, such as `go`.
    pub(crate) name: &'static str,
    /// An environment variable that says how to call it: one or more words, such as `python3 -m ziglang`.
    pub(crate) variable: &'static str,
    /// The programs that it may be, on `PATH` or in `node_modules/.bin`; the first is taken.
    pub(crate) programs: &'static [&'static str],
    /// The Python module that it may be.
    pub(crate) module: Option<&'static str>,
    /// What makes it print its version.
    pub(crate) version: &'static [&'static str],
    /// The oldest that is known to work; zeros for a tool that does not tell its version.
    pub(crate) least: [u32; 3],
    /// A command that installs it; one of npm is told for the guard's folder.
    pub(crate) install: &'static str,
    /// What it is run by: where that is missing, nothing else helps.
    pub(crate) runtime: Option<&'static Tool>,
}

/// Runs what npm installs.
pub(crate) const NODE: Tool = Tool {
    name: "node",
    variable: "NODE",
    programs: &["node"],
    module: None,
    version: &["--version"],
    least: [20, 0, 0],
    install: "apt-get install nodejs npm\" or \"brew install node",
    runtime: None,
};

/// A tool that is there and new enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    words: Vec<OsString>,
}

impl Tool {
    /// Looks in its environment variable, on `PATH`, in `node_modules/.bin` of the folder and of those above it, and among Python's modules.
    pub(crate) fn find(&self, folder: &Path) -> Result<Found, KitError> {
        let mut found = "not found".to_owned();
        for words in self.candidates(folder) {
            match answer(&words, self.version).map(|it| read_version(&it).unwrap_or_default()) {
                Some(version) if version >= self.least => return Ok(Found { words }),
                Some(version) => found = format!("found {}", dotted(version)),
                None => {}
            }
        }
        let named = std::env::var_os(self.variable).is_some();
        self.runtime.filter(|_| !named).map_or(Ok(()), |it| it.find(folder).map(drop))?;
        let needed = if self.least == [0; 3] { self.name.to_owned() } else { format!("{} {} or newer", self.name, dotted(self.least)) };
        let install = match self.install.strip_prefix("npm install") {
            Some(what) => format!("npm install --prefix {}{what}", folder.display()),
            None => self.install.to_owned(),
        };
        Err(KitError::MissingTool { needed, found, install, variable: self.variable })
    }

    /// What it may be called by, in order. Who sets the variable means that and nothing else.
    fn candidates(&self, folder: &Path) -> Vec<Vec<OsString>> {
        if let Some(words) = std::env::var(self.variable).ok().filter(|it| !it.trim().is_empty()) {
            return vec![words.split_whitespace().map(OsString::from).collect()];
        }
        let on_path = self.programs.iter().map(|it| vec![OsString::from(it)]);
        let bins = folder.ancestors().map(|it| it.join("node_modules/.bin"));
        let in_node: Vec<Vec<OsString>> = bins
            .flat_map(|bin| self.programs.iter().map(move |it| bin.join(it)))
            .filter(|it| it.is_file())
            .map(|it| vec![it.into()])
            .collect();
        let module = self.module.map(|it| ["python3", "-m", it].map(OsString::from).to_vec());
        on_path.chain(in_node).chain(module).collect()
    }
}

impl Found {
    /// A call of it that works in `folder`.
    pub(crate) fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).current_dir(folder).stdin(Stdio::null());
        command
    }
}

/// Runs a tool to its end. What it prints, on stdout too, goes to stderr: stdout belongs to our own answer.
pub(crate) fn run(mut command: Command) -> Result<(), KitError> {
    let status = command.stdout(Stdio::from(stderr())).stderr(Stdio::inherit()).status();
    let status = status.map_err(|source| KitError::Start { tool: command.get_program().into(), source })?;
    if status.success() { Ok(()) } else { Err(failed(&command, status)) }
}

/// What the tool says for programs; what it says for people goes on to stderr.
pub(crate) fn stdout(mut command: Command) -> Result<Vec<u8>, KitError> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|source| KitError::Start { tool: command.get_program().into(), source })?;
    if output.status.success() { Ok(output.stdout) } else { Err(failed(&command, output.status)) }
}

fn failed(command: &Command, status: std::process::ExitStatus) -> KitError {
    KitError::Tool { tool: called(command), status }
}

/// What it is called: a module of Python's is no Python.
fn called(command: &Command) -> String {
    let mut args = command.get_args();
    let module = args.next().filter(|it| *it == "-m").and_then(|_| args.next());
    let tool = module.unwrap_or_else(|| Path::new(command.get_program()).file_name().unwrap_or(OsStr::new("the tool")));
    tool.to_string_lossy().into_owned()
}

/// What it prints; `None` where it is not there, or refuses.
fn answer(words: &[OsString], question: &[&str]) -> Option<String> {
    let output = Command::new(words.first()?).args(&words[1..]).args(question).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(text)
}

/// The first number with a dot in it.
fn read_version(text: &str) -> Option<[u32; 3]> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.').map(|it| it.trim_matches('.'));
    let numbers = words.filter(|it| it.contains('.')).find_map(|it| it.split('.').map(|it| it.parse().ok()).collect::<Option<Vec<u32>>>());
    let numbers = numbers?;
    let at = |index: usize| numbers.get(index).copied().unwrap_or_default();
    Some([at(0), at(1), at(2)])
}

fn dotted(version: [u32; 3]) -> String {
    version.map(|it| it.to_string()).join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: Tool = Tool {
        name: "cargo",
        variable: "AEGIS_TEST_NO_SUCH_VARIABLE",
        programs: &["cargo"],
        module: None,
        version: &["--version"],
        least: [1, 0, 0],
        install: "rustup update",
        runtime: None,
    };

    #[test]
    fn versions_are_read_as_tools_print_them() {
        for (text, version) in [
            ("go version go1.27.3 linux/amd64", Some([1, 27, 3])),
            ("0.17.1-dev.3+abc\n", Some([0, 17, 1])),
            ("Debian clang version 22.1.0 (++2026)", Some([22, 1, 0])),
            ("Version 0.28", Some([0, 28, 0])),
            ("v20.11.1", Some([20, 11, 1])),
            ("no version 7", None),
        ] {
            assert_eq!(read_version(text), version, "{text}");
        }
    }

    #[test]
    fn a_tool_is_found_only_where_it_is_new_enough() {
        let folder = tempfile::tempdir().unwrap();
        assert!(TOOL.find(folder.path()).is_ok());
        let refused = |tool: Tool| tool.find(folder.path()).unwrap_err().to_string();
        let old = refused(Tool { least: [999, 0, 0], ..TOOL });
        assert!(old.contains("cargo 999.0.0 or newer") && old.contains("found 1.") && old.contains("\"rustup update\""), "{old}");
        let absent = refused(Tool { programs: &["no-such-program-here"], ..TOOL });
        assert!(absent.contains("not found"), "{absent}");
    }

    #[test]
    fn a_tool_that_fails_is_named_and_not_what_it_is_a_module_of() {
        let mut module = Command::new("/usr/bin/python3");
        module.args(["-m", "ziglang", "cc"]);
        let mut plain = Command::new("/usr/bin/python3");
        plain.args(["x.py", "-m", "y"]);
        assert_eq!((&*called(&module), &*called(&plain), &*called(&Command::new("zig"))), ("ziglang", "python3", "zig"));
    }

    #[test]
    fn where_node_is_missing_it_is_node_that_is_missing_and_npm_is_told_where_to_work() {
        const MISSING: Tool = Tool { name: "node", programs: &["no-such-program-here"], install: "apt-get install nodejs npm", ..TOOL };
        let npm = Tool { name: "esbuild", programs: &["no-such-tool-here"], install: "npm install --save-dev esbuild", ..TOOL };
        let folder = tempfile::tempdir().unwrap();
        let refused = |tool: Tool| tool.find(folder.path()).unwrap_err().to_string();
        let without = refused(Tool { runtime: Some(&MISSING), ..npm });
        assert!(without.contains("needs node") && without.contains("apt-get install nodejs npm"), "{without}");
        let with = refused(npm);
        assert!(with.contains(&format!("\"npm install --prefix {} --save-dev esbuild\"", folder.path().display())), "{with}");
    }

    #[test]
    fn a_tool_of_npm_is_found_above_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("node_modules/.bin/only-here");
        crate::sdk::write(&bin, b"").unwrap();
        let tool = Tool { programs: &["only-here"], ..TOOL };
        assert!(tool.candidates(&folder.path().join("a/b")).contains(&vec![bin.into()]));
    }
}
