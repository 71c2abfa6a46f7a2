package main

import (
	"aegis"
	"testing"
)

func TestAWordAsksForReview(t *testing.T) {
	guard := &{{Camel}}{Words: []string{"advice"}}
	report, err := guard.Scan(aegis.Example(aegis.Ingress, "I need Advice"))
	if err != nil || report.Ask == nil || report.Findings[0].Start != 7 {
		t.Fatal(report, err)
	}
}
