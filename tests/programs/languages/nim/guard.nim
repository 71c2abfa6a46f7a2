## Does what the text says: each word is a way to misbehave that Nim knows.
import aegis_guard

type NoSettings = object

var
  seen = 0
  depth {.volatile.} = 0

proc deeper(n: int): int =
  depth = n
  deeper(n + 1) + depth

proc allocate() =
  var kept: seq[string]
  while true: kept.add newStringOfCap(16 shl 20)

proc getenv(name: cstring): cstring {.importc, header: "<stdlib.h>".}
proc exit(status: cint) {.importc, header: "<stdlib.h>".}
proc abort() {.importc, header: "<stdlib.h>".}

proc scan(settings: NoSettings, input: Input): Report =
  let word = input.messages[0].parts[0].text
  var texts: seq[Text]
  for text in input.texts: texts.add text
  case word
  of "spin":
    while true: inc depth
  of "allocate": allocate()
  of "recurse": depth = deeper(0)
  of "abort": abort()
  of "exit": exit(0)
  of "raise": raise newException(ValueError, "it is not my day")
  of "index behind the end": depth = ord(word[depth + 1000])
  of "print":
    echo "to nobody"
  of "read a file":
    if open("/etc/passwd") != nil: return blockWith("it sees files")
  of "read the environment":
    if getenv("PATH") != nil: return blockWith("it sees the environment")
  of "forge a finding": return blockWith("x", @[texts[0].finding("rule", 3, 1000)])
  of "keep state":
    inc seen
    if seen > 1: return blockWith("it kept its state")
  else: discard
  allow()

guard(NoSettings, scan, name = "hostile", version = "0.0.0", description = "Does what the text says", stages = {ingress})
