;; Asks a list of 10 000 people.
(data (i32.const 8192) "really?")
(func $scan (param $input i32) (result i32)
  (local $n i32)
  (loop $next
    (call $pair (i32.add (i32.const 8200) (i32.mul (local.get $n) (i32.const 8))) (i32.const 8192) (i32.const 1))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $n) (i32.const 10000))))
  (call $ask (i32.const 8192) (i32.const 7) (i32.const 8200) (i32.const 10000) (i32.const 0)))
