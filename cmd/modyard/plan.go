package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

func (a *app) planCmd() *cobra.Command {
	f := &planFlags{}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "plan PIPELINE.yaml | MODULE[@VERSION]",
		Short: "Resolve and check a pipeline without running it",
		Long: `Resolve every step to an exact version and check how data flows between them:
all problems at once, each with its place and a hint.
` + exitHelp,
		Args: oneArg("a pipeline's file or a module"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.plan(cmd.Context(), args[0], f)
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(planJSON(p.plan))
			}
			if err := a.warnings(p.plan); err != nil {
				return err
			}
			for _, n := range p.resolver.notes {
				a.say("note: %s", n)
			}
			return a.printPlan(p.plan)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the plan as JSON")
	return cmd
}

func (a *app) printPlan(p *runner.Plan) error {
	t := a.table()
	t.row("STEP", "MODULE", "NEEDS", "PARAMS")
	for _, s := range p.Steps {
		var needs []string
		for _, n := range s.Needs {
			needs = append(needs, n.Name)
		}
		var params []string
		for _, e := range s.Interface.Params {
			if v, set := s.Values[e.Name]; set {
				params = append(params, e.Name+"="+paramText(v))
			}
		}
		t.row(s.Name, s.Title(), strings.Join(needs, ", "), strings.Join(params, " "))
	}
	return t.flush()
}

// paramText writes a param's value, or where it comes from.
func paramText(p runner.Param) string {
	if len(p.Parts) == 0 {
		return schema.Render(p.Value)
	}
	var b strings.Builder
	for _, piece := range p.Pieces() {
		if piece.From.Step == nil {
			b.WriteString(piece.Literal)
		} else {
			b.WriteString("${{ " + piece.From.String() + " }}")
		}
	}
	return b.String()
}

type stepJSON struct {
	Name          string            `json:"name"`
	Module        string            `json:"module,omitempty"`
	VersionDigest schema.Digest     `json:"versionDigest,omitempty"`
	Snapshot      schema.Digest     `json:"snapshot"`
	Needs         []string          `json:"needs"`
	Inputs        map[string]string `json:"inputs"`
	Params        map[string]any    `json:"params"`
	Outputs       any               `json:"outputs"`
	Command       any               `json:"command"`
	Retries       int               `json:"retries,omitempty"`
	Timeout       string            `json:"timeout,omitempty"`
	Resources     schema.Resources  `json:"resources"`
}

func planJSON(p *runner.Plan) any {
	steps := make([]stepJSON, 0, len(p.Steps))
	for _, s := range p.Steps {
		j := stepJSON{
			Name: s.Name, Snapshot: s.Snapshot.Digest, Needs: []string{}, Inputs: map[string]string{}, Params: map[string]any{},
			Outputs: s.Outputs, Command: s.Run.Command, Retries: s.Retries, Resources: s.Resources,
		}
		if s.Module != nil {
			j.Module, j.VersionDigest = s.Module.Ref, s.Module.Version.Digest
		}
		if s.Timeout > 0 {
			j.Timeout = s.Timeout.String()
		}
		for _, n := range s.Needs {
			j.Needs = append(j.Needs, n.Name)
		}
		for name, src := range s.Sources {
			j.Inputs[name] = src.String()
		}
		for name, v := range s.Values {
			if len(v.Parts) == 0 {
				j.Params[name] = v.Value
			} else {
				j.Params[name] = paramText(v)
			}
		}
		steps = append(steps, j)
	}
	outputs := map[string]string{}
	for _, o := range p.Outputs {
		outputs[o.Name] = o.From.String()
	}
	return map[string]any{"pipeline": p.Name, "params": p.Params, "steps": steps, "outputs": outputs, "warnings": append(schema.Diagnostics{}, p.Warnings...)}
}

func (a *app) graphCmd() *cobra.Command {
	f := &planFlags{unbound: true}
	var format string
	cmd := &cobra.Command{
		Use:   "graph PIPELINE.yaml",
		Short: "Draw a pipeline as a Mermaid or Graphviz diagram",
		Args:  oneArg("a pipeline's file or a module"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "mermaid" && format != "dot" {
				return usagef("there is no diagram %q; there is mermaid and dot", format)
			}
			p, err := a.plan(cmd.Context(), args[0], f)
			if err != nil {
				return err
			}
			fmt.Fprint(a.out, drawGraph(p, format == "dot"))
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&format, "as", "mermaid", "mermaid or dot")
	return cmd
}

// drawGraph draws steps as boxes and data as labelled arrows.
func drawGraph(p *planned, dot bool) string {
	ids := map[string]string{}
	var b strings.Builder
	node, edge, end := "  %s[\"%s\"]\n", "  %s -->|%s| %s\n", ""
	b.WriteString("flowchart TD\n")
	if dot {
		b.Reset()
		node, edge, end = "  %s [shape=box label=\"%s\"]\n", "  %s -> %[3]s [label=\"%[2]s\"]\n", "}\n"
		b.WriteString("digraph pipeline {\n")
	}
	br := "<br/>"
	if dot {
		br = "\\n"
	}
	for i, in := range p.pipeline.Inputs {
		ids["inputs."+in.Name] = fmt.Sprintf("i%d", i)
		fmt.Fprintf(&b, node, ids["inputs."+in.Name], in.Name+br+"input")
	}
	for i, s := range p.plan.Steps {
		ids[s.Name] = fmt.Sprintf("s%d", i)
		fmt.Fprintf(&b, node, ids[s.Name], s.Name+br+s.Title())
	}
	for _, s := range p.plan.Steps {
		drawn := map[string]bool{}
		draw := func(src runner.Source) {
			from, label := ids["inputs."+src.Input], src.Input
			if src.Step != nil {
				from, label = ids[src.Step.Name], src.Output
				drawn[src.Step.Name] = true
			}
			fmt.Fprintf(&b, edge, from, label, ids[s.Name])
		}
		for _, name := range sortedKeys(s.Sources) {
			draw(s.Sources[name])
		}
		for _, name := range sortedKeys(s.Values) {
			for _, piece := range s.Values[name].Pieces() {
				if piece.From.Step != nil {
					draw(piece.From)
				}
			}
		}
		for _, n := range s.Needs {
			if !drawn[n.Name] {
				fmt.Fprintf(&b, edge, ids[n.Name], "after", ids[s.Name])
			}
		}
	}
	return b.String() + end
}
