;; Finds so many things that their bytes overflow 32 bits.
(func $scan (param $input i32) (result i32)
  (call $findings (i32.const 8192) (i32.const 0x80000001)) (call $report))
