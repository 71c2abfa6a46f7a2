;; Has 90 tables.
%repeat 90 (table 1 funcref)
