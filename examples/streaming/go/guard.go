// Guard "no-secrets": masks SECRET- and four digits in replies while the model is still writing, and ends them at a forbidden word of the settings.
package main

import (
	"aegis"
	"regexp"
)

var secret = regexp.MustCompile(`SECRET-[0-9]{4}`)

type noSecrets struct {
	Forbidden []string `doc:"What ends a reply, in whatever case" default:"[]"`
}

func (guard *noSecrets) Scan(input *aegis.Input) (*aegis.Report, error) {
	var forbidden, secrets []aegis.Finding
	for _, text := range input.Texts() {
		for _, it := range text.Find(guard.Forbidden) {
			forbidden = append(forbidden, text.Finding("forbidden", it.Start, it.End))
		}
		for _, at := range secret.FindAllStringIndex(text.Text, -1) {
			secrets = append(secrets, text.Finding("secret", at[0], at[1]))
		}
	}
	if len(forbidden) > 0 {
		return aegis.Block("The reply contains something forbidden", forbidden), nil
	}
	return aegis.Mask(secrets, "[MASKED]"), nil
}

func (guard *noSecrets) Longest() int {
	longest := len("SECRET-0000")
	for _, it := range guard.Forbidden {
		longest = max(longest, len(it))
	}
	return longest
}

func init() {
	aegis.Export(&noSecrets{}, aegis.About{
		Name: "no-secrets", Version: "1.0.0", Description: "Masks secrets in replies while the model is still writing, and ends them at a forbidden word",
		Stages: []aegis.Stage{aegis.Egress},
	})
}

func main() {}
