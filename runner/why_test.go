package runner

import (
	"slices"
	"strings"
	"testing"

	"github.com/modyard/modyard/schema"
)

func TestDifferences(t *testing.T) {
	doc := func(edit func(*Document)) []byte {
		d := Document{
			Task: "v1", Snapshot: schema.DigestBytes([]byte("one")),
			Command: []schema.Argument{{Texts: []schema.Text{{Value: "sh"}}}},
			Params:  map[string]ParamKey{"epochs": {"integer", int64(3)}, "rate": {"number", 0.5}},
			Inputs:  map[string]InputKey{"data": {schema.TypeFile, "csv", schema.DigestBytes([]byte("a"))}},
			Env:     map[string]string{"MODE": "slow"}, Environment: EnvironmentKey{Host: true, Platform: "linux/amd64"},
			Outputs: map[string]OutputKey{"model": {Spec: schema.Spec{Type: schema.TypeFile}}},
		}
		edit(&d)
		return []byte(schema.JSON(d))
	}
	digest := func(s string) schema.Digest { return schema.DigestBytes([]byte(s)) }
	for name, tt := range map[string]struct {
		edit func(*Document)
		want []string
	}{
		"nothing": {func(*Document) {}, nil},
		"source":  {func(d *Document) { d.Snapshot = digest("two") }, []string{"source: " + digest("one").Short() + " → " + digest("two").Short()}},
		"command": {func(d *Document) { d.Command[0].Texts[0].Value = "bash" }, []string{`command: ["sh"] → ["bash"]`}},
		"param":   {func(d *Document) { d.Params["epochs"] = ParamKey{"integer", int64(4)} }, []string{"param epochs: 3 → 4"}},
		"type":    {func(d *Document) { d.Params["epochs"] = ParamKey{"number", int64(3)} }, []string{`param epochs type: "integer" → "number"`}},
		"new":     {func(d *Document) { d.Params["label"] = ParamKey{"string", "x"} }, []string{`param label: "x" is new`}},
		"gone":    {func(d *Document) { delete(d.Params, "rate") }, []string{"param rate: 0.5 is gone"}},
		"zero":    {func(d *Document) { d.Params["epochs"] = ParamKey{"integer", int64(0)} }, []string{"param epochs: 3 → 0"}},
		"input":   {func(d *Document) { d.Inputs["data"] = InputKey{schema.TypeFile, "csv", digest("b")} }, []string{"input data: " + digest("a").Short() + " → " + digest("b").Short()}},
		"format":  {func(d *Document) { d.Inputs["data"] = InputKey{schema.TypeFile, "tsv", digest("a")} }, []string{`input data format: "csv" → "tsv"`}},
		"env":     {func(d *Document) { d.Env["MODE"] = "fast" }, []string{`env MODE: "slow" → "fast"`}},
		"machine": {func(d *Document) { d.Environment.Platform = "linux/arm64" }, []string{`environment platform: "linux/amd64" → "linux/arm64"`}},
		"output":  {func(d *Document) { d.Outputs["model"] = OutputKey{Spec: schema.Spec{Type: schema.TypeFolder}} }, []string{`output model type: "file" → "folder"`}},
		"two":     {func(d *Document) { d.Env["MODE"] = ""; d.Snapshot = digest("two") }, []string{`env MODE: "slow" → ""`, "source: " + digest("one").Short() + " → " + digest("two").Short()}},
		"long":    {func(d *Document) { d.Env["MODE"] = strings.Repeat("é", 1000) }, []string{`env MODE: "slow" → "` + strings.Repeat("é", 199) + "…"}},
	} {
		changes, err := Differences(doc(func(*Document) {}), doc(tt.edit))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range changes {
			got = append(got, c.String())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if _, err := Differences([]byte("{"), []byte("{}")); err == nil {
		t.Error("a damaged document was read")
	}
}

func TestBrief(t *testing.T) {
	c := FieldChange{Field: "param a", Before: "1", After: "2"}
	for n, want := range map[int]string{0: "", 1: "param a: 1 → 2", 2: "param a: 1 → 2; param a: 1 → 2", 5: "param a: 1 → 2; param a: 1 → 2; 3 more"} {
		if got := Brief(slices.Repeat([]FieldChange{c}, n)); got != want {
			t.Errorf("%d changes: %q, want %q", n, got, want)
		}
	}
}
