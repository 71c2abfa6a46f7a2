;; Says that its manifest is outside its memory.
(func $describe (result i32) (i32.const -4))
