;; Has 100 000 functions.
%repeat 100000 (func)
