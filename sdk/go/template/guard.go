// Asks for human review where a word of the settings is spoken of.
package main

import "aegis"

type {{Camel}} struct {
	Words []string `doc:"What asks for review, in whatever case"`
}

func (guard *{{Camel}}) Scan(input *aegis.Input) (*aegis.Report, error) {
	found := input.Find(guard.Words)
	if len(found) == 0 {
		return aegis.Allow(), nil
	}
	return aegis.RequireApproval("A word was found: is this all right?", found), nil
}

func init() {
	aegis.Export(&{{Camel}}{}, aegis.About{
		Name: "{{name}}", Version: "0.1.0", Description: "Asks for human review where a word of the settings is spoken of",
		Scope: aegis.PerMessage,
	})
}

func main() {}
