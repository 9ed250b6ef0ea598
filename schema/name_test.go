package schema

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for s, want := range map[string]struct{ name, ident bool }{
		"a":                     {true, true},
		"train-model":           {true, true},
		"a2-":                   {true, true},
		strings.Repeat("a", 64): {true, true},
		strings.Repeat("a", 65): {false, false},
		"Train":                 {false, true},
		"_x":                    {false, true},
		"a_b":                   {false, true},
		"":                      {false, false},
		"2a":                    {false, false},
		"-a":                    {false, false},
		"a.b":                   {false, false},
		"../a":                  {false, false},
		"a/b":                   {false, false},
		"ä":                     {false, false},
		"a\n":                   {false, false},
		"a ":                    {false, false},
	} {
		if ValidName(s) != want.name || ValidIdent(s) != want.ident {
			t.Errorf("%q: name %v, ident %v", s, ValidName(s), ValidIdent(s))
		}
	}
	if Fold("Learning-Rate") != Fold("LEARNING_rate") || Fold("a") == Fold("b") {
		t.Error("names are folded wrongly")
	}
}

func TestDidYouMean(t *testing.T) {
	types := []string{"file", "folder", "string", "integer", "number", "boolean", "list"}
	many := strings.Split(strings.Repeat("alpha ", 17)+"omega", " ")
	for _, c := range []struct {
		name       string
		candidates []string
		want       string
	}{
		{"fil", types, `did you mean "file"?`},
		{"int", types, `did you mean "integer"?`},
		{"str", types, `did you mean "string"?`},
		{"Fodler", types, `did you mean "folder"?`},
		{"parquet", []string{"file", "folder"}, `there is "file" and "folder"`},
		{"train_model", []string{"train-model", "Train-Model"}, `did you mean "Train-Model" or "train-model"?`},
		{"x", nil, ""},
		{"zzzz", many, ""},
		{strings.Repeat("f", 300), []string{"file"}, `there is "file"`},
	} {
		if got := DidYouMean(c.name, c.candidates); got != c.want {
			t.Errorf("%.20q: got %s, want %s", c.name, got, c.want)
		}
	}
	for want, names := range map[string][]string{"": nil, `"a"`: {"a"}, `"a" or "b"`: {"a", "b"}, `"a", "b" or "c\n"`: {"a", "b", "c\n"}} {
		if got := QuoteList(names, "or"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestValidText: the JSON Schema's pattern and the function say the same.
func TestValidText(t *testing.T) {
	for r := range rune(0x3000) {
		text := "a" + string(r)
		_, diags := ParseModule("m.yaml", []byte("apiVersion: modyard.dev/v1\nkind: Module\nname: a\ndescription: "+strconv.QuoteToASCII(text)+"\n"))
		if r < 0x20 || r == 0x7f { // Go writes some of them as YAML does not read them
			_, diags = ParseModule("m.yaml", fmt.Appendf(nil, "apiVersion: modyard.dev/v1\nkind: Module\nname: a\ndescription: \"a\\x%02x\"\n", r))
		}
		if got := diags.Err() == nil; got != ValidText(text) {
			t.Errorf("%q: the schema says %v", text, got)
		}
	}
}
