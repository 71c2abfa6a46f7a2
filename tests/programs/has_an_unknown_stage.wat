;; Names a stage that there is not.
(data (i32.const 40) "\09")
