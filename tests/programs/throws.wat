;; Throws an exception that nobody catches.
(tag $oops)
(func $scan (param $input i32) (result i32)
  (throw $oops))
