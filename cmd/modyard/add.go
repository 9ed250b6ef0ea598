package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/schema"
)

func (a *app) addCmd() *cobra.Command {
	var file, as string
	cmd := &cobra.Command{
		Use:   "add REGISTRY/MODULE[@VERSION]",
		Short: "Write a step that uses a module into a pipeline",
		Long: `Write a step that uses a module into a pipeline. An input of the step is wired
to the one output, or input of the pipeline, that fits it by name, or by format;
where there is none, the pipeline gets an input of that name.`,
		Example: "  modyard add acme/train-model@^2 --to pipeline.yaml --as train",
		Args:    oneArg("the module"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.add(cmd.Context(), args[0], file, as) },
	}
	cmd.Flags().StringVar(&file, "to", "pipeline.yaml", "the pipeline's `FILE`")
	cmd.Flags().StringVar(&as, "as", "", "the name of the step (default: that of the module)")
	return cmd
}

func (a *app) add(ctx context.Context, arg, file, as string) error {
	ref, err := schema.ParseModuleRef(arg)
	if err != nil {
		return usagef("%w", err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("cannot read the pipeline %s: %w", file, unwrapPath(err))
	}
	p, diags := schema.ParsePipeline(filepath.ToSlash(file), data)
	if err := diags.Err(); err != nil {
		return err
	}
	res, err := a.openRegistries(ctx, p.Registries, nil, filepath.Dir(file), nil)
	if err != nil {
		return err
	}
	if ref.Registry == "" && len(p.Registries) == 1 {
		ref.Registry = p.Registries[0].Name
	}
	reg, ok := res.set.Registries[ref.Registry]
	if !ok {
		return &hinted{fmt.Sprintf("the pipeline names no registry %q", ref.Registry), schema.DidYouMean(ref.Registry, p.Registries.Names())}
	}
	picked, m, err := pickArg(reg, schema.ModuleRef{Name: ref.Name, Selector: ref.Selector}.String())
	if err != nil {
		return err
	}
	if as == "" {
		as = ref.Name
	}
	if !schema.ValidIdent(as) {
		return usagef("--as %q is no name of a step", as)
	}
	for _, s := range p.Steps {
		if schema.Fold(s.Name) == schema.Fold(as) {
			return &hinted{fmt.Sprintf("the pipeline has a step %q", s.Name), "give this one another name: --as NAME"}
		}
	}
	selector := ref.Selector
	if selector == "" {
		selector = "^" + majorOf(picked.Version)
	}
	return a.writeStep(file, as, data, p, res, m, stepWriter{ref.Registry, ref.Name, selector})
}

type stepWriter struct{ registry, module, selector string }

func (a *app) writeStep(file, as string, data []byte, p *schema.Pipeline, res *resolver, m *schema.ModuleVersion, w stepWriter) error {
	sources := pipelineSources(p, res)
	e := schema.NewEdit(data)
	wire := map[string]string{}
	for _, in := range m.Inputs {
		expr := match(in, sources)
		if expr == "" && !in.Value.Optional {
			name := freeName(in.Name, p.Inputs.Names())
			if err := e.Set(inputText(schema.Input{Type: in.Value.Type, Format: in.Value.Format}), "inputs", name); err != nil {
				return err
			}
			a.say("the pipeline gets the input %q: give it a path, or --input %s=PATH", name, name)
			expr = "${{ inputs." + name + " }}"
		}
		wire[in.Name] = expr
	}
	if err := e.Set(stepText(w.registry, w.module, w.selector, m, wire), "steps", as); err != nil {
		return err
	}
	if _, diags := schema.ParsePipeline(filepath.ToSlash(file), e.Bytes()); diags.Err() != nil {
		return diags.Err()
	}
	if err := os.WriteFile(file, e.Bytes(), 0o644); err != nil {
		return err
	}
	for _, in := range m.Inputs {
		if wire[in.Name] != "" {
			a.say("input %q comes from %s", in.Name, strings.Trim(wire[in.Name], "${} "))
		}
	}
	for _, pm := range m.Params {
		if pm.Value.Required() {
			a.say("set the param %q: it has no default", pm.Name)
		}
	}
	a.say("wrote the step %q into %s", as, file)
	return nil
}

// freeName is the name, or the name with a number, that no other name clashes with.
func freeName(name string, taken []string) string {
	free := name
	for n := 2; slices.ContainsFunc(taken, func(t string) bool { return schema.Fold(t) == schema.Fold(free) }); n++ {
		free = fmt.Sprintf("%s_%d", name, n)
	}
	return free
}

// dataSource is something that an input may be wired to.
type dataSource struct {
	name, expr string
	schema.Input
}

// pipelineSources lists the data of a pipeline, the latest steps first.
func pipelineSources(p *schema.Pipeline, res *resolver) []dataSource {
	var out []dataSource
	for i := len(p.Steps) - 1; i >= 0; i-- {
		s := p.Steps[i]
		outputs := s.Value.Outputs
		if ref, err := schema.ParseModuleRef(s.Value.Module.Value); err == nil {
			if c, err := res.set.Pick(s.Name, ref); err == nil {
				outputs = c.Manifest.Outputs
			}
		}
		for _, o := range outputs {
			out = append(out, dataSource{o.Name, "${{ steps." + s.Name + ".outputs." + o.Name + " }}", schema.Input{Type: o.Value.Type, Format: o.Value.Format, Optional: o.Value.Optional}})
		}
	}
	for _, in := range p.Inputs {
		out = append(out, dataSource{in.Name, "${{ inputs." + in.Name + " }}", in.Value.Input})
	}
	return out
}

// match finds the source that fits an input: the latest of the same name, else
// the only one of the same format.
func match(in schema.Entry[schema.Input], sources []dataSource) string {
	var fitting []dataSource
	for _, s := range sources {
		formats := s.Format == "" || in.Value.Format == "" || s.Format == in.Value.Format
		if s.Type == in.Value.Type && formats && (!s.Optional || in.Value.Optional) {
			fitting = append(fitting, s)
		}
	}
	for _, s := range fitting {
		if schema.Fold(s.name) == schema.Fold(in.Name) {
			return s.expr
		}
	}
	if len(fitting) == 1 && fitting[0].Format == in.Value.Format && in.Value.Format != "" {
		return fitting[0].expr
	}
	return ""
}
