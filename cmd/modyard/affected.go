package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modyard/modyard/registry"
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
	Breaks string           `json:"breaks,omitempty"` // why the pipeline does not fit it
}

// maxPipelines bounds how many files are read for uses.
const maxPipelines = 10_000

// uses finds the steps below a folder that have a module of the registry:
// those of pipelines, read from files, not of modules, whose steps are pinned.
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
		out = append(out, a.usesOf(p, filepath.FromSlash(p.File), reg, module)...)
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

func (a *app) usesOf(p *schema.Pipeline, file string, reg *registry.Registry, module string) []use {
	lock, _ := loadLock(lockFile(file))
	var out []use
	for _, s := range p.Steps {
		ref, err := schema.ParseModuleRef(s.Value.Module.Value)
		if err != nil || ref.Name != module || ref.Image != "" {
			continue
		}
		location, ok := p.Registries.Get(ref.Registry)
		if !ok || !a.isRegistry(location.Value, filepath.Dir(file), reg) {
			continue
		}
		u := use{File: filepath.ToSlash(file), Step: s.Name, Module: ref.String(), Ref: ref}
		if lock != nil {
			l, _ := lock.Steps.Get(s.Name)
			u.Locked = l.Version
		}
		out = append(out, u)
	}
	return out
}

// isRegistry reports whether a location means this registry: its folder, or
// the repository that it says it is.
func (a *app) isRegistry(location, dir string, reg *registry.Registry) bool {
	if p, err := a.parsePlace(location); err != nil || p != nil {
		if p == nil || reg.Source == "" {
			return false
		}
		at := cmp.Or(p.url, "https://"+p.host+"/"+p.owner+"/"+p.name)
		return strings.EqualFold(strings.TrimSuffix(at, ".git"), strings.TrimSuffix(strings.TrimSuffix(reg.Source, "/"), ".git"))
	}
	x, errX := os.Stat(folderAt(location, dir))
	y, errY := os.Stat(reg.Dir)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// affected lists the pipelines that a new version reaches: those that pick it
// now and did not before. Those that do not fit it say why.
func (a *app) affected(ctx context.Context, root string, reg *registry.Registry, module, version string) ([]use, error) {
	list, err := a.uses(ctx, root, reg, module)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	m, _, err := reg.Module(module)
	if err != nil {
		return nil, err
	}
	before := m.Without(version)
	list = slices.DeleteFunc(list, func(u use) bool {
		now, err := m.Pick(u.Ref.Selector, registry.PickOptions{})
		if err != nil || now.String() != version {
			return true
		}
		was, err := before.Pick(u.Ref.Selector, registry.PickOptions{})
		return err == nil && was.String() == version
	})
	for i, u := range list {
		list[i].Picks = version
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
