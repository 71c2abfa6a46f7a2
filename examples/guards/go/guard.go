// Guard "sensitive-topic": people decide, or nothing passes, when a user speaks of one of the configured phrases.
package main

import (
	"aegis"
	"strings"
)

type sensitiveTopic struct {
	Phrases []string `doc:"Found wherever they stand, in whatever case"`
	Action  string   `doc:"What follows when one is found" enum:"require_approval,block" default:"require_approval"`
}

func (guard *sensitiveTopic) Scan(input *aegis.Input) (*aegis.Report, error) {
	var found []aegis.Finding
	for _, text := range input.Texts() {
		if text.IsFrom(aegis.User) {
			found = append(found, text.Find(guard.Phrases)...)
		}
	}
	if len(found) == 0 {
		return aegis.Allow(), nil
	}
	topic := strings.ToUpper(found[0].Rule[:1]) + found[0].Rule[1:]
	if guard.Action == "block" {
		return aegis.Block(topic+" is not allowed", found), nil
	}
	return aegis.RequireApproval(topic+" requires human review", found), nil
}

func init() {
	aegis.Export(&sensitiveTopic{}, aegis.About{
		Name: "sensitive-topic", Version: "1.0.0", Description: "Asks for human review of sensitive topics",
		Stages: []aegis.Stage{aegis.Ingress}, Scope: aegis.PerMessage,
	})
}

func main() {}
