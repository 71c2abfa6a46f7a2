;; Never comes back from its start function.
(func $begin (loop $forever (br $forever))) (start $begin)
