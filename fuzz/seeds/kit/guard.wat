(module
  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
  (func (export "aegis:guard/scanner@0.1.0#describe") (result i32) unreachable)
  (func (export "aegis:guard/scanner@0.1.0#configure") (param i32 i32) (result i32) unreachable)
  (func (export "aegis:guard/scanner@0.1.0#scan") (param i32) (result i32) unreachable)
  (@custom ".debug_line" "x"))
