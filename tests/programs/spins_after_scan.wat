;; Never comes back after `scan`, when its answer was read.
(func $scan_done (param $report i32) (loop $forever (br $forever)))
