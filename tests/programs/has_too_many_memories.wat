;; Has 90 memories.
%repeat 90 (memory 1)
