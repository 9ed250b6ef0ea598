package schema

import (
	"strings"
	"testing"
)

func TestParseTemplate(t *testing.T) {
	for text, want := range map[string]string{ // the parts, or the offset, message and hint of the error
		"":                                    "",
		"plain }} text":                       `"plain }} text"`,
		"${{ inputs.data }}":                  "inputs.data@0",
		"${{inputs.data}}":                    "inputs.data@0",
		"${{\tinputs.data\n}}":                "inputs.data@0",
		"--a=${{ params.a-b }}/${{ env._X }}": `"--a=" params.a-b@4 "/" env._X@22`,
		"größe ${{ outputs.Ü }}":              `6: "outputs.Ü" is no expression; an expression is`,
		"日本 ${{ outputs.a }}":                 `"日本 " outputs.a@3`,
		"${{ steps.a.outputs.b }}":            "steps.a.outputs.b@0",
		"${{ secrets.KEY }}$":                 `secrets.KEY@0 "$"`,
		"$${{ params.a }}}}":                  `"$" params.a@1 "}}"`,
		"a ${{ inputs.data":                   "2: the expression has no end; end it with }}",
		"${{ inputs.a }} ${{ inputs.b }":      "16: the expression has no end; end it with }}",
		"${{ }}":                              "0: the expression is empty; an expression is",
		"${{ inputs }}":                       `0: "inputs" is no expression; an expression is`,
		"${{ inputs. }}":                      `0: "inputs." is no expression; an expression is`,
		"${{ inputs.a.b }}":                   `0: "inputs.a.b" is no expression; an expression is`,
		"${{ inputs.a || params.b }}":         `0: "inputs.a || params.b" is no expression; an expression is`,
		"${{ param.a }}":                      `0: "param.a" is no expression; did you mean "params"?`,
		"${{ matrix.a }}":                     `0: "matrix.a" is no expression; an expression is`,
		"${{ steps.a.b }}":                    `0: "steps.a.b" is no expression; did you mean "steps.a.outputs.b"?`,
		"${{ steps.a.outputs.b.c }}":          `0: "steps.a.outputs.b.c" is no expression; an expression is`,
		"${{ env.A B }}":                      `0: "env.A B" is no expression; an expression is`,
		"${{ ${{ inputs.a }} }}":              `0: "${{ inputs.a" is no expression; an expression is`,
		"${{ inputs." + strings.Repeat("a", 65) + " }}": `0: "inputs.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" is no expression; an expression is`,
	} {
		var got []string
		tpl, err := ParseTemplate(text)
		if err != nil {
			got = append(got, JSON(err.Offset)+":", err.Message+";", err.Hint)
		}
		for _, p := range tpl {
			if p.Ref != nil {
				got = append(got, p.Ref.String()+"@"+JSON(p.Ref.Offset))
			} else {
				got = append(got, JSON(p.Literal))
			}
		}
		if g := strings.Join(got, " "); g != want && (err == nil || !strings.HasPrefix(g, want)) {
			t.Errorf("%q: got %s, want %s", text, g, want)
		}
	}
}

func TestTemplate(t *testing.T) {
	values := map[string]string{"inputs.data": "inputs/data.csv", "params.empty": ""}
	value := func(r Ref) (string, bool) { v, ok := values[r.String()]; return v, ok }
	for text, want := range map[string]struct {
		whole, set bool
		expanded   string
	}{
		"":                                      {false, true, ""},
		"a":                                     {false, true, "a"},
		"${{ inputs.data }}":                    {true, true, "inputs/data.csv"},
		" ${{ inputs.data }}":                   {false, true, " inputs/data.csv"},
		"${{ params.empty }}${{ inputs.data }}": {false, true, "inputs/data.csv"},
		"a${{ params.unset }}":                  {false, false, ""},
	} {
		tpl, err := ParseTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		expanded, set := tpl.Expand(value)
		if _, whole := tpl.Whole(); whole != want.whole || set != want.set || expanded != want.expanded || tpl.String() != text {
			t.Errorf("%q: whole %v, set %v, %q, %q", text, whole, set, expanded, tpl)
		}
	}
}

func TestParseModuleRef(t *testing.T) {
	for text, want := range map[string]string{ // registry, name and selector, or the error
		"train-model":                  " train-model ",
		"acme/train-model":             "acme train-model ",
		"acme/train-model@2.1.0":       "acme train-model 2.1.0",
		"train-model@>=1.2 <3":         " train-model >=1.2 <3",
		"train-model@ latest ":         " train-model latest",
		"train-model@work":             " train-model work",
		"":                             `"" does not name a module`,
		"@1":                           `"@1" does not name a module`,
		"train-model@":                 `"train-model@" has nothing after the @`,
		"train-model@ ":                `"train-model@ " has nothing after the @`,
		"acme/":                        `"acme/" does not name a module`,
		"/train-model":                 `"/train-model" does not begin with the name of a registry`,
		"acme/../train-model":          `"acme/../train-model" does not name a module`,
		"Acme/train-model":             `"Acme/train-model" does not begin with the name of a registry`,
		"train_model":                  `"train_model" does not name a module`,
		"github.com/acme/modules@main": `"github.com/acme/modules@main" does not begin with the name of a registry`,
	} {
		r, err := ParseModuleRef(text)
		got := r.Registry + " " + r.Name + " " + r.Selector
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
