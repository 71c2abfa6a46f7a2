;; Exports a scanner with nothing in it.
(component (instance $i) (export "aegis:guard/scanner@0.1.0" (instance $i)))
