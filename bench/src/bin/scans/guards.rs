//! The guards that are measured: the smallest there is, and two that come with Aegis.

use aegis_wasm::{Limits, LoadedGuard, Sandbox, Source};
use serde_json::{Value, json};
use std::sync::Arc;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Twenty regular expressions for personal data and keys.
pub(crate) const EXPRESSIONS: &str = include_str!("expressions.txt");

pub(crate) fn sensitive_topic(sandbox: &Sandbox) -> Arc<LoadedGuard> {
    load(sandbox, component("sensitive_topic"), json!({"phrases": ["financial advice"]}))
}

pub(crate) fn patterns(sandbox: &Sandbox) -> Arc<LoadedGuard> {
    load(sandbox, component("patterns"), json!({"patterns": EXPRESSIONS.lines().collect::<Vec<_>>()}))
}

/// As it stands in the repository now, so that a change of a guard is measured without linking this anew.
fn component(name: &str) -> Vec<u8> {
    let path = format!("{}/../guards/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Takes the input and allows it.
pub(crate) fn empty(sandbox: &Sandbox) -> Arc<LoadedGuard> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).expect("the contract");
    let world = resolve.select_world(&[package], Some("guard")).expect("the world of guards");
    let mut module = wat::parse_str(EMPTY).expect("a module");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a module of that world");
    let component = ComponentEncoder::default().module(&module).expect("a module of that world").encode().expect("a component");
    load(sandbox, component, json!({}))
}

/// At 64 the manifest (a name and a version at 16 and 32, one stage at 40), at 256 `ok` of `configure`, at 512 `ok(allow)` of `scan`.
const EMPTY: &str = r#"(module
  (memory (export "memory") 1)
  (data (i32.const 16) "empty") (data (i32.const 32) "1.0.0")
  (data (i32.const 64) "\10\00\00\00\05\00\00\00\20\00\00\00\05\00\00\00\10\00\00\00\00\00\00\00\28\00\00\00\01\00\00\00")
  (global $top (mut i32) (i32.const 1024))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $at) (local.get 3)))
    (if (i32.gt_u (global.get $top) (i32.const 65536)) (then (global.set $top (i32.const 1024)) (local.set $at (i32.const 1024))))
    (local.get $at))
  (func (export "aegis:guard/scanner@0.1.0#describe") (result i32) (i32.const 64))
  (func (export "aegis:guard/scanner@0.1.0#configure") (param i32 i32) (result i32) (i32.const 256))
  (func (export "aegis:guard/scanner@0.1.0#scan") (param i32) (result i32) (global.set $top (i32.const 1024)) (i32.const 512)))"#;

fn load(sandbox: &Sandbox, component: Vec<u8>, settings: Value) -> Arc<LoadedGuard> {
    let source = Source { name: "guard".into(), bytes: component.into(), settings, limits: Limits::default() };
    sandbox.load(source, &|_| ()).expect("a guard that loads")
}
