;; Ends in the middle of a section.
(module binary "\00asm\0d\00\01\00" "\07\7f\01")
