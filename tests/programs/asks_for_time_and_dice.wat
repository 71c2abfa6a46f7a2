;; Blocks with the time of day and a random number, in the letters from `a` to `p`.
(import "wasi:clocks/wall-clock@0.2.0" "now" (func $now (param i32)))
(import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
(func $letters (param $at i32) (param $n i64) (local $i i32)
  (loop $next
    (i32.store8 (i32.add (local.get $at) (local.get $i)) (i32.add (i32.const 97) (i32.wrap_i64 (i64.and (local.get $n) (i64.const 15)))))
    (local.set $n (i64.shr_u (local.get $n) (i64.const 4)))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (i32.const 16)))))
(func $scan (param $input i32) (result i32)
  (call $now (i32.const 9000)) (call $letters (i32.const 8192) (i64.load (i32.const 9000)))
  (call $letters (i32.const 8208) (call $random)) (call $block (i32.const 8192) (i32.const 32)))
