(component
  (core module $m (func (export "f") (result i32) (i32.const 1)))
  (core instance $m (instantiate $m))
  (type $t (variant (case "a" u32) (case "b" string)))
  (func $f (result u32) (canon lift (core func $m "f")))
  (instance $i (export "f" (func $f)))
  (export "aegis:guard/scanner@0.1.0" (instance $i)))
