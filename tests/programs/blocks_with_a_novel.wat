;; Blocks with a reason of 100 000 bytes.
(func $scan (param $input i32) (result i32)
  (memory.fill (i32.const 8192) (i32.const 120) (i32.const 100000)) (call $block (i32.const 8192) (i32.const 100000)))
