;; Never comes back from `scan`.
(func $scan (param $input i32) (result i32)
  (loop $forever (br $forever)) (unreachable))
