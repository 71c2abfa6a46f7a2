;; Has a terminal's escape sequence for a name.
(data (i32.const 16) "\1b[2J\07!!")
