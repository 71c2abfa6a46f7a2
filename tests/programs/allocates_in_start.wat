;; Takes all the memory that it gets, in its start function.
(func $begin (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)) (start $begin)
