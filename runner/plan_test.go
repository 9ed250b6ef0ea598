package runner_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

var update = flag.Bool("update", false, "write the wanted outputs anew")

// options reads what the first lines of a case say it is given.
func options(data []byte) (set, inputs map[string]string) {
	set, inputs = map[string]string{}, map[string]string{}
	for line := range strings.Lines(string(data)) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), ": ")
		name, value, _ := strings.Cut(rest, "=")
		switch kind {
		case "# set":
			set[name] = value
		case "# input":
			inputs[name] = value
		}
	}
	return set, inputs
}

// All that is wrong with a plan is told at once, with places, hints and the
// nearest names.
func TestPlanErrors(t *testing.T) {
	files, err := filepath.Glob("../testdata/plan/err/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, diags := schema.ParsePipeline(name+".yaml", data)
			if err := diags.Err(); err != nil {
				t.Fatal(err)
			}
			set, inputs := options(data)
			plan, diags, err := runner.NewPlan(t.Context(), p, modules{}, runner.PlanOptions{Dir: filepath.Dir(file), Params: set, Inputs: inputs})
			if err != nil || plan != nil || diags.Errors() == 0 {
				t.Fatalf("%d errors, %v, %v", diags.Errors(), plan, err)
			}
			var b strings.Builder
			for _, d := range diags {
				b.WriteString(d.String() + "\n")
				if d.Hint != "" {
					b.WriteString("    hint: " + d.Hint + "\n")
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".out", b.String())
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("%v; got\n%s\nwant\n%s", err, got, want)
	}
}

// A failure of the world is an error, not a problem of the pipeline.
func TestPlanWorldFails(t *testing.T) {
	cause := errors.New("the network is down")
	p := &schema.Pipeline{Name: "p", Steps: schema.Map[schema.Step]{{Name: "a", Value: schema.Step{Module: schema.Text{Value: "x@1.0.0"}}}}}
	if plan, _, err := runner.NewPlan(t.Context(), p, failing{cause}, runner.PlanOptions{}); plan != nil || !errors.Is(err, cause) {
		t.Errorf("%v, %v", plan, err)
	}
}

func TestPlanOrder(t *testing.T) {
	data, err := os.ReadFile("../testdata/penguins/pipeline.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("clean-table@^1", "clean-table@1.0.0", "split-table@^1", "split-table@1.0.0", "train-model\n", "train-model@2.1.0\n", "evaluate-model@1.0\n", "evaluate-model@1.0.0\n").Replace(string(data))
	p, diags := schema.ParsePipeline("pipeline.yaml", []byte(text))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(p.Steps)
	plan, diags, err := runner.NewPlan(t.Context(), p, modules{}, runner.PlanOptions{Dir: "../testdata/penguins"})
	if err := errors.Join(err, diags.Err()); err != nil {
		t.Fatal(err)
	}
	if got := plan.Names(); !slices.Equal(got, []string{"clean", "split", "train", "evaluate", "plot"}) {
		t.Errorf("the order is %v", got)
	}
	if s, ok := plan.Step("train"); !ok || s.Title() != "examples/train-model@2.1.0" || s.Sources["data"].String() != "steps.split.outputs.train" {
		t.Errorf("train is %+v", s)
	}
}
