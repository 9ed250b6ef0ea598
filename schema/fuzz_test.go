package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// seeds gives every case of testdata/manifest to f.
func seeds(f *testing.F, add func(data []byte)) {
	for _, folder := range []string{"err", "ok"} {
		for _, file := range manifests(f, folder) {
			add(readCase(f, file))
		}
	}
}

func FuzzParse(f *testing.F) {
	seeds(f, func(data []byte) { f.Add(data) })
	parsers := map[string]func(string, []byte) (any, Diagnostics){
		"Parse":              Parse,
		"ParseRegistry":      func(file string, data []byte) (any, Diagnostics) { return some(ParseRegistry(file, data)) },
		"ParseModule":        func(file string, data []byte) (any, Diagnostics) { return some(ParseModule(file, data)) },
		"ParseModuleVersion": func(file string, data []byte) (any, Diagnostics) { return some(ParseModuleVersion(file, data)) },
		"ParsePipeline":      func(file string, data []byte) (any, Diagnostics) { return some(ParsePipeline(file, data)) },
		"ParseLock":          func(file string, data []byte) (any, Diagnostics) { return some(ParseLock(file, data)) },
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		src := newSource(data)
		for name, parse := range parsers {
			m, diags := parse("f.yaml", data)
			if m == nil && diags.Errors() == 0 {
				t.Errorf("%s: neither a manifest nor an error", name)
			}
			if m != nil && !json.Valid([]byte(JSON(m))) {
				t.Errorf("%s: %s is not JSON", name, JSON(m))
			}
			again, other := parse("f.yaml", data)
			if !slices.Equal(diags, other) || JSON(m) != JSON(again) {
				t.Errorf("%s: another time\n%s\nthan\n%s", name, listing(other), listing(diags))
			}
			for _, d := range diags {
				line := src.line(int(d.Line))
				if int(d.Line) > len(src.starts) || int(d.Column) > utf8.RuneCount(line)+1 || d.Line > 0 && d.Column < 1 {
					t.Errorf("%s: outside of the file: %v", name, d)
				}
				if strings.ContainsFunc(d.Message+d.Hint, unicode.IsControl) {
					t.Errorf("%s: control characters in %q, %q", name, d.Message, d.Hint)
				}
			}
		}
	})
}

func FuzzTemplate(f *testing.F) {
	seeds(f, func(data []byte) {
		for line := range strings.Lines(string(data)) {
			if strings.Contains(line, "${{") {
				f.Add(line)
			}
		}
	})
	f.Add("}}${{ inputs.a }}${{steps.a.outputs.b}} ${{")
	f.Fuzz(func(t *testing.T, text string) {
		tpl, err := ParseTemplate(text)
		if err != nil {
			if err.Offset < 0 || !strings.HasPrefix(string([]rune(text)[err.Offset:]), "${{") {
				t.Errorf("%q: the error stands at %d", text, err.Offset)
			}
			return
		}
		for _, ref := range tpl.Refs() {
			if !strings.HasPrefix(string([]rune(text)[ref.Offset:]), "${{") {
				t.Errorf("%q: %v stands at %d", text, ref, ref.Offset)
			}
		}
		again, err := ParseTemplate(tpl.String())
		if err != nil || !reflect.DeepEqual(withoutOffsets(tpl), withoutOffsets(again)) {
			t.Errorf("%q: %v becomes %v by %q, %v", text, tpl, again, tpl.String(), err)
		}
	})
}

func withoutOffsets(tpl Template) Template {
	out := slices.Clone(tpl)
	for i, p := range out {
		if p.Ref != nil {
			ref := *p.Ref
			ref.Offset = 0
			out[i].Ref = &ref
		}
	}
	return out
}

func FuzzModuleRef(f *testing.F) {
	for _, s := range []string{"a", "acme/a", "acme/a@1.0.0", "a@^2", "a@>=1.2 <3", "a@ latest ", "a@", "a@b@c", "/a", "a/", "A/b", "a/b/c", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := ParseModuleRef(text)
		if err != nil {
			return
		}
		if again, err := ParseModuleRef(ref.String()); err != nil || again != ref {
			t.Errorf("%q: %+v becomes %+v, %v", text, ref, again, err)
		}
	})
}

func FuzzEdit(f *testing.F) {
	seeds(f, func(data []byte) {
		f.Add(data, "snapshot", "digest", "sha256:00")
		f.Add(data, "description", "", "a: b")
		f.Add(data, "inputs", "data", "{type: file}")
	})
	f.Fuzz(func(t *testing.T, data []byte, first, second, value string) {
		path := []string{first, second}
		if second == "" {
			path = path[:1]
		}
		var before, v any
		if yaml.Unmarshal(data, &before) != nil || yaml.Unmarshal([]byte(value), &v) != nil || strings.Contains(fmt.Sprintf("%#v", before), "map[interface {}]") {
			return
		}
		for name, edit := range map[string]func(*Edit) error{
			"Set":    func(e *Edit) error { return e.Set(value, path...) },
			"Delete": func(e *Edit) error { return e.Delete(path...) },
		} {
			e := NewEdit(data)
			if err := edit(e); err != nil {
				if !bytes.Equal(e.Bytes(), data) {
					t.Errorf("%s changed the text in spite of %v", name, err)
				}
				continue
			}
			var after any
			if err := yaml.Unmarshal(e.Bytes(), &after); err != nil {
				t.Errorf("%s broke the text: %v\n%s", name, err, e.Bytes())
				continue
			}
			want := planted(before, path, v)
			if name == "Delete" {
				want = pruned(before, path)
			}
			if got, want := fmt.Sprintf("%#v", after), fmt.Sprintf("%#v", want); got != want { // where .nan is equal to .nan
				t.Errorf("%s %q to %q: got\n%s\nwant\n%s\nin\n%s", name, path, value, got, want, e.Bytes())
			}
		}
	})
}

// planted is the mapping m with v at path.
func planted(m any, path []string, v any) any {
	if len(path) == 0 {
		return v
	}
	out := map[string]any{path[0]: nil}
	maps.Copy(out, asMap(m))
	out[path[0]] = planted(out[path[0]], path[1:], v)
	return out
}

// pruned is the mapping m without what is at path, if anything is, and without
// the mappings that were there for it alone.
func pruned(m any, path []string) any {
	in, ok := m.(map[string]any)
	child, has := in[path[0]]
	if !ok || !has {
		return m
	}
	out := maps.Clone(in)
	delete(out, path[0])
	if len(path) > 1 {
		rest := pruned(child, path[1:])
		if left, ok := rest.(map[string]any); !ok || len(left) > 0 || reflect.DeepEqual(rest, child) {
			out[path[0]] = rest
		}
	}
	return out
}
