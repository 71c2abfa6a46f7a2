;; Finds something in a message that there is not.
(func $scan (param $input i32) (result i32)
  (call $place (i32.const 8200) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0))
  (call $findings (i32.const 8192) (i32.const 1)) (call $report))
