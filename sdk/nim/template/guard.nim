## Asks for human review where a word of the settings is spoken of.
import aegis_guard

type Settings = object
  words {.doc: "What asks for review, in whatever case".}: seq[string]

proc scan(settings: Settings, input: Input): Report =
  let found = input.find(settings.words)
  if found.len == 0: allow() else: requireApproval("A word was found: is this all right?", found)

guard(Settings, scan, name = "{{name}}", version = "0.1.0",
  description = "Asks for human review where a word of the settings is spoken of", scope = message)
