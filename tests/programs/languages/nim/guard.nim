## Does what the text says: each word is a way to misbehave that Nim knows, or something that the SDK offers.
import aegis_guard

type
  Choice = enum
    one, two
  Settings = object
    text {.optional.}: string = "t"
    number: float = 1.5
    flag: bool
    choice: Choice
    list {.optional.}: seq[string]

var
  seen, warmed = 0
  depth {.volatile.} = 0

proc deeper(n: int): int =
  depth = n
  deeper(n + 1) + depth

proc getenv(name: cstring): cstring {.importc, header: "<stdlib.h>".}
proc malloc(size: csize_t): pointer {.importc, header: "<stdlib.h>".}
proc exit(status: cint) {.importc, header: "<stdlib.h>".}
proc abort() {.importc, header: "<stdlib.h>".}

proc tellSettings(settings: Settings): Report =
  var joined = ""
  for item in settings.list: joined.add item & "+"
  let flag = if settings.flag: "yes" else: "no"
  blockWith(settings.text & " " & $int(settings.number * 10) & " " & flag & " " & $settings.choice & " " & joined)

proc scan(settings: Settings, input: Input): Report =
  var texts: seq[Text]
  for text in input.texts: texts.add text
  if texts.len == 0: return allow()
  let word = texts[0].text
  case word
  of "spin":
    while true: inc depth
  of "allocate":
    var kept: ptr pointer # each block names the one before, so that none can be thought away
    while true:
      let more = cast[ptr pointer](malloc(16 shl 20))
      if more == nil: break
      more[] = kept
      kept = more
      depth = cast[int](kept)
    raise newException(OutOfMemDefect, "no more memory")
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
  of "settings": return tellSettings(settings)
  of "warm": inc warmed
  of "tell warmth": return blockWith($warmed)
  of "ask": return requireApproval("sure?", approvers = @["team:risk", "role:approver"], required = 2)
  of "remember":
    return Report(memory: some(input.memory.get("") & "x"), labels: @[Label(key: "seen", value: "yes")])
  else: return mask(input.find(["secret", "retsec"]), "***")
  allow()

guard(Settings, scan, name = "hostile", version = "0.0.0", description = "Does what the text says", warmUp = @["warm"])
