;; Edits the second half of a character.
(func $scan (param $input i32) (result i32)
  (call $place (i32.const 8192) (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 4))
  (call $sanitize (i32.const 8192) (i32.const 1)))
