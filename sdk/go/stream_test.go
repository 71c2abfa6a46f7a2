package aegis

import (
	"math/rand"
	"regexp"
	"strings"
	"testing"
)

// secrets masks SECRET- and four digits, and aa; it blocks at one word and asks at another.
type secrets struct{ longest int }

var pattern = regexp.MustCompile(`SECRET-[0-9]{4}|aa`)

func (guard *secrets) Longest() int { return guard.longest }

func (guard *secrets) Scan(input *Input) (*Report, error) {
	if found := input.Find([]string{"forbidden"}); len(found) > 0 {
		return Block("no", found), nil
	}
	if found := input.Find([]string{"review"}); len(found) > 0 {
		return RequireApproval("?", found), nil
	}
	var found []Finding
	for _, text := range input.Texts() {
		for _, at := range pattern.FindAllStringIndex(text.Text, -1) {
			found = append(found, text.Finding("r", at[0], at[1]))
		}
	}
	return Mask(found, "[]"), nil
}

func streamed(longest int, pieces []string) (out string, end stepKind, err error) {
	return streamedBy(&secrets{longest}, pieces)
}

func streamedBy(guard Guard, pieces []string) (out string, end stepKind, err error) {
	exported, configured = guard, true
	it, err := open(&Input{Stage: Egress})
	for _, piece := range pieces {
		next, err := it.push(piece)
		if err != nil || next.kind != emit {
			return out, next.kind, err
		}
		out += next.text
	}
	rest, _, err := it.close()
	return out + rest.text, rest.kind, err
}

func TestPiecesComeOutAsTheWholeDoes(t *testing.T) {
	bits := []string{"SECRET-", "1234", "12", "SECRET-1234", "a", "aa", "aaa", "👋", "é", " ", "forbid", "forbidden", "den", "x y z"}
	for seed := range int64(3000) {
		dice := rand.New(rand.NewSource(seed))
		var text strings.Builder
		for range 1 + dice.Intn(30) {
			text.WriteString(bits[dice.Intn(len(bits))])
		}
		var pieces []string
		for rest := []rune(text.String()); len(rest) > 0; {
			at := min(dice.Intn(6), len(rest))
			pieces, rest = append(pieces, string(rest[:at])), rest[at:]
		}
		whole, end, err := streamed(11, []string{text.String()})
		out, cutEnd, cutErr := streamed(11, pieces)
		if err != nil || cutErr != nil || end != cutEnd || (end == emit && out != whole) {
			t.Fatalf("seed %d: %q and %q, %v and %v, %v, %v", seed, whole, out, end, cutEnd, err, cutErr)
		}
	}
}

func TestTextGoesOutWhileTheReplyIsBeingWritten(t *testing.T) {
	exported, configured = &secrets{11}, true
	it, _ := open(&Input{Stage: Egress})
	for _, next := range []struct{ piece, out string }{{"héllo SECRET-1234 world", "héllo "}, {", hello", "[] w"}} {
		if out, err := it.push(next.piece); err != nil || out != (step{text: next.out}) {
			t.Errorf("%q: %v, %v", next.piece, out, err)
		}
	}
}

func TestABlockAndAQuestionEndIt(t *testing.T) {
	for word, kind := range map[string]stepKind{"forbidden": block, "review": hold} {
		text := "a long beginning, then " + word + " and a long end that nobody sees"
		out, end, err := streamed(11, strings.Split(text, ""))
		if err != nil || end != kind || !strings.HasPrefix(text, out) || strings.Contains(out, word) {
			t.Errorf("%s: %q, %v, %v", word, out, end, err)
		}
	}
}

// elsewhere edits another message than the reply, where the reply ends like this.
type elsewhere struct{ ends string }

func (guard *elsewhere) Longest() int { return 3 }

func (guard *elsewhere) Scan(input *Input) (*Report, error) {
	if !strings.HasSuffix(input.Texts()[0].Text, guard.ends) {
		return &Report{}, nil
	}
	return &Report{Edits: []Edit{{Place{PlacePart, 7, 0}, 0, 1, "*"}}}, nil
}

func TestAnEditOutsideOfTheReplyIsAnError(t *testing.T) {
	for _, it := range []struct {
		ends   string
		pieces []string
	}{{"", []string{"the answer"}}, {".", []string{"the answer", "."}}, {".", []string{"t."}}} {
		if out, _, err := streamedBy(&elsewhere{it.ends}, it.pieces); err == nil || !strings.Contains(err.Error(), "outside of the reply") {
			t.Errorf("%q: %q, %v", it.pieces, out, err)
		}
	}
}

func TestAHitThatIsLongerThanSaidIsAnError(t *testing.T) {
	if _, _, err := streamed(3, strings.Split("a SECRET-1234 b", "")); err == nil || !strings.Contains(err.Error(), "longer than the 3 bytes") {
		t.Error(err)
	}
}
