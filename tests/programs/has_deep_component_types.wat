;; Has types of components within each other, 200 000 deep, in three bytes each.
(module binary "\00asm\0d\00\01\00" "\07\c3\cf\24\01"
%repeat 200000 "\41\01\01"
"\41\00"
"\05\03\01\01\00" ;; an instance with nothing in it
"\0b\1f\01\00\19aegis:guard/scanner@0.1.0\05\00\00") ;; exported as the scanner
