;; Names no stage.
(data (i32.const 92) "\00\00\00\00")
