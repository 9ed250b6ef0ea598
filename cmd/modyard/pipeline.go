package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

// planFlags are the flags of all commands that make a plan.
type planFlags struct {
	set, inputs   []string
	locked        bool
	upgrade       []string
	noLock        bool
	allowDisabled bool
	registry      string
	unbound       bool // leave open what is given to a run
	// here is a registry on this disk that stands for every location that means
	// it. Default: nil, each is read where it is.
	here *registry.Registry
}

func (f *planFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringArrayVar(&f.set, "set", nil, "set a param of the pipeline: `NAME=VALUE`")
	fl.StringArrayVar(&f.set, "param", nil, "the same as --set, for running one module")
	fl.StringArrayVar(&f.inputs, "input", nil, "give an input of the pipeline: `NAME=PATH`")
	fl.BoolVar(&f.locked, "locked", false, "refuse a step that the lock does not have as it is")
	fl.BoolVar(&f.allowDisabled, "allow-disabled", false, "let a step that names a disabled version have it")
	fl.StringVar(&f.registry, "registry", "", "the registry of a module that is run by name: a folder, github.com/OWNER/REPO@REF or a git URL (default: the one around this folder)")
}

// planned is a pipeline with its plan and what it was made from.
type planned struct {
	pipeline *schema.Pipeline
	plan     *runner.Plan
	resolver *resolver
	lock     *schema.Lock
}

// plan reads a pipeline, or makes one of a module's name, and resolves it.
func (a *app) plan(ctx context.Context, target string, f *planFlags) (*planned, error) {
	params, err := assignments("--set", f.set)
	if err != nil {
		return nil, err
	}
	inputs, err := assignments("--input", f.inputs)
	if err != nil {
		return nil, err
	}
	p := &planned{}
	fetcher, err := a.fetcher()
	if err != nil {
		return nil, err
	}
	opt := runner.PlanOptions{Dir: filepath.Dir(target), Params: params, Inputs: inputs, Env: a.lookup, Fetcher: fetcher, Unbound: f.unbound}
	if isFile(target) {
		err = p.readFile(ctx, a, target, f)
	} else {
		err = p.readModule(ctx, a, target, f)
		opt.Dir = "."
	}
	if err != nil {
		return nil, err
	}
	p.resolver.set.AllowDisabled = f.allowDisabled
	plan, diags, err := runner.NewPlan(ctx, p.pipeline, p.resolver, opt)
	if err != nil {
		return nil, err
	}
	if err := diags.Err(); err != nil {
		return nil, err
	}
	p.plan = plan
	if err := p.warnUnpinned(opt.Dir); err != nil {
		return nil, err
	}
	return p, nil
}

// warnUnpinned warns of script steps whose requirements do not say exactly
// what is installed; in a registry that is an error.
func (p *planned) warnUnpinned(dir string) error {
	for _, e := range p.pipeline.Steps {
		s := e.Value
		if s.Run == nil || s.Snapshot == nil || s.Snapshot.Origin != "folder" || s.Run.Environment.Python == nil || s.Run.Environment.Python.Requirements.Value == "" {
			continue
		}
		req := s.Run.Environment.Python.Requirements
		f, err := os.Open(filepath.Join(dir, filepath.FromSlash(s.Snapshot.Folder.Value), filepath.FromSlash(req.Value)))
		if err != nil {
			return &hinted{fmt.Sprintf("step %q: cannot read the requirements %q: %v", e.Name, req.Value, unwrapPath(err)), "the file is relative to the snapshot's folder"}
		}
		for _, problem := range registry.UnpinnedRequirements(f) {
			p.plan.Warnings.Warn(p.pipeline.File, req.Pos, schema.RuleRequirements, "pin it: NAME==VERSION --hash=sha256:…", "step %q: %s: %s", e.Name, req.Value, problem)
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// isFile tells a pipeline's file from a module's name.
func isFile(target string) bool {
	ext := filepath.Ext(target)
	return ext == ".yaml" || ext == ".yml" || strings.ContainsRune(target, filepath.Separator) && fileExists(target)
}

func fileExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (p *planned) readFile(ctx context.Context, a *app, file string, f *planFlags) error {
	pipeline, err := loadPipeline(file)
	if err != nil {
		return err
	}
	p.pipeline = pipeline
	if !f.noLock {
		if p.lock, err = loadLock(lockFile(file)); err != nil {
			return err
		}
	}
	var pins schema.Map[string]
	if p.lock != nil && len(f.upgrade) == 0 && holds(p.lock, pipeline) {
		pins = p.lock.Registries
	}
	if p.resolver, err = a.openRegistries(ctx, pipeline.Registries, pins, filepath.Dir(file), f.here); err != nil {
		return err
	}
	set := p.resolver.set
	set.Locked = f.locked
	if p.lock == nil && f.locked {
		return &hinted{fmt.Sprintf("there is no lock %s", lockFile(file)), "modyard lock " + file}
	}
	set.Lock = p.lock
	if len(f.upgrade) > 0 {
		set.Upgrade = func(step string) bool { return slices.Contains(f.upgrade, step) || slices.Contains(f.upgrade, "*") }
	}
	return nil
}

// holds reports whether a lock has every step as it is: then nothing has to be
// picked, and remote registries are read at the commits that it names.
func holds(l *schema.Lock, p *schema.Pipeline) bool {
	for _, s := range p.Steps {
		if s.Value.Module.Value == "" {
			continue
		}
		ref, err := schema.ParseStepRef(s.Value.Module.Value)
		if locked, ok := l.Steps.Get(s.Name); err != nil || !ok || locked.Module.Value != ref.String() {
			return false
		}
	}
	return true
}

// readModule makes a pipeline of one step: the module, its interface as the
// pipeline's.
func (p *planned) readModule(ctx context.Context, a *app, target string, f *planFlags) error {
	ref, err := schema.ParseModuleRef(target)
	if err != nil {
		return &usageError{fmt.Errorf("%q is neither a pipeline's file nor a module's name", target), "modyard run PIPELINE.yaml, or modyard run MODULE@VERSION in a registry"}
	}
	dir := f.registry
	if dir == "" {
		if dir, err = findRegistry("."); err != nil {
			return err
		}
	}
	reg, err := a.readRegistry(ctx, dir)
	if err != nil {
		return err
	}
	if ref.Registry != "" && ref.Registry != reg.Name {
		return &hinted{fmt.Sprintf("the registry in %s is named %q, not %q", dir, reg.Name, ref.Registry), "name its folder: --registry DIR"}
	}
	ref.Registry = reg.Name
	p.resolver = a.resolver(map[string]*registry.Registry{reg.Name: reg})
	p.resolver.set.AllowDisabled = f.allowDisabled
	choice, err := p.resolver.set.Pick("", ref)
	if err != nil {
		return err
	}
	p.pipeline = onePipeline(ref, choice.Manifest)
	return nil
}

// onePipeline wraps a module into a pipeline with the module's interface.
func onePipeline(ref schema.ModuleRef, m *schema.ModuleVersion) *schema.Pipeline {
	step := schema.Step{Module: schema.Text{Value: ref.String()}}
	pl := &schema.Pipeline{Name: ref.Name, Params: m.Params}
	for _, in := range m.Inputs {
		pl.Inputs = append(pl.Inputs, schema.Entry[schema.PipelineInput]{Name: in.Name, Value: schema.PipelineInput{Input: in.Value}})
		step.Inputs = append(step.Inputs, schema.Entry[schema.Text]{Name: in.Name, Value: schema.Text{Value: "${{ inputs." + in.Name + " }}"}})
	}
	for _, e := range m.Params {
		step.Params = append(step.Params, schema.Entry[schema.Arg]{Name: e.Name, Value: schema.Arg{Value: "${{ params." + e.Name + " }}"}})
	}
	for _, e := range m.Secrets {
		step.Secrets = append(step.Secrets, schema.Entry[schema.Text]{Name: e.Name, Value: schema.Text{Value: "${{ secrets." + e.Name + " }}"}})
	}
	for _, o := range m.Outputs {
		pl.Outputs = append(pl.Outputs, schema.Entry[schema.Text]{Name: o.Name, Value: schema.Text{Value: "${{ steps." + ref.Name + ".outputs." + o.Name + " }}"}})
	}
	pl.Steps = schema.Map[schema.Step]{{Name: ref.Name, Value: step}}
	return pl
}

// loadPipeline reads a pipeline that has no errors.
func loadPipeline(file string) (*schema.Pipeline, error) {
	data, err := readManifest(file, schema.MaxPipeline)
	if err != nil {
		return nil, err
	}
	p, diags := schema.ParsePipeline(filepath.ToSlash(file), data)
	return p, diags.Err()
}

func loadLock(file string) (*schema.Lock, error) {
	data, err := readManifest(file, schema.MaxPipeline)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	l, diags := schema.ParseLock(filepath.ToSlash(file), data)
	return l, diags.Err()
}

// readManifest reads a file, one byte more than the limit at most, so that the
// parser can say that it is too long.
func readManifest(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", file, unwrapPath(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", file, unwrapPath(err))
	}
	return data, nil
}

// unwrapPath drops the operation and path of a file error, which the message
// has already.
func unwrapPath(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// assignments reads NAME=VALUE flags.
func assignments(flag string, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range list {
		name, value, ok := strings.Cut(s, "=")
		if !ok || !schema.ValidIdent(name) {
			return nil, usagef("%s %q is not NAME=VALUE", flag, s)
		}
		out[name] = value
	}
	return out, nil
}

// lockFile is where the lock of a pipeline is: FILE.lock.yaml beside FILE.yaml.
func lockFile(pipeline string) string {
	return strings.TrimSuffix(pipeline, filepath.Ext(pipeline)) + ".lock.yaml"
}

// findRegistry finds the registry around a folder.
func findRegistry(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for up := abs; ; up = filepath.Dir(up) {
		if fileExists(filepath.Join(up, registry.ManifestFile)) {
			if rel, err := filepath.Rel(abs, up); err == nil {
				return filepath.Join(dir, rel), nil
			}
			return up, nil
		}
		if up == filepath.Dir(up) {
			return "", fmt.Errorf("%s: %w", dir, registry.ErrNoRegistry)
		}
	}
}

// loadRegistry opens a registry whose own manifest has no errors.
func loadRegistry(dir string) (*registry.Registry, error) {
	r, diags, err := registry.OpenFolder(dir, filepath.ToSlash(dir))
	if err != nil {
		return nil, err
	}
	return r, diags.Err()
}

// registryFlag is the flag of the commands that work on one registry.
type registryFlag struct{ dir string }

func (f *registryFlag) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "registry", "", "the registry's folder (default: the one around this folder)")
}

// registerRead is for commands that read alone, from anywhere.
func (f *registryFlag) registerRead(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "registry", "", "the registry: a folder, github.com/OWNER/REPO@REF or a git URL (default: the one around this folder)")
}

// read opens the registry, wherever it is.
func (f *registryFlag) read(ctx context.Context, a *app) (*registry.Registry, error) {
	if f.dir == "" {
		return f.open()
	}
	return a.readRegistry(ctx, f.dir)
}

// readRegistry opens a registry at a location, whose own manifest has no
// errors.
func (a *app) readRegistry(ctx context.Context, location string) (*registry.Registry, error) {
	r, diags, err := a.openRegistry(ctx, location, "", ".")
	if err != nil {
		return nil, err
	}
	return r, diags.Err()
}

func (f *registryFlag) open() (*registry.Registry, error) {
	dir := f.dir
	if dir == "" {
		var err error
		if dir, err = findRegistry("."); err != nil {
			return nil, err
		}
	}
	return loadRegistry(dir)
}
