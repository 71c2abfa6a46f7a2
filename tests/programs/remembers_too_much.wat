;; Wants 500 000 bytes remembered.
(func $scan (param $input i32) (result i32)
  (memory.fill (i32.const 8192) (i32.const 120) (i32.const 500000)) (call $remember (i32.const 8192) (i32.const 500000)) (call $report))
