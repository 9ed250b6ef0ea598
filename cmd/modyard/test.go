package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/runner/local"
	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

type testOptions struct {
	registryFlag
	since  string
	asJSON bool
}

func (a *app) testCmd() *cobra.Command {
	o := &testOptions{}
	cmd := &cobra.Command{
		Use:   "test [MODULE[@VERSION]]…",
		Short: "Run the tests of modules",
		Long: `Run the tests of modules, modules/NAME/tests/*.yaml: each runs a version with the
inputs and params that it gives, and compares what comes out. Without arguments
the newest version of every module is tested; a module by its name, its newest
version. A test that ran before with the same code and data is reused.
` + exitHelp,
		Example: `  modyard test
  modyard test train-model@2.1.0
  modyard test --changed-since origin/main`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.test(cmd.Context(), args, o) },
	}
	o.register(cmd)
	a.storeFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&o.since, "changed-since", "", "test the versions that were added since the git revision `REF`, and the newest ones of modules whose tests were changed")
	f.BoolVar(&o.asJSON, "json", false, "write JSON")
	return cmd
}

// testResult is what became of one test of one version.
type testResult struct {
	Module   string   `json:"module"`
	Version  string   `json:"version"`
	Test     string   `json:"test"`
	Good     bool     `json:"good"`
	Reused   bool     `json:"reused"`
	Seconds  float64  `json:"seconds"`
	Problems []string `json:"problems"`
	Log      string   `json:"log,omitempty"` // its last lines, of a failure that was not expected
}

func (a *app) test(ctx context.Context, args []string, o *testOptions) error {
	reg, err := o.open()
	if err != nil {
		return err
	}
	versions, err := a.tested(ctx, reg, args, o)
	if err != nil {
		return err
	}
	runs, err := a.planTests(ctx, reg, versions)
	if err != nil {
		return err
	}
	st, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	machine, err := a.machine(&runOptions{})
	if err != nil {
		return err
	}
	g, running := errgroup.WithContext(ctx)
	g.SetLimit(testsAtOnce)
	launched := make(chan struct{})
	defer func() { <-launched }()
	go func() {
		defer close(launched)
		for _, r := range runs {
			g.Go(func() error {
				defer close(r.done)
				r.err = a.runTest(running, r, st, machine)
				return r.err
			})
		}
	}()
	results, failed := []testResult{}, 0
	for _, r := range runs {
		<-r.done
		if r.err != nil {
			<-launched
			return g.Wait() // the first one; others may have been cancelled for it
		}
		results = append(results, r.testResult)
		if !r.Good {
			failed++
		}
		if !o.asJSON {
			a.printTest(r.testResult)
		}
	}
	if o.asJSON {
		if err := a.json(results); err != nil {
			return err
		}
	}
	a.say("%s, %d failed", count(len(results), "test"), failed)
	if failed > 0 {
		return exitCode(exitProblems)
	}
	return nil
}

func (a *app) printTest(r testResult) {
	state, took := "ok  ", fmt.Sprintf("%.1fs", r.Seconds)
	if r.Reused {
		took = "reused"
	}
	if !r.Good {
		state = "FAIL"
	}
	fmt.Fprintf(a.out, "%s  %s@%s  %s  %s\n", state, r.Module, r.Version, r.Test, took)
	for _, p := range r.Problems {
		fmt.Fprintf(a.out, "      %s\n", p)
	}
	for line := range strings.Lines(r.Log) {
		fmt.Fprintf(a.out, "      | %s\n", strings.TrimRight(line, "\n"))
	}
}

// tested lists the versions to test.
func (a *app) tested(ctx context.Context, reg *registry.Registry, args []string, o *testOptions) ([]*registry.Version, error) {
	var out []*registry.Version
	newest := func(name string) error {
		m, _, err := reg.Module(name)
		if err != nil {
			return err
		}
		if len(m.Versions) > 0 {
			out = append(out, m.Versions[len(m.Versions)-1])
		}
		return nil
	}
	switch {
	case o.since != "" && len(args) > 0:
		return nil, usagef("name modules, or give --changed-since REF")
	case o.since != "":
		res, err := registry.Check(ctx, reg.Dir, registry.CheckOptions{Base: o.since})
		if err != nil {
			return nil, err
		}
		added := map[string]bool{}
		for _, add := range res.Added {
			m, _, err := reg.Module(add.Module)
			if err != nil {
				return nil, err
			}
			if v, ok := m.Version(add.Version); ok {
				out = append(out, v)
				added[add.Module] = true
			}
		}
		for _, name := range res.Tested {
			if !added[name] {
				if err := newest(name); err != nil {
					return nil, err
				}
			}
		}
		return out, nil
	case len(args) == 0:
		for _, name := range reg.Names() {
			if err := newest(name); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	for _, arg := range args {
		ref, err := schema.ParseModuleRef(arg)
		if err != nil {
			return nil, usagef("%w", err)
		}
		if ref.Selector == "" {
			if err := newest(ref.Name); err != nil {
				return nil, err
			}
			continue
		}
		p, _, err := pickArg(reg, arg)
		if err != nil {
			return nil, err
		}
		out = append(out, p.Version)
	}
	return out, nil
}

// testsAtOnce bounds the tests that are begun; the machine bounds those whose
// commands run.
const testsAtOnce = 32

// testRun is a test of a version.
type testRun struct {
	testResult
	test *registry.Test
	dir  string       // what its paths are relative to
	plan *runner.Plan // nil when it cannot be planned
	err  error        // that is no fault of the module
	done chan struct{}
}

// explained takes problems of the version or the test over; any other error is
// none of theirs.
func (r *testRun) explained(err error) bool {
	problems, ok := errors.AsType[*schema.ProblemsError](err)
	if !ok {
		return false
	}
	for _, d := range problems.Diagnostics {
		r.Problems = append(r.Problems, d.Message)
	}
	return true
}

// planTests plans the tests of versions.
func (a *app) planTests(ctx context.Context, reg *registry.Registry, versions []*registry.Version) ([]*testRun, error) {
	var out []*testRun
	for _, v := range versions {
		m, _, err := reg.Module(v.Module())
		if err != nil {
			return nil, err
		}
		tests, diags, err := m.Tests()
		if err != nil {
			return nil, err
		}
		if diags.Err() != nil {
			if err := a.diagnostics(diags); err != nil {
				return nil, err
			}
			return nil, exitCode(exitProblems)
		}
		for _, t := range tests {
			if !t.For(v) {
				continue
			}
			r := &testRun{
				testResult: testResult{Module: v.Module(), Version: v.String(), Test: t.Name, Problems: []string{}},
				test:       t, dir: filepath.Join(reg.Dir, filepath.FromSlash(path.Dir(t.Path))), done: make(chan struct{}),
			}
			if r.plan, err = a.planTest(ctx, reg, v, r); err != nil && !r.explained(err) {
				return nil, err
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// planTest plans a pipeline of the version alone, with what the test gives it.
func (a *app) planTest(ctx context.Context, reg *registry.Registry, v *registry.Version, r *testRun) (*runner.Plan, error) {
	m, diags, err := v.Manifest()
	if err == nil {
		err = diags.Err()
	}
	if err != nil {
		return nil, err
	}
	ref := schema.ModuleRef{Registry: reg.Name, Name: m.Module.Value, Selector: m.Version.Value}
	p := onePipeline(ref, m)
	p.Params, p.Steps[0].Value.Params = nil, nil
	for _, e := range r.test.Params {
		p.Steps[0].Value.Params = append(p.Steps[0].Value.Params, schema.Entry[schema.Arg]{Name: e.Name, Value: schema.Arg{Value: e.Value}})
	}
	f, err := a.fetcher()
	if err != nil {
		return nil, err
	}
	opt := runner.PlanOptions{Dir: r.dir, Inputs: map[string]string{}, Env: a.lookup, Fetcher: f}
	for _, in := range r.test.Inputs {
		opt.Inputs[in.Name] = filepath.Join(r.dir, filepath.FromSlash(in.Value.Value))
	}
	res := a.resolver(map[string]*registry.Registry{reg.Name: reg})
	res.set.AllowDisabled = true
	plan, diags, err := runner.NewPlan(ctx, p, res, opt)
	if err == nil {
		err = diags.Err()
	}
	return plan, err
}

// runTest runs a test and compares what comes out.
func (a *app) runTest(ctx context.Context, r *testRun, st *store.Store, machine *runner.Machine) error {
	if r.plan == nil {
		return nil
	}
	record, err := os.MkdirTemp("", "modyard-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(record)
	search, _ := a.lookup("PATH")
	rec, err := r.plan.Run(ctx, runner.Options{
		Store: st, Compute: &local.Compute{Path: search, Environ: os.Environ()}, History: runner.History{Dir: record}, Machine: machine,
		Secrets: func(string) (string, bool) { return "", false }, Event: func(runner.Event) {},
	})
	if err != nil && r.explained(err) {
		return nil
	}
	if err != nil {
		return err
	}
	r.Seconds = rec.Seconds()
	exit, want := 0, r.test.Exit
	r.Reused = true
	for _, s := range rec.Steps {
		r.Reused = r.Reused && s.State == runner.Reused
		if s.State != runner.Failed {
			continue
		}
		if exit = s.ExitCode; exit == 0 || exit != want {
			r.Problems = append(r.Problems, s.Error)
			r.Log = lastLines(filepath.Join(rec.Dir(), s.Log))
		}
	}
	switch {
	case len(r.Problems) > 0:
	case exit != want:
		r.Problems = append(r.Problems, fmt.Sprintf("the command ended with exit code %d, not %d", exit, want))
	case exit == 0:
		outputs := filepath.Join(record, "outputs")
		if err := rec.Export(st, outputs); err != nil {
			return err
		}
		for _, e := range r.test.Outputs {
			r.Problems = append(r.Problems, compareOutput(ctx, rec, e.Name, e.Value, outputs, r.dir)...)
		}
	}
	r.Good = len(r.Problems) == 0
	return nil
}

// lastLines is the end of a log.
func lastLines(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	const lines = 20
	for i, n := len(data)-1, 0; i >= 0; i-- {
		if data[i] == '\n' && i < len(data)-1 {
			if n++; n == lines {
				return string(data[i+1:])
			}
		}
	}
	return string(data)
}
