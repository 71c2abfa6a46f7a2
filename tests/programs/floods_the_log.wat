;; Prints 800 000 bytes.
(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
(import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32)))
(func $scan (param $input i32) (result i32)
  (local $out i32) (local $i i32)
  (local.set $out (call $stdout))
  (loop $next
    (call $write (local.get $out) (i32.const 9000) (i32.const 4096) (i32.const 8192))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (i32.const 200))))
  (i32.const 512))
