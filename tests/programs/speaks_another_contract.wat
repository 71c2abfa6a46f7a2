;; Speaks version 0.2.0 of the contract.
(component (instance $i) (export "aegis:guard/scanner@0.2.0" (instance $i)))
