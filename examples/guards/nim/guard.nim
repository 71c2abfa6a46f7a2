## Guard "sensitive-topic": people decide, or nothing passes, when a user speaks of one of the configured phrases.
import aegis_guard
import std/strutils

type
  Action = enum
    askPeople = "require_approval"
    blockIt = "block"
  Settings = object
    phrases {.doc: "Found wherever they stand, in whatever case".}: seq[string]
    action {.doc: "What follows when one is found".}: Action

proc scan(settings: Settings, input: Input): Report =
  var found: seq[Finding]
  for text in input.texts:
    if text.role == some(user): found.add text.find(settings.phrases)
  if found.len == 0: return allow()
  let topic = found[0].rule.capitalizeAscii
  case settings.action
  of blockIt: blockWith(topic & " is not allowed", found)
  of askPeople: requireApproval(topic & " requires human review", found)

guard(Settings, scan, name = "sensitive-topic", version = "1.0.0", description = "Asks for human review of sensitive topics",
  stages = {ingress}, scope = message)
