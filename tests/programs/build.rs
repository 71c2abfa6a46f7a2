//! One variant of `Program` for each file in this folder: whoever adds a guest and does not say how it has to end
//! does not compile, and neither does whoever says it of a guest that is not there.

use std::path::Path;

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
    std::fs::write(Path::new(&out).join("programs.rs"), code).expect("the folder for generated code is writable");
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
