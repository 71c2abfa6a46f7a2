;; Writes two million bytes into the text.
(func $scan (param $input i32) (result i32)
  (call $pair (i32.const 8212) (i32.const 9000) (i32.const 2000000)) (call $sanitize (i32.const 8192) (i32.const 1)))
