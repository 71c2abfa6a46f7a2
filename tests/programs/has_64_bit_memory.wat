;; Has a second memory of 64 bits, of 1 TiB.
(memory $far i64 16777216)
