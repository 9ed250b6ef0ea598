package schema

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestRules holds the constants of rules.go and the sections of rules.md to
// each other, in their order.
func TestRules(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "rules.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var constants []Rule
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := v.Type.(*ast.Ident); ok && typ.Name == "Rule" {
			name, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			constants = append(constants, Rule(name))
			if got := "Rule" + strings.ToUpper(name[:1]) + name[1:]; !strings.EqualFold(got, v.Names[0].Name) {
				t.Errorf("%s is %q", v.Names[0].Name, name)
			}
		}
		return true
	})
	if len(constants) == 0 || !slices.Equal(constants, Rules()) {
		t.Errorf("rules.go has\n%q\nrules.md has\n%q", constants, Rules())
	}
	for _, r := range Rules() {
		if text := r.Explain(); text == "" || strings.Contains(text, "#") {
			t.Errorf("%s is explained as %q", r, text)
		}
	}
	if text := Rule("nonsense").Explain(); text != "" {
		t.Error(text)
	}
}

// TestRulesShown: the goldens show every rule of one file by itself at least
// twice, so that none goes untested.
func TestRulesShown(t *testing.T) {
	shown := map[Rule]int{}
	for _, file := range manifests(t, "err") {
		_, diags := parseCase(file, readCase(t, file))
		for _, d := range diags {
			shown[d.Rule]++
			if !slices.Contains(Rules(), d.Rule) {
				t.Errorf("%v: no such rule", d)
			}
		}
	}
	for _, r := range []Rule{RuleYAML, RuleSchema, RuleNames, RuleExpression, RuleInterface, RuleOptional, RuleEnv, RuleUnused, RulePath, RuleState, RuleSelector, RuleSnapshot} {
		if shown[r] < 2 {
			t.Errorf("%s is shown %d times", r, shown[r])
		}
	}
	if shown[RuleNested] == 0 {
		t.Error("nested is not shown")
	}
}

func TestSchemas(t *testing.T) {
	files, err := fs.Glob(Files, "*.schema.json")
	if err != nil || len(files) != len(kindFiles)+1 {
		t.Fatalf("%d schemas for %d kinds: %v", len(files), len(kindFiles), err)
	}
	for _, file := range files {
		data, err := Files.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s map[string]any
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if s["$id"] != BaseURL+file {
			t.Errorf("%s has the $id %v", file, s["$id"])
		}
		if s["$schema"] != "http://json-schema.org/draft-07/schema#" {
			t.Errorf("%s has the $schema %v", file, s["$schema"])
		}
		undescribed(t, file+"#", s)
	}
	for kind, file := range kindFiles {
		data, err := Files.ReadFile(file)
		if err != nil || !strings.Contains(string(data), `"const": "`+kind+`"`) {
			t.Errorf("%s is not of the kind %s: %v", file, kind, err)
		}
		if got, want := EditorComment(kind), "# yaml-language-server: $schema="+BaseURL+file+"\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// undescribed reports the properties, the values of mappings and the elements
// of lists that an editor could say nothing about.
func undescribed(t *testing.T, at string, v any) {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			undescribed(t, at+"/"+strconv.Itoa(i), e)
		}
	case map[string]any:
		for key, e := range v {
			here := at + "/" + key
			switch key {
			case "properties", "definitions":
				for name, p := range asMap(e) {
					if describes(t, here+"/"+name, p) == "" {
						t.Errorf("%s/%s has no description", here, name)
					}
				}
			case "additionalProperties", "propertyNames":
				if asMap(e) != nil && describes(t, here, e) == "" {
					t.Errorf("%s has no description", here)
				}
			case "examples", "enum", "const":
				continue
			}
			undescribed(t, here, e)
		}
	}
}

// describes is the description of a schema, its own or that of its $ref.
func describes(t *testing.T, at string, v any) string {
	s := asMap(v)
	if d := description(s); d != "" {
		return d
	}
	ref, ok := s["$ref"].(string)
	if !ok {
		return ""
	}
	file, fragment, _ := strings.Cut(ref, "#")
	if file == "" {
		file, _, _ = strings.Cut(at, "#")
	}
	var target any = rawSchema(file)
	for _, token := range pointer(fragment) {
		target = asMap(target)[token]
	}
	if target == nil {
		t.Errorf("%s: %s leads nowhere", at, ref)
	}
	return description(asMap(target))
}

// TestUndescribed shows the guard of TestSchemas to fire.
func TestUndescribed(t *testing.T) {
	for text, want := range map[string]string{
		`{"description": "x"}`:                             "x",
		`{"type": "string"}`:                               "",
		`{"$ref": "defs.schema.json#/definitions/secret"}`: "A secret that reaches the step through run.env alone.",
		`{"$ref": "#/definitions/secret"}`:                 "A secret that reaches the step through run.env alone.",
	} {
		var s any
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		if got := describes(t, "defs.schema.json#", s); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
