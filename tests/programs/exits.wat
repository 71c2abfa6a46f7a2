;; Ends the program.
(import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))
(func $scan (param $input i32) (result i32)
  (call $exit (i32.const 0)) (i32.const 512))
