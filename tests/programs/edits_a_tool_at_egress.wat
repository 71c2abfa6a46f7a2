;; Edits the description of a tool when the reply is judged.
(data (i32.const 40) "\03") (data (i32.const 97) "\01") ;; egress, of scope `conversation`
(func $scan (param $input i32) (result i32)
  (call $place (i32.const 8192) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
  (i32.store8 (i32.const 8192) (i32.const 2)) (i32.store (i32.const 8196) (i32.const 0))
  (call $sanitize (i32.const 8192) (i32.const 1)))
