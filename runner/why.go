package runner

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/modyard/modyard/schema"
)

// FieldChange is one difference between the documents of two keys.
type FieldChange struct {
	Field  string `json:"field"` // "param epochs", "input data", "command", …
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// String is the change on one line.
func (c FieldChange) String() string {
	switch {
	case c.Before == "":
		return fmt.Sprintf("%s: %s is new", c.Field, c.After)
	case c.After == "":
		return fmt.Sprintf("%s: %s is gone", c.Field, c.Before)
	}
	return fmt.Sprintf("%s: %s → %s", c.Field, c.Before, c.After)
}

// Differences tells which fields of a task's document changed. Both are
// documents as [store.Store.Key] gives them.
func Differences(before, after []byte) ([]FieldChange, error) {
	var a, b map[string]any
	for _, x := range []struct {
		data []byte
		to   *map[string]any
	}{{before, &a}, {after, &b}} {
		if err := decodeExact(x.data, x.to); err != nil {
			return nil, fmt.Errorf("cannot read the document of a key: %w", err)
		}
	}
	var out []FieldChange
	compareFields(a, b, &out)
	return out, nil
}

// groups are the fields of a document that hold named things; each thing is
// compared as a whole but for its parts listed.
var groups = map[string]string{"params": "param", "inputs": "input", "outputs": "output", "env": "env", "environment": "environment"}

func compareFields(a, b map[string]any, out *[]FieldChange) {
	for _, k := range keysOf(a, b) {
		word, isGroup := groups[k]
		if !isGroup {
			addChange(out, fieldName(k), a[k], b[k])
			continue
		}
		ma, _ := a[k].(map[string]any)
		mb, _ := b[k].(map[string]any)
		for _, name := range keysOf(ma, mb) {
			addChange(out, word+" "+name, ma[name], mb[name])
		}
	}
}

func fieldName(k string) string {
	if k == "snapshot" {
		return "source"
	}
	return k
}

func keysOf(a, b map[string]any) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func addChange(out *[]FieldChange, field string, a, b any) {
	x, y := schema.JSON(a), schema.JSON(b)
	if x == y {
		return
	}
	ma, oka := a.(map[string]any)
	mb, okb := b.(map[string]any)
	if oka && okb {
		// Of one thing only the parts that differ: an input's digest, a param's value.
		for _, k := range keysOf(ma, mb) {
			if schema.JSON(ma[k]) != schema.JSON(mb[k]) {
				name := field
				if k != "value" && k != "digest" {
					name += " " + k
				}
				*out = append(*out, FieldChange{name, showField(ma[k]), showField(mb[k])})
			}
		}
		return
	}
	*out = append(*out, FieldChange{field, showField(a), showField(b)})
}

// showField writes a part of a document for people.
func showField(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		if d := schema.Digest(x); d.Valid() {
			return d.Short()
		}
	case map[string]any:
		if val, ok := x["value"]; ok {
			return showField(val)
		}
		if d, ok := x["digest"]; ok {
			return showField(d)
		}
	}
	s := schema.JSON(v)
	const most = 200
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// Brief puts changes on one line.
func Brief(changes []FieldChange) string {
	const most = 2
	var parts []string
	for _, c := range changes[:min(most, len(changes))] {
		parts = append(parts, c.String())
	}
	if n := len(changes) - most; n > 0 {
		parts = append(parts, fmt.Sprintf("%d more", n))
	}
	return strings.Join(parts, "; ")
}

// unfinished says what became of a step that has left no result.
var unfinished = map[State]string{
	Running: "it has not ended", Failed: "it failed", Interrupted: "it was interrupted", Died: "it was killed",
}

// whyNew says why a task runs: what differs from the latest run of the
// pipeline in which its step had another key.
func (e *execution) whyNew(t *Task) string {
	if e.opt.History.Dir == "" {
		return ""
	}
	e.earlier.Do(func() {
		e.last, _ = e.opt.History.Latest(func(r *Record) bool {
			return r.Pipeline == e.plan.Name && r.File == e.plan.File && r.ID != e.rec.ID
		})
	})
	if e.last == nil {
		return "first run"
	}
	s, ok := e.last.Step(t.Step.Name)
	switch {
	case !ok:
		return "a new step"
	case !s.Key.Valid() || s.State == Skipped || s.State == Waiting:
		return "it did not get to run in " + e.last.ID
	case s.Key == t.Key && unfinished[s.State] != "":
		return unfinished[s.State] + " in " + e.last.ID
	case s.Key == t.Key:
		return "its result is no longer in the store"
	}
	before, err := e.opt.Store.Key(s.Key)
	if err != nil || before == nil {
		return ""
	}
	changes, err := Differences(before, t.Document)
	if err != nil {
		return ""
	}
	return Brief(changes)
}
