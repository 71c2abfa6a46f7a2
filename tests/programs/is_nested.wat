;; Is wrapped into 2 000 components.
(component (instance $i) (export "aegis:guard/scanner@0.1.0" (instance $i)))
%wrap 2000
