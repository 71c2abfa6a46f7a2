;; Calls a function through an empty table.
(table $t 1 funcref)
(func $scan (param $input i32) (result i32)
  (call_indirect $t (result i32) (i32.const 0)))
