;; Blocks with a reason that has U+0000 in it.
(func $scan (param $input i32) (result i32)
  (call $block (i32.const 8192) (i32.const 1)))
