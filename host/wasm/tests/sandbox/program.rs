//! Guests of a few words: the smallest guard there is, with one of its functions replaced.

/// A guard that allows everything, unless told otherwise.
pub(crate) struct Program {
    pub(crate) scan: &'static str,
    pub(crate) configure: &'static str,
    pub(crate) describe: &'static str,
    /// More fields of the module; each import on a line of its own.
    pub(crate) more: &'static str,
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
        let Program { scan, configure, describe, more, schema, streaming } = self;
        let length: String = (schema.len() as u32).to_le_bytes().iter().map(|it| format!("\\{it:02x}")).collect();
        let schema = schema.replace('"', "\\22");
        let stream = if *streaming { STREAM } else { "" };
        aegis_programs::assemble(&format!(
            r#"{more}
            (data (i32.const 104) "{length}") (data (i32.const 1024) "{schema}") {stream}
            (func $describe (result i32) {describe})
            (func $configure (param $at i32) (param $len i32) (result i32) {configure})
            (func $scan (param $input i32) (result i32) {scan})"#
        ))
    }
}

const STREAM: &str = r#"
  (data (i32.const 96) "\01")
  (func (export "aegis:guard/stream-scanner@0.1.0#open") (param i32) (result i32) (unreachable))
  (func (export "aegis:guard/stream-scanner@0.1.0#push") (param i32 i32) (result i32) (unreachable))
  (func (export "aegis:guard/stream-scanner@0.1.0#close") (result i32) (unreachable))"#;
