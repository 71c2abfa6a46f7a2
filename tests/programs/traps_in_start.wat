;; Traps in its start function, before anybody calls it.
(func $begin (unreachable)) (start $begin)
