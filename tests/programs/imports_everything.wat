;; Imports files, sockets, HTTP, the environment, and a function of its own.
(component
  (import "wasi:filesystem/types@0.2.9" (instance)) (import "wasi:filesystem/preopens@0.2.9" (instance))
  (import "wasi:sockets/tcp@0.2.9" (instance)) (import "wasi:http/outgoing-handler@0.2.9" (instance))
  (import "wasi:cli/environment@0.2.9" (instance)) (import "run-shell" (func (param "command" string))))
