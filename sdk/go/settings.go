package aegis

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// setting is one exported field of a guard. Its tags: json, the name (else that of the field in small letters, with _ between words); doc, what it
// means; enum, what it may be, between commas; default, what it is when left out. Without default a field has to be given, unless it is a pointer.
type setting struct {
	name     string
	field    reflect.StructField
	value    reflect.Value
	required bool
}

func settingsOf(guard Guard) ([]setting, error) {
	value := reflect.ValueOf(guard)
	if value.Kind() != reflect.Pointer || value.Elem().Kind() != reflect.Struct {
		return nil, errors.New("aegis.Export takes a pointer to a struct, whose exported fields are the settings")
	}
	var settings []setting
	for i := range value.Elem().NumField() {
		field := value.Elem().Type().Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = snake(field.Name)
		}
		_, hasDefault := field.Tag.Lookup("default")
		required := !hasDefault && field.Type.Kind() != reflect.Pointer
		settings = append(settings, setting{name, field, value.Elem().Field(i), required})
	}
	return settings, nil
}

func snake(name string) string {
	var out strings.Builder
	for i, letter := range name {
		if i > 0 && 'A' <= letter && letter <= 'Z' && !('A' <= name[i-1] && name[i-1] <= 'Z') {
			out.WriteByte('_')
		}
		out.WriteString(Lower(string(letter)))
	}
	return out.String()
}

// schema is the JSON Schema of the settings.
func schema(settings []setting) (string, error) {
	if len(settings) == 0 {
		return "", nil
	}
	properties := make([]string, len(settings))
	required := []string{}
	for i, it := range settings {
		kind, err := it.kind(it.field.Type)
		if err != nil {
			return "", err
		}
		if doc := it.field.Tag.Get("doc"); doc != "" {
			kind = `"description":` + quoted(doc) + "," + kind
		}
		if it.required {
			required = append(required, it.name)
		}
		properties[i] = quoted(it.name) + ":{" + kind + "}"
	}
	return `{"type":"object","additionalProperties":false,"properties":{` + strings.Join(properties, ",") + `},"required":` + list(required) + "}", nil
}

func (it setting) kind(of reflect.Type) (string, error) {
	switch {
	case of.Kind() == reflect.Pointer:
		return it.kind(of.Elem())
	case it.field.Tag.Get("enum") != "" && of.Kind() == reflect.String:
		return `"enum":` + list(strings.Split(it.field.Tag.Get("enum"), ",")) + it.fallback(true), nil
	case of.Kind() == reflect.String:
		return `"type":"string"` + it.fallback(true), nil
	case of.Kind() == reflect.Bool:
		return `"type":"boolean"` + it.fallback(false), nil
	case of.Kind() >= reflect.Int && of.Kind() <= reflect.Int64:
		return `"type":"integer"` + it.fallback(false), nil
	case of.Kind() == reflect.Float32 || of.Kind() == reflect.Float64:
		return `"type":"number"` + it.fallback(false), nil
	case of == reflect.TypeFor[[]string]():
		some := ""
		if it.required {
			some = `,"minItems":1`
		}
		return `"type":"array","items":{"type":"string","minLength":1}` + some, nil
	}
	return "", fmt.Errorf("%s: a setting is a string, a []string, a bool, an integer, a float or a pointer to one; not a %s", it.field.Name, of)
}

func (it setting) fallback(text bool) string {
	value, ok := it.field.Tag.Lookup("default")
	switch {
	case !ok:
		return ""
	case text:
		return `,"default":` + quoted(value)
	}
	return `,"default":` + value
}

// read fills the guard's fields; the error refuses the settings.
func read(settings []setting, text string) error {
	given := map[string]json.RawMessage{}
	if strings.TrimSpace(text) == "" {
		text = "{}"
	}
	if err := json.Unmarshal([]byte(text), &given); err != nil {
		return errors.New("settings: expected a JSON object")
	}
	for _, it := range settings {
		value, ok := given[it.name]
		delete(given, it.name)
		if err := it.take(value, ok); err != nil {
			return err
		}
	}
	for name := range given {
		return fmt.Errorf("unknown setting %q; known are: %s", name, names(settings))
	}
	return nil
}

func (it setting) take(value json.RawMessage, given bool) error {
	if !given {
		if it.required {
			return fmt.Errorf("%s: is missing", it.name)
		}
		fallback, ok := it.field.Tag.Lookup("default")
		if !ok {
			return nil
		}
		if it.field.Type.Kind() == reflect.String {
			fallback = strconv.Quote(fallback)
		}
		value = json.RawMessage(fallback)
	}
	decoder := json.NewDecoder(bytes.NewReader(value))
	if err := decoder.Decode(it.value.Addr().Interface()); err != nil {
		return fmt.Errorf("%s: expected %s", it.name, it.field.Type)
	}
	return it.check()
}

func (it setting) check() error {
	if texts, ok := it.value.Interface().([]string); ok {
		if len(texts) == 0 && it.required {
			return fmt.Errorf("%s: expected one or more texts", it.name)
		}
		for _, text := range texts {
			if text == "" {
				return fmt.Errorf("%s: expected texts that are not empty", it.name)
			}
		}
	}
	choices := it.field.Tag.Get("enum")
	if choices == "" || it.value.Kind() != reflect.String {
		return nil
	}
	for _, choice := range strings.Split(choices, ",") {
		if it.value.String() == choice {
			return nil
		}
	}
	return fmt.Errorf("%s: expected one of %s, got %q", it.name, choices, it.value.String())
}

func names(settings []setting) string {
	var names []string
	for _, it := range settings {
		names = append(names, it.name)
	}
	return strings.Join(names, ", ")
}

func quoted(text string) string {
	bytes, _ := json.Marshal(text) // a string can always be written
	return string(bytes)
}

func list(texts []string) string {
	bytes, _ := json.Marshal(texts)
	return string(bytes)
}
