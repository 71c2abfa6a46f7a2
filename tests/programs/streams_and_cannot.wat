;; Says that it judges streams, and exports nothing for them.
(data (i32.const 96) "\01")
