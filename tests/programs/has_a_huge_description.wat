;; Describes itself in 50 million bytes.
(memory $memory 1000)
(data (i32.const 80) "\00\20\00\00\80\f0\fa\02")
