;; Blocks with a reason that lies outside its memory.
(func $scan (param $input i32) (result i32)
  (call $block (i32.const -8) (i32.const 7)))
