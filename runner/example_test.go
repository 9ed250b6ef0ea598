package runner_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/runner/local"
	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

// calculate is a step of the module calculate, bound to two values. A value may
// be an expression that names another step's output.
func calculate(first, second any) schema.Step {
	return schema.Step{
		Module: schema.Text{Value: "calculate@2.0.0"},
		Params: schema.Map[schema.Arg]{{Name: "first", Value: schema.Arg{Value: first}}, {Name: "second", Value: schema.Arg{Value: second}}},
	}
}

// A pipeline is built in code as it would stand in a file, and run twice.
func ExampleNewPlan() {
	ctx := context.Background()
	p := &schema.Pipeline{
		Name: "calc",
		Steps: schema.Map[schema.Step]{
			{Name: "one", Value: calculate(17, 2)},
			{Name: "two", Value: calculate("${{ steps.one.outputs.sum }}", "${{ steps.one.outputs.product }}")},
		},
		Outputs: schema.Map[schema.Text]{
			{Name: "sum", Value: schema.Text{Value: "${{ steps.two.outputs.sum }}"}},
			{Name: "product", Value: schema.Text{Value: "${{ steps.two.outputs.product }}"}},
		},
	}
	plan, problems, err := runner.NewPlan(ctx, p, modules{}, runner.PlanOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if err := problems.Err(); err != nil {
		log.Fatal(err) // all of them, each with a hint
	}
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	st, err := store.Open(ctx, filepath.Join(dir, "store"))
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	opt := runner.Options{Store: st, Compute: &local.Compute{Path: os.Getenv("PATH")}}
	for range 2 {
		record, err := plan.Run(ctx, opt)
		if err != nil {
			log.Fatal(err)
		}
		for _, s := range record.Steps {
			fmt.Println(s.Name, s.State, s.Values["sum"])
		}
		for _, o := range record.Outputs {
			fmt.Println(o.Name, "is", o.Value)
		}
	}
	// Output:
	// one done 19
	// two done 53
	// sum is 53
	// product is 646
	// one reused 19
	// two reused 53
	// sum is 53
	// product is 646
}

// All problems of a pipeline are told at once.
func ExampleNewPlan_problems() {
	p := &schema.Pipeline{Name: "calc", Steps: schema.Map[schema.Step]{
		{Name: "one", Value: calculate("seventeen", 2)},
		{Name: "two", Value: calculate("${{ steps.one.outputs.sun }}", "${{ steps.on.outputs.sum }}")},
	}}
	_, problems, err := runner.NewPlan(context.Background(), p, modules{}, runner.PlanOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range problems {
		fmt.Println(d.Message)
		if d.Hint != "" {
			fmt.Println("  hint:", d.Hint)
		}
	}
	// Output:
	// step "one": param "first": the string "seventeen" is not an integer
	// step "two": step "one" has no output "sun"
	//   hint: did you mean "sum"?
	// step "two": there is no step "on"
	//   hint: did you mean "one"?
}
