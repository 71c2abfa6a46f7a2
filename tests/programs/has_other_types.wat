;; Exports a scanner whose functions take and give numbers.
(component
  (core module $m (func (export "f") (param i32) (result i32) (local.get 0)))
  (core instance $i (instantiate $m))
  (func $f (param "n" u32) (result u32) (canon lift (core func $i "f")))
  (instance $s (export "describe" (func $f)) (export "configure" (func $f)) (export "scan" (func $f)))
  (export "aegis:guard/scanner@0.1.0" (instance $s)))
