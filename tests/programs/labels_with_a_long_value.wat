;; Leaves a label of 100 000 bytes.
(func $scan (param $input i32) (result i32)
  (memory.fill (i32.const 9000) (i32.const 120) (i32.const 100000))
  (call $pair (i32.const 8200) (i32.const 9000) (i32.const 100000)) (call $labels (i32.const 8192) (i32.const 1)) (call $report))
