;; Wants 4 GiB of memory at once.
(memory $memory 65536)
