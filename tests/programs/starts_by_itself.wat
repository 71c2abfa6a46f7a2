;; Has a start function of a component, which runs before anybody asks.
(component
  (core module $m (func (export "f") (unreachable)))
  (core instance $i (instantiate $m))
  (func $f (canon lift (core func $i "f")))
  (start $f)
  (instance $s) (export "aegis:guard/scanner@0.1.0" (instance $s)))
