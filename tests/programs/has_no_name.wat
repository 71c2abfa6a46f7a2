;; Calls itself nothing.
(data (i32.const 68) "\00\00\00\00")
