package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

// use is a step of a pipeline that has a module of a registry.
type use struct {
	File   string           `json:"file"` // the pipeline's
	Step   string           `json:"step"`
	Module string           `json:"module"` // as the step names it
	Ref    schema.ModuleRef `json:"-"`
	Picks  string           `json:"picks,omitempty"`  // the version that it gets
	Locked string           `json:"locked,omitempty"` // the one in the pipeline's lock
	Within string           `json:"within,omitempty"` // the version that has it, if the step's module is a pipeline
	Breaks string           `json:"breaks,omitempty"` // why the pipeline does not fit it

	location string // of the registry
}

// maxPipelines bounds how many files are read for uses.
const maxPipelines = 10_000

// uses finds the steps below a folder that have a module of the registry, or any
// if that is "": those of pipelines, read from files, not of modules, whose steps
// are pinned.
func (a *app) uses(ctx context.Context, root string, reg *registry.Registry, module string) ([]use, error) {
	list, ok := a.pipelines[root]
	if !ok {
		var err error
		if list, err = pipelinesBelow(ctx, root); err != nil {
			return nil, err
		}
		if a.pipelines == nil {
			a.pipelines = map[string][]*schema.Pipeline{}
		}
		a.pipelines[root] = list
	}
	var out []use
	for _, p := range list {
		out = append(out, a.usesOf(ctx, p, filepath.FromSlash(p.File), reg, module)...)
	}
	return out, nil
}

// pipelinesBelow reads the good pipelines below a folder.
func pipelinesBelow(ctx context.Context, root string) ([]*schema.Pipeline, error) {
	var out []*schema.Pipeline
	files := 0
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return nil //nolint:nilerr // a folder that cannot be read has no pipelines for us
		case d.IsDir() && (d.Name() == ".git" || d.Name() == ".modyard" || d.Name() == "node_modules" || d.Name() == "versions" && p != root):
			return fs.SkipDir
		case d.IsDir() || !d.Type().IsRegular() || filepath.Ext(p) != ".yaml" && filepath.Ext(p) != ".yml":
			return nil
		}
		if files++; files > maxPipelines {
			return fs.SkipAll
		}
		if pipeline := pipelineIn(p); pipeline != nil {
			out = append(out, pipeline)
		}
		return nil
	})
	return out, err
}

// pipelineIn reads a file; nil unless it is a good pipeline.
func pipelineIn(file string) *schema.Pipeline {
	data, err := readManifest(file, schema.MaxPipeline)
	if err != nil || !strings.Contains(string(data), schema.KindPipeline) {
		return nil
	}
	m, diags := schema.Parse(filepath.ToSlash(file), data)
	if p, ok := m.(*schema.Pipeline); ok && diags.Err() == nil {
		return p
	}
	return nil
}

func (a *app) usesOf(ctx context.Context, p *schema.Pipeline, file string, reg *registry.Registry, module string) []use {
	lock, _ := loadLock(lockFile(file))
	var out []use
	for _, s := range p.Steps {
		ref, err := schema.ParseModuleRef(s.Value.Module.Value)
		if err != nil || module != "" && ref.Name != module || ref.Image != "" {
			continue
		}
		location, ok := p.Registries.Get(ref.Registry)
		if !ok || !a.isRegistry(ctx, location.Value, filepath.Dir(file), reg) {
			continue
		}
		u := use{File: filepath.ToSlash(file), Step: s.Name, Module: ref.String(), Ref: ref, location: location.Value}
		if lock != nil {
			if l, _ := lock.Steps.Get(s.Name); l.Module.Value == u.Module {
				u.Locked = l.Version
			}
		}
		out = append(out, u)
	}
	return out
}

// isRegistry reports whether a location means this registry: its folder, the
// repository that it says it is, or the one that it was read from.
func (a *app) isRegistry(ctx context.Context, location, dir string, reg *registry.Registry) bool {
	p, err := a.parsePlace(location)
	if err != nil {
		return false
	}
	if p == nil {
		x, errX := os.Stat(folderAt(location, dir))
		y, errY := os.Stat(reg.Dir)
		return errX == nil && errY == nil && os.SameFile(x, y)
	}
	address := func(s string) string {
		return strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(s, "/"), ".git"))
	}
	at := address(p.address())
	if reg.Source != "" && address(reg.Source) == at {
		h := a.homeOf(ctx, reg)
		return h.repo == nil || h.folder == p.folder
	}
	return slices.ContainsFunc(a.placesOf(reg), func(from *place) bool {
		return address(from.address()) == at && from.folder == p.folder
	})
}

// pinned reports whether a location names a commit or a tag of the registry's
// repository: what is merged does not change it.
func (a *app) pinned(ctx context.Context, location string, reg *registry.Registry) bool {
	p, err := a.parsePlace(location)
	if err != nil || p == nil || p.ref == "" {
		return false
	}
	if git.IsHash(p.ref) {
		return true
	}
	h := a.homeOf(ctx, reg)
	if h.repo == nil {
		return false
	}
	_, err = h.repo.Commit(ctx, "refs/tags/"+p.ref)
	return err == nil
}

// home is the repository that a registry is in, if any, and its folder there.
type home struct {
	repo   *git.Repo
	folder string // "" for the root
}

func (a *app) homeOf(ctx context.Context, reg *registry.Registry) home {
	a.opening.Lock()
	defer a.opening.Unlock()
	if h, ok := a.homes[reg]; ok {
		return h
	}
	var h home
	if reg.Dir != "" {
		if repo, err := git.Open(ctx, reg.Dir); err == nil {
			if inside, err := repo.Rel(reg.Dir); err == nil {
				h = home{repo, path.Clean("/" + inside)[1:]}
			}
		}
	}
	if a.homes == nil {
		a.homes = map[*registry.Registry]home{}
	}
	a.homes[reg] = h
	return h
}

// affected lists the pipelines in a registry's folder that get another version of
// a module than they did before, if which says so of the version that they get
// now ("" for none); their files are relative to the folder. Those that do not
// fit it say why.
func (a *app) affected(ctx context.Context, reg *registry.Registry, before *registry.Module, which func(now string) bool) ([]use, error) {
	list, err := a.uses(ctx, reg.Dir, reg, before.Name)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	m, _, err := reg.Module(before.Name)
	if err != nil {
		return nil, err
	}
	number := func(m *registry.Module, selector string) string {
		if p, err := m.Pick(selector, registry.PickOptions{}); err == nil {
			return p.String()
		}
		return ""
	}
	list = slices.DeleteFunc(list, func(u use) bool {
		now := number(m, u.Ref.Selector)
		return now == number(before, u.Ref.Selector) || !which(now) || a.pinned(ctx, u.location, reg)
	})
	for i, u := range list {
		list[i].Picks = number(m, u.Ref.Selector)
		if inside, err := filepath.Rel(reg.Dir, filepath.FromSlash(u.File)); err == nil {
			list[i].File = filepath.ToSlash(inside)
		}
		if _, err := a.plan(ctx, filepath.FromSlash(u.File), &planFlags{unbound: true, noLock: true, here: reg}); err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			list[i].Breaks = firstProblem(err)
		}
	}
	return list, nil
}

func firstProblem(err error) string {
	if p, ok := errors.AsType[*schema.ProblemsError](err); ok {
		for _, d := range p.Diagnostics {
			if d.Severity == schema.Error {
				return d.Message
			}
		}
	}
	return err.Error()
}

func (a *app) affectedCmd() *cobra.Command {
	var f registryFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "affected MODULE@VERSION",
		Short: "Find what has used a version: pipelines, locks, runs, stored results",
		Long: `Find what has used a version, for the day that it turns out bad: the modules of a
registry on this disk that are pipelines and have it, the pipelines below this
folder that pick it, or such a module, or have it in their lock, the runs recorded
here, and the results in the store that its files made.
` + exitHelp,
		Args: oneArg("a version of a module"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.affectedBy(cmd.Context(), &f, args[0], asJSON) },
	}
	f.registerRead(cmd)
	a.storeFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

// usedBy is what has used a version.
type usedBy struct {
	Version   string          `json:"version"`
	Modules   []string        `json:"modules"` // versions that are pipelines and have it
	Pipelines []use           `json:"pipelines"`
	Runs      []string        `json:"runs"`
	Results   []schema.Digest `json:"results"` // keys
}

func (a *app) affectedBy(ctx context.Context, f *registryFlag, arg string, asJSON bool) error {
	reg, err := f.read(ctx, a)
	if err != nil {
		return err
	}
	picked, m, err := pickArg(reg, arg)
	if err != nil {
		return err
	}
	out := usedBy{Version: picked.Module() + "@" + picked.String(), Modules: []string{}, Pipelines: []use{}, Runs: []string{}, Results: []schema.Digest{}}
	h := holders{reg: reg, version: out.Version, known: map[string]bool{}}
	if reg.Dir != "" { // one elsewhere is not read whole
		if out.Modules, err = h.all(ctx); err != nil {
			return err
		}
	}
	list, err := a.uses(ctx, ".", reg, "")
	if err != nil {
		return err
	}
	for _, u := range list {
		mod, _, err := reg.Module(u.Ref.Name)
		if _, missing := registry.AsNotFound(err); missing {
			continue // the pipeline has a problem of its own
		}
		if err != nil {
			return err
		}
		if now, err := mod.Pick(u.Ref.Selector, registry.PickOptions{AllowDisabled: true}); err == nil {
			u.Picks = now.String()
		}
		for _, number := range []string{u.Locked, u.Picks} {
			one := u.Ref.Name + "@" + number
			if number == "" {
				continue
			}
			has, err := h.has(one)
			if err != nil {
				return err
			}
			if has {
				if one != out.Version {
					u.Within = one
				}
				out.Pipelines = append(out.Pipelines, u)
				break
			}
		}
	}
	if out.Runs, err = runsWith(out.Version, m.Digest); err != nil {
		return err
	}
	if m.Snapshot != nil && m.Snapshot.Digest != "" {
		if err := a.resultsOf(ctx, m.Snapshot.Digest, &out); err != nil {
			return err
		}
	}
	if asJSON {
		return a.json(out)
	}
	for _, one := range out.Modules {
		fmt.Fprintf(a.out, "module    %s\n", one)
	}
	for _, u := range out.Pipelines {
		how := "picks it"
		if number := cmpOr(strings.TrimPrefix(u.Within, u.Ref.Name+"@"), picked.String()); u.Locked == number {
			how = "has it in its lock"
		}
		if u.Within != "" {
			how += ", in " + u.Within
		}
		fmt.Fprintf(a.out, "pipeline  %s, step %q: %s %s\n", u.File, u.Step, u.Module, how)
	}
	for _, r := range out.Runs {
		fmt.Fprintf(a.out, "run       %s\n", r)
	}
	for _, k := range out.Results {
		fmt.Fprintf(a.out, "result    %s\n", k)
	}
	a.say("%s: %s, %s, %s, %s", out.Version, count(len(out.Modules), "module"), count(len(out.Pipelines), "step"), count(len(out.Runs), "run"), count(len(out.Results), "stored result"))
	return nil
}

// holders finds the versions of a registry that are pipelines and have a version.
type holders struct {
	reg     *registry.Registry
	version string          // NAME@VERSION
	known   map[string]bool // the same
}

// has reports whether a version is the one, or has it in it. Steps of a module
// name exact versions of its own registry.
func (h *holders) has(one string) (bool, error) {
	if one == h.version {
		return true, nil
	}
	if has, known := h.known[one]; known {
		return has, nil
	}
	h.known[one] = false // also for one that contains itself
	name, number, _ := strings.Cut(one, "@")
	m, _, err := h.reg.Module(name)
	if _, missing := registry.AsNotFound(err); missing {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	v, ok := m.Version(number)
	if !ok {
		return false, nil
	}
	manifest, _, err := v.Manifest()
	if err != nil || manifest == nil {
		return false, err
	}
	for _, e := range manifest.Steps {
		ref, err := schema.ParseModuleRef(e.Value.Module.Value)
		if err != nil || ref.Registry != "" {
			continue
		}
		has, err := h.has(ref.Name + "@" + ref.Selector)
		if err != nil {
			return false, err
		}
		if has {
			h.known[one] = true
			return true, nil
		}
	}
	return false, nil
}

// all lists them.
func (h *holders) all(ctx context.Context) ([]string, error) {
	out := []string{}
	for _, name := range h.reg.Names() {
		m, _, err := h.reg.Module(name)
		if err != nil {
			return nil, err
		}
		for _, v := range m.Versions {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			one := name + "@" + v.String()
			has, err := h.has(one)
			if err != nil {
				return nil, err
			}
			if has && one != h.version {
				out = append(out, one)
			}
		}
	}
	return out, nil
}

// runsWith lists the runs recorded here that had a version, whose digest tells it
// from another registry's of that name.
func runsWith(version string, digest schema.Digest) ([]string, error) {
	out := []string{}
	ids, err := history().IDs()
	if err != nil {
		return out, err
	}
	for _, id := range ids {
		r, err := history().Load(id)
		if err != nil {
			continue // another run may have removed it, or it is damaged
		}
		is := func(ref string) bool { return ref == version || strings.HasSuffix(ref, "/"+version) }
		if slices.ContainsFunc(r.Steps, func(s *runner.StepRecord) bool {
			return is(s.Module) && (s.Version == digest || s.Version == "") || slices.ContainsFunc(s.Within, is)
		}) {
			out = append(out, id)
		}
	}
	return out, nil
}

// resultsOf lists the results in the store that files made.
func (a *app) resultsOf(ctx context.Context, snapshot schema.Digest, out *usedBy) error {
	st, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	return st.Results(func(_ string, r *store.Result, err error) error {
		if err != nil || ctx.Err() != nil {
			return context.Cause(ctx) // one that is damaged is of no use to anybody
		}
		document, err := st.Key(r.Key)
		var d struct{ Snapshot schema.Digest } // a runner.Document
		if err == nil && json.Unmarshal(document, &d) == nil && d.Snapshot == snapshot {
			out.Results = append(out.Results, r.Key)
		}
		return nil
	})
}
