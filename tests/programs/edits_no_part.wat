;; Edits a part that there is not.
(func $scan (param $input i32) (result i32)
  (call $place (i32.const 8192) (i32.const 0) (i32.const 4294967295) (i32.const 0) (i32.const 0))
  (call $sanitize (i32.const 8192) (i32.const 1)))
