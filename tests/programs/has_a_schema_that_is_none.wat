;; Has a settings schema that is no JSON.
(data (i32.const 104) "\04\00\00\00") (data (i32.const 1024) "{[}]")
