;; Has a settings schema that nests 10 000 deep.
(data (i32.const 100) "\00\00\01\00\10\27\00\00") ;; 10 000 bytes from 65536 on
(data (i32.const 65536)
%repeat 10000 "["
)
