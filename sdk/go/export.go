package aegis

import "fmt"

var (
	exported   Guard
	about      About
	settings   []setting
	mistake    error // the author's: no settings can be taken
	configured bool
	streams    bool // whether it was built with what a Streamer exports
)

// Export makes the guard a component; once, in an init function. The guard is a pointer to a struct; its exported fields are the settings, and their
// tags say more: json:"name", doc:"what it means", enum:"a,b", default:"a". A field without default has to be given, unless it is a pointer.
func Export(guard Guard, introduction About) {
	if exported != nil {
		panic("aegis.Export was called twice: a component is one guard")
	}
	exported, about = guard, introduction
	settings, mistake = settingsOf(guard)
}

func describe() uint32 {
	kept = nil
	at := writer(memory(52, &kept))
	if exported == nil {
		panic("no guard: call aegis.Export in an init function")
	}
	text, err := schema(settings)
	if mistake == nil {
		mistake = err
	}
	at.text(0, about.Name)
	at.text(8, about.Version)
	at.text(16, about.Description)
	writeEach(at, 24, 1, stages(), func(at writer, it Stage) { at.byte(0, uint8(it)) })
	if _, ok := exported.(Streamer); ok && streams {
		at.byte(32, 1)
	}
	if about.Scope == Conversation {
		at.byte(33, 1)
	}
	at.text(36, text)
	writeEach(at, 44, 16, about.Notes, writeLabel)
	return uint32(at)
}

func stages() []Stage {
	if len(about.Stages) == 0 {
		return []Stage{Ingress, ToolResult, ToolCall, Egress}
	}
	return about.Stages
}

func configure(text string) error {
	switch _, err := schema(settings); {
	case exported == nil:
		return fmt.Errorf("no guard: call aegis.Export in an init function")
	case mistake != nil:
		return mistake
	case err != nil:
		return err
	case configured:
		return fmt.Errorf("configured twice")
	}
	if err := read(settings, text); err != nil {
		return err
	}
	if guard, ok := exported.(Configurer); ok {
		if err := guard.Configure(); err != nil {
			return err
		}
	}
	configured = true
	return warmUp()
}

func warmUp() error {
	guard, ok := exported.(Warmer)
	if !ok {
		return nil
	}
	for _, text := range guard.WarmUp() {
		for _, stage := range stages() {
			if _, err := exported.Scan(Example(stage, text)); err != nil {
				return fmt.Errorf("warm-up: %w", err)
			}
		}
	}
	return nil
}

// Example is an input of one text: at Ingress a user's message, at ToolResult a tool's, at ToolCall a reply with one call that has the text as its
// arguments, at Egress a reply. For tests.
func Example(stage Stage, text string) *Input {
	message := Message{Role: Assistant, Parts: []Part{{Text: text}}}
	switch stage {
	case Ingress:
		message.Role = User
	case ToolResult:
		message.Role = Tool
	case ToolCall:
		message = Message{Role: Assistant, Calls: []Call{{"call-1", "tool", text}}}
	}
	return &Input{Stage: stage, Messages: []Message{message}}
}

func scan(input *Input) (report *Report, err error) {
	if !configured {
		return nil, fmt.Errorf("not configured")
	}
	defer func() {
		if panicked := recover(); panicked != nil {
			report, err = nil, fmt.Errorf("the guard panicked: %v", panicked)
		}
	}()
	report, err = exported.Scan(input)
	if err == nil && report == nil {
		err = fmt.Errorf("the guard gave neither a report nor an error")
	}
	return report, err
}
