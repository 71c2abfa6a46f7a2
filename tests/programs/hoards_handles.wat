;; Opens its output again and again, and never closes it.
(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
(func $scan (param $input i32) (result i32)
  (loop $next (drop (call $stdout)) (br $next))
  (unreachable))
