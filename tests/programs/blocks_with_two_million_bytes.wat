;; Blocks with a reason of two million bytes.
(func $scan (param $input i32) (result i32)
  (call $block (i32.const 8192) (i32.const 2000000)))
