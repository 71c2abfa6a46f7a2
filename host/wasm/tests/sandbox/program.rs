//! Guests in WebAssembly text, assembled here: the smallest guard there is, with one of its functions replaced.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A guard that allows everything, unless told otherwise.
pub(crate) struct Program {
    pub(crate) scan: &'static str,
    pub(crate) configure: &'static str,
    pub(crate) describe: &'static str,
    /// More fields of the module.
    pub(crate) more: &'static str,
    /// Imports of the module, and what they are in WIT: packages, and the lines of the world.
    pub(crate) imports: (&'static str, &'static str, &'static str),
    pub(crate) schema: &'static str,
    pub(crate) streaming: bool,
}

impl Default for Program {
    fn default() -> Program {
        Program {
            scan: "(i32.const 512)",
            configure: "(i32.const 256)",
            describe: "(i32.const 64)",
            more: "",
            imports: ("", "", ""),
            schema: "",
            streaming: false,
        }
    }
}

/// A guard of which only `scan` is of interest.
pub(crate) fn scan(scan: &'static str) -> Vec<u8> {
    Program { scan, ..Program::default() }.build()
}

impl Program {
    pub(crate) fn build(&self) -> Vec<u8> {
        let world = if self.streaming { "streaming-guard" } else { "guard" };
        let mut resolve = Resolve::default();
        resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit")).expect("the contract");
        let (_, packages, lines) = self.imports;
        let text = format!("package test:program;\n{packages}\nworld program {{ {lines} include aegis:guard/{world}@0.1.0; }}");
        let package = resolve.push_str("program.wit", &text).expect("a world");
        let world = resolve.select_world(&[package], Some("program")).expect("the world of the program");
        let mut module = wat::parse_str(self.module()).expect("a module");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a module of that world");
        let encoder = ComponentEncoder::default().validate(true).module(&module).expect("a module of that world");
        let mut encoder = encoder;
        encoder.encode().expect("a component")
    }

    /// 64: the manifest. 256: `ok` of `configure`. 512: `ok(allow)` of `scan`. 1024: the schema. 8192: free.
    fn module(&self) -> String {
        let Program { scan, configure, describe, more, imports: (imports, ..), schema, streaming } = self;
        let words =
            |numbers: &[u32]| -> String { numbers.iter().flat_map(|it| it.to_le_bytes()).map(|it| format!("\\{it:02x}")).collect() };
        let streams = u32::from(*streaming);
        let manifest = words(&[16, 7, 32, 5, 16, 0, 40, 1, streams, 1024, schema.len() as u32, 16, 0]);
        let schema = schema.replace('"', "\\22");
        let scanner = "aegis:guard/scanner@0.1.0#";
        let stream = if *streaming { STREAM } else { "" };
        format!(
            r#"(module {imports}
            (memory (export "memory") 64)
            (data (i32.const 16) "program") (data (i32.const 32) "1.2.3") (data (i32.const 40) "\00")
            (data (i32.const 64) "{manifest}") (data (i32.const 1024) "{schema}")
            (global $top (mut i32) (i32.const 8192))
            (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
              (local $at i32)
              (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
              (global.set $top (i32.add (local.get $at) (local.get $size)))
              (local.get $at))
            {more} {stream}
            (func (export "{scanner}describe") (result i32) {describe})
            (func (export "{scanner}configure") (param $at i32) (param $len i32) (result i32) {configure})
            (func (export "{scanner}scan") (param $input i32) (result i32) {scan}))"#
        )
    }
}

const STREAM: &str = r#"
  (func (export "aegis:guard/stream-scanner@0.1.0#open") (param i32) (result i32) (unreachable))
  (func (export "aegis:guard/stream-scanner@0.1.0#push") (param i32 i32) (result i32) (unreachable))
  (func (export "aegis:guard/stream-scanner@0.1.0#close") (result i32) (unreachable))"#;
