package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/modyard/modyard/schema"
)

// diagnostics writes problems in the format that was asked for: text for
// people on stderr, json and sarif for machines on stdout, github as workflow
// commands that annotate lines.
func (a *app) diagnostics(ds schema.Diagnostics) error {
	switch a.format {
	case "json":
		return a.json(map[string]any{"diagnostics": append(schema.Diagnostics{}, ds...)})
	case "sarif":
		return a.json(sarif(ds))
	case "github":
		a.annotate(ds)
	default:
		for _, d := range ds {
			fmt.Fprintln(a.err, d)
			if d.Hint != "" {
				fmt.Fprintf(a.err, "  hint: %s\n", d.Hint)
			}
		}
	}
	return nil
}

func (a *app) json(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func (a *app) annotate(ds schema.Diagnostics) {
	for _, d := range ds {
		fields := map[string]string{"file": filepath.ToSlash(d.File), "title": "modyard: " + string(d.Rule)}
		if d.Line > 0 {
			fields["line"], fields["col"] = strconv.Itoa(int(d.Line)), strconv.Itoa(int(d.Column))
		}
		text := d.Message
		if d.Hint != "" {
			text += "\nhint: " + d.Hint
		}
		act := a.actions.WithFieldsMap(fields)
		if d.Severity == schema.Warning {
			act.Warningf("%s", text)
		} else {
			act.Errorf("%s", text)
		}
	}
}

// sarif puts problems into the Static Analysis Results Interchange Format,
// version 2.1.0.
func sarif(ds schema.Diagnostics) any {
	type object = map[string]any
	var rules, results []object
	for _, r := range schema.Rules() {
		rules = append(rules, object{"id": r, "fullDescription": object{"text": r.Explain()}})
	}
	results = []object{}
	for _, d := range ds {
		text := d.Message
		if d.Hint != "" {
			text += " (hint: " + d.Hint + ")"
		}
		location := object{"artifactLocation": object{"uri": filepath.ToSlash(d.File)}}
		if d.Line > 0 {
			location["region"] = object{"startLine": d.Line, "startColumn": d.Column}
		}
		results = append(results, object{
			"ruleId": d.Rule, "level": string(d.Severity), "message": object{"text": text},
			"locations": []object{{"physicalLocation": location}},
		})
	}
	return object{
		"version": "2.1.0", "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
		"runs": []object{{
			"tool":    object{"driver": object{"name": "modyard", "informationUri": "https://github.com/modyard/modyard", "rules": rules}},
			"results": results,
		}},
	}
}
