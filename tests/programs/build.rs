//! One variant of `Program` for each file in this folder: whoever adds a guest and does not say how it has to end
//! does not compile, and neither does whoever says it of a guest that is not there. And guests that nobody wrote: what wasm-smith makes of numbers that
//! follow from `AEGIS_SMITH`, a seed, or else are always the same.

use arbitrary::Unstructured;
use std::path::Path;
use wasm_smith::{Component, Config, Module};

fn main() {
    println!("cargo::rerun-if-changed=."); // the folder: files that come and go, too
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where we are");
    let mut names: Vec<String> = std::fs::read_dir(&folder).expect("this folder").flatten().filter_map(|it| guest(&it.path())).collect();
    names.sort();
    let variants = names.iter().map(|name| format!("    {},\n", camel(name))).collect::<String>();
    let all = names.iter().map(|name| format!("Program::{}, ", camel(name))).collect::<String>();
    let facts = names
        .iter()
        .map(|name| format!("            Program::{} => ({name:?}, include_str!({:?})),\n", camel(name), format!("{folder}/{name}.wat")));
    let code = format!(
        "/// A guest, by its file.\n#[derive(Clone, Copy, Debug, PartialEq, Eq)]\n#[expect(missing_docs, reason = \"the first line of each file says what it does\")]\n\
         pub enum Program {{\n{variants}}}\n\n\
         impl Program {{\n    /// Every guest there is.\n    pub const ALL: &[Program] = &[{all}];\n\n    \
         const fn file(self) -> (&'static str, &'static str) {{\n        match self {{\n{}        }}\n    }}\n}}\n",
        facts.collect::<String>()
    );
    let out = std::env::var("OUT_DIR").expect("cargo says where to");
    std::fs::write(Path::new(&out).join("programs.rs"), code + &generated(Path::new(&out)))
        .expect("the folder for generated code is writable");
}

/// Of each kind.
const GENERATED: u64 = 150;

/// What a module has to export to be made a guard of.
const GUARD: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "aegis:guard/scanner@0.1.0#describe") (result i32) unreachable)
    (func (export "aegis:guard/scanner@0.1.0#configure") (param i32 i32) (result i32) unreachable)
    (func (export "aegis:guard/scanner@0.1.0#scan") (param i32) (result i32) unreachable))"#;

fn generated(out: &Path) -> String {
    println!("cargo::rerun-if-env-changed=AEGIS_SMITH");
    let first: u64 = std::env::var("AEGIS_SMITH").map_or(1, |it| it.parse().expect("AEGIS_SMITH is a number"));
    let exports = wat::parse_str(GUARD).expect("it is a module");
    let guard = || Config { exports: Some(exports.clone()), max_imports: 0, max_memories: 1, max_funcs: 30, ..Config::default() };
    let strange = || Config { max_imports: 20, ..Config::default() };
    type Make<'a> = &'a dyn Fn(&mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>>;
    let kinds: [(&str, &str, Make<'_>); 3] = [
        ("GENERATED_MODULES", "Valid modules, each with its seed.", &|it| Ok(Module::new(strange(), it)?.to_bytes())),
        ("GENERATED_COMPONENTS", "Valid components, each with its seed: none of them a guard.", &|it| {
            Ok(Component::new(strange(), it)?.to_bytes())
        }),
        ("GENERATED_CODE", "Valid modules that export what a guard does, each with its seed.", &|it| {
            Ok(Module::new(guard(), it)?.to_bytes())
        }),
    ];
    let mut code = String::new();
    for (name, what, make) in kinds {
        let mut files = String::new();
        for seed in first..first.saturating_add(GENERATED) {
            // Now and then there are too few numbers for something so large.
            let Ok(bytes) = make(&mut Unstructured::new(&numbers(seed, 8_192))) else { continue };
            let file = out.join(format!("{name}-{seed}.wasm"));
            std::fs::write(&file, bytes).expect("the folder for generated code is writable");
            files += &format!("    ({seed}, include_bytes!({file:?})),\n");
        }
        code += &format!("\n/// {what}\npub const {name}: &[(u64, &[u8])] = &[\n{files}];\n");
    }
    code
}

/// What follows from a seed (splitmix64).
fn numbers(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let it = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (it ^ (it >> 31)).to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).collect()
}

fn guest(path: &Path) -> Option<String> {
    path.extension().filter(|it| *it == "wat")?;
    Some(path.file_stem()?.to_str().expect("names of guests are ASCII").to_owned())
}

/// `spins_in_scan` is `SpinsInScan`.
fn camel(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').map(word).collect()
}
