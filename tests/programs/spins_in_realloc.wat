;; Never comes back when it is handed an input; settings it takes.
(global $calls (mut i32) (i32.const 0))
(func $realloc (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
  (if (global.get $calls) (then (loop $forever (br $forever))))
  (i32.const 8192))
(func $configure (param $at i32) (param $len i32) (result i32) (global.set $calls (i32.const 1)) (i32.const 256))
