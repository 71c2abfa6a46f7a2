package aegis

import (
	"math"
	"unsafe"
)

// The contract's layout (aegis:guard@0.1.0), as its canonical ABI has it: 32-bit pointers, written and read by hand. Go's memory does not move, so an
// address holds as long as something refers to what is there.

// handed is what the host handed over for one call, kept what it is still reading.
var handed, kept [][]uint64

// memory is room of the size, aligned for everything, which owner keeps: where it is.
func memory(size uint32, owner *[][]uint64) uint32 {
	words := make([]uint64, size/8+1)
	*owner = append(*owner, words)
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(words))))
}

func pointer(at uint32) unsafe.Pointer { return unsafe.Pointer(uintptr(at)) }

type reader uint32

func (at reader) byte(offset uint32) uint8  { return *(*uint8)(pointer(uint32(at) + offset)) }
func (at reader) word(offset uint32) uint32 { return *(*uint32)(pointer(uint32(at) + offset)) }
func (at reader) long(offset uint32) uint64 { return *(*uint64)(pointer(uint32(at) + offset)) }

func (at reader) text(offset uint32) string {
	length := at.word(offset + 4)
	if length == 0 {
		return ""
	}
	return string(unsafe.Slice((*byte)(pointer(at.word(offset))), length))
}

func (at reader) option(offset uint32) *string {
	if at.byte(offset) == 0 {
		return nil
	}
	text := at.text(offset + 4)
	return &text
}

func each[T any](at reader, offset, size uint32, convert func(reader) T) []T {
	items := make([]T, at.word(offset+4))
	for i := range items {
		items[i] = convert(reader(at.word(offset) + uint32(i)*size))
	}
	return items
}

func text(at reader) string          { return at.text(0) }
func label(at reader) Label          { return Label{at.text(0), at.text(8)} }
func call(at reader) Call            { return Call{at.text(0), at.text(8), at.text(16)} }
func tool(at reader) ToolDescription { return ToolDescription{at.text(0), at.text(8), at.text(16)} }

func part(at reader) Part {
	switch kind := PartKind(at.byte(0)); kind {
	case MediaPart:
		return Part{Kind: kind, Mime: at.text(4), URI: at.text(12)}
	default:
		return Part{Kind: kind, Text: at.text(4)}
	}
}

func message(at reader) Message {
	return Message{Role(at.byte(0)), each(at, 4, 20, part), at.option(12), each(at, 24, 24, call), at.option(32)}
}

func input(at reader) *Input {
	return &Input{
		Stage: Stage(at.byte(0)), RunID: at.text(4), Route: at.text(12), Model: at.text(20),
		Principal: Principal{at.text(28), each(at, 36, 8, text), each(at, 44, 8, text)},
		Time:      at.long(56), Metadata: each(at, 64, 16, label), Context: each(at, 72, 16, label), Labels: each(at, 80, 16, label),
		Memory: at.option(88), Tools: each(at, 100, 24, tool), Messages: each(at, 108, 44, message),
	}
}

type writer uint32

func (at writer) byte(offset uint32, value uint8)  { *(*uint8)(pointer(uint32(at) + offset)) = value }
func (at writer) word(offset uint32, value uint32) { *(*uint32)(pointer(uint32(at) + offset)) = value }

func (at writer) text(offset uint32, value string) {
	to := memory(uint32(len(value)), &kept)
	copy(unsafe.Slice((*byte)(pointer(to)), len(value)), value)
	at.word(offset, to)
	at.word(offset+4, uint32(len(value)))
}

func (at writer) option(offset uint32, value *string) {
	if value != nil {
		at.byte(offset, 1)
		at.text(offset+4, *value)
	}
}

func writeEach[T any](at writer, offset, size uint32, items []T, write func(writer, T)) {
	to := memory(uint32(len(items))*size, &kept)
	for i, item := range items {
		write(writer(to+uint32(i)*size), item)
	}
	at.word(offset, to)
	at.word(offset+4, uint32(len(items)))
}

func writeText(at writer, it string) { at.text(0, it) }

func writeLabel(at writer, it Label) {
	at.text(0, it.Key)
	at.text(8, it.Value)
}

func (at writer) place(offset uint32, it Place) {
	at.byte(offset, uint8(it.Kind))
	at.word(offset+4, it.First)
	at.word(offset+8, it.Second)
}

func writeFinding(at writer, it Finding) {
	at.text(0, it.Rule)
	at.place(8, it.At)
	at.word(20, uint32(it.Start))
	at.word(24, uint32(it.End))
	if it.Score != nil {
		at.byte(28, 1)
		at.word(32, math.Float32bits(*it.Score))
	}
}

func writeEdit(at writer, it Edit) {
	at.place(0, it.At)
	at.word(12, uint32(it.Start))
	at.word(16, uint32(it.End))
	at.text(20, it.Text)
}

func (at writer) verdict(offset uint32, it *Report) {
	switch {
	case it.Block != nil:
		at.byte(offset, 2)
		at.text(offset+4, *it.Block)
	case it.Ask != nil:
		at.byte(offset, 3)
		at.text(offset+4, it.Ask.Prompt)
		writeEach(at, offset+12, 8, it.Ask.Approvers, writeText)
		at.word(offset+20, it.Ask.Required)
	case len(it.Edits) > 0:
		at.byte(offset, 1)
		writeEach(at, offset+4, 28, it.Edits, writeEdit)
	}
}

func (at writer) report(offset uint32, it *Report) {
	at.verdict(offset, it)
	writeEach(at, offset+24, 36, it.Findings, writeFinding)
	writeEach(at, offset+32, 16, it.Labels, writeLabel)
	at.option(offset+40, it.Memory)
}
