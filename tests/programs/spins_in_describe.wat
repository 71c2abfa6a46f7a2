;; Never comes back from `describe`.
(func $describe (result i32) (loop $forever (br $forever)) (unreachable))
