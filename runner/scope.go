package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// maxNesting bounds how deep pipelines of modules nest.
const maxNesting = 64

// planner holds what one planning needs.
type planner struct {
	ctx      context.Context //nolint:containedctx // one call's state, as in encoding/json
	resolver Resolver
	opt      PlanOptions
	plan     *Plan
	diags    schema.Diagnostics
	folders  map[string]*Snapshot // of script steps, by path
}

func (p *planner) add(file string, pos schema.Pos, rule schema.Rule, hint, format string, args ...any) {
	p.diags.Add(file, pos, rule, hint, format, args...)
}

// scope is one pipeline: the outermost, or a module that is one.
type scope struct {
	file   string
	prefix string  // of step names: "" or "outer/"
	within *Module // nil for the outermost
	parent *scope
	steps  schema.Map[schema.Step]
	nodes  []*node
	byName map[string]*node

	// What expressions name here. In the outermost scope secrets is nil: any
	// secret may be named.
	inputs     map[string]boundInput
	params     map[string]Param
	paramNames []string
	inputNames []string
	secrets    map[string]string
	secretOf   schema.Map[schema.Secret]
}

// boundInput is an input that expressions name: its type, and its source when
// it is set.
type boundInput struct {
	schema.Input
	src Source
	set bool
}

// node is a step of a scope: a leaf, or a nested scope.
type node struct {
	name  string
	pos   schema.Pos
	def   *schema.Step
	iface schema.Interface
	leaf  *ModuleStep
	inner *scope
	mod   *Module
	bad   bool // reported already; what depends on it is let be
}

// pipelineScope makes the outermost scope: params and inputs with what the
// options give.
func (p *planner) pipelineScope(pl *schema.Pipeline) *scope {
	s := &scope{file: pl.File, steps: pl.Steps, inputs: map[string]boundInput{}, params: map[string]Param{}}
	s.paramNames, s.inputNames = pl.Params.Names(), pl.Inputs.Names()
	for _, e := range pl.Params {
		v := e.Value.Default
		if text, given := p.opt.Params[e.Name]; given {
			parsed, err := e.Value.Parse(text)
			if err != nil {
				p.add("", schema.Pos{}, schema.RuleValue, "", "param %q: %v", e.Name, err)
				continue
			}
			v = parsed
		}
		sample := v == nil && p.opt.Unbound && !e.Value.Optional
		if sample {
			v = e.Value.Sample()
		}
		if v == nil {
			if !e.Value.Optional {
				p.add(pl.File, e.Pos, schema.RuleValue, fmt.Sprintf("give it: --set %s=VALUE", e.Name), "the param %q has no value", e.Name)
			}
			continue
		}
		s.params[e.Name] = Param{Value: v, Spec: e.Value.Spec, Sample: sample}
		p.plan.Params = append(p.plan.Params, schema.Entry[any]{Name: e.Name, Value: v})
	}
	for name := range p.opt.Params {
		if _, ok := pl.Params.Get(name); !ok {
			p.add("", schema.Pos{}, schema.RuleValue, schema.DidYouMean(name, s.paramNames), "the pipeline %q has no param %q", pl.Name, name)
		}
	}
	for _, e := range pl.Inputs {
		s.inputs[e.Name] = p.pipelineInput(pl, e)
	}
	for name := range p.opt.Inputs {
		if _, ok := pl.Inputs.Get(name); !ok {
			p.add("", schema.Pos{}, schema.RuleWiring, schema.DidYouMean(name, s.inputNames), "the pipeline %q has no input %q", pl.Name, name)
		}
	}
	return s
}

func (p *planner) pipelineInput(pl *schema.Pipeline, e schema.Entry[schema.PipelineInput]) boundInput {
	in := e.Value
	b := boundInput{Input: in.Input, src: Source{Input: e.Name}}
	var file string
	switch given, ok := p.opt.Inputs[e.Name]; {
	case ok:
		file = given
		in.Digest = ""
	case in.Path.Value != "":
		file = filepath.FromSlash(in.Path.Value)
		if !filepath.IsAbs(file) {
			file = filepath.Join(p.opt.Dir, file)
		}
	case in.URI.Value != "":
		p.add(pl.File, in.URI.Pos, schema.RuleUnsupported, "download it, and name it with path and digest", "input %q: data from a uri is not read yet", e.Name)
		b.set = true
		return b
	default:
		if !in.Optional && !p.opt.Unbound {
			p.add(pl.File, e.Pos, schema.RuleWiring, fmt.Sprintf("give it: --input %s=PATH", e.Name), "the input %q is not given", e.Name)
		}
		b.set = !in.Optional
		return b
	}
	b.set = true
	p.plan.Inputs = append(p.plan.Inputs, PlanInput{e.Name, in.Type, in.Format, file, in.Digest})
	return b
}

// expand resolves the steps of a scope and of those inside it, so that all
// outputs are known before anything is wired.
func (p *planner) expand(s *scope) error {
	s.byName = make(map[string]*node, len(s.steps))
	s.nodes = make([]*node, 0, len(s.steps))
	for i := range s.steps {
		e := &s.steps[i]
		n := &node{name: e.Name, pos: e.Pos, def: &e.Value}
		s.nodes = append(s.nodes, n)
		s.byName[e.Name] = n
		if err := p.ctx.Err(); err != nil {
			return context.Cause(p.ctx)
		}
		if c := e.Value.Compute; c.Value != "" && c.Value != "local" {
			p.add(s.file, c.Pos, schema.RuleUnsupported, "leave compute out: the step then runs on this machine", "step %q: there is no compute %q yet", n.name, c.Value)
		}
		switch {
		case e.Value.Transfer:
			p.add(s.file, e.Pos, schema.RuleUnsupported, "copy the data in a script step", "step %q: transfer steps are not run yet", n.name)
			n.bad = true
		case e.Value.Run != nil:
			p.scriptStep(s, n)
		default:
			if err := p.moduleStep(s, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *planner) moduleStep(s *scope, n *node) error {
	ref, err := schema.ParseStepRef(n.def.Module.Value)
	if err != nil {
		p.add(s.file, n.def.Module.Pos, schema.RuleSelector, "", "step %q: %v", n.name, err)
		n.bad = true
		return nil
	}
	m, err := p.resolver.Resolve(p.ctx, Request{Step: n.name, Ref: ref, Digest: schema.Digest(n.def.Digest.Value), Within: s.within})
	if re, ok := errors.AsType[*ResolveError](err); ok {
		p.add(s.file, n.def.Module.Pos, cmp.Or(re.Rule, schema.RuleResolve), re.Hint, "step %q: %s", n.name, re.Message)
		n.bad = true
		return nil
	}
	if problems, ok := errors.AsType[*schema.ProblemsError](err); ok {
		p.diags = append(p.diags, problems.Diagnostics...)
		n.bad = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot resolve step %q: %w", s.prefix+n.name, err)
	}
	for _, w := range m.Warnings {
		p.diags.Warn(s.file, n.def.Module.Pos, schema.RuleResolve, "", "step %q: %s", n.name, w)
	}
	n.mod, n.iface = m, m.Version.Interface
	if s.within == nil {
		p.plan.Modules[n.name] = m
	}
	if len(m.Version.Steps) > 0 {
		return p.nest(s, n, m)
	}
	p.supported(m.Version.File, n.name, m.Version.Run, m.Version.Snapshot)
	n.leaf = p.newStep(s, n, m.Version.Run, m.Version.File)
	n.leaf.Module, n.leaf.Snapshot = m, m.Snapshot
	return nil
}

// supported refuses by name what is not run yet. A plan that is not for a run
// may have it.
func (p *planner) supported(file, step string, run *schema.Run, snap *schema.Snapshot) {
	if p.opt.Unbound {
		return
	}
	if img := run.Environment.Image; img.Value != "" {
		p.add(file, img.Pos, schema.RuleUnsupported, "", "step %q: container images are not run yet", step)
	}
	if snap.IsEnvironment() {
		p.add(file, snap.Pos, schema.RuleUnsupported, "", "step %q: container images are not run yet", step)
	}
}

// nest opens the pipeline that a module is.
func (p *planner) nest(s *scope, n *node, m *Module) error {
	depth := 0
	for o := s; o != nil && o.within != nil; o = o.parent {
		depth++
		if o.within.Version.Digest == m.Version.Digest || depth >= maxNesting {
			p.add(s.file, n.def.Module.Pos, schema.RuleCycle, "", "step %q: the module %s contains itself", n.name, m.Ref)
			n.bad = true
			return nil
		}
	}
	n.inner = &scope{
		file: m.Version.File, prefix: s.prefix + n.name + "/", within: m, parent: s, steps: m.Version.Steps,
		inputs: map[string]boundInput{}, params: map[string]Param{}, secrets: map[string]string{},
		paramNames: m.Version.Params.Names(), inputNames: m.Version.Inputs.Names(), secretOf: m.Version.Secrets,
	}
	return p.expand(n.inner)
}

func (p *planner) newStep(s *scope, n *node, run *schema.Run, file string) *ModuleStep {
	st := &ModuleStep{
		Name: s.prefix + n.name, Run: run, Interface: n.iface,
		Timeout: run.Timeout, Resources: run.Resources, file: file, pos: n.pos, index: len(p.plan.Steps),
	}
	for o := s; o.within != nil; o = o.parent {
		st.Within = append(st.Within, o.within)
	}
	slices.Reverse(st.Within)
	p.override(s, n.def, st)
	p.plan.Steps = append(p.plan.Steps, st)
	return st
}

// override applies what is set on the step, and on the steps around it where
// the inner ones set nothing.
func (p *planner) override(s *scope, def *schema.Step, st *ModuleStep) {
	timeout, resources := false, false
	for {
		if !timeout && def.Timeout > 0 {
			st.Timeout, timeout = def.Timeout, true
		}
		if !resources && def.Resources != nil {
			st.Resources, resources = *def.Resources, true
		}
		st.Retries = cmp.Or(st.Retries, def.Retries)
		st.Compute = cmp.Or(st.Compute, def.Compute.Value)
		st.NoCache = st.NoCache || def.NoCache
		if s.parent == nil {
			return
		}
		name := strings.TrimSuffix(strings.TrimPrefix(s.prefix, s.parent.prefix), "/")
		s = s.parent
		def = s.byName[name].def
	}
}

func (p *planner) scriptStep(s *scope, n *node) {
	n.iface = schema.Interface{Outputs: n.def.Outputs}
	p.supported(s.file, n.name, n.def.Run, n.def.Snapshot)
	n.leaf = p.newStep(s, n, n.def.Run, s.file)
	n.leaf.Snapshot = &Snapshot{Digest: EmptyTree}
	switch s := n.def.Snapshot; {
	case s == nil || s.IsEnvironment():
		return
	case s.Origin != "folder":
		n.leaf.Snapshot = p.elsewhere(n)
		return
	}
	dir := path.Join(filepath.ToSlash(p.opt.Dir), n.def.Snapshot.Folder.Value)
	snap, ok := p.folders[dir]
	if !ok {
		snap = p.folder(s, n, filepath.FromSlash(dir))
		p.folders[dir] = snap
	}
	n.leaf.Snapshot = snap
	if d := n.def.Snapshot.Digest; d != "" && d != snap.Digest && snap.Digest != "" {
		p.add(s.file, n.def.Snapshot.Pos, schema.RuleDigest, "drop the digest, or set it to "+string(snap.Digest), "step %q: the folder has the digest %s, not %s", n.name, snap.Digest.Short(), d.Short())
	}
}

// elsewhere is the snapshot of a script step whose files are in no folder
// beside the pipeline.
func (p *planner) elsewhere(n *node) *Snapshot {
	s := n.def.Snapshot
	snap := &Snapshot{Digest: s.Digest, Open: func(ctx context.Context) (snapshot.Unpacker, error) { return p.opt.Fetcher.Origin(ctx, s) }}
	switch {
	case s.Version.Value != "" || p.opt.Fetcher == nil:
		p.add(p.plan.File, s.Pos, schema.RuleUnsupported, "name the module itself: module: "+s.Version.Value, "step %q: a script step takes its files from no %q", n.name, s.Origin)
	case s.Digest == "" && !p.opt.Unbound:
		t, err := p.opt.Fetcher.Origin(p.ctx, s)
		if err == nil {
			snap.Digest, err = t.Digest(p.ctx)
		}
		if err != nil {
			p.add(p.plan.File, s.Pos, schema.RuleSnapshot, "", "step %q: its files cannot be had: %v", n.name, err)
		}
	}
	return snap
}

func (p *planner) folder(s *scope, n *node, dir string) *Snapshot {
	pos, name := n.def.Snapshot.Folder.Pos, n.def.Snapshot.Folder.Value
	snap := &Snapshot{Open: func(context.Context) (snapshot.Unpacker, error) { return snapshot.Folder(dir) }}
	t, err := snapshot.Folder(dir)
	if err == nil {
		for _, f := range t.Files() {
			if top, _, _ := strings.Cut(f, "/"); top == "inputs" || top == "outputs" {
				p.add(s.file, pos, schema.RuleReserved, "rename it", "step %q: the folder %q holds %q, where the step's %s stand", n.name, name, f, top)
				break
			}
		}
		snap.Digest, err = t.Digest(p.ctx)
	}
	if err != nil {
		hint := ""
		if pe, ok := errors.AsType[*snapshot.ProblemError](err); ok {
			hint = pe.Hint
		}
		p.add(s.file, pos, schema.RuleSnapshot, hint, "step %q: the folder %q cannot be read: %v", n.name, name, err)
	}
	return snap
}
