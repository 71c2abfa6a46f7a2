;; Is a shell script.
(module binary "#!/bin/sh\necho hello\n")
