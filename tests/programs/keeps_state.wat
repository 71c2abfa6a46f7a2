;; Traps when it is asked twice.
(global $asked (mut i32) (i32.const 0))
(func $scan (param $input i32) (result i32)
  (if (global.get $asked) (then (unreachable)))
  (if (i32.load (i32.const 100000)) (then (unreachable)))
  (if (i32.ne (memory.size) (i32.const 64)) (then (unreachable)))
  (global.set $asked (i32.const 1)) (i32.store (i32.const 100000) (i32.const 1)) (drop (memory.grow (i32.const 1)))
  (i32.const 512))
