;; Exports functions that answer when they like.
(component
  (core module $m (func (export "f") (result i32) (i32.const 0)) (func (export "cb") (param i32 i32 i32) (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $f async (canon lift (core func $i "f") async (callback (core func $i "cb"))))
  (instance $s (export "describe" (func $f)) (export "configure" (func $f)) (export "scan" (func $f)))
  (export "aegis:guard/scanner@0.1.0" (instance $s)))
