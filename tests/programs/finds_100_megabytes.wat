;; Finds a million things, each with a rule of 100 bytes.
(memory $memory 600)
(func $scan (param $input i32) (result i32)
  (local $n i32)
  (loop $next
    (i32.store (i32.add (i32.const 8192) (i32.mul (local.get $n) (i32.const 36))) (i32.const 8192))
    (i32.store offset=4 (i32.add (i32.const 8192) (i32.mul (local.get $n) (i32.const 36))) (i32.const 100))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $n) (i32.const 1000000))))
  (call $findings (i32.const 8192) (i32.const 1000000)) (call $report))
