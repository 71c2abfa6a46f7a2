;; Has types that double in size, 40 times.
(component
  (type $t0 (tuple u8 u8))
%repeat 40 (type $t{n} (tuple $t{m} $t{m}))
  (instance $i) (export "aegis:guard/scanner@0.1.0" (instance $i)))
