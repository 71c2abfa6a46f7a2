//! From a guest's text to a component: whatever of a guard the text leaves out is that of one that allows everything.

use std::fmt::Write as _;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where the fields are in memory. 64: the manifest, whose stage is the byte at 40 and whose schema, where there is one, is
/// at 1024. 256: `ok` of `configure`. 512: `ok(allow)` of `scan`. From 8192 on it is free, and from 2 MiB on the
/// input is put there.
const DATA: &str = r#"
  (data (i32.const 16) "program") (data (i32.const 32) "1.2.3") (data (i32.const 40) "\00")
  (data (i32.const 64) "\10\00\00\00\07\00\00\00\20\00\00\00\05\00\00\00\10\00\00\00\00\00\00\00\28\00\00\00\01\00\00\00")
  (data (i32.const 96) "\00\00\00\00\00\04\00\00\00\00\00\00\10\00\00\00\00\00\00\00")"#;

/// Each function of a guard, left out where the text has its own.
const FUNCTIONS: [(&str, &str); 4] = [
    ("$describe", "(func $describe (result i32) (i32.const 64))"),
    ("$configure", "(func $configure (param $at i32) (param $len i32) (result i32) (i32.const 256))"),
    ("$scan", "(func $scan (param $input i32) (result i32) (i32.const 512))"),
    (
        "$realloc",
        "(global $top (mut i32) (i32.const 2097152))
         (func $realloc (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
           (local $at i32)
           (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
           (global.set $top (i32.add (local.get $at) (local.get $size)))
           (local.get $at))",
    ),
];

/// Words for what a guard says: each writes a part of the report at 512 and hands back its address.
const WORDS: &str = r#"
  (func $report (result i32) (i32.const 512))
  (func $pair (param $field i32) (param $at i32) (param $len i32)
    (i32.store (local.get $field) (local.get $at)) (i32.store offset=4 (local.get $field) (local.get $len)))
  (func $verdict (param $which i32) (param $at i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 516) (local.get $which)) (call $pair (i32.const 520) (local.get $at) (local.get $len)) (i32.const 512))
  (func $sanitize (param $edits i32) (param $count i32) (result i32) (call $verdict (i32.const 1) (local.get $edits) (local.get $count)))
  (func $block (param $at i32) (param $len i32) (result i32) (call $verdict (i32.const 2) (local.get $at) (local.get $len)))
  (func $ask (param $prompt i32) (param $len i32) (param $approvers i32) (param $count i32) (param $required i32) (result i32)
    (call $pair (i32.const 528) (local.get $approvers) (local.get $count)) (i32.store (i32.const 536) (local.get $required))
    (call $verdict (i32.const 3) (local.get $prompt) (local.get $len)))
  (func $findings (param $at i32) (param $count i32) (call $pair (i32.const 540) (local.get $at) (local.get $count)))
  (func $labels (param $at i32) (param $count i32) (call $pair (i32.const 548) (local.get $at) (local.get $count)))
  (func $remember (param $at i32) (param $len i32)
    (i32.store8 (i32.const 556) (i32.const 1)) (call $pair (i32.const 560) (local.get $at) (local.get $len)))
  (func $place (param $at i32) (param $message i32) (param $part i32) (param $start i32) (param $end i32)
    (i32.store offset=4 (local.get $at) (local.get $message)) (i32.store offset=8 (local.get $at) (local.get $part))
    (i32.store offset=12 (local.get $at) (local.get $start)) (i32.store offset=16 (local.get $at) (local.get $end)))"#;

const SCANNER: &str = "aegis:guard/scanner@0.1.0#";

/// What guests may import: as much of WASI as they need, in the words of its WIT.
const WASI: &str = "
    package wasi:random@0.2.0 { interface random { get-random-u64: func() -> u64; get-random-bytes: func(len: u64) -> list<u8>; } }
    package wasi:clocks@0.2.0 {
      interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
      interface monotonic-clock { use wasi:io/poll@0.2.0.{pollable}; now: func() -> u64; subscribe-duration: func(when: u64) -> pollable; }
    }
    package wasi:io@0.2.0 {
      interface error { resource error; }
      interface poll { resource pollable { block: func(); } }
      interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource output-stream { blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>; }
      }
    }
    package wasi:cli@0.2.0 {
      interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }
      interface exit { exit: func(status: result); }
    }";

/// A guest's text as bytes. Text that begins with `(component` or `(module` is taken as it is. Everything else are fields of a
/// module, in which
/// * lines that begin with `(import` come first, and the world imports those interfaces;
/// * `$describe`, `$configure`, `$scan`, `$realloc` are exported, and `$memory` of 64 pages, unless the text has its own;
/// * `$scan_done` is called after `scan`, where there is one.
///
/// A line `%repeat N …` stands for N lines, in which `{n}` is the line's number from 1 and `{m}` the one before; `%wrap N` makes what
/// comes out the only content of a component, N times.
///
/// # Panics
/// When it cannot be assembled: what is wrong in it is for the sandbox to find, not for the assembler.
pub fn assemble(text: &str) -> Vec<u8> {
    let (text, wraps) = expand(text);
    let bare = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with(";;")).unwrap_or_default();
    let bytes = if bare.starts_with("(component") || bare.starts_with("(module") {
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{}", first_line(&error.to_string())))
    } else {
        component(&text)
    };
    (0..wraps).fold(bytes, |inner, _| wrap(&inner))
}

/// What is wrong, without the place: some texts have a line of a megabyte.
fn first_line(error: &str) -> &str {
    error.lines().next().unwrap_or_default()
}

fn expand(text: &str) -> (String, usize) {
    let (mut out, mut wraps) = (String::new(), 0);
    for line in text.lines() {
        let number = |rest: &str| rest.trim().parse().expect("a number");
        if let Some(rest) = line.trim_start().strip_prefix("%repeat ") {
            let (count, what) = rest.split_once(' ').expect("a number and a text");
            (1..=number(count)).for_each(|n| out += &(what.replace("{n}", &n.to_string()).replace("{m}", &(n - 1).to_string()) + "\n"));
        } else if let Some(rest) = line.trim_start().strip_prefix("%wrap ") {
            wraps = number(rest);
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    (out, wraps)
}

/// A component in a component: a header, then section 4.
fn wrap(inner: &[u8]) -> Vec<u8> {
    let mut out = b"\0asm\x0d\0\x01\0\x04".to_vec();
    let mut length = inner.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(inner);
    out
}

fn component(text: &str) -> Vec<u8> {
    let world = if text.contains("stream-scanner@") { "streaming-guard" } else { "guard" };
    let module = wat::parse_str(module(text)).unwrap_or_else(|error| panic!("{}", first_line(&error.to_string())));
    encoded(module, world, &imported(text)).unwrap_or_else(|error| panic!("{}", first_line(&error)))
}

/// The component that is this module, whatever its functions do.
///
/// # Errors
/// The module does not export what a guard does.
pub fn guard_of(module: &[u8]) -> Result<Vec<u8>, String> {
    encoded(module.to_vec(), "guard", &[])
}

fn encoded(mut module: Vec<u8>, world: &str, imported: &[&str]) -> Result<Vec<u8>, String> {
    let mut resolve = Resolve::default();
    resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit")).expect("the contract");
    let imports: String = imported.iter().map(|name| format!("import {name}; ")).collect();
    let wit = format!("package test:program;\n{WASI}\nworld program {{ {imports} include aegis:guard/{world}@0.1.0; }}");
    let package = resolve.push_str("program.wit", &wit).map_err(|error| format!("{error:#}"))?;
    let world = resolve.select_world(&[package], Some("program")).expect("the world of the program");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a module of that world");
    let encoder = ComponentEncoder::default().validate(false).module(&module);
    encoder.and_then(|mut it| it.encode()).map_err(|error| format!("{error:#}"))
}

/// The interfaces that the text's imports name, once each.
fn imported(text: &str) -> Vec<&str> {
    let mut names: Vec<&str> = lines_of_imports(text).filter_map(|line| line.split('"').nth(1)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn lines_of_imports(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| line.trim_start().starts_with("(import "))
}

fn module(text: &str) -> String {
    let imports: Vec<&str> = lines_of_imports(text).collect();
    let rest: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("(import ")).collect();
    let mut out = format!("(module\n{}\n{DATA}\n{WORDS}\n", imports.join("\n"));
    if !text.contains("(memory $memory") {
        out.push_str("(memory $memory 64)\n");
    }
    for (_, function) in FUNCTIONS.iter().filter(|(name, _)| !text.contains(&format!("(func {name} "))) {
        out.push_str(function);
    }
    let _ = write!(out, "\n(export \"memory\" (memory $memory)) (export \"cabi_realloc\" (func $realloc))");
    for name in ["describe", "configure", "scan"] {
        let _ = write!(out, " (export \"{SCANNER}{name}\" (func ${name}))");
    }
    if text.contains("(func $scan_done ") {
        let _ = write!(out, " (export \"cabi_post_{SCANNER}scan\" (func $scan_done))");
    }
    out + "\n" + &rest.join("\n") + "\n)"
}
