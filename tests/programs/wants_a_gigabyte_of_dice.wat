;; Asks for 2^40 random bytes.
(import "wasi:random/random@0.2.0" "get-random-bytes" (func $bytes (param i64 i32)))
(func $scan (param $input i32) (result i32)
  (call $bytes (i64.const 1099511627776) (i32.const 9000)) (i32.const 512))
