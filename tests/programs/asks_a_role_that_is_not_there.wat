;; Asks a role that there is not.
(data (i32.const 8192) "really?")
(data (i32.const 8200) "\00\24\00\00\09\00\00\00") (data (i32.const 9216) "role:boss")
(func $scan (param $input i32) (result i32)
  (call $ask (i32.const 8192) (i32.const 7) (i32.const 8200) (i32.const 1) (i32.const 0)))
