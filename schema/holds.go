package schema

import (
	"math/big"
	"slices"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// holds reports whether a value keeps a schema. It gives the validator's own
// answer, several times as fast since it keeps no account of the reasons, for
// the keywords that the embedded schemas use; a test holds them to those.
func holds(s *jsonschema.Schema, v any) bool {
	if s.Ref != nil && !holds(s.Ref, v) {
		return false
	}
	if len(s.Types) > 0 && !slices.ContainsFunc(s.Types, func(t string) bool { return hasType(v, t) }) {
		return false
	}
	if len(s.Constant) > 0 && s.Constant[0] != v || len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		return false
	}
	ok := true
	switch v := v.(type) {
	case map[string]any:
		ok = holdsObject(s, v)
	case []any:
		ok = holdsList(s, v)
	case string:
		ok = within(utf8.RuneCountInString(v), s.MinLength, s.MaxLength) && (s.Pattern == nil || s.Pattern.MatchString(v))
	case int64, float64:
		ok = holdsNumber(s, v)
	}
	if !ok || s.Not != nil && holds(s.Not, v) {
		return false
	}
	fits := 0
	for _, branch := range s.OneOf {
		if holds(branch, v) {
			fits++
		}
	}
	return len(s.OneOf) == 0 || fits == 1
}

func hasType(v any, t string) bool {
	switch v := v.(type) {
	case map[string]any:
		return t == "object"
	case []any:
		return t == "array"
	case string:
		return t == "string"
	case bool:
		return t == "boolean"
	case int64:
		return t == "integer" || t == "number"
	case float64:
		return t == "number" || t == "integer" && new(big.Rat).SetFloat64(v).IsInt()
	}
	return false
}

// within reports whether n lies between two bounds, of which -1 is none.
func within(n, least, most int) bool { return n >= least && (most < 0 || n <= most) }

func holdsObject(s *jsonschema.Schema, v map[string]any) bool {
	if !within(len(v), s.MinProperties, s.MaxProperties) {
		return false
	}
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			return false
		}
	}
	for name, value := range v {
		if s.PropertyNames != nil && !holds(s.PropertyNames, name) {
			return false
		}
		of, declared := s.Properties[name]
		if !declared {
			switch more := s.AdditionalProperties.(type) {
			case bool:
				if !more {
					return false
				}
			case *jsonschema.Schema:
				of = more
			}
		}
		if of != nil && !holds(of, value) {
			return false
		}
		if needs, ok := s.Dependencies[name].([]string); ok {
			for _, need := range needs {
				if _, ok := v[need]; !ok {
					return false
				}
			}
		}
	}
	return true
}

func holdsList(s *jsonschema.Schema, v []any) bool {
	if !within(len(v), s.MinItems, s.MaxItems) {
		return false
	}
	items, _ := s.Items.(*jsonschema.Schema)
	for i, e := range v {
		if items != nil && !holds(items, e) {
			return false
		}
		if s.UniqueItems && slices.Contains(v[:i], e) {
			return false
		}
	}
	return true
}

func holdsNumber(s *jsonschema.Schema, v any) bool {
	if s.Minimum == nil && s.ExclusiveMinimum == nil && s.Maximum == nil && s.ExclusiveMaximum == nil {
		return true
	}
	var n big.Rat
	switch v := v.(type) {
	case int64:
		n.SetInt64(v)
	case float64:
		n.SetFloat64(v)
	}
	return (s.Minimum == nil || n.Cmp(s.Minimum) >= 0) && (s.ExclusiveMinimum == nil || n.Cmp(s.ExclusiveMinimum) > 0) &&
		(s.Maximum == nil || n.Cmp(s.Maximum) <= 0) && (s.ExclusiveMaximum == nil || n.Cmp(s.ExclusiveMaximum) < 0)
}
