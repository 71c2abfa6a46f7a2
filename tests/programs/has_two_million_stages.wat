;; Names a stage two million times.
(data (i32.const 88) "\00\20\00\00\80\84\1e\00") ;; 2 000 000 from 8192 on
