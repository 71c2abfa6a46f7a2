;; Asks an approver whose name is nothing.
(data (i32.const 8192) "really?")
(func $scan (param $input i32) (result i32)
  (call $ask (i32.const 8192) (i32.const 7) (i32.const 8200) (i32.const 1) (i32.const 0)))
