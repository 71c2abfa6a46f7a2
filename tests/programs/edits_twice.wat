;; Edits the same bytes twice.
(func $scan (param $input i32) (result i32)
  (call $place (i32.const 8192) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2))
  (call $place (i32.const 8220) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 2))
  (call $sanitize (i32.const 8192) (i32.const 2)))
