;; Fills a heap of its own with linked structures.
(type $node (struct (field (ref null $node))))
(func $scan (param $input i32) (result i32)
  (local $head (ref null $node))
  (loop $more (local.set $head (struct.new $node (local.get $head))) (br $more))
  (unreachable))
