;; Imports a file system as a nested component would, behind an interface that is granted.
(component
  (import "wasi:random/random@0.2.0" (instance (export "open-file" (func (param "path" string) (result u32)))))
  (instance $i) (export "aegis:guard/scanner@0.1.0" (instance $i)))
