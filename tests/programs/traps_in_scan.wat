;; Traps in `scan`.
(func $scan (param $input i32) (result i32)
  (unreachable))
