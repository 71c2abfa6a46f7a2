;; Traps in `configure`.
(func $configure (param $at i32) (param $len i32) (result i32) (unreachable))
