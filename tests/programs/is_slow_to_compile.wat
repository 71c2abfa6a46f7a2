;; Keeps 150 locals alive in 150 loops within each other, for which a compiler takes seconds.
(func (param i32)
%repeat 150 (local $l{n} i32)
%repeat 150 loop
%repeat 150 (local.set $l{n} (i32.add (local.get $l{n}) (i32.const 1)))
%repeat 150 (br_if 0 (local.get 0)) end
)
