package schema

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	type list = []any
	percent := Spec{Type: TypeNumber, Minimum: new(0.0), Maximum: new(1.0)}
	open := Spec{Type: TypeNumber, ExclusiveMinimum: new(0.0), ExclusiveMaximum: new(1.0)}
	solver := Spec{Type: TypeString, Enum: list{"sgd", "newton"}}
	word := Spec{Type: TypeString, Pattern: "[a-z]+|A"}
	layers := Spec{Type: TypeList, Items: TypeInteger, Minimum: new(1.0)}
	for _, c := range []struct {
		spec Spec
		v    any
		want any // the value, or the error
	}{
		{Spec{Type: TypeString}, "", ""},
		{Spec{Type: TypeString}, int64(1), "1 is not a string"},
		{Spec{Type: TypeInteger}, int64(math.MinInt64), int64(math.MinInt64)},
		{Spec{Type: TypeInteger}, 7, int64(7)},
		{Spec{Type: TypeInteger}, 1.0, "1.0 is not an integer"},
		{Spec{Type: TypeInteger}, 1e30, "1e+30 is not an integer"},
		{Spec{Type: TypeInteger}, "1", `the string "1" is not an integer`},
		{Spec{Type: TypeNumber}, int64(3), 3.0},
		{Spec{Type: TypeNumber}, true, "true is not a number"},
		{Spec{Type: TypeBoolean}, false, false},
		{Spec{Type: TypeBoolean}, "no", `the string "no" is not a boolean`},
		{Spec{Type: TypeFile}, "a.csv", `the string "a.csv" is not a file`},
		{Spec{Type: TypeString}, nil, "nothing is not a string"},
		{Spec{Type: TypeString}, map[string]any{}, "a mapping is not a string"},
		{percent, 0.0, 0.0},
		{percent, int64(1), 1.0},
		{percent, 1.5, "1.5 must be at most 1"},
		{percent, -0.5, "-0.5 must be at least 0"},
		{open, 0.0, "0 must be greater than 0"},
		{open, 1.0, "1 must be less than 1"},
		{solver, "sgd", "sgd"},
		{solver, "SGD", `the string "SGD" is not among ["sgd","newton"]`},
		{Spec{Type: TypeNumber, Enum: list{int64(1), 2.5}}, 1.0, 1.0},
		{Spec{Type: TypeInteger, Enum: list{int64(1)<<53 + 1}}, int64(1) << 53, "9007199254740992 is not among [9007199254740993]"},
		{word, "abc", "abc"},
		{word, "abcA", `the string "abcA" does not match the pattern "[a-z]+|A"`},
		{Spec{Type: TypeString, Pattern: "("}, "a", "the pattern \"(\" is not a regular expression: error parsing regexp: missing closing ): `(`"},
		{layers, list{}, list{}},
		{layers, list{int64(64), 32}, list{int64(64), int64(32)}},
		{layers, list{int64(64), int64(0)}, "element 1: 0 must be at least 1"},
		{layers, list{2.0}, "element 0: 2.0 is not an integer"},
		{layers, list{list{}}, "element 0: the list [] is not an integer"},
		{layers, int64(1), "1 is not a list of integer"},
		{Spec{Type: TypeList}, list{"a"}, list{"a"}},
		{Spec{Type: TypeList, Items: TypeNumber}, list{int64(1), 0.5}, list{1.0, 0.5}},
		{Spec{Type: TypeString}, list{strings.Repeat("x", 200)}, `the list ["` + strings.Repeat("x", 78) + `… is not a string`},
	} {
		got, err := c.spec.Check(c.v)
		if err != nil {
			got = err.Error()
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v as %s: got %#v, want %#v", c.v, c.spec.TypeName(), got, c.want)
		}
	}
}

func TestParseValue(t *testing.T) {
	for _, c := range []struct {
		spec Spec
		text string
		want any // the value, or the error
	}{
		{Spec{Type: TypeString}, "", ""},
		{Spec{Type: TypeString}, "{not: parsed}", "{not: parsed}"},
		{Spec{Type: TypeString}, "\xff", "the value is not UTF-8"},
		{Spec{Type: TypeInteger}, " 7 ", int64(7)},
		{Spec{Type: TypeInteger}, "-9223372036854775808", int64(math.MinInt64)},
		{Spec{Type: TypeInteger}, "9223372036854775808", "9223372036854775808 does not fit 64 bits"},
		{Spec{Type: TypeInteger}, "1.0", "1.0 is not an integer"},
		{Spec{Type: TypeInteger}, "0x10", `"0x10" is not an integer`},
		{Spec{Type: TypeInteger}, "1 2", `"1 2" is not an integer`},
		{Spec{Type: TypeInteger}, "", `"" is not an integer`},
		{Spec{Type: TypeInteger}, "null", "null and objects are no values"},
		{Spec{Type: TypeNumber}, "1", 1.0},
		{Spec{Type: TypeNumber}, "1e-3", 0.001},
		{Spec{Type: TypeNumber}, "1e999", "1e999 does not fit 64 bits"},
		{Spec{Type: TypeNumber}, "NaN", `"NaN" is not a number`},
		{Spec{Type: TypeBoolean}, "true", true},
		{Spec{Type: TypeBoolean}, "yes", `"yes" is not a boolean`},
		{Spec{Type: TypeList, Items: TypeInteger}, "[1, 2]", []any{int64(1), int64(2)}},
		{Spec{Type: TypeList, Items: TypeInteger}, "1,2", `"1,2" is not a list of integer`},
		{Spec{Type: TypeList}, `[["a"]]`, `element 0: the list ["a"] is not a string`},
		{Spec{Type: TypeList}, `[{}]`, "null and objects are no values"},
	} {
		got, err := c.spec.Parse(c.text)
		if err != nil {
			got = err.Error()
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q as %s: got %#v, want %#v", c.text, c.spec.TypeName(), got, c.want)
		}
	}
}

// TestRender: what a command or a value output says is read back as the same.
func TestRender(t *testing.T) {
	for want, v := range map[string]any{
		"a <b> & \"c\"":        "a <b> & \"c\"",
		"9007199254740993":     int64(1)<<53 + 1,
		"0.1":                  0.1,
		"3":                    3.0,
		"1e+21":                1e21,
		"true":                 true,
		`["a <b>","c"]`:        []any{"a <b>", "c"},
		"[1,2.5]":              []any{1.0, 2.5},
		"[]":                   []any{},
		"[false]":              []any{false},
		"-9223372036854775808": int64(math.MinInt64),
	} {
		got := Render(v)
		if got != want {
			t.Errorf("%#v: got %s, want %s", v, got, want)
		}
		if back, err := SpecOf(v).Parse(got); err != nil || !reflect.DeepEqual(back, v) {
			t.Errorf("%#v becomes %#v, %v", v, back, err)
		}
	}
}

func TestAccepts(t *testing.T) {
	file, folder, text, integer, real := Spec{Type: TypeFile}, Spec{Type: TypeFolder}, Spec{Type: TypeString}, Spec{Type: TypeInteger}, Spec{Type: TypeNumber}
	texts, integers, reals := Spec{Type: TypeList}, Spec{Type: TypeList, Items: TypeInteger}, Spec{Type: TypeList, Items: TypeNumber}
	for _, c := range []struct {
		to, from Spec
		want     string
	}{
		{file, file, ""},
		{file, folder, "a folder cannot go into a file"},
		{file, text, "a string cannot go into a file"},
		{integer, integer, ""},
		{real, integer, ""},
		{integer, real, "a number cannot go into an integer"},
		{text, integer, "an integer cannot go into a string"},
		{texts, Spec{Type: TypeList, Items: TypeString}, ""},
		{reals, integers, ""},
		{integers, reals, "a list of number cannot go into a list of integer"},
		{integers, integer, "an integer cannot go into a list of integer"},
	} {
		got := ""
		if err := c.to.Accepts(c.from); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s into %s: got %q, want %q", c.from.TypeName(), c.to.TypeName(), got, c.want)
		}
	}
}

// TestSample: a sample keeps the bounds of its spec.
func TestSample(t *testing.T) {
	for _, s := range []Spec{
		{Type: TypeString},
		{Type: TypeBoolean},
		{Type: TypeInteger},
		{Type: TypeNumber},
		{Type: TypeList, Items: TypeInteger, Minimum: new(1.0)},
		{Type: TypeString, Enum: []any{"sgd", "newton"}},
		{Type: TypeInteger, Minimum: new(1.0)},
		{Type: TypeInteger, Minimum: new(0.5)},
		{Type: TypeInteger, ExclusiveMinimum: new(1.0)},
		{Type: TypeInteger, Maximum: new(-0.5)},
		{Type: TypeInteger, ExclusiveMaximum: new(-3.0)},
		{Type: TypeInteger, ExclusiveMinimum: new(1.0), ExclusiveMaximum: new(3.0)},
		{Type: TypeNumber, ExclusiveMinimum: new(0.0)},
		{Type: TypeNumber, ExclusiveMinimum: new(0.0), ExclusiveMaximum: new(1.0)},
		{Type: TypeNumber, Minimum: new(0.2), Maximum: new(0.3)},
		{Type: TypeNumber, ExclusiveMaximum: new(-1e300)},
		{Type: TypeNumber, Minimum: new(-5.0), Maximum: new(-4.0)},
	} {
		if _, err := s.Check(s.Sample()); err != nil {
			t.Errorf("%s: %v", JSON(s), err)
		}
	}
}

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1000": 1000, "1K": 1000, "1Ki": 1024, "1.5Gi": 3 << 29, "512Mi": 512 << 20, "2T": 2e12,
		"": -1, "Mi": -1, "1i": -1, "1KB": -1, "1MiMi": -1, "-1": -1, "9999999999T": -1, "NaN": -1, "Inf": -1, "1 Gi": -1, "1e3": 1000,
	} {
		got, err := ParseMemory(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestDigest(t *testing.T) {
	d := DigestBytes(nil)
	const hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if d != "sha256:"+hex || d.Hex() != hex || d.Short() != "sha256:e3b0c44298fc" || !d.Valid() {
		t.Errorf("%s %s %s", d, d.Hex(), d.Short())
	}
	for _, bad := range []Digest{"", "sha256:", hex, "sha512:" + hex, Digest("sha256:" + hex[1:]), d + "0", Digest(strings.ToUpper(string(d)))} {
		if bad.Valid() {
			t.Errorf("%q is valid", bad)
		}
	}
	if VersionDigest([]byte("a\r\nb\r\n")) != VersionDigest([]byte("a\nb\n")) {
		t.Error("line ends change the version digest")
	}
}
