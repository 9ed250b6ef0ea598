package conformance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

// Run runs every case of the folder, each on a compute and a store of its own.
func Run(t *testing.T, cases fs.FS, newCompute func(t *testing.T) runner.Compute) {
	files, err := fs.Glob(cases, "*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no cases: %v", err)
	}
	for _, f := range files {
		for _, c := range load(t, cases, f) {
			t.Run(strings.TrimSuffix(f, ".yaml")+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, c, newCompute(t))
				for i, r := range c.Runs {
					b.run(t, fmt.Sprintf("run %d", i+1), r)
				}
			})
		}
	}
}

// bench is where one case runs.
type bench struct {
	testCase
	dir     string // of the pipeline
	store   *store.Store
	history runner.History
	compute runner.Compute
	secrets []string // all values so far
}

func newBench(t *testing.T, c testCase, compute runner.Compute) *bench {
	root := t.TempDir()
	b := &bench{testCase: c, dir: filepath.Join(root, "pipeline"), history: runner.History{Dir: filepath.Join(root, "history")}, compute: compute}
	outside := filepath.Join(root, "outside")
	for _, d := range []string{b.dir, outside} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.Pipeline = strings.ReplaceAll(b.Pipeline, "@OUTSIDE@", outside)
	b.Modules = maps.Clone(b.Modules)
	for name, text := range b.Modules {
		b.Modules[name] = strings.ReplaceAll(text, "@OUTSIDE@", outside)
	}
	b.write(t, c.Files)
	var err error
	if b.store, err = store.Open(t.Context(), filepath.Join(root, "store")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.store.Close() })
	return b
}

func (b *bench) write(t *testing.T, files map[string]string) {
	for name, content := range files {
		path := filepath.Join(b.dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (b *bench) change(t *testing.T, r testRun) {
	for _, name := range r.Remove {
		if err := os.RemoveAll(filepath.Join(b.dir, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}
	b.write(t, r.Files)
	for _, e := range r.Edit {
		found := strings.Contains(b.Pipeline, e.From)
		b.Pipeline = strings.ReplaceAll(b.Pipeline, e.From, e.To)
		for name, text := range b.Modules {
			found = found || strings.Contains(text, e.From)
			b.Modules[name] = strings.ReplaceAll(text, e.From, e.To)
		}
		if !found {
			t.Fatalf("there is no %q to edit", e.From)
		}
	}
}

// run makes one run and compares.
func (b *bench) run(t *testing.T, name string, r testRun) {
	t.Helper()
	b.change(t, r)
	began := time.Now()
	rec, err := b.execute(t, r)
	took := time.Since(began)
	var problems *schema.ProblemsError
	switch {
	case errors.As(err, &problems):
		if len(r.Want.Problems) == 0 {
			t.Fatalf("%s: %v", name, err)
		}
		contains(t, name+": problems", err.Error(), r.Want.Problems)
		return
	case len(r.Want.Problems) > 0:
		t.Fatalf("%s: ran without problems; want %q", name, r.Want.Problems)
	case err != nil && (r.Cancel == "" || !errors.Is(err, errCancelled)):
		t.Fatalf("%s: %v", name, err)
	}
	b.compare(t, name, rec, r.Want)
	if r.Want.Within > 0 && took > r.Want.Within {
		t.Errorf("%s: it took %s, more than %s", name, took, r.Want.Within)
	}
	b.clean(t, name, r.Want)
}

var errCancelled = errors.New("cancelled by the case")

const pipelineHead = "apiVersion: modyard.dev/v1\nkind: Pipeline\nname: case\n"

// execute plans and runs; problems of the input are a [schema.ProblemsError].
func (b *bench) execute(t *testing.T, r testRun) (*runner.Record, error) {
	p, diags := schema.ParsePipeline("pipeline.yaml", []byte(pipelineHead+b.Pipeline))
	if err := diags.Err(); err != nil {
		return nil, err
	}
	inputs := map[string]string{}
	for name, path := range r.Inputs {
		inputs[name] = filepath.Join(b.dir, path)
	}
	plan, diags, err := runner.NewPlan(t.Context(), p, b, runner.PlanOptions{Dir: b.dir, Params: r.Set, Inputs: inputs, Env: in(r.Env)})
	if err := errors.Join(err, diags.Err()); err != nil {
		return nil, err
	}
	for _, v := range r.Secrets {
		b.secrets = append(b.secrets, v)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	opt := runner.Options{
		Store: b.store, Compute: b.compute, History: b.history, KeepGoing: r.KeepGoing, Force: r.Force, From: r.From, Only: r.Only,
		Secrets: in(r.Secrets), RetryDelay: 5 * time.Millisecond, Machine: runner.NewMachine(runner.Capacity{CPUs: 2}),
	}
	if r.Cancel != "" {
		go b.cancelWhenPrinting(ctx, r.Cancel, cancel)
	}
	return plan.Run(ctx, opt)
}

func in(m map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

// cancelWhenPrinting ends the run when a step has begun to print.
func (b *bench) cancelWhenPrinting(ctx context.Context, step string, cancel context.CancelCauseFunc) {
	for ctx.Err() == nil {
		logs, _ := filepath.Glob(filepath.Join(b.history.Dir, "runs", "*", "logs", step+".log"))
		if len(logs) > 0 {
			cancel(errCancelled)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

const moduleHead = "apiVersion: modyard.dev/v1\nkind: ModuleVersion\nmodule: %s\nversion: %s\ndescription: Of a case.\ncreated: 2026-11-20T09:00:00Z\n"

// Resolve finds a module of the case, which a step names by its exact version.
func (b *bench) Resolve(ctx context.Context, req runner.Request) (*runner.Module, error) {
	name := req.Ref.Name + "@" + req.Ref.Selector
	text, ok := b.Modules[name]
	if !ok {
		return nil, &runner.ResolveError{Message: "there is no " + name}
	}
	v, diags := schema.ParseModuleVersion(name+".yaml", []byte(fmt.Sprintf(moduleHead, req.Ref.Name, req.Ref.Selector)+text))
	if err := diags.Err(); err != nil {
		return nil, err
	}
	m := &runner.Module{Ref: name, Version: v, Snapshot: &runner.Snapshot{Digest: runner.EmptyTree}}
	if v.Snapshot == nil {
		return m, nil
	}
	dir := filepath.Join(b.dir, filepath.FromSlash(v.Snapshot.Folder.Value))
	tree, err := snapshot.Folder(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	m.Snapshot.Open = func(context.Context) (snapshot.Unpacker, error) { return snapshot.Folder(dir) }
	m.Snapshot.Digest, err = tree.Digest(ctx)
	return m, err
}

// clean asserts what holds after every run.
func (b *bench) clean(t *testing.T, name string, w want) {
	_, damaged, err := b.store.Verify(t.Context())
	if err != nil || (len(damaged) > 0) != w.Damaged {
		t.Errorf("%s: the store: %v, damaged: %q", name, err, damaged)
	}
	left, err := os.ReadDir(b.store.Temp())
	if err != nil || len(left) > 0 {
		t.Errorf("%s: there is left %v: %v", name, left, err)
	}
	for _, root := range []string{b.store.Root(), b.history.Dir} {
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || len(b.secrets) == 0 {
				return err
			}
			data, err := os.ReadFile(p)
			for _, s := range b.secrets {
				if strings.Contains(string(data), s) {
					t.Errorf("%s: a secret stands in %s", name, p)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// contains asserts that all the texts stand in another.
func contains(t *testing.T, what, got string, want texts) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			const most = 2000
			t.Errorf("%s: no %q in %q", what, w, got[:min(most, len(got))])
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
