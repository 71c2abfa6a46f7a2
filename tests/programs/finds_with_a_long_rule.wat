;; Finds one thing by a rule of 5 000 bytes.
(func $scan (param $input i32) (result i32)
  (memory.fill (i32.const 9000) (i32.const 120) (i32.const 5000))
  (call $pair (i32.const 8192) (i32.const 9000) (i32.const 5000)) (call $findings (i32.const 8192) (i32.const 1)) (call $report))
