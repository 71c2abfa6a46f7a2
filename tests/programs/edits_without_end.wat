;; Edits 30 000 times.
(func $scan (param $input i32) (result i32)
  (call $sanitize (i32.const 8192) (i32.const 30000)))
