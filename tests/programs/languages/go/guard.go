// Does what the text says: each word is a way to misbehave that Go knows, or something that the SDK offers.
package main

import (
	"aegis"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
	"unsafe"
)

type hostile struct {
	Text   string   `default:"t"`
	Number float64  `default:"1.5"`
	Flag   bool     `default:"false"`
	Choice string   `enum:"one,two" default:"one"`
	List   []string `default:"[]"`
}

var (
	seen, warmed int
	kept         [][]byte
)

func deeper(n int) int {
	var room [256]byte
	room[n%256] = byte(n)
	return deeper(n+1) + int(room[n%256])
}

func (guard *hostile) Scan(input *aegis.Input) (*aegis.Report, error) {
	texts := input.Texts()
	if len(texts) == 0 {
		return aegis.Allow(), nil
	}
	if deed, known := deeds[texts[0].Text]; known {
		return deed(texts[0])
	}
	switch texts[0].Text {
	case "settings":
		return guard.tellSettings(), nil
	case "warm":
		warmed++
		return aegis.Allow(), nil
	case "tell warmth":
		return aegis.Block(fmt.Sprint(warmed), nil), nil
	case "ask":
		return &aegis.Report{Ask: &aegis.Question{Prompt: "sure?", Approvers: []string{"team:risk", "role:approver"}, Required: 2}}, nil
	case "remember":
		return remember(input), nil
	}
	return aegis.Mask(input.Find([]string{"secret", "retsec"}), "***"), nil
}

// WarmUp makes it judge once at every stage.
func (guard *hostile) WarmUp() []string { return []string{"warm"} }

func (guard *hostile) tellSettings() *aegis.Report {
	told := fmt.Sprintf("%s %d %s %s ", guard.Text, int(guard.Number*10), map[bool]string{true: "yes", false: "no"}[guard.Flag], guard.Choice)
	for _, item := range guard.List {
		told += item + "+"
	}
	return aegis.Block(told, nil)
}

func remember(input *aegis.Input) *aegis.Report {
	memory := "x"
	if input.Memory != nil {
		memory = *input.Memory + memory
	}
	return &aegis.Report{Memory: &memory, Labels: []aegis.Label{{Key: "seen", Value: "yes"}}}
}

// done is a deed that changes nothing.
func done(deed func()) func(aegis.Text) (*aegis.Report, error) {
	return func(aegis.Text) (*aegis.Report, error) {
		deed()
		return aegis.Allow(), nil
	}
}

// tried is a deed that must not succeed.
func tried(deed func() error) func(aegis.Text) (*aegis.Report, error) {
	return func(aegis.Text) (*aegis.Report, error) {
		if err := deed(); err != nil {
			return nil, err
		}
		return aegis.Block("it got through", nil), nil
	}
}

var deeds = map[string]func(aegis.Text) (*aegis.Report, error){
	"spin": done(func() {
		for {
			seen++
		}
	}),
	"allocate": done(func() {
		for {
			kept = append(kept, make([]byte, 1<<20))
		}
	}),
	"recurse":                done(func() { seen = deeper(0) }),
	"panic":                  done(func() { panic("it is not my day") }),
	"panic behind the back":  done(func() { go panic("it is not my day"); time.Sleep(time.Millisecond) }),
	"exit":                   done(func() { os.Exit(0) }),
	"wait for ever":          done(func() { <-make(chan int) }),
	"sleep":                  done(func() { time.Sleep(time.Hour) }),
	"print":                  done(func() { fmt.Println("to nobody"); fmt.Fprintln(os.Stderr, "to nobody") }),
	"index behind the end":   done(func() { seen = int(kept[seen+1000][0]) }),
	"read what is not there": done(func() { seen = int(*(*byte)(unsafe.Pointer(uintptr(0xfffffff0)))) }),
	"fail":                   tried(func() error { return errors.New("it is not my day") }),
	"read a file":            tried(func() error { _, err := os.ReadFile("/etc/passwd"); return err }),
	"list a folder":          tried(func() error { _, err := os.ReadDir("/"); return err }),
	"open a socket":          tried(func() error { _, err := net.Dial("tcp", "127.0.0.1:80"); return err }),
	"read the environment": tried(func() error {
		if os.Getenv("PATH") == "" {
			return errors.New("nothing there")
		}
		return nil
	}),
	"return nothing": func(aegis.Text) (*aegis.Report, error) { return nil, nil },
	"forge a finding": func(text aegis.Text) (*aegis.Report, error) {
		return aegis.Block("x", []aegis.Finding{text.Finding("rule", 3, 1000)}), nil
	},
	"keep state": func(aegis.Text) (*aegis.Report, error) {
		if seen++; seen > 1 {
			return aegis.Block("it kept its state", nil), nil
		}
		return aegis.Allow(), nil
	},
}

func init() {
	aegis.Export(&hostile{}, aegis.About{Name: "hostile", Version: "0.0.0", Description: "Does what the text says"})
}

func main() {}
