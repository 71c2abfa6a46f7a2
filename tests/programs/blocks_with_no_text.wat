;; Blocks with a reason that is no UTF-8.
(func $scan (param $input i32) (result i32)
  (i32.store8 (i32.const 8192) (i32.const 255)) (call $block (i32.const 8192) (i32.const 1)))
