;; Sleeps on memory that it shares with nobody.
(func $scan (param $input i32) (result i32)
  (drop (memory.atomic.wait32 $shared (i32.const 0) (i32.const 0) (i64.const -1))) (i32.const 512))
(memory $shared 1 1 shared)
