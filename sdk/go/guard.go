// Package aegis is for writing guards in Go. A guard is a function of what it is handed: no files, no network, no clock, no randomness.
//
//	package main
//
//	import "aegis"
//
//	type Words struct {
//		Words []string `doc:"What nobody may say"`
//	}
//
//	func (guard *Words) Scan(input *aegis.Input) (*aegis.Report, error) {
//		return aegis.BlockIfAny("a forbidden word", input.Find(guard.Words)), nil
//	}
//
//	func init() {
//		aegis.Export(&Words{}, aegis.About{Name: "words", Version: "0.1.0", Description: "Blocks forbidden words"})
//	}
//
//	func main() {}
//
// The guard's exported fields are its settings; see [Export].
//
// What to know:
//   - One instance, one scan: what the guard holds once it is configured is there in every scan, and what a scan puts there is gone after it.
//     What has to last until a later stage of the same run goes into [Report.Memory] and comes back as [Input.Memory].
//   - Offsets count bytes of the UTF-8 text, as everywhere in Go.
//   - An error is no verdict: the guard could not judge, and nothing passes it. A panic means the same.
//   - Neither goroutines that wait nor anything of `os`, `net` and `time` that asks the system get an answer: there is none.
package aegis

// Stage is where in the pipeline a guard is asked.
type Stage uint8

// In the order of a run.
const (
	Ingress    Stage = iota // what goes to the model: the whole conversation
	ToolResult              // what tools gave back, before the model sees it
	ToolCall                // what the model wants to do, before anyone gets it
	Egress                  // what the model said, before anyone reads it
)

// Role is who speaks.
type Role uint8

// The roles.
const (
	System Role = iota
	Developer
	User
	Assistant
	Tool
)

// Scope says whether a guard judges messages in the light of others or each by itself.
type Scope uint8

// The scopes.
const (
	Conversation Scope = iota
	PerMessage
)

// Guard judges. It may also be a [Configurer], a [Warmer] and a [Streamer].
type Guard interface {
	Scan(input *Input) (*Report, error)
}

// Configurer is a guard that does something dear with its settings, once, at load. An error refuses them.
type Configurer interface {
	Configure() error
}

// Warmer is a guard with texts like those of the traffic, scanned at load, so that whatever fills lazily is full when the first real text comes.
type Warmer interface {
	WarmUp() []string
}

// About is how a guard introduces itself.
type About struct {
	Name, Version, Description string
	Stages                     []Stage // none: all four
	Scope                      Scope
	Notes                      []Label // further facts, such as {"license", "Apache-2.0"}
}

// Label is a name and what it says.
type Label struct{ Key, Value string }

// Input is what a guard is asked about.
type Input struct {
	Stage               Stage
	RunID, Route, Model string
	Principal           Principal
	Time                uint64  // when the run came to this step, in milliseconds since the Unix epoch
	Metadata            []Label // what the client sent along
	Context             []Label // further facts from the host; take no notice of names that you do not know
	Labels              []Label // left by guards that ran earlier in this run
	Memory              *string // what this guard handed back at an earlier stage of this run
	Tools               []ToolDescription
	Messages            []Message // at ToolCall and Egress the model's reply is the last
}

// Principal is who asks, as authenticated by the host.
type Principal struct {
	ID           string
	Teams, Roles []string
}

// ToolDescription is a tool that the model may call; Parameters is its JSON Schema.
type ToolDescription struct{ Name, Description, Parameters string }

// Message is one of the conversation.
type Message struct {
	Role       Role
	Parts      []Part
	Name       *string // the author's, where the client gave one
	Calls      []Call
	ToolCallID *string // of role Tool: the call that this answers
}

// PartKind says what a part is.
type PartKind uint8

// The kinds.
const (
	TextPart PartKind = iota
	MediaPart
	OtherPart // anything else, as the JSON it came in
)

// Part is one piece of a message. Text is that of TextPart and OtherPart; Mime and URI are MediaPart's, the URI as the client wrote it (of inline
// data only its digest, as sha256:<hex>).
type Part struct {
	Kind            PartKind
	Text, Mime, URI string
}

// Call is what the model wants to do; Arguments is JSON text, as the model wrote it.
type Call struct{ ID, Name, Arguments string }

// PlaceKind says what a place is in.
type PlaceKind uint8

// The kinds.
const (
	PlacePart PlaceKind = iota
	PlaceArguments
	PlaceTool
)

// Place is where in the input; numbers count from 0. Of parts and arguments they are the message and the part or call; of a tool the first.
type Place struct {
	Kind          PlaceKind
	First, Second uint32
}

// Text is a text of the input, and where it stands.
type Text struct {
	Text    string
	At      Place
	JSON    bool     // arguments of a call, or a part that is neither text nor media (which may not be edited)
	Message *Message // nil for the description of a tool
}

// Finding is evidence: which rule saw what, where.
type Finding struct {
	Rule       string
	At         Place
	Start, End int
	Score      *float32 // how sure, from 0 to 1
}

// Edit replaces the bytes Start to End of the text at one place.
type Edit struct {
	At         Place
	Start, End int
	Text       string
}

// Question is what people have to decide.
type Question struct {
	Prompt    string
	Approvers []string // only these may decide (principals, team:…, role:…); none: whoever the configuration names
	Required  uint32   // at least so many people; 0: as many as the configuration says
}

// Report is a verdict with its evidence. Without Edits, Block and Ask it allows.
type Report struct {
	Edits    []Edit
	Block    *string
	Ask      *Question
	Findings []Finding
	Labels   []Label // for guards that run later in this run
	Memory   *string // comes back as Input.Memory at later stages of this run
}

// Texts are the texts that the stage is about: at Ingress tool descriptions and all of every message, at ToolResult messages of role Tool, at ToolCall
// the arguments of the reply's calls, at Egress the reply's parts.
func (input *Input) Texts() []Text {
	var texts []Text
	if input.Stage == Ingress {
		for n, tool := range input.Tools {
			texts = append(texts, Text{Text: tool.Description, At: Place{PlaceTool, uint32(n), 0}})
		}
	}
	for m := range input.Messages {
		if message := &input.Messages[m]; input.asks(m) {
			texts = append(texts, input.textsOf(uint32(m), message)...)
		}
	}
	return texts
}

func (input *Input) asks(m int) bool {
	switch input.Stage {
	case Ingress:
		return true
	case ToolResult:
		return input.Messages[m].Role == Tool
	default:
		return m == len(input.Messages)-1
	}
}

func (input *Input) textsOf(m uint32, message *Message) (texts []Text) {
	if input.Stage != ToolCall {
		for p, part := range message.Parts {
			if part.Kind != MediaPart {
				texts = append(texts, Text{part.Text, Place{PlacePart, m, uint32(p)}, part.Kind == OtherPart, message})
			}
		}
	}
	if input.Stage == Ingress || input.Stage == ToolCall {
		for c, call := range message.Calls {
			texts = append(texts, Text{call.Arguments, Place{PlaceArguments, m, uint32(c)}, true, message})
		}
	}
	return texts
}

// Find finds the phrases in all texts of the stage; see [Text.Find].
func (input *Input) Find(phrases []string) []Finding {
	var found []Finding
	for _, text := range input.Texts() {
		found = append(found, text.Find(phrases)...)
	}
	return found
}

// IsFrom says whether it stands in a message of this role.
func (text Text) IsFrom(role Role) bool { return text.Message != nil && text.Message.Role == role }

// Finding is evidence that rule saw something at these bytes of the text.
func (text Text) Finding(rule string, start, end int) Finding {
	return Finding{Rule: rule, At: text.At, Start: start, End: end}
}

// Find finds where one of the phrases stands, in any case of ASCII letters; the phrase is the rule.
func (text Text) Find(phrases []string) []Finding {
	var found []Finding
	small := Lower(text.Text)
	for _, phrase := range phrases {
		wanted := Lower(phrase)
		for at := index(small, wanted, 0); at >= 0; at = index(small, wanted, at+len(phrase)) {
			found = append(found, text.Finding(phrase, at, at+len(phrase)))
		}
	}
	return found
}

// Allow lets everything pass.
func Allow() *Report { return &Report{} }

// Block lets nothing pass; why is shown to the caller.
func Block(why string, found []Finding) *Report { return &Report{Block: &why, Findings: found} }

// BlockIfAny blocks where anything was found.
func BlockIfAny(why string, found []Finding) *Report {
	if len(found) == 0 {
		return Allow()
	}
	return Block(why, found)
}

// RequireApproval lets people decide.
func RequireApproval(prompt string, found []Finding) *Report {
	return &Report{Ask: &Question{Prompt: prompt}, Findings: found}
}

// Mask puts with in the place of everything found (what overlaps is replaced together), and allows where nothing was.
func Mask(found []Finding, with string) *Report {
	var edits []Edit
	for _, it := range sorted(found) {
		if last := len(edits) - 1; last >= 0 && edits[last].At == it.At && it.Start < edits[last].End {
			edits[last].End = max(edits[last].End, it.End)
			continue
		}
		edits = append(edits, Edit{it.At, it.Start, it.End, with})
	}
	return &Report{Edits: edits, Findings: found}
}
