package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

// stepVersion turns a script step of a pipeline into a module version, and
// that step into a ModuleStep.
func (a *app) stepVersion(ctx context.Context, r *registry.Registry, name string, o *versionOptions) error {
	file, step, ok := strings.Cut(o.from, "#")
	if !ok {
		return usagef("--from %q is not PIPELINE#STEP", o.from)
	}
	p, err := a.plan(ctx, file, &planFlags{})
	if err != nil {
		return err
	}
	st, ok := p.plan.Step(step)
	def, _ := p.pipeline.Steps.Get(step)
	switch {
	case !ok:
		return &hinted{fmt.Sprintf("the pipeline has no step %q", step), schema.DidYouMean(step, p.pipeline.Steps.Names())}
	case st.Module != nil:
		return &hinted{fmt.Sprintf("step %q uses the module %s already", step, st.Module.Ref), ""}
	}
	m, err := stepManifest(name, o, st, &def)
	if err != nil {
		return err
	}
	inPipeline, err := registryName(r, p, file)
	if err != nil {
		return err
	}
	if r, err = a.ensureModule(r, name, &o.moduleOptions); err != nil {
		return err
	}
	src := filepath.Join(r.Dir, "modules", name, "src")
	if def.Snapshot != nil {
		err = copySource(filepath.Join(filepath.Dir(file), filepath.FromSlash(def.Snapshot.Folder.Value)), src)
	} else {
		err = keepFolder(src)
	}
	if err != nil {
		return err
	}
	if err := a.addVersion(ctx, r, m, o); err != nil {
		return err
	}
	v, err := semver.NewVersion(m.Version.Value)
	if err != nil {
		return err
	}
	ref := schema.ModuleRef{Registry: inPipeline, Name: name, Selector: "^" + rangeOf(v)}
	return a.rewriteStep(file, step, ref)
}

// registryName finds the name that the pipeline has for the registry.
func registryName(r *registry.Registry, p *planned, file string) (string, error) {
	want, err := os.Stat(r.Dir)
	if err != nil {
		return "", err
	}
	for name, reg := range p.resolver.set.Registries {
		if have, err := os.Stat(reg.Dir); err == nil && os.SameFile(want, have) {
			return name, nil
		}
	}
	rel, err := filepath.Rel(filepath.Dir(file), r.Dir)
	if err != nil {
		rel = r.Dir
	}
	return "", &hinted{
		fmt.Sprintf("the pipeline does not name the registry in %s", r.Dir),
		fmt.Sprintf("add registries: {%s: %s} to %s, or name another registry: --registry DIR", r.Name, filepath.ToSlash(rel), file),
	}
}

// stepManifest makes the manifest of a version of what a script step is.
func stepManifest(name string, o *versionOptions, st *runner.ModuleStep, def *schema.Step) (*schema.ModuleVersion, error) {
	for _, e := range st.Run.Env {
		if strings.Contains(e.Value.Value, "env.") {
			return nil, &hinted{fmt.Sprintf("the step's variable %s reads the environment: %q", e.Name, e.Value.Value), "a module gets what it needs by params: hand it over in one"}
		}
	}
	m := &schema.ModuleVersion{
		Module: schema.Text{Value: name}, Description: cmp.Or(o.description, def.Description), Interface: st.Interface, Run: st.Run,
		Snapshot: &schema.Snapshot{Folder: schema.Text{Value: "../src"}},
	}
	m.Params = nil
	for _, e := range st.Interface.Params {
		p := schema.Param{Spec: e.Value.Spec, Optional: e.Value.Optional}
		if arg, ok := def.Params.Get(e.Name); ok {
			if s, isText := arg.Value.(string); !isText || !strings.Contains(s, "${{") {
				p.Default, p.Optional = st.Values[e.Name].Value, false
			}
		}
		m.Params = append(m.Params, schema.Entry[schema.Param]{Name: e.Name, Value: p})
	}
	return m, nil
}

// keepFolder makes a folder that git keeps though it is empty.
func keepFolder(dir string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return occupied(dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ".gitkeep"), nil, 0o644)
}

func occupied(dir string) error {
	return &hinted{fmt.Sprintf("the folder %s has other files than the step", dir), "move them away first, or name another module"}
}

// copySource copies what a snapshot of a folder holds. What is there already
// must be the same: a module's source is not overwritten.
func copySource(from, to string) error {
	t, err := snapshot.Folder(from)
	if err != nil {
		return err
	}
	if there, err := snapshot.Folder(to); err == nil && len(there.Files()) > 0 {
		for _, f := range there.Files() {
			a, errA := os.ReadFile(filepath.Join(from, filepath.FromSlash(f)))
			b, errB := os.ReadFile(filepath.Join(to, filepath.FromSlash(f)))
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				return occupied(to)
			}
		}
	}
	for _, f := range t.Files() {
		dst := filepath.Join(to, filepath.FromSlash(f))
		data, err := os.ReadFile(filepath.Join(from, filepath.FromSlash(f)))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(dst, data, fs.FileMode(0o644)); err != nil {
			return err
		}
	}
	return nil
}

// rewriteStep makes a script step of a pipeline use a module.
func (a *app) rewriteStep(file, step string, ref schema.ModuleRef) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	e := schema.NewEdit(data)
	if err := e.Set(schema.Scalar(ref.String()), "steps", step, "module"); err != nil {
		return err
	}
	for _, key := range []string{"run", "snapshot", "outputs"} {
		if err := e.Delete("steps", step, key); err != nil {
			return err
		}
	}
	if err := os.WriteFile(file, e.Bytes(), 0o644); err != nil {
		return err
	}
	a.say("step %q of %s uses %s now", step, file, ref)
	return nil
}
