;; Makes a stack of its own and runs on it.
(type $f (func)) (type $k (cont $f))
(func $body) (elem declare func $body)
(func $scan (param $input i32) (result i32)
  (resume $k (cont.new $k (ref.func $body))) (i32.const 512))
