## Write a guard for Aegis in Nim. A guard is a function of what it is handed: no files, no network, no clock, no randomness.
##
##     import aegis_guard
##
##     type Settings = object
##       words {.doc: "What nobody may say".}: seq[string]
##
##     proc scan(settings: Settings, input: Input): Report =
##       blockIfAny("a forbidden word", input.find(settings.words))
##
##     guard(Settings, scan, name = "words", version = "0.1.0", description = "Blocks forbidden words")
##
## Settings are strings, sequences of strings, bools, ints, floats and enums. Strings and sequences have to be given, unless they are
## `{.optional.}`; everything else is what `default(Settings)` has. `guard` also takes
##   * `configured = proc (settings: var Settings): string`: what is dear happens here, once, at load; why the settings are refused, or "",
##   * `warmUp = @[…]`: texts like those of the traffic, scanned at load, so that whatever fills lazily is full when the first real text comes.
##
## What to know:
##   * One instance, one scan: what a variable holds after `configured` is there in every scan, and what a scan puts there is gone after it. What
##     has to last until a later stage of the same run goes into `Report.memory` and comes back as `Input.memory`.
##   * Offsets count bytes of the UTF-8 text, as everywhere in Nim.
##   * An exception is no verdict: the guard could not judge, and nothing passes it; its message is told.

import std/[algorithm, json, macros, options, strutils]
export options

type
  Stage* = enum ## Where in the pipeline a guard is asked.
    ingress, toolResult, toolCall, egress
  Role* = enum
    system, developer, user, assistant, tool
  Scope* = enum ## Judges each message by itself; in the light of others.
    message, conversation
  PartKind* = enum
    textPart, mediaPart, otherPart
  Part* = object ## One piece of a message; `json`: anything else than text and media, as the JSON it came in.
    case kind*: PartKind
    of textPart: text*: string
    of mediaPart: mime*, uri*: string
    of otherPart: json*: string
  ToolCall* = object ## `arguments` is JSON text, as the model wrote it.
    id*, name*, arguments*: string
  Message* = object
    role*: Role
    parts*: seq[Part]
    name*: Option[string]
    toolCalls*: seq[ToolCall]
    toolCallId*: Option[string]
  Tool* = object ## `parameters` is a JSON Schema.
    name*, description*, parameters*: string
  Principal* = object
    id*: string
    teams*, roles*: seq[string]
  Label* = object
    key*, value*: string
  Input* = object
    stage*: Stage
    runId*, route*, model*: string
    principal*: Principal
    time*: uint64               ## When the run came to this step, in milliseconds since the Unix epoch.
    metadata*: seq[Label]       ## What the client sent along.
    context*: seq[Label]        ## Further facts from the host; take no notice of names that you do not know.
    labels*: seq[Label]         ## Left by guards that ran earlier in this run.
    memory*: Option[string]     ## What this guard handed back at an earlier stage of this run.
    tools*: seq[Tool]
    messages*: seq[Message]     ## At `toolCall` and `egress` the model's reply is the last.
  PlaceKind* = enum
    partPlace, argumentsPlace, toolPlace
  Place* = object ## Numbers count from 0. Of parts and arguments both mean something, of a tool the first.
    kind*: PlaceKind
    first*, second*: uint32
  Edit* = object
    at*: Place
    start*, stop*: int
    text*: string
  Finding* = object
    rule*: string
    at*: Place
    start*, stop*: int
    score*: Option[float32]
  VerdictKind* = enum
    vAllow, vSanitize, vBlock, vRequireApproval
  Report* = object
    verdict*: VerdictKind
    why*: string                ## Of `vBlock`: shown to the caller. Of `vRequireApproval`: what people are asked.
    approvers*: seq[string]     ## Only these may decide (principals, `team:…`, `role:…`); none: whoever the configuration names.
    required*: uint32           ## At least so many people; 0: as many as the configuration says.
    edits*: seq[Edit]
    findings*: seq[Finding]
    labels*: seq[Label]
    memory*: Option[string]
  Text* = object ## A text of the input, and where it stands.
    text*: string
    at*: Place
    json*: bool                 ## Arguments of a call, or a part that is neither text nor media (which may not be edited).
    role*: Option[Role]         ## Of the message it stands in; none for the description of a tool.

template doc*(text: string) {.pragma.}   ## What a setting means.
template optional*() {.pragma.}          ## A setting that may be left out.

# ---- reading ----

iterator texts*(input: Input): Text =
  ## The texts that the stage is about: at `ingress` tool descriptions and all of every message, at `toolResult` messages of role `tool`, at
  ## `toolCall` the arguments of the reply's calls, at `egress` the reply's parts.
  if input.stage == ingress:
    for n, it in input.tools:
      yield Text(text: it.description, at: Place(kind: toolPlace, first: n.uint32))
  for m, message in input.messages:
    let asked = case input.stage
      of ingress: true
      of toolResult: message.role == tool
      of toolCall, egress: m == input.messages.high
    if not asked: continue
    if input.stage != toolCall:
      for p, part in message.parts:
        let at = Place(kind: partPlace, first: m.uint32, second: p.uint32)
        case part.kind
        of textPart: yield Text(text: part.text, at: at, role: some(message.role))
        of otherPart: yield Text(text: part.json, at: at, json: true, role: some(message.role))
        of mediaPart: discard
    if input.stage in {ingress, toolCall}:
      for c, call in message.toolCalls:
        let at = Place(kind: argumentsPlace, first: m.uint32, second: c.uint32)
        yield Text(text: call.arguments, at: at, json: true, role: some(message.role))

proc finding*(text: Text, rule: string, start, stop: int): Finding =
  ## Evidence that `rule` saw something at the bytes `start ..< stop` of the text.
  Finding(rule: rule, at: text.at, start: start, stop: stop)

proc find*(text: Text, phrases: openArray[string]): seq[Finding] =
  ## Where one of the phrases stands, in any case of ASCII letters; the phrase is the rule.
  let small = text.text.toLowerAscii
  for phrase in phrases:
    if phrase == "": continue
    let wanted = phrase.toLowerAscii
    var at = small.find(wanted)
    while at >= 0:
      result.add text.finding(phrase, at, at + phrase.len)
      at = small.find(wanted, at + phrase.len)

proc find*(input: Input, phrases: openArray[string]): seq[Finding] =
  ## The same in all texts of the stage.
  for text in input.texts: result.add text.find(phrases)

# ---- reporting ----

proc allow*(found: sink seq[Finding] = @[]): Report = Report(findings: found)

proc blockWith*(why: string, found: sink seq[Finding] = @[]): Report = Report(verdict: vBlock, why: why, findings: found)

proc blockIfAny*(why: string, found: sink seq[Finding]): Report =
  ## Blocks where anything was found.
  if found.len == 0: allow() else: blockWith(why, found)

proc requireApproval*(prompt: string, found: sink seq[Finding] = @[], approvers: seq[string] = @[], required = 0'u32): Report =
  Report(verdict: vRequireApproval, why: prompt, findings: found, approvers: approvers, required: required)

proc edit*(edits: sink seq[Edit], found: sink seq[Finding] = @[]): Report =
  ## Replaces by hand.
  Report(verdict: if edits.len == 0: vAllow else: vSanitize, edits: edits, findings: found)

proc mask*(found: seq[Finding], replacement: string): Report =
  ## Puts `replacement` in the place of everything found (what overlaps is replaced together); allows where nothing was.
  var edits: seq[Edit]
  for it in found.sortedByIt((it.at.kind, it.at.first, it.at.second, it.start)):
    if edits.len > 0 and edits[^1].at == it.at and it.start < edits[^1].stop:
      edits[^1].stop = max(edits[^1].stop, it.stop)
    else:
      edits.add Edit(at: it.at, start: it.start, stop: it.stop, text: replacement)
  edit(edits, found)

# ---- settings ----

proc quoted(text: string): string = escapeJson(text)

proc choices(T: typedesc[enum]): seq[string] =
  for it in T: result.add $it

proc kindOf[T](value: T, needed: bool): string =
  when T is string: "\"type\":\"string\""
  elif T is seq[string]: "\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":1}" & (if needed: ",\"minItems\":1" else: "")
  elif T is bool: "\"type\":\"boolean\",\"default\":" & $value
  elif T is enum: "\"enum\":" & $(%choices(T)) & ",\"default\":" & quoted($value)
  elif T is SomeInteger: "\"type\":\"integer\",\"default\":" & $value
  elif T is SomeFloat: "\"type\":\"number\",\"default\":" & $value
  else: {.error: "a setting is a string, a seq[string], a bool, an int, a float or an enum".}

proc expected[T](value: T, name: string): string =
  when T is string: name & ": expected a text"
  elif T is seq[string]: name & ": expected a list of texts that are not empty"
  elif T is bool: name & ": expected true or false"
  elif T is enum: name & ": expected one of " & choices(T).join(", ")
  elif T is SomeInteger: name & ": expected a whole number"
  else: name & ": expected a number"

proc takeTexts(into: var seq[string], node: JsonNode, needed: bool): bool =
  if node.kind != JArray or (needed and node.len == 0): return false
  for it in node:
    if it.kind != JString or it.str == "": return false
    into.add it.str
  true

proc parsed(text: string): JsonNode =
  ## The settings as an object; nil: they are none.
  try: result = parseJson(if text.isEmptyOrWhitespace: "{}" else: text)
  except CatchableError: discard
  if result != nil and result.kind != JObject: result = nil

proc unknown(node: JsonNode, known: seq[string]): string =
  for name, _ in node:
    if name notin known: return "unknown setting \"" & name & "\"; known are: " & known.join(", ")

proc take[T](into: var T, node: JsonNode, needed: bool): bool =
  ## Whether the value is one of this type.
  when T is string:
    if node.kind == JString: (into = node.str; result = true)
  elif T is seq[string]:
    result = takeTexts(into, node, needed)
  elif T is bool:
    if node.kind == JBool: (into = node.bval; result = true)
  elif T is enum:
    for it in T:
      if node.kind == JString and node.str == $it: (into = it; result = true)
  elif T is SomeInteger:
    if node.kind == JInt: (into = T(node.num); result = true)
  elif T is SomeFloat:
    if node.kind in {JInt, JFloat}: (into = T(node.getFloat); result = true)

template isNeeded(value: untyped): bool =
  (value is string or value is seq[string]) and not value.hasCustomPragma(optional)

proc schemaOf*[S: object](settings: S): string =
  ## JSON Schema of the settings' fields.
  var properties, required: seq[string]
  for name, value in fieldPairs(settings):
    const needed = isNeeded(value)
    when value.hasCustomPragma(doc): (let meaning = "\"description\":" & quoted(value.getCustomPragmaVal(doc)) & ",")
    else: (let meaning = "")
    properties.add quoted(name) & ":{" & meaning & kindOf(value, needed) & "}"
    when needed: required.add quoted(name)
  if properties.len == 0: return ""
  "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{" & properties.join(",") & "},\"required\":[" & required.join(",") & "]}"

proc readSettings*[S: object](settings: var S, text: string): string =
  ## Why they are refused; "": they are not.
  let node = parsed(text)
  if node == nil: return "settings: expected a JSON object"
  var known: seq[string]
  for name, value in fieldPairs(settings):
    known.add name
    if node.hasKey(name):
      if not take(value, node[name], isNeeded(value)): return expected(value, name)
    elif isNeeded(value): return name & ": is missing"
  unknown(node, known)

# ---- the contract's layout (aegis:guard@0.1.0), as its canonical ABI has it ----

type
  RawList[T] = object
    at: ptr UncheckedArray[T]
    len: uint32
  RawText = RawList[char]
  RawOption[T] = object
    isSome: bool
    value: T
  RawPart = object
    tag: uint8
    first, second: RawText # of media both
  RawCall = object
    id, name, arguments: RawText
  RawMessage = object
    role: uint8
    parts: RawList[RawPart]
    name: RawOption[RawText]
    calls: RawList[RawCall]
    callId: RawOption[RawText]
  RawLabel = object
    key, value: RawText
  RawPlace = object
    tag: uint8
    first, second: uint32
  RawEdit = object
    at: RawPlace
    start, stop: uint32
    text: RawText
  RawFinding = object
    rule: RawText
    at: RawPlace
    start, stop: uint32
    score: RawOption[float32]
  RawQuestion = object
    prompt: RawText
    approvers: RawList[RawText]
    required: uint32
  RawVerdictValue {.union.} = object
    edits: RawList[RawEdit]
    why: RawText
    question: RawQuestion
  RawVerdict = object
    tag: uint8
    value: RawVerdictValue
  RawReport = object
    verdict: RawVerdict
    findings: RawList[RawFinding]
    labels: RawList[RawLabel]
    memory: RawOption[RawText]
  RawInput* = object
    stage: uint8
    runId, route, model, principal: RawText
    teams, roles: RawList[RawText]
    time: uint64
    metadata, context, labels: RawList[RawLabel]
    memory: RawOption[RawText]
    tools: RawList[RawCall] # a tool is three texts, too
    messages: RawList[RawMessage]
  RawManifest* = object
    name, version, description: RawText
    stages: RawList[uint8]
    streaming, scope: uint8
    schema: RawText
    notes: RawList[RawLabel]
  RawOutcome* = object
    isError: bool
    why: RawText
  RawScanValue {.union.} = object
    report: RawReport
    why: RawText
  RawScan* = object
    isError: bool
    value: RawScanValue

# A layout that is not the contract's would be read wrongly without a word.
{.emit: """
_Static_assert(sizeof(`RawMessage`) == 44 && sizeof(`RawPart`) == 20 && sizeof(`RawInput`) == 120, "Input");
_Static_assert(sizeof(`RawFinding`) == 36 && sizeof(`RawEdit`) == 28 && sizeof(`RawScan`) == 56 && sizeof(`RawManifest`) == 52, "Report");
""".}

proc malloc(size: csize_t): pointer {.importc, header: "<stdlib.h>".}
proc free(it: pointer) {.importc, header: "<stdlib.h>".}

var
  handed: seq[pointer]          # by the host, for one call
  kept: seq[pointer]            # what the host is still reading

proc bytes(size: int): pointer =
  ## Memory that lives until the host comes back.
  result = malloc(max(size, 1).csize_t)
  if result == nil: raise newException(OutOfMemDefect, "out of memory")
  kept.add result

proc release(them: var seq[pointer]) =
  for it in them: free(it)
  them.setLen 0

proc aegisRealloc(old: pointer, oldSize, align, size: csize_t): pointer
    {.exportc, codegenDecl: "__attribute__((export_name(\"cabi_realloc\"))) $# $#$#".} =
  release(kept)
  result = malloc(max(size, 1))
  if result == nil: raise newException(OutOfMemDefect, "out of memory")
  handed.add result
  if oldSize > 0: copyMem(result, old, oldSize)

proc text(raw: RawText): string =
  result = newString(raw.len)
  if raw.len > 0: copyMem(addr result[0], raw.at, raw.len)

proc option(raw: RawOption[RawText]): Option[string] =
  if raw.isSome: some(text(raw.value)) else: none(string)

proc each[R, T](raw: RawList[R], convert: proc (it: R): T {.nimcall.}): seq[T] =
  for i in 0 ..< raw.len: result.add convert(raw.at[i])

proc label(raw: RawLabel): Label = Label(key: text(raw.key), value: text(raw.value))

proc part(raw: RawPart): Part =
  case raw.tag
  of 0: Part(kind: textPart, text: text(raw.first))
  of 1: Part(kind: mediaPart, mime: text(raw.first), uri: text(raw.second))
  else: Part(kind: otherPart, json: text(raw.first))

proc call(raw: RawCall): ToolCall = ToolCall(id: text(raw.id), name: text(raw.name), arguments: text(raw.arguments))

proc toolOf(raw: RawCall): Tool = Tool(name: text(raw.id), description: text(raw.name), parameters: text(raw.arguments))

proc messageOf(raw: RawMessage): Message =
  Message(role: Role(raw.role), parts: raw.parts.each(part), name: option(raw.name), toolCalls: raw.calls.each(call), toolCallId: option(raw.callId))

proc input(raw: RawInput): Input =
  Input(stage: Stage(raw.stage), runId: text(raw.runId), route: text(raw.route), model: text(raw.model),
    principal: Principal(id: text(raw.principal), teams: raw.teams.each(text), roles: raw.roles.each(text)), time: raw.time,
    metadata: raw.metadata.each(label), context: raw.context.each(label), labels: raw.labels.each(label), memory: option(raw.memory),
    tools: raw.tools.each(toolOf), messages: raw.messages.each(messageOf))

proc raw(it: string): RawText =
  result = RawText(at: cast[ptr UncheckedArray[char]](bytes(it.len)), len: it.len.uint32)
  if it.len > 0: copyMem(result.at, unsafeAddr it[0], it.len)

proc raw(it: Option[string]): RawOption[RawText] =
  if it.isSome: RawOption[RawText](isSome: true, value: raw(it.get)) else: RawOption[RawText]()

proc raw[T, R](items: seq[T], convert: proc (it: T): R {.nimcall.}): RawList[R] =
  result = RawList[R](at: cast[ptr UncheckedArray[R]](bytes(items.len * sizeof(R))), len: items.len.uint32)
  for i, it in items: result.at[i] = convert(it)

proc raw(it: Label): RawLabel = RawLabel(key: raw(it.key), value: raw(it.value))

proc raw(it: Place): RawPlace = RawPlace(tag: it.kind.ord.uint8, first: it.first, second: it.second)

proc raw(it: Edit): RawEdit = RawEdit(at: raw(it.at), start: it.start.uint32, stop: it.stop.uint32, text: raw(it.text))

proc raw(it: Finding): RawFinding =
  let score = if it.score.isSome: RawOption[float32](isSome: true, value: it.score.get) else: RawOption[float32]()
  RawFinding(rule: raw(it.rule), at: raw(it.at), start: it.start.uint32, stop: it.stop.uint32, score: score)

proc raw(it: Report): RawReport =
  result.verdict.tag = it.verdict.ord.uint8
  case it.verdict
  of vAllow: discard
  of vSanitize: result.verdict.value.edits = it.edits.raw(proc (it: Edit): RawEdit = raw(it))
  of vBlock: result.verdict.value.why = raw(it.why)
  of vRequireApproval:
    let approvers = it.approvers.raw(proc (it: string): RawText = raw(it))
    result.verdict.value.question = RawQuestion(prompt: raw(it.why), approvers: approvers, required: it.required)
  result.findings = it.findings.raw(proc (it: Finding): RawFinding = raw(it))
  result.labels = it.labels.raw(proc (it: Label): RawLabel = raw(it))
  result.memory = raw(it.memory)

# ---- the exports ----

proc exampleOf(stage: Stage, text: string): Input =
  ## An input of one text.
  let said = @[Part(kind: textPart, text: text)]
  let message = case stage
    of ingress: Message(role: user, parts: said)
    of toolResult: Message(role: tool, parts: said)
    of toolCall: Message(role: assistant, toolCalls: @[ToolCall(id: "call-1", name: "tool", arguments: text)])
    of egress: Message(role: assistant, parts: said)
  Input(stage: stage, messages: @[message])

var
  manifest: RawManifest
  outcome: RawOutcome
  scanned: RawScan

proc describeAs*(name, version, description, schema: string, stages: set[Stage], scope: Scope): ptr RawManifest =
  var list: seq[uint8]
  for it in stages: list.add it.ord.uint8
  manifest = RawManifest(name: raw(name), version: raw(version), description: raw(description), scope: scope.ord.uint8, schema: raw(schema),
    stages: list.raw(proc (it: uint8): uint8 = it))
  addr manifest

proc configureWith*(text: ptr UncheckedArray[char], len: uint32, refusal: proc (text: string): string): ptr RawOutcome =
  var why: string
  try: why = refusal(text(RawText(at: text, len: len)))
  except Exception as mistake: why = mistake.msg
  release(handed)
  outcome = RawOutcome(isError: why != "", why: raw(why))
  addr outcome

proc scanWith*(given: ptr RawInput, judge: proc (input: Input): Report): ptr RawScan =
  reset(scanned)
  try:
    let input = input(given[])
    release(handed)
    scanned.value.report = raw(judge(input))
  except Exception as mistake:
    scanned.isError = true
    scanned.value.why = raw("the guard failed: " & mistake.msg)
  addr scanned

proc warm*(judge: proc (input: Input): Report, texts: openArray[string], stages: set[Stage]) =
  for text in texts:
    for stage in stages: discard judge(exampleOf(stage, text))

proc acceptAll*[S](settings: var S): string = ""

template guard*(S: typedesc, scan: untyped, name, version, description: string, stages: set[Stage] = {ingress .. egress},
    scope: Scope = conversation, configured: untyped = acceptAll[S], warmUp: seq[string] = @[]) =
  ## Makes a component of the module; once in it.
  var
    aegisSettings = default(S)
    aegisConfigured = false

  proc aegisJudge(input: Input): Report =
    if not aegisConfigured: raise newException(ValueError, "not configured")
    scan(aegisSettings, input)

  proc aegisPrepare(text: string): string =
    if aegisConfigured: return "configured twice"
    result = readSettings(aegisSettings, text)
    if result == "": result = configured(aegisSettings)
    if result != "": return
    aegisConfigured = true
    warm(aegisJudge, warmUp, stages)

  proc aegisDescribe(): ptr RawManifest
      {.exportc, codegenDecl: "__attribute__((export_name(\"aegis:guard/scanner@0.1.0#describe\"))) $# $#$#".} =
    describeAs(name, version, description, schemaOf(default(S)), stages, scope)

  proc aegisConfigure(text: ptr UncheckedArray[char], len: uint32): ptr RawOutcome
      {.exportc, codegenDecl: "__attribute__((export_name(\"aegis:guard/scanner@0.1.0#configure\"))) $# $#$#".} =
    configureWith(text, len, aegisPrepare)

  proc aegisScan(input: ptr RawInput): ptr RawScan
      {.exportc, codegenDecl: "__attribute__((export_name(\"aegis:guard/scanner@0.1.0#scan\"))) $# $#$#".} =
    scanWith(input, aegisJudge)

# There is no `main` that would set up Nim's globals; the reactor's `_initialize` does.
{.emit: """
void NimMain(void);
__attribute__((constructor)) static void aegis_start(void) { NimMain(); }
""".}
