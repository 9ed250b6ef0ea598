package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

type checkOptions struct {
	base, explain string
	event         string
	deep, fix     bool
}

func (a *app) checkCmd() *cobra.Command {
	o := &checkOptions{}
	cmd := &cobra.Command{
		Use:   "check [DIR | FILE]",
		Short: "Check a registry, or one manifest",
		Long: `Check the registry in DIR (default: the one around this folder), or one
manifest. All problems are reported at once, each with its place, the rule in
brackets, and a hint.

With --base only what changed since that git revision is read in depth, and
what it has is published: it must not change, and new versions must raise their
number as their interface needs. Exit code 4 says that all is good, but that a
maintainer must look before anything of it runs: there is a new module, or
owners, policy, workflows or tests changed, or a version needs the network, a
secret, or an image from where none came before.

With --event, in GitHub Actions, the base is that of the pull request; problems
annotate its lines, and the report is in the job's summary and in one comment,
which is edited in place. Nothing of the pull request is executed.
` + exitHelp,
		Example: `  modyard check
  modyard check --base origin/main
  modyard check --fix
  modyard check --explain bump`,
		Args: argCount(0, 1, "one folder or file at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.explain != "" {
				return a.explain(o.explain)
			}
			if err := eventGiven(cmd); err != nil {
				return err
			}
			target := ""
			if len(args) == 1 {
				target = args[0]
			}
			return a.check(cmd.Context(), target, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.base, "base", "", "compare with the git revision `REF`")
	f.StringVar(&o.event, "event", "", "compare with the base of the pull request in `FILE`, the event of GitHub Actions")
	f.BoolVar(&o.deep, "deep", false, "rehash the sources of all versions")
	f.BoolVar(&o.fix, "fix", false, "fill in what can be computed: digests, created, pins, CODEOWNERS")
	f.StringVar(&o.explain, "explain", "", "say what a `RULE` means (all: every rule)")
	return cmd
}

func (a *app) explain(name string) error {
	if name == "all" {
		for _, r := range schema.Rules() {
			fmt.Fprintf(a.out, "%s\n    %s\n\n", r, strings.ReplaceAll(r.Explain(), "\n", "\n    "))
		}
		return nil
	}
	text := schema.Rule(name).Explain()
	if text == "" {
		var names []string
		for _, r := range schema.Rules() {
			names = append(names, string(r))
		}
		return &hinted{fmt.Sprintf("there is no rule %q", name), cmpOr(schema.DidYouMean(name, names), "modyard check --explain all lists them")}
	}
	fmt.Fprintf(a.out, "%s\n\n%s\n", name, text)
	return nil
}

func (a *app) check(ctx context.Context, target string, o *checkOptions) error {
	if target == "" {
		dir, err := findRegistry(".")
		if err != nil {
			return err
		}
		return a.checkRegistry(ctx, dir, o)
	}
	info, err := os.Stat(target)
	if err != nil {
		return fmt.Errorf("cannot check %s: %w", target, unwrapPath(err))
	}
	if info.IsDir() {
		return a.checkRegistry(ctx, target, o)
	}
	if o.base != "" || o.fix || o.deep {
		return usagef("--base, --fix and --deep are for a registry, not for one file")
	}
	return a.checkFile(ctx, target)
}

func (a *app) checkRegistry(ctx context.Context, dir string, o *checkOptions) error {
	f, err := a.fetcher()
	if err != nil {
		return err
	}
	var e *event
	number := 0
	if o.event != "" {
		if e, err = readEvent(o.event); err != nil {
			return err
		}
		var base string
		if number, base, err = a.pullOf(ctx, e); err != nil {
			return err
		}
		if base != "" && base != noCommit {
			if o.base, err = a.forkPoint(ctx, dir, e, base); err != nil {
				return err
			}
		}
	}
	res, r, err := a.reviewed(ctx, dir, registry.CheckOptions{Base: o.base, Deep: o.deep, Fix: o.fix, Fetcher: f})
	if err != nil {
		return err
	}
	for _, f := range res.Fixed {
		a.say("fixed %s", f)
	}
	if a.format == "json" && o.base != "" {
		err = a.json(r)
	} else {
		err = a.diagnostics(r.Diagnostics)
	}
	if err != nil {
		return err
	}
	r.print(a)
	a.say("%s: %s and %s read, %s", res.Registry.Name, count(res.Modules, "module"), count(res.Versions, "version"), count(r.Diagnostics.Errors(), "problem"))
	if e != nil {
		if err := a.tellPull(ctx, e, number, r); err != nil {
			return err
		}
	}
	return r.exit()
}

// reviewed checks a registry, wires its modules that are pipelines, and judges.
func (a *app) reviewed(ctx context.Context, dir string, opt registry.CheckOptions) (*registry.Checked, *review, error) {
	opt.Wire = a.wire
	res, err := registry.Check(ctx, dir, opt)
	if err != nil {
		return nil, nil, err
	}
	r, err := a.review(ctx, res)
	return res, r, err
}

// wire plans a module as if everything that it needs were given, and tells what
// its steps need.
func (a *app) wire(ctx context.Context, reg *registry.Registry, m *schema.ModuleVersion) (schema.Diagnostics, []registry.Needs, error) {
	p := onePipeline(schema.ModuleRef{Registry: reg.Name, Name: m.Module.Value, Selector: m.Version.Value}, m)
	r := a.resolver(map[string]*registry.Registry{reg.Name: reg})
	r.set.AllowDisabled = true
	plan, diags, err := runner.NewPlan(ctx, p, r, runner.PlanOptions{Unbound: true})
	// What has no file is of the pipeline that was made up here.
	var out schema.Diagnostics
	for _, d := range diags {
		if d.File != "" && d.Severity == schema.Error {
			out = append(out, d)
		}
	}
	if plan == nil {
		if err == nil && len(out) == 0 { // never as if it needed nothing
			out.Add(m.File, schema.Pos{}, schema.RuleWiring, "", "it cannot be wired: %v", diags.Err())
		}
		return out, nil, err
	}
	var needs []registry.Needs
	for _, s := range plan.Steps {
		var origin *schema.Snapshot
		if s.Module != nil {
			origin = s.Module.Version.Snapshot
		}
		needs = append(needs, registry.NeedsOf(s.Run, origin))
	}
	return out, needs, err
}

func (a *app) checkFile(ctx context.Context, file string) error {
	data, err := readManifest(file, schema.MaxPipeline)
	if err != nil {
		return err
	}
	m, diags := schema.Parse(filepath.ToSlash(file), data)
	if _, isPipeline := m.(*schema.Pipeline); isPipeline && diags.Err() == nil {
		p, err := a.plan(ctx, file, &planFlags{unbound: true})
		var problems *schema.ProblemsError
		switch {
		case errors.As(err, &problems):
			diags = problems.Diagnostics
		case err != nil:
			return err
		default:
			diags = append(diags, p.plan.Warnings...)
		}
	}
	if err := a.diagnostics(diags); err != nil {
		return err
	}
	a.say("%s: %s", file, count(diags.Errors(), "problem"))
	if diags.Errors() > 0 {
		return exitCode(exitProblems)
	}
	return nil
}
