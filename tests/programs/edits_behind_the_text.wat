;; Edits what lies behind the end of the text.
(func $scan (param $input i32) (result i32)
  (call $place (i32.const 8192) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 999))
  (call $sanitize (i32.const 8192) (i32.const 1)))
