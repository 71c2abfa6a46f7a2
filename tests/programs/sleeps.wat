;; Sleeps for an hour.
(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $later (param i64) (result i32)))
(import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block_on (param i32)))
(func $scan (param $input i32) (result i32)
  (call $block_on (call $later (i64.const 3600000000000))) (i32.const 512))
