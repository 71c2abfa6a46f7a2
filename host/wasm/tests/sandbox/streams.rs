//! Streams: one instance each, under the limits of a scan at each piece.

use super::{Conversation, SANDBOX, load, source};
use aegis_core::GuardFailure;
use aegis_wasm::{Ending, Step};
use serde_json::json;

/// A guest that judges streams; `push` is a text of instructions that leaves the address of a step.
fn guest(push: &str) -> Vec<u8> {
    aegis_programs::assemble(&format!(
        r#"(data (i32.const 96) "\01") (data (i32.const 7168) "no")
        (global $pushed (mut i32) (i32.const 0))
        (func (export "aegis:guard/stream-scanner@0.1.0#open") (param i32) (result i32) (i32.const 256))
        (func (export "aegis:guard/stream-scanner@0.1.0#push") (param $at i32) (param $len i32) (result i32)
          (global.set $pushed (i32.add (global.get $pushed) (i32.const 1)))
          {push})
        (func (export "aegis:guard/stream-scanner@0.1.0#close") (result i32)
          (call $pair (i32.const 1672) (i32.const 7168) (global.get $pushed))
          (i32.const 1664))"#
    ))
}

/// Emits what comes in.
const ECHO: &str = "(call $pair (i32.const 1544) (local.get $at) (local.get $len)) (i32.const 1536)";
const BLOCK: &str =
    "(i32.store8 (i32.const 1540) (i32.const 1)) (call $pair (i32.const 1544) (i32.const 7168) (i32.const 2)) (i32.const 1536)";
const HOLD: &str = "(i32.store8 (i32.const 1540) (i32.const 2)) (i32.const 1536)";
const REFUSE: &str =
    "(i32.store8 (i32.const 1536) (i32.const 1)) (call $pair (i32.const 1540) (i32.const 7168) (i32.const 2)) (i32.const 1536)";

async fn first_step(push: &str) -> Result<Step, GuardFailure> {
    let guard = load(guest(push));
    let conversation = Conversation::new("");
    let mut stream = guard.open(&conversation.input()).await?;
    stream.push("é").await
}

#[tokio::test]
async fn a_stream_says_what_may_go_out_of_each_piece_and_what_is_left_at_the_end() {
    for (push, step) in [(ECHO, Step::Emit("é".into())), (BLOCK, Step::Block("no".into())), (HOLD, Step::Hold)] {
        assert_eq!(first_step(push).await, Ok(step));
    }
    assert_eq!(first_step(REFUSE).await, Err(GuardFailure::Declined("no".into())));
}

#[tokio::test]
async fn a_stream_has_an_instance_of_its_own_from_open_to_close() {
    let guard = load(guest(ECHO));
    let conversation = Conversation::new("");
    let (mut one, mut two) = (guard.open(&conversation.input()).await.unwrap(), guard.open(&conversation.input()).await.unwrap());
    one.push("a").await.unwrap();
    two.push("a").await.unwrap();
    one.push("b").await.unwrap();
    let rest = |ending: Result<Ending, GuardFailure>| ending.unwrap().rest;
    assert_eq!((rest(one.close().await), rest(two.close().await)), (Step::Emit("no".into()), Step::Emit("n".into())));
}

#[tokio::test]
async fn each_piece_is_held_to_the_limits_of_a_scan() {
    for (push, failure) in [
        ("(loop (br 0)) unreachable", GuardFailure::Timeout),
        ("(drop (memory.grow (i32.const 60000))) unreachable", GuardFailure::Memory),
        ("(call $pair (i32.const 1544) (i32.const 0) (i32.const 4000000)) (i32.const 1536)", GuardFailure::Output),
    ] {
        assert_eq!(first_step(push).await, Err(failure), "{push}");
    }
    assert!(matches!(first_step("unreachable").await, Err(GuardFailure::Trap(_))));
}

#[tokio::test]
async fn a_guard_that_does_not_judge_streams_opens_none() {
    let guard = load(aegis_programs::assemble("(func $nothing)"));
    let failure = guard.open(&Conversation::new("").input()).await.map(|_| ()).unwrap_err();
    assert!(matches!(&failure, GuardFailure::Contract(why) if why.contains("stream-scanner")), "{failure:?}");
}

#[tokio::test]
async fn one_compilation_serves_all_settings_that_are_tried() {
    let bytes = aegis_programs::assemble(
        r#"(func $configure (param $at i32) (param $len i32) (result i32)
        (if (i32.eq (local.get $len) (i32.const 2)) (then (return (i32.const 256))))
        (i32.store8 (i32.const 9000) (i32.const 1)) (call $pair (i32.const 9004) (i32.const 16) (i32.const 7)) (i32.const 9000))"#,
    );
    let limits = source(vec![], json!({})).limits;
    let prototype = SANDBOX.prototype(bytes.into(), limits, &|_| ()).unwrap();
    assert_eq!(prototype.describe().await.unwrap().name, "program");
    assert_eq!((prototype.offer("{}").await.unwrap(), prototype.offer("nonsense").await.unwrap()), (Ok(()), Err("program".into())));
    let guard = prototype.configure("tried", &json!({})).await.unwrap();
    let (report, used) = guard.measure(&Conversation::new("hello").input()).await;
    assert!(report.is_ok() && used.memory == 64 << 16 && guard.snapshot().is_err(), "{report:?} {used:?}");
    assert!(prototype.configure("tried", &json!({"a": 1})).await.is_err());
}
