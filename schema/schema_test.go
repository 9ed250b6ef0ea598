package schema

import (
	"strings"
	"testing"
)

func TestSmoke(t *testing.T) {
	v := `apiVersion: modyard.dev/v1
kind: ModuleVersion
module: train-model
version: 2.1.0
description: x
inputs:
  data: {type: fil, format: csv}
params:
  epochs: {type: integer, default: 200, minimum: 1, bogus: 1}
outputs:
  model: {type: file}
run:
  command: [python, train.py, "--data=${{ inputs.dat }}"]
snapshot: {folder: ../src, git: {url: x}}
`
	_, ds := ParseModuleVersion("v.yaml", []byte(v))
	for _, d := range ds {
		t.Log(d, "//", d.Hint)
	}
	e := NewEdit([]byte(strings.ReplaceAll(v, "fil,", "file,")))
	for _, err := range []error{e.Set("sha256:abc", "snapshot", "digest"), e.Set("2026", "created"), e.Set("9", "params", "rate", "default"), e.Set("nested: {a: b}", "x", "y"), e.Delete("description"), e.Delete("x", "y", "nested")} {
		if err != nil {
			t.Error(err)
		}
	}
	t.Log(string(e.Bytes()))
}
