package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/oci"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

// resolver hands the runner the versions that registries have.
type resolver struct {
	set *registry.Set
	// fromImage reads a module out of an image by its digest.
	fromImage func(ctx context.Context, ref string) (*schema.ModuleVersion, *runner.Snapshot, error)
	// files brings the files of a version that are not in the store.
	files func(ctx context.Context, v *registry.Version) (snapshot.Unpacker, error)
	notes []string // what the user of a lock should know

	mu      sync.Mutex
	folders map[string]schema.Digest // of working folders
	missing map[string]*runner.ResolveError
}

// origin is what a module keeps of where it came from.
type origin struct {
	reg    *registry.Registry
	name   string // the registry's in the pipeline
	choice registry.Choice
}

func (a *app) resolver(registries map[string]*registry.Registry) *resolver {
	return &resolver{
		set: &registry.Set{Registries: registries}, files: a.files, fromImage: a.moduleImage,
		folders: map[string]schema.Digest{}, missing: map[string]*runner.ResolveError{},
	}
}

// openRegistries opens the registries that a pipeline names; pins are the
// commits to read remote ones at, and here is one to use for what means it.
func (a *app) openRegistries(ctx context.Context, named schema.Map[schema.Text], pins schema.Map[string], dir string, here *registry.Registry) (*resolver, error) {
	r := a.resolver(map[string]*registry.Registry{})
	for _, e := range named {
		if here != nil && a.isRegistry(ctx, e.Value.Value, dir, here) {
			r.set.Registries[e.Name] = here
			continue
		}
		pin, _ := pins.Get(e.Name)
		reg, diags, err := a.openRegistry(ctx, e.Value.Value, pin, dir)
		switch {
		case err != nil:
			var re *runner.ResolveError
			if !errors.As(err, &re) {
				return nil, err
			}
			r.missing[e.Name] = re
		case diags.Err() != nil:
			return nil, diags.Err()
		default:
			r.set.Registries[e.Name] = reg
		}
	}
	return r, nil
}

// openRegistry opens the registry at a location: on GitHub, in another git
// repository, or a folder on this disk, relative to dir. Pin is the commit to
// read a remote one at, or "".
func (a *app) openRegistry(ctx context.Context, location, pin, dir string) (*registry.Registry, schema.Diagnostics, error) {
	p, err := a.parsePlace(location)
	if err != nil {
		return nil, nil, err
	}
	if p != nil {
		p.ref = cmpOr(pin, p.ref)
		return a.openPlace(ctx, p, location)
	}
	path := folderAt(location, dir)
	reg, diags, err := registry.OpenFolder(path, filepath.ToSlash(path))
	if errors.Is(err, registry.ErrNoRegistry) {
		return nil, nil, &runner.ResolveError{Message: fmt.Sprintf("there is no registry in the folder %q", location), Hint: "a registry has registry.yaml at its root; the path is relative to the pipeline's file"}
	}
	return reg, diags, err
}

// folderAt is the folder of a location on this disk, relative to dir.
func folderAt(location, dir string) string {
	path := filepath.FromSlash(location)
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// Resolve finds the version that a step asks for.
func (r *resolver) Resolve(ctx context.Context, req runner.Request) (*runner.Module, error) {
	if req.Ref.Image != "" {
		return r.image(ctx, req)
	}
	choice, from, err := r.choose(req)
	if err != nil {
		return nil, err
	}
	m := &runner.Module{
		Ref: choice.Version.Module() + "@" + choice.Version.String(), Version: choice.Manifest,
		Warnings: choice.Warnings, Work: choice.Work, Origin: origin{from.reg, from.name, choice},
	}
	if from.name != "" {
		m.Ref = from.name + "/" + m.Ref
	}
	if req.Digest != "" && req.Digest != choice.Manifest.Digest {
		return nil, &runner.ResolveError{Rule: schema.RuleNested, Message: fmt.Sprintf("the version digest of %s is %s, not %s", m.Ref, choice.Manifest.Digest.Short(), req.Digest.Short()), Hint: "modyard check --fix pins it"}
	}
	if s := choice.Manifest.Snapshot; choice.Manifest.Run == nil || s == nil || s.IsEnvironment() {
		m.Snapshot = &runner.Snapshot{Digest: runner.EmptyTree}
		return m, nil
	}
	return m, r.snapshot(ctx, m, choice)
}

// image finds a module that is named by the digest of its image.
func (r *resolver) image(ctx context.Context, req runner.Request) (*runner.Module, error) {
	version, snap, err := r.fromImage(ctx, req.Ref.Image)
	if p, ok := errors.AsType[*oci.ProblemError](err); ok && !oci.Unreachable(err) {
		return nil, &runner.ResolveError{Message: p.Error(), Hint: p.Hint}
	}
	if err != nil {
		return nil, err
	}
	if version.Run == nil {
		return nil, &runner.ResolveError{Rule: schema.RuleUnsupported, Message: fmt.Sprintf("%s is a pipeline of modules of its registry", req.Ref), Hint: "name the module in its registry: REGISTRY/NAME@VERSION"}
	}
	return &runner.Module{Ref: version.Module.Value + "@" + version.Version.Value, Version: version, Snapshot: snap}, nil
}

// choose picks for a step of the pipeline, or for one of a nested pipeline,
// whose names are those of its own registry.
func (r *resolver) choose(req runner.Request) (registry.Choice, origin, error) {
	if req.Within == nil {
		reg, err := r.registry(req.Ref)
		if err != nil {
			return registry.Choice{}, origin{}, err
		}
		c, err := r.set.Pick(req.Step, req.Ref)
		if err != nil {
			return c, origin{}, asResolveError(err)
		}
		if c.Note != "" {
			r.notes = append(r.notes, fmt.Sprintf("step %q: %s", req.Step, c.Note))
		}
		return c, origin{reg: reg, name: req.Ref.Registry}, nil
	}
	o, ok := req.Within.Origin.(origin)
	if !ok || req.Ref.Registry != "" {
		return registry.Choice{}, origin{}, &runner.ResolveError{Rule: schema.RuleUnsupported, Message: fmt.Sprintf("%q comes from another registry, which a module cannot use yet", req.Ref)}
	}
	one := &registry.Set{Registries: map[string]*registry.Registry{"": o.reg}, PickOptions: r.set.PickOptions}
	c, err := one.Pick(req.Step, req.Ref)
	return c, origin{reg: o.reg, name: o.name}, asResolveError(err)
}

// registry is the one that a step of the pipeline names.
func (r *resolver) registry(ref schema.ModuleRef) (*registry.Registry, error) {
	if re, ok := r.missing[ref.Registry]; ok {
		return nil, re
	}
	reg, ok := r.set.Registries[ref.Registry]
	if !ok {
		return nil, r.noRegistry(ref)
	}
	return reg, nil
}

func (r *resolver) noRegistry(ref schema.ModuleRef) error {
	var names []string
	for n := range r.set.Registries {
		names = append(names, n)
	}
	for n := range r.missing {
		names = append(names, n)
	}
	if ref.Registry == "" {
		hint := "write REGISTRY/" + ref.Name + ", with registries: {REGISTRY: path} in the pipeline"
		if len(names) == 1 {
			hint = "write " + names[0] + "/" + ref.String()
		}
		return &runner.ResolveError{Message: fmt.Sprintf("%q does not say which registry it is from", ref), Hint: hint}
	}
	return &runner.ResolveError{Message: fmt.Sprintf("there is no registry %q", ref.Registry), Hint: schema.DidYouMean(ref.Registry, names)}
}

// asResolveError turns what the input is at fault for into the runner's form.
func asResolveError(err error) error {
	if nf, ok := registry.AsNotFound(err); ok {
		return &runner.ResolveError{Message: nf.Message, Hint: nf.Hint}
	}
	if le, ok := errors.AsType[*registry.LockError](err); ok {
		return &runner.ResolveError{Rule: schema.RuleLock, Message: le.Message, Hint: le.Hint}
	}
	return err
}

var errNoFolder = errors.New("its files are in no folder of the registry")

// snapshot says where a version's files come from, and warns when its folder
// has moved on.
func (r *resolver) snapshot(ctx context.Context, m *runner.Module, c registry.Choice) error {
	pinned, dir := c.Manifest.Snapshot.Digest, c.Folder()
	var now schema.Digest
	err := errNoFolder
	if dir != "" {
		now, err = r.folderDigest(ctx, dir)
	}
	if err != nil && ctx.Err() != nil {
		return err
	}
	if c.Work {
		if err != nil {
			return &runner.ResolveError{Rule: schema.RuleSnapshot, Message: fmt.Sprintf("the folder of %s cannot be read: %v", m.Ref, err)}
		}
		m.Ref += " (work)"
		m.Snapshot = &runner.Snapshot{Digest: now, Open: func(context.Context) (snapshot.Unpacker, error) { return snapshot.Folder(dir) }}
		return nil
	}
	if pinned == "" {
		return &runner.ResolveError{Rule: schema.RuleDigest, Message: fmt.Sprintf("%s has no snapshot digest", m.Ref), Hint: "modyard check --fix " + r.where(m) + " computes it; or run the folder as it is: @" + registry.Work}
	}
	newest := c.Version
	if latest, err := newestOf(m); err == nil {
		newest = latest
	}
	if err == nil && now != pinned && newest == c.Version {
		m.Warnings = append(m.Warnings, fmt.Sprintf("the folder of %s has changed since that version; the version is run as it was. To run the folder: @%s", m.Ref, registry.Work))
	}
	v := c.Version
	m.Snapshot = &runner.Snapshot{Digest: pinned, Open: func(ctx context.Context) (snapshot.Unpacker, error) { return r.files(ctx, v) }}
	return nil
}

func (r *resolver) where(m *runner.Module) string { return m.Origin.(origin).reg.Dir }

// newestOf is the newest version of a module: its folder is what is being
// worked on; older ones are expected to differ from it.
func newestOf(m *runner.Module) (*registry.Version, error) {
	o := m.Origin.(origin)
	mod, _, err := o.reg.Module(o.choice.Version.Module())
	if err != nil {
		return nil, err
	}
	return mod.Versions[len(mod.Versions)-1], nil
}

func (r *resolver) folderDigest(ctx context.Context, dir string) (schema.Digest, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d, ok := r.folders[dir]; ok {
		return d, nil
	}
	t, err := snapshot.Folder(dir)
	if err != nil {
		return "", err
	}
	d, err := t.Digest(ctx)
	if err == nil {
		r.folders[dir] = d
	}
	return d, err
}
