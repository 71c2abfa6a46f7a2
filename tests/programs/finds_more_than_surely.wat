;; Finds something, and is twice sure of it.
(func $scan (param $input i32) (result i32)
  (call $place (i32.const 8200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1))
  (i32.store8 (i32.const 8220) (i32.const 1)) (f32.store (i32.const 8224) (f32.const 2))
  (call $findings (i32.const 8192) (i32.const 1)) (call $report))
