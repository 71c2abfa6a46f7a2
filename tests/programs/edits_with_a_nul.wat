;; Writes U+0000 into the text.
(func $scan (param $input i32) (result i32)
  (call $place (i32.const 8192) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1))
  (call $pair (i32.const 8212) (i32.const 9000) (i32.const 1))
  (call $sanitize (i32.const 8192) (i32.const 1)))
