;; Edits from the end to the beginning.
(func $scan (param $input i32) (result i32)
  (call $place (i32.const 8192) (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1))
  (call $sanitize (i32.const 8192) (i32.const 1)))
