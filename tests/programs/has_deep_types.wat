;; Has a list of lists of lists, 10 000 deep.
(component
  (type $t0 (list u8))
%repeat 10000 (type $t{n} (list $t{m}))
  (instance $i) (export "aegis:guard/scanner@0.1.0" (instance $i)))
