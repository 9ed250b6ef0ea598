package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Type is the type of an input, output or param.
type Type string

// The types. File and Folder are data; the others are values.
const (
	TypeFile    Type = "file"
	TypeFolder  Type = "folder"
	TypeString  Type = "string"
	TypeInteger Type = "integer" // 64 bits, signed
	TypeNumber  Type = "number"  // an IEEE 754 double, finite
	TypeBoolean Type = "boolean"
	TypeList    Type = "list" // of values of one type
)

// IsData reports whether t is a file or folder.
func (t Type) IsData() bool { return t == TypeFile || t == TypeFolder }

// MaxValue bounds the text of a value output, in bytes.
const MaxValue = 64 << 10

// Spec says which values are allowed. A value is a string, an int64, a
// float64, a bool, or a []any of those.
type Spec struct {
	Type             Type     `json:"type"`
	Items            Type     `json:"items,omitempty"` // of a list; default string
	Enum             []any    `json:"enum,omitempty"`
	Minimum          *float64 `json:"minimum,omitempty"`
	ExclusiveMinimum *float64 `json:"exclusiveMinimum,omitempty"`
	Maximum          *float64 `json:"maximum,omitempty"`
	ExclusiveMaximum *float64 `json:"exclusiveMaximum,omitempty"`
	Pattern          string   `json:"pattern,omitempty"` // RE2; matches the whole string
}

// TypeName names the type for people: "list of integer".
func (s Spec) TypeName() string {
	if s.Type == TypeList {
		return "list of " + string(s.items())
	}
	return string(s.Type)
}

func (s Spec) items() Type {
	if s.Items == "" {
		return TypeString
	}
	return s.Items
}

// Check returns v as the type has it (an integer given for a number becomes
// one), or what is wrong with it.
func (s Spec) Check(v any) (any, error) {
	if s.Type != TypeList {
		return s.checkScalar(s.Type, v)
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s is not a %s", describe(v), s.TypeName())
	}
	out := make([]any, len(list))
	for i, e := range list {
		c, err := s.checkScalar(s.items(), e)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
		out[i] = c
	}
	return out, nil
}

func (s Spec) checkScalar(t Type, v any) (any, error) {
	switch x := v.(type) {
	case int64:
		if t == TypeNumber {
			v = float64(x)
		}
	case int:
		return s.checkScalar(t, int64(x))
	}
	ok := false
	switch v.(type) {
	case string:
		ok = t == TypeString
	case int64:
		ok = t == TypeInteger
	case float64:
		ok = t == TypeNumber
	case bool:
		ok = t == TypeBoolean
	}
	if !ok {
		return nil, fmt.Errorf("%s is not %s %s", describe(v), article(t), t)
	}
	return v, s.constrain(t, v)
}

func (s Spec) constrain(t Type, v any) error {
	if len(s.Enum) > 0 && !slices.ContainsFunc(s.Enum, func(e any) bool { return same(e, v) }) {
		return fmt.Errorf("%s is not among %s", describe(v), Render(s.Enum))
	}
	if f, ok := asFloat(v); ok {
		for _, c := range []struct {
			bound *float64
			ok    func(b float64) bool
			words string
		}{
			{s.Minimum, func(b float64) bool { return f >= b }, "at least"},
			{s.ExclusiveMinimum, func(b float64) bool { return f > b }, "greater than"},
			{s.Maximum, func(b float64) bool { return f <= b }, "at most"},
			{s.ExclusiveMaximum, func(b float64) bool { return f < b }, "less than"},
		} {
			if c.bound != nil && !c.ok(*c.bound) {
				return fmt.Errorf("%s must be %s %s", Render(v), c.words, Render(*c.bound))
			}
		}
	}
	if text, ok := v.(string); ok && s.Pattern != "" && t == TypeString {
		re, err := compile(s.Pattern)
		if err != nil {
			return fmt.Errorf("the pattern %q is not a regular expression: %w", s.Pattern, err)
		}
		if !re.MatchString(text) {
			return fmt.Errorf("%s does not match the pattern %q", describe(v), s.Pattern)
		}
	}
	return nil
}

// compile makes the expression that the whole string must match.
func compile(pattern string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(pattern); err != nil { // as in "a)(b"
		return nil, err
	}
	return regexp.Compile(`^(?:` + pattern + `)$`)
}

// bounds are the least and the greatest value; the least is the greater one
// when there is none between exclusive bounds.
func (s Spec) bounds() (low, high float64) {
	low, high = math.Inf(-1), math.Inf(1)
	step := math.Nextafter
	if s.Type == TypeInteger || s.items() == TypeInteger && s.Type == TypeList {
		step = func(x, toward float64) float64 {
			if toward > x {
				return math.Floor(x) + 1
			}
			return math.Ceil(x) - 1
		}
	}
	if s.Minimum != nil {
		low = *s.Minimum
	}
	if s.ExclusiveMinimum != nil {
		low = max(low, step(*s.ExclusiveMinimum, math.Inf(1)))
	}
	if s.Maximum != nil {
		high = *s.Maximum
	}
	if s.ExclusiveMaximum != nil {
		high = min(high, step(*s.ExclusiveMaximum, math.Inf(-1)))
	}
	return low, high
}

// Accepts says why data or values of the type from cannot go where s stands,
// by their types alone; nil when they can.
func (s Spec) Accepts(from Spec) error {
	switch {
	case s.Type == from.Type && (s.Type != TypeList || s.items() == from.items()):
		return nil
	case s.Type == TypeNumber && from.Type == TypeInteger:
		return nil
	case s.Type == TypeList && from.Type == TypeList && s.items() == TypeNumber && from.items() == TypeInteger:
		return nil
	}
	return fmt.Errorf("%s %s cannot go into %s %s", article(from.Type), from.TypeName(), article(s.Type), s.TypeName())
}

// Parse reads a value as a command line or a value output writes it: a string
// as it stands, all else as JSON.
func (s Spec) Parse(text string) (any, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("the value is not UTF-8")
	}
	if s.Type == TypeString {
		return s.Check(text)
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("%q is not %s %s", clip(text), article(s.Type), s.TypeName())
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%q is not %s %s", clip(text), article(s.Type), s.TypeName())
	}
	v, err := fromJSON(v)
	if err != nil {
		return nil, err
	}
	return s.Check(v)
}

// FromJSON makes a value of what encoding/json decoded with UseNumber.
func fromJSON(v any) (any, error) {
	switch x := v.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(x.String(), 10, 64); err == nil {
			return i, nil
		}
		f, err := x.Float64()
		if err != nil || isWholeDecimal(x.String()) {
			return nil, fmt.Errorf("%s does not fit 64 bits", x)
		}
		return f, nil
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			c, err := fromJSON(e)
			if err != nil {
				return nil, err
			}
			out[i] = c
		}
		return out, nil
	case string, bool:
		return x, nil
	}
	return nil, errors.New("null and objects are no values")
}

// Render writes a value as commands and value outputs have it: a string as it
// stands, all else as JSON.
func Render(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return JSON(v)
}

// JSON writes a value as JSON, without escaping for HTML.
func JSON(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// SpecOf infers the type of a value; a list takes that of its elements.
func SpecOf(v any) Spec {
	switch x := v.(type) {
	case string:
		return Spec{Type: TypeString}
	case int64, int:
		return Spec{Type: TypeInteger}
	case float64:
		return Spec{Type: TypeNumber}
	case bool:
		return Spec{Type: TypeBoolean}
	case []any:
		items := TypeString
		for i, e := range x {
			t := SpecOf(e).Type
			switch {
			case i == 0:
				items = t
			case items == TypeInteger && t == TypeNumber:
				items = t
			}
		}
		return Spec{Type: TypeList, Items: items}
	}
	return Spec{}
}

func describe(v any) string {
	switch x := v.(type) {
	case string:
		return "the string " + strconv.Quote(clip(x))
	case []any:
		return "the list " + clip(JSON(v))
	case float64:
		if text := JSON(x); strings.ContainsAny(text, ".e") {
			return text
		}
		return JSON(x) + ".0"
	case map[string]any:
		return "a mapping"
	case nil:
		return "nothing"
	}
	return clip(Render(v))
}

func article(t Type) string {
	if t == TypeInteger {
		return "an"
	}
	return "a"
}

func asFloat(v any) (float64, bool) {
	switch x := v.(type) {
	case int64:
		return float64(x), true
	case float64:
		return x, !math.IsNaN(x)
	}
	return 0, false
}

func same(a, b any) bool {
	_, inta := a.(int64)
	_, intb := b.(int64)
	if inta && intb {
		return a == b // also beyond the integers of a double
	}
	fa, oka := asFloat(a)
	fb, okb := asFloat(b)
	if oka && okb {
		return fa == fb
	}
	return a == b
}

// Sample is a value that s allows, where one is easily told; it stands in for
// values that are not known yet.
func (s Spec) Sample() any {
	if len(s.Enum) > 0 && s.Type != TypeList {
		return s.Enum[0]
	}
	low, high := s.bounds()
	number := math.Ceil(max(low, min(0, high)))
	if number > high {
		number = max(low, high)
	}
	switch s.Type {
	case TypeInteger:
		return int64(math.Floor(number))
	case TypeNumber:
		return number
	case TypeBoolean:
		return false
	case TypeList:
		return []any{}
	}
	return ""
}
