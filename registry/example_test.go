package registry_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/schema"
)

// Open a registry, pick a version, and print its interface.
func Example() {
	reg, diags, err := registry.Open(os.DirFS("../testdata/registry"), "testdata/registry")
	if err != nil || diags.Err() != nil {
		log.Fatal(err, diags)
	}
	picked, err := reg.Pick("train-model", "^2", registry.PickOptions{})
	if err != nil {
		log.Fatal(err)
	}
	version, diags, err := picked.Manifest()
	if err != nil || diags.Err() != nil {
		log.Fatal(err, diags)
	}
	fmt.Printf("%s@%s: %s\n", picked.Module(), picked, version.Description)
	for _, in := range version.Inputs {
		fmt.Println("  input ", in.Name, in.Value.Type, in.Value.Format)
	}
	for _, out := range version.Outputs {
		fmt.Println("  output", out.Name, out.Value.TypeName())
	}
	for _, p := range version.Params {
		value := "required"
		if p.Value.Default != nil {
			value = "default " + schema.Render(p.Value.Default)
		}
		fmt.Printf("  param  %s %s, %s\n", p.Name, p.Value.TypeName(), value)
	}
	// Output:
	// train-model@2.1.0: Multinomial logistic regression by gradient descent.
	//   input  data file csv
	//   input  weights file csv
	//   output model file
	//   output loss number
	//   output report folder
	//   param  label string, required
	//   param  epochs integer, default 200
	//   param  rate number, default 0.5
}

func ExampleRegistry_Pick() {
	reg, _, err := registry.Open(os.DirFS("../testdata/registry"), "testdata/registry")
	if err != nil {
		log.Fatal(err)
	}
	for _, selector := range []string{"", "1", "1.1.0", "2.2.0"} {
		picked, err := reg.Pick("train-model", selector, registry.PickOptions{})
		if nf, ok := registry.AsNotFound(err); ok {
			fmt.Printf("@%s: %v (%q)\n", selector, nf, nf.Hint)
			continue
		}
		fmt.Printf("@%s: %s %q\n", selector, picked, picked.Warnings)
	}
	// Output:
	// @: 2.1.0 []
	// @1: 1.0.0 ["version 1.0.0 of module \"train-model\" is deprecated: fits without scaling the columns; use 2.1.0"]
	// @1.1.0: version 1.1.0 of module "train-model" is disabled: leaks the label into the features ("")
	// @2.2.0: version 2.2.0 of module "train-model" does not exist ("did you mean 2.0.0 or 2.1.0 or 1.0.0?")
}

func ExampleCompare() {
	reg, _, err := registry.Open(os.DirFS("../testdata/registry"), "testdata/registry")
	if err != nil {
		log.Fatal(err)
	}
	module, _, err := reg.Module("train-model")
	if err != nil {
		log.Fatal(err)
	}
	older, _ := module.Version("2.0.0")
	newer, _ := module.Version("2.1.0")
	a, _, _ := older.Manifest()
	b, _, _ := newer.Manifest()
	difference := registry.Compare(a, b)
	fmt.Print(difference.Table())
	least := registry.Least(older.Number, difference)
	fmt.Println("at least", registry.Next(older.Number, least))
	// Output:
	// minor  params.epochs: default changed (100 → 200)
	// at least 2.1.0
}

func ExampleCheck() {
	result, err := registry.Check(context.Background(), "../testdata/registry", registry.CheckOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range result.Diagnostics {
		fmt.Println(d)
	}
	fmt.Println(len(result.Diagnostics), "problems")
	// Output: 0 problems
}
