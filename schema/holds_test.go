package schema

import (
	"os"
	"path/filepath"
	"testing"
)

// TestHoldsKnowsTheKeywords keeps the embedded schemas to what holds knows.
func TestHoldsKnowsTheKeywords(t *testing.T) {
	seen := 0
	files, err := Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		walkKeywords(t, f.Name(), rawSchema(f.Name()), &seen)
	}
	if seen < 500 {
		t.Errorf("%d keywords seen", seen)
	}
}

func walkKeywords(t *testing.T, at string, schema map[string]any, seen *int) {
	for key, value := range schema {
		*seen++
		here := at + "/" + key
		switch key {
		case "$schema", "$id", "title", "description", "examples", "default",
			"type", "pattern", "required", "dependencies",
			"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
			"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties":
		case "const":
			if _, ok := value.(string); !ok {
				t.Errorf("%s: only texts are known", here)
			}
		case "enum":
			if list, _ := value.([]any); len(asStrings(value)) != len(list) {
				t.Errorf("%s: only texts are known", here)
			}
		case "uniqueItems":
			items := asMap(schema["items"])
			if ref, _ := items["$ref"].(string); items["type"] != "string" && ref == "" {
				t.Errorf("%s: only lists of texts are known", here)
			}
		case "$ref":
			for sibling := range schema {
				if sibling != "$ref" && sibling != "description" {
					t.Errorf("%s: %q beside it is not looked at", here, sibling)
				}
			}
		case "definitions", "properties":
			for name, s := range asMap(value) {
				walkKeywords(t, here+"/"+name, asMap(s), seen)
			}
		case "additionalProperties", "items", "propertyNames", "not":
			walkKeywords(t, here, asMap(value), seen)
		case "oneOf":
			for _, s := range value.([]any) {
				walkKeywords(t, here, asMap(s), seen)
			}
		default:
			t.Errorf("%s is not known", here)
		}
	}
}

// FuzzHolds compares the answer with the validator's own.
func FuzzHolds(f *testing.F) {
	seeds := 0
	for _, pattern := range []string{"../testdata/*/*.yaml", "../testdata/*/*/*.yaml", "../testdata/registry/modules/*/*.yaml", "../testdata/registry/modules/*/versions/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatal("no manifests to begin with")
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := parseYAML("f.yaml", data, MaxManifest)
		if d.root == nil || len(d.diags) > 0 {
			return
		}
		for kind := range kindFiles {
			s := schemaOf(kind)
			if got, err := holds(s, d.value), s.Validate(d.value); got != (err == nil) {
				t.Errorf("as a %s holds says %v, the validator %v", kind, got, err)
			}
		}
	})
}
