package schema

import (
	"errors"
	"fmt"
	"testing"
)

func TestDiagnostics(t *testing.T) {
	var ds Diagnostics
	if ds.Err() != nil {
		t.Error("no diagnostics are an error")
	}
	ds.Warn("b.yaml", Pos{2, 3}, RuleUnused, "use it", "param %q is unused", "a")
	if ds.Err() != nil || ds.Errors() != 0 {
		t.Error("a warning is an error")
	}
	ds.Add("b.yaml", Pos{10, 1}, RuleNames, "", "z")
	ds.Add("b.yaml", Pos{2, 3}, RuleSchema, "", "b")
	ds.Add("b.yaml", Pos{2, 3}, RuleSchema, "", "a")
	ds.Add("b.yaml", Pos{2, 1}, RuleYAML, "", "y")
	ds.Add("a.yaml", Pos{9, 9}, RuleYAML, "", "x")
	ds.Add("b.yaml", Pos{}, RuleYAML, "", "the whole file")
	ds.Add("", Pos{}, RuleYAML, "", "nowhere")
	ds.Add("b.yaml", Pos{2, 1}, RuleYAML, "", "y")
	ds.Sort()
	const want = `nowhere [yaml]
a.yaml:9:9: x [yaml]
b.yaml: the whole file [yaml]
b.yaml:2:1: y [yaml]
b.yaml:2:3: a [schema]
b.yaml:2:3: b [schema]
b.yaml:2:3: warning: param "a" is unused [unused]
b.yaml:10:1: z [names]`
	err := fmt.Errorf("checking: %w", ds.Err())
	p, ok := errors.AsType[*ProblemsError](err)
	if !ok || p.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", p, want)
	}
	if ds.Errors() != len(ds)-1 {
		t.Errorf("%d errors among %d diagnostics", ds.Errors(), len(ds))
	}
}
