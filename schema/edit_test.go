package schema

import (
	"strings"
	"testing"
)

func TestEdit(t *testing.T) {
	const block = `# first line

name: train-model   # the name
description: 'It''s a "test"'

# the versions
versions:
  # why
  1.0.0: {state: deprecated, reason: don't, use: 2.0.0}

  1.1.0:
    state: disabled # at once
    reason: |
      # no comment
      leaks
owners:
- octocat
- acme/ml
# last line
`
	set := func(value string, path ...string) func(*Edit) error {
		return func(e *Edit) error { return e.Set(value, path...) }
	}
	del := func(path ...string) func(*Edit) error {
		return func(e *Edit) error { return e.Delete(path...) }
	}
	// A case says what becomes of the text: the line that is replaced, and what
	// stands there then; or, with no text of its own, the error.
	for name, c := range map[string]struct {
		text     string
		edit     func(*Edit) error
		old, new string
		err      string
	}{
		"plain":                   {block, set("classify", "name"), "name: train-model   # the name\n", "name: classify   # the name\n", ""},
		"single quotes":           {block, set(`"a: b"`, "description"), `'It''s a "test"'`, `"a: b"`, ""},
		"flow in block":           {block, set("2.1.0", "versions", "1.0.0", "use"), "use: 2.0.0", "use: 2.1.0", ""},
		"apostrophe in flow":      {block, set("active", "versions", "1.0.0", "state"), "state: deprecated", "state: active", ""},
		"new key in flow":         {block, set("[a, \"b, c\"]", "versions", "1.0.0", "tags"), "use: 2.0.0}", `use: 2.0.0, tags: [a, "b, c"]}`, ""},
		"quotes for flow":         {block, set("a, b", "versions", "1.0.0", "reason"), "reason: don't", `reason: "a, b"`, ""},
		"block for flow":          {block, set("x: 1\nz: [2]", "versions", "1.0.0", "use"), "use: 2.0.0", "use: {x: 1, z: [2]}", ""},
		"block in block":          {block, set("deprecated", "versions", "1.1.0", "state"), "state: disabled #", "state: deprecated #", ""},
		"new key in block":        {block, set("2.0.0", "versions", "1.1.0", "use"), "      leaks\n", "      leaks\n    use: 2.0.0\n", ""},
		"literal":                 {block, set("it leaks", "versions", "1.1.0", "reason"), "reason: |\n      # no comment\n      leaks\n", "reason: it leaks\n", ""},
		"list at the key's level": {block, set("[me]", "owners"), "owners:\n- octocat\n- acme/ml\n", "owners: [me]\n", ""},
		"new key at the end":      {block, set("1.0.0", "default"), "- acme/ml\n", "- acme/ml\ndefault: 1.0.0\n", ""},
		"new mapping":             {block, set("{state: disabled}", "versions", "2.0.0"), "      leaks\n", "      leaks\n  2.0.0: {state: disabled}\n", ""},
		"new path":                {block, set("x", "a", "b-c", "true"), "- acme/ml\n", "- acme/ml\na:\n  b-c:\n    \"true\": x\n", ""},
		"new block":               {block, set("state: disabled\nreason: why", "versions", "2.0.0"), "      leaks\n", "      leaks\n  2.0.0:\n    state: disabled\n    reason: why\n", ""},
		"delete in flow":          {block, del("versions", "1.0.0", "reason"), "reason: don't, ", "", ""},
		"delete last in flow":     {block, del("versions", "1.0.0", "use"), ", use: 2.0.0", "", ""},
		"delete a flow":           {block, del("versions", "1.0.0"), "  1.0.0: {state: deprecated, reason: don't, use: 2.0.0}\n", "", ""},
		"delete a block":          {block, del("versions", "1.1.0"), "  1.1.0:\n    state: disabled # at once\n    reason: |\n      # no comment\n      leaks\n", "", ""},
		"delete a list":           {block, del("owners"), "owners:\n- octocat\n- acme/ml\n", "", ""},
		"delete what is not":      {block, del("versions", "3.0.0"), "", "", ""},
		"delete in a scalar":      {block, del("name", "x"), "", "", ""},
		"delete the only one":     {"a: 1\nb:\n  c: {d: 2}\n", del("b", "c", "d"), "b:\n  c: {d: 2}\n", "", ""},
		"empty flow":              {"a: {}\n", set("1", "a", "b"), "{}", "{b: 1}", ""},
		"flow over lines":         {"a: {b: 1, # one, don't\n    c: 2}\n", set("3", "a", "c"), "2}", "3}", ""},
		"flow with final comma":   {"a: {b: 1, c: 2,}\n", del("a", "c"), ", c: 2", "", ""},
		"value on its own line":   {"a:\n  1 # one\n", set("2", "a"), "1 #", "2 #", ""},
		"folded plain":            {"a: b\n  c\nd: e\n", set("f", "a"), "a: b\n  c\n", "a: f\n", ""},
		"null":                    {"a:\nb: 1\n", set("c", "a"), "a:\n", "a: c\n", ""},
		"no final line break":     {"a: 1", set("2", "b"), "a: 1", "a: 1\nb: 2\n", ""},
		"wide characters":         {"ä: {日本: [ö], 'ü': é} # à\n", set("e", "ä", "ü"), "é}", "e}", ""},
		"CRLF":                    {"a: 1\r\nb: 2\r\n", set("3", "c", "d"), "b: 2\r\n", "b: 2\r\nc:\r\n  d: 3\r\n", ""},
		"anchored mapping":        {"a: &x\n  b: 1\nc: 2\n", set("3", "a", "d"), "b: 1\n", "b: 1\n  d: 3\n", ""},
		"alias as value":          {"a: &x 1\nb: *x\n", set("2", "b"), "b: *x", "b: 2", ""},
		"second document":         {"a: 1\n---\nb: 2\n", set("3", "c"), "a: 1\n", "a: 1\nc: 3\n", ""},

		"through an alias":     {"a: &x {b: 1}\nc: *x\n", set("2", "c", "b"), "", "", "the edit would change more of the file than it should; make it by hand"},
		"an anchor in use":     {"a: &x 1\nb: *x\n", del("a"), "", "", "the edit would break the file: yaml: unknown anchor 'x' referenced"},
		"all that there is":    {"a: 1\n", del("a"), "", "", "the edit would break the file: the text is no mapping"},
		"a key in a scalar":    {"a: 1\n", set("2", "a", "b"), "", "", "cannot set a.b: a is no mapping"},
		"a key in a list":      {"a: [1]\n", set("2", "a", "b"), "", "", "cannot set a.b: a is no mapping"},
		"no value":             {"a: {b: 1}\n", set("", "a", "c"), "", "", `cannot set a.c: "" is no value in YAML`},
		"no YAML":              {"a: {b: 1}\n", set("[", "a", "c"), "", "", `cannot set a.c: "[" is no value in YAML`},
		"a text without keys":  {"- a\n", set("1", "b"), "", "", "cannot edit: the text is no mapping"},
		"an empty text":        {"", set("1", "b"), "", "", "cannot edit: the text is no mapping"},
		"lines of another age": {"a: 1\rb: 2\r", set("3", "c"), "", "", "cannot edit: not every line ends with a line feed"},
	} {
		t.Run(name, func(t *testing.T) {
			e := NewEdit([]byte(c.text))
			err := c.edit(e)
			want := strings.Replace(c.text, c.old, c.new, 1)
			if err != nil && err.Error() != c.err || err == nil && c.err != "" {
				t.Errorf("got the error %v, want %q", err, c.err)
			}
			if !strings.Contains(c.text, c.old) || string(e.Bytes()) != want {
				t.Errorf("got\n%s\nwant\n%s", e.Bytes(), want)
			}
		})
	}
}

func TestScalar(t *testing.T) {
	for s, want := range map[string]struct{ block, flow string }{
		"a":       {"a", "a"},
		"a b":     {"a b", "a b"},
		"":        {`""`, `""`},
		"1.0":     {`"1.0"`, `"1.0"`},
		"true":    {`"true"`, `"true"`},
		"~":       {`"~"`, `"~"`},
		"a: b":    {"'a: b'", `"a: b"`},
		"a, b":    {"a, b", `"a, b"`},
		"[a":      {"'[a'", `"[a"`},
		"a\nb":    {`"a\nb"`, `"a\nb"`},
		"it's":    {"it's", `"it's"`},
		"#a":      {"'#a'", `"#a"`},
		"größe":   {"größe", "größe"},
		">=1 <3":  {"'>=1 <3'", `">=1 <3"`},
		"- a":     {"'- a'", "'- a'"},
		"2026-01": {`2026-01`, `2026-01`},
	} {
		if got := Scalar(s); got != want.block {
			t.Errorf("%q: got %s, want %s", s, got, want.block)
		}
		if got := Flow(s); got != want.flow {
			t.Errorf("%q in a flow: got %s, want %s", s, got, want.flow)
		}
	}
	if got := Flow([]any{"a,b", int64(1), 0.5, true, map[string]any{"k": "v"}}); got != `["a,b", 1, 0.5, true, {k: v}]` {
		t.Error(got)
	}
}
