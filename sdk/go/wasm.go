//go:build wasip1

package aegis

import "unsafe"

//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	at := pointer(memory(size, &handed))
	if oldSize > 0 {
		copy(unsafe.Slice((*byte)(at), oldSize), unsafe.Slice((*byte)(old), oldSize))
	}
	return at
}

//go:wasmexport aegis:guard/scanner@0.1.0#describe
func exportDescribe() uint32 { return describe() }

//go:wasmexport aegis:guard/scanner@0.1.0#configure
func exportConfigure(at, length uint32) uint32 {
	kept = nil
	settings := ""
	if length > 0 {
		settings = string(unsafe.Slice((*byte)(pointer(at)), length))
	}
	handed = nil
	out := writer(memory(12, &kept))
	if err := configure(settings); err != nil {
		out.byte(0, 1)
		out.text(4, err.Error())
	}
	return uint32(out)
}

//go:wasmexport aegis:guard/scanner@0.1.0#scan
func exportScan(at uint32) uint32 {
	kept = nil
	given := input(reader(at))
	handed = nil
	out := writer(memory(56, &kept))
	if report, err := scan(given); err != nil {
		out.byte(0, 1)
		out.text(4, err.Error())
	} else {
		out.report(4, report)
	}
	return uint32(out)
}
