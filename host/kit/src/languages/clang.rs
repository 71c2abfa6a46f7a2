//! A C compiler that makes WebAssembly, for the languages that need one. Zig brings one with its C library in one package; a clang with wasi-libc, as
//! wasi-sdk has it, does as well.

use crate::KitError;
use crate::tools::{Found, Tool, run};
use std::path::Path;
use std::process::Command;

pub(super) const ZIG: Tool = Tool {
    name: "zig",
    variable: "ZIG",
    programs: &["zig"],
    module: Some("ziglang"),
    version: &["version"],
    least: [0, 17, 0],
    install: "pip install ziglang==0.17.1",
    runtime: None,
};

const CLANG: Tool = Tool {
    name: "clang with wasi-libc",
    variable: "CLANG",
    programs: &["clang"],
    module: None,
    version: &["--version"],
    least: [16, 0, 0],
    install: "pip install ziglang==0.17.1",
    runtime: None,
};

/// Names in messages, paths in debug information and the order of sections do not depend on the machine; a stack that is too small is a trap, not other
/// data written over.
const ALWAYS: [&str; 6] = ["-Oz", "-DNDEBUG", "-Wall", "-ffile-prefix-map=.aegis/=", "-fno-ident", "-fno-sanitize=all"];
const LINKING: [&str; 4] = ["-Oz", "-mexec-model=reactor", "-Wl,--strip-all", "-Wl,-z,stack-size=262144"];

/// A compiler for `wasm32-wasi`: the stub adapter cuts off what of the system it asks for.
pub(super) struct Compiler {
    tool: Found,
    zig: bool,
}

impl Compiler {
    /// Whoever sets `CLANG` or has wasi-sdk means that; then zig; then a clang that can link an empty program for this target.
    pub(super) fn find(folder: &Path) -> Result<Compiler, KitError> {
        if std::env::var_os("CLANG").is_some() {
            return Ok(Compiler { tool: CLANG.find(folder)?, zig: false });
        }
        let missing = match ZIG.find(folder) {
            Ok(tool) => return Ok(Compiler { tool, zig: true }),
            Err(missing) => missing,
        };
        let clang = CLANG.find(folder).map(|tool| Compiler { tool, zig: false });
        clang.ok().filter(|it| it.links(folder)).ok_or(missing)
    }

    /// Whether there is a C library for the target.
    fn links(&self, folder: &Path) -> bool {
        let mut probe = self.command(folder, "c");
        probe.args(self.linking()).args(["-x", "c", "-", "-o", "-"]);
        probe.output().is_ok_and(|it| it.status.success())
    }

    /// A call that works in `folder`; `mode` is `c` or `c++`.
    pub(super) fn command(&self, folder: &Path, mode: &str) -> Command {
        let mut command = self.tool.command(folder);
        match (self.zig, mode) {
            (true, "c++") => command.args(["c++", "-target", "wasm32-wasi"]),
            (true, _) => command.args(["cc", "-target", "wasm32-wasi"]),
            // By its old name, which distributions have and wasi-sdk knows too; clang says that it is old.
            (false, "c++") => command.args(["--driver-mode=g++", "--target=wasm32-wasi", "-Wno-deprecated"]),
            (false, _) => command.args(["--target=wasm32-wasi", "-Wno-deprecated"]),
        };
        command
    }

    /// Compiles each source to an object of its own in `scratch`, and links them; the module's bytes. Sources are named from `folder`.
    pub(super) fn module(&self, folder: &Path, scratch: &Path, sources: &[String], includes: &[&str]) -> Result<Vec<u8>, KitError> {
        let mut objects = Vec::new();
        for (number, source) in sources.iter().enumerate() {
            let object = scratch.join(format!("{number}.o"));
            let is_c = source.ends_with(".c");
            let mut compile = self.command(folder, if is_c { "c" } else { "c++" });
            compile.args(ALWAYS).args(includes.iter().map(|it| format!("-I{it}")));
            compile.args(if is_c { &["-std=gnu17"][..] } else { &["-std=c++23", "-fno-exceptions", "-fno-rtti"] });
            run(with(compile, &["-c", source, "-o"], &object))?;
            objects.push(object);
        }
        let linker = if sources.iter().all(|it| it.ends_with(".c")) { "c" } else { "c++" };
        let (mut link, module) = (self.command(folder, linker), scratch.join("core.wasm"));
        link.args(self.linking()).args(&objects);
        run(with(link, &["-o"], &module))?;
        crate::read(&module)
    }

    /// What is said when linking. Zig puts the stack first by itself, and knows no option for it.
    pub(super) fn linking(&self) -> Vec<&'static str> {
        LINKING.into_iter().chain((!self.zig).then_some("-Wl,--stack-first")).collect()
    }

    /// The words that call it as a C compiler, for tools that call one themselves.
    pub(super) fn words(&self, folder: &Path) -> Vec<String> {
        let command = self.command(folder, "c");
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|it| it.to_string_lossy().into_owned()).collect()
    }
}

fn with(mut command: Command, words: &[&str], path: &Path) -> Command {
    command.args(words).arg(path);
    command
}
