;; Does what the first byte of the text says: each is a way to misbehave that WebAssembly knows. The contract by hand: see sdk/wat/layout.md.
(module
  (memory (export "memory") 1)
  (data (i32.const 1024) "hostile" "0.0.0" "Does what the text says")
  (data (i32.const 1072) "it is not my day")
  (data (i32.const 1104) "it kept its state")
  (data (i32.const 1136)
    "\00\04\00\00\07\00\00\00" "\07\04\00\00\05\00\00\00" "\0c\04\00\00\17\00\00\00"
    "\10\00\00\00\01\00\00\00" "\00\00\00\00" "\00\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00")
  (data (i32.const 1200) "\ff")
  (global $top (mut i32) (i32.const 4096))
  (global $seen (mut i32) (i32.const 0))
  (type $nothing (func))
  (table 1 funcref)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $top (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.get $top)
    (global.set $top (i32.add (global.get $top) (local.get 3))))
  (func $deeper (param i32) (result i32) (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (local.get 0)))
  (func (export "aegis:guard/scanner@0.1.0#describe") (result i32) (i32.const 1136))
  (func (export "aegis:guard/scanner@0.1.0#configure") (param i32 i32) (result i32) (i32.const 32))
  (func (export "aegis:guard/scanner@0.1.0#scan") (param $input i32) (result i32) (local $deed i32)
    (local.set $deed (i32.load8_u (i32.load offset=4 (i32.load offset=4 (i32.load offset=108 (local.get $input))))))
    (if (i32.eq (local.get $deed) (i32.const 115)) (then (loop $spin (br $spin))))                     ;; spin
    (if (i32.eq (local.get $deed) (i32.const 97)) (then                                                ;; allocate
      (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)))
    (if (i32.eq (local.get $deed) (i32.const 114)) (then (drop (call $deeper (i32.const 0)))))         ;; recurse
    (if (i32.eq (local.get $deed) (i32.const 117)) (then (unreachable)))                               ;; unreachable
    (if (i32.eq (local.get $deed) (i32.const 100)) (then (drop (i32.div_u (i32.const 1) (global.get $seen)))))   ;; divide by zero
    (if (i32.eq (local.get $deed) (i32.const 98)) (then (drop (i32.load (i32.const -16)))))            ;; behind the memory
    (if (i32.eq (local.get $deed) (i32.const 99)) (then (call_indirect (type $nothing) (i32.const 0)))) ;; call nothing
    (if (i32.eq (local.get $deed) (i32.const 110)) (then (return (i32.const -4))))                     ;; nowhere
    (if (i32.eq (local.get $deed) (i32.const 102)) (then                                               ;; fail
      (i32.store (i32.const 64) (i32.const 1))
      (i32.store (i32.const 68) (i32.const 1072))
      (i32.store (i32.const 72) (i32.const 16))))
    (if (i32.eq (local.get $deed) (i32.const 119)) (then                                               ;; write no UTF-8
      (i32.store (i32.const 68) (i32.const 2))
      (i32.store (i32.const 72) (i32.const 1200))
      (i32.store (i32.const 76) (i32.const 1))))
    (if (i32.and (i32.eq (local.get $deed) (i32.const 107)) (global.get $seen)) (then                  ;; keep state
      (i32.store (i32.const 68) (i32.const 2))
      (i32.store (i32.const 72) (i32.const 1104))
      (i32.store (i32.const 76) (i32.const 17))))
    (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
    (i32.const 64)))
