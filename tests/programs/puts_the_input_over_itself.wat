;; Has every text of the input written to one place.
(func $realloc (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32) (i32.const 8192))
