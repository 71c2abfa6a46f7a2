;; Has a function of blocks within each other, 100 000 deep.
(func
%repeat 100000 block
%repeat 100000 end
)
