package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/modyard/modyard/schema"
)

// TestNear: numbers are compared as they are written; integers are no doubles.
func TestNear(t *testing.T) {
	for _, c := range []struct {
		got, want string
		tolerance float64
		at        string // where they differ: "-" for nowhere
	}{
		{"1", "1", 0, "-"},
		{"1", "1.0", 0, "-"},
		{"1e3", "1000", 0, "-"},
		{"1e-1", "0.1", 0, "-"},
		{"9007199254740993", "9007199254740992", 0, ""},
		{"9007199254740993", "9007199254740992", 1, "-"},
		{"9223372036854775807", "9223372036854775806", 0.5, ""},
		{"123456789012345678901234567890", "123456789012345678901234567891", 0, ""},
		{"0.30000000000000004", "0.3", 0, ""},
		{"0.30000000000000004", "0.3", 1e-9, "-"},
		{"1e400", "1e400", 0, "-"}, // no number of ours: the texts are the same
		{`"1"`, "1", 0, ""},
		{"1", `"1"`, 0, ""},
		{"null", "0", 0, ""},
		{"true", "true", 0, "-"},
		{`{"a": [1, {"b": 2}]}`, `{"a": [1, {"b": 3}]}`, 0.5, ".a[1].b"},
		{`{"a": [1, {"b": 2}]}`, `{"a": [1, {"b": 2.4}]}`, 0.5, "-"},
		{`{"a": 1, "b": 2}`, `{"a": 1}`, 0, ".b"},
		{`{"a": 1}`, `{"a": 1, "b": 2}`, 0, ".b"},
		{`[1, 2]`, `[1]`, 0, ""},
	} {
		got, err := parseJSON([]byte(c.got))
		if err != nil {
			t.Fatal(err)
		}
		want, err := parseJSON([]byte(c.want))
		if err != nil {
			t.Fatal(err)
		}
		at, same := near(got, want, c.tolerance, "")
		if same {
			at = "-"
		}
		if at != c.at {
			t.Errorf("%s and %s within %v: %q, want %q", c.got, c.want, c.tolerance, at, c.at)
		}
	}
	for _, text := range []string{"", "1 2", "{", "[1]]"} {
		if v, err := parseJSON([]byte(text)); err == nil {
			t.Errorf("%q is %v", text, v)
		}
	}
}

// TestCompareValue: values, and bounds, are exact too.
func TestCompareValue(t *testing.T) {
	bound := float64(1 << 53)
	for _, c := range []struct {
		got  any
		want schema.Expected
		says string
	}{
		{int64(1<<53 + 1), schema.Expected{Value: int64(1 << 53)}, "9007199254740993, not 9007199254740992"},
		{int64(1<<53 + 1), schema.Expected{Maximum: &bound}, "9007199254740993 is more than 9.007199254740992e+15"},
		{int64(1<<53 - 1), schema.Expected{Minimum: &bound}, "9007199254740991 is less than 9.007199254740992e+15"},
		{int64(1 << 53), schema.Expected{Minimum: &bound, Maximum: &bound}, ""},
		{0.5, schema.Expected{Value: 0.4, Tolerance: 0.2}, ""},
		{"x", schema.Expected{Minimum: &bound}, "x is no number"},
		{"x", schema.Expected{Value: "x"}, ""},
		{[]any{int64(1), 2.5}, schema.Expected{Value: []any{int64(1), int64(2)}, Tolerance: 0.1}, "[1][1,2.5], not [1,2]"},
	} {
		var said []string
		compareValue(c.got, c.want, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
		if got := strings.Join(said, "; "); got != c.says {
			t.Errorf("%v: %q, want %q", c.got, got, c.says)
		}
	}
}
