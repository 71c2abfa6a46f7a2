;; Leaves 10 000 labels.
(func $scan (param $input i32) (result i32)
  (call $labels (i32.const 8192) (i32.const 10000)) (call $report))
