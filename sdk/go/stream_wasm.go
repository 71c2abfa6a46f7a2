//go:build wasip1 && aegis_streaming

package aegis

import "unsafe"

// What a guard exports besides that is a [Streamer]: `aegis guard build` says so to the compiler.

var current *reply

func init() { streams = true }

//go:wasmexport aegis:guard/stream-scanner@0.1.0#open
func exportOpen(at uint32) uint32 {
	kept = nil
	given := input(reader(at))
	handed = nil
	out := writer(memory(12, &kept))
	begun, err := open(given)
	if err != nil {
		out.byte(0, 1)
		out.text(4, err.Error())
	}
	current = begun
	return uint32(out)
}

//go:wasmexport aegis:guard/stream-scanner@0.1.0#push
func exportPush(at, length uint32) uint32 {
	kept = nil
	piece := ""
	if length > 0 {
		piece = string(unsafe.Slice((*byte)(pointer(at)), length))
	}
	handed = nil
	out := writer(memory(16, &kept))
	if step, err := current.push(piece); err != nil {
		out.byte(0, 1)
		out.text(4, err.Error())
	} else {
		out.step(4, step)
	}
	return uint32(out)
}

//go:wasmexport aegis:guard/stream-scanner@0.1.0#close
func exportClose() uint32 {
	kept = nil
	out := writer(memory(68, &kept))
	if rest, report, err := current.close(); err != nil {
		out.byte(0, 1)
		out.text(4, err.Error())
	} else {
		out.step(4, rest)
		out.report(16, report)
	}
	return uint32(out)
}
