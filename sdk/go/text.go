package aegis

import (
	"cmp"
	"slices"
	"strings"
)

// Lower changes ASCII letters only: offsets in it are offsets in the text.
func Lower(text string) string {
	bytes := []byte(text)
	for i, b := range bytes {
		if 'A' <= b && b <= 'Z' {
			bytes[i] = b + 'a' - 'A'
		}
	}
	return string(bytes)
}

// index is that of what at or behind from; -1: none, and of an empty text too.
func index(in, what string, from int) int {
	if what == "" || from > len(in) {
		return -1
	}
	at := strings.Index(in[from:], what)
	if at < 0 {
		return -1
	}
	return from + at
}

func sorted(found []Finding) []Finding {
	found = slices.Clone(found)
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.At.Kind, b.At.Kind), cmp.Compare(a.At.First, b.At.First), cmp.Compare(a.At.Second, b.At.Second), cmp.Compare(a.Start, b.Start))
	})
	return found
}
