;; Has the input written outside its memory; settings it takes.
(global $to (mut i32) (i32.const 8192))
(func $realloc (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32) (global.get $to))
(func $configure (param $at i32) (param $len i32) (result i32) (global.set $to (i32.const -64)) (i32.const 256))
