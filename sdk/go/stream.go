package aegis

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Streamer is a guard that judges replies while the model is still writing them, with the Scan that it has anyway. It has to find the same in a part
// of a text as in the whole: so patterns and words are fine, counting hits is not. Where it blocks or asks, its findings say why: until they are too far
// back to change, nothing more goes out.
type Streamer interface {
	// Longest is how many bytes a hit has at most, together with what has to be looked at before and behind it to see that it is one. So much is held
	// back, and anything before is final.
	Longest() int
}

// step is what may go out of a reply.
type step struct {
	kind stepKind
	text string
}

type stepKind uint8

const (
	emit  stepKind = iota // this
	block                 // nothing more: why
	hold                  // nothing more before a person has seen the whole
)

// reply is one reply, as far as it has come. What may still become a hit is held back; in the end all is scanned once more, as if it had come in one
// piece, and what went out has to be the beginning of what comes of that.
type reply struct {
	before  *Input
	longest int
	text    []byte
	settled int    // bytes of the text that are done with
	out     []byte // what went out for them
	hits    []hit  // what was found in them
	over    bool
}

type hit struct{ start, end int }

// seen is what a scan of the reply from some place on has found; places count from the reply's beginning.
type seen struct {
	report  *Report
	hits    []hit
	edits   []Edit
	reasons bool // whether there are findings at all, as reasons for the verdict
}

func open(before *Input) (*reply, error) {
	guard, ok := exported.(Streamer)
	if !ok {
		return nil, fmt.Errorf("this guard does not judge streams")
	}
	return &reply{before: before, longest: max(1, guard.Longest())}, nil
}

func (it *reply) push(piece string) (step, error) {
	if it.over {
		return step{}, fmt.Errorf("the stream is over")
	}
	it.text = append(it.text, piece...)
	safe := it.back(len(it.text))
	if safe <= it.settled {
		return step{}, nil
	}
	for _, from := range []int{beforeHits(it.back(it.settled), it.hits), 0} {
		found, err := it.see(from)
		if err != nil {
			return step{}, err
		}
		end := beforeHits(safe, found.hits)
		if found.report.Block == nil && found.report.Ask == nil {
			if it.knows(found, from) {
				return step{text: it.settle(end, found)}, nil
			}
			continue
		}
		// Which of the findings is the reason cannot be told: all of them have to be final.
		if !found.reasons || slices.ContainsFunc(found.hits, func(it hit) bool { return it.end > end }) {
			return step{}, nil
		}
		if from == 0 {
			it.over = true
			return ended(found.report), nil
		}
	}
	return step{}, it.surprised()
}

// close says what is left when the reply is complete, or nothing more of it matters, and the evidence.
func (it *reply) close() (step, *Report, error) {
	report, err := it.scan(0)
	if err != nil {
		return step{}, nil, err
	}
	evidence := *report
	evidence.Block, evidence.Ask = nil, nil
	switch {
	case it.over:
		return step{}, &evidence, nil
	case report.Block != nil || report.Ask != nil:
		return ended(report), &evidence, nil
	}
	rest, ok := strings.CutPrefix(it.edited(0, len(it.text), report.Edits), string(it.out))
	if !ok {
		return step{}, nil, it.surprised()
	}
	return step{text: rest}, &evidence, nil
}

func ended(report *Report) step {
	if report.Block != nil {
		return step{block, *report.Block}
	}
	return step{kind: hold}
}

// settle lets all before end go out.
func (it *reply) settle(end int, found seen) string {
	if end <= it.settled {
		return ""
	}
	text := it.edited(it.settled, end, found.edits)
	for _, hit := range found.hits {
		if hit.start >= it.settled && hit.end <= end {
			it.hits = append(it.hits, hit)
		}
	}
	it.settled = end
	it.out = append(it.out, text...)
	return text
}

// back is as far before a place as a hit may be long, and in the middle of no character.
func (it *reply) back(end int) int {
	at := max(0, end-it.longest)
	for at > 0 && at < len(it.text) && !utf8.RuneStart(it.text[at]) {
		at--
	}
	return at
}

// knows says whether it was found again what was found before, and nothing else there: if not, the part began in the middle of something.
func (it *reply) knows(found seen, from int) bool {
	var again, known []hit
	for _, hit := range found.hits {
		if hit.start < it.settled {
			again = append(again, hit)
		}
	}
	for _, hit := range it.hits {
		if hit.start >= from {
			known = append(known, hit)
		}
	}
	return slices.Equal(again, known)
}

func (it *reply) see(from int) (seen, error) {
	report, err := it.scan(from)
	if err != nil {
		return seen{}, err
	}
	found := seen{report: report}
	for _, finding := range report.Findings {
		if finding.At == it.here() {
			found.reasons = true
			found.hits = append(found.hits, hit{finding.Start + from, finding.End + from})
		}
	}
	for _, edit := range report.Edits {
		if edit.At == it.here() {
			edit.Start, edit.End = edit.Start+from, edit.End+from
			found.edits = append(found.edits, edit)
			found.hits = append(found.hits, hit{edit.Start, edit.End})
		}
	}
	slices.SortFunc(found.hits, func(a, b hit) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) })
	found.hits = slices.Compact(found.hits)
	return found, nil
}

func (it *reply) scan(from int) (*Report, error) {
	given := *it.before
	message := Message{Role: Assistant, Parts: []Part{{Text: string(it.text[from:])}}}
	given.Messages = append(slices.Clone(it.before.Messages), message)
	report, err := scan(&given)
	if err != nil || report.Block != nil || report.Ask != nil {
		return report, err
	}
	if slices.ContainsFunc(report.Edits, func(edit Edit) bool { return edit.At != it.here() }) {
		return nil, fmt.Errorf("an edit stands outside of the reply: at egress nothing else may be edited")
	}
	return report, nil
}

// here is where the reply stands.
func (it *reply) here() Place { return Place{PlacePart, uint32(len(it.before.Messages)), 0} }

// edited is a part of the text with the edits in it.
func (it *reply) edited(start, end int, edits []Edit) string {
	edits = slices.Clone(edits)
	slices.SortFunc(edits, func(a, b Edit) int { return cmp.Compare(a.Start, b.Start) })
	var out strings.Builder
	done := start
	for _, edit := range edits {
		if edit.Start >= max(start, done) && edit.End <= end {
			out.Write(it.text[done:edit.Start])
			out.WriteString(edit.Text)
			done = edit.End
		}
	}
	out.Write(it.text[done:end])
	return out.String()
}

func (it *reply) surprised() error {
	return fmt.Errorf("what came later changed what was found before: a hit is longer than the %d bytes that Longest says", it.longest)
}

// beforeHits is the last place up to end that is in the middle of no hit.
func beforeHits(end int, hits []hit) int {
	for {
		inside := slices.IndexFunc(hits, func(it hit) bool { return it.start < end && end < it.end })
		if inside < 0 {
			return end
		}
		end = hits[inside].start
	}
}

func (at writer) step(offset uint32, it step) {
	at.byte(offset, uint8(it.kind))
	if it.kind != hold {
		at.text(offset+4, it.text)
	}
}
