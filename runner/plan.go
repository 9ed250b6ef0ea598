package runner

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// Resolver finds the module version that a step asks for.
type Resolver interface {
	// Resolve returns a *[ResolveError] when the input is at fault; any other
	// error is a failure of the world.
	Resolve(ctx context.Context, req Request) (*Module, error)
}

// Request is what a step asks for.
type Request struct {
	Step   string // the step's name in its file
	Ref    schema.ModuleRef
	Digest schema.Digest // the version digest that the step demands, or ""
	Within *Module       // the module that the step is in, or nil in a pipeline
}

// ResolveError says why a step's module cannot be had.
type ResolveError struct {
	Rule          schema.Rule // default: resolve
	Message, Hint string
}

func (e *ResolveError) Error() string { return e.Message }

// Module is a module version that a resolver has found.
type Module struct {
	// Ref names it for people: acme/train-model@2.1.0.
	Ref     string
	Version *schema.ModuleVersion
	// Snapshot is where its files come from; nil for a pipeline of modules.
	Snapshot *Snapshot
	// Work says that its files are the folder's as they are now.
	Work bool
	// Warnings are shown once.
	Warnings []string
	// Origin is the resolver's own: it finds the modules that this one names.
	Origin any
}

// Snapshot is files by their digest, and a way to get them.
type Snapshot struct {
	Digest schema.Digest
	// Open gives the files; they are checked against the digest before use.
	// Nil when there are none.
	Open func(ctx context.Context) (snapshot.Unpacker, error)
}

// PlanOptions say what a pipeline is given. The zero value gives nothing.
type PlanOptions struct {
	// Dir is the folder that paths in the pipeline are relative to.
	Dir string
	// Params set the pipeline's params, as text.
	Params map[string]string
	// Inputs are paths for the pipeline's inputs, relative to the process's
	// folder.
	Inputs map[string]string
	// Env looks up the environment variables that the pipeline names.
	// Default: none is set.
	Env func(string) (string, bool)
	// Fetcher brings the files of script steps that are not in a folder.
	// Default: nil, they are refused.
	Fetcher *snapshot.Fetcher
	// Unbound leaves open what is given to a run: a required param without a
	// value has a sample, and an input without a path is taken to be there.
	// Such a plan shows wiring and versions; it cannot be run.
	Unbound bool
}

// Plan is a pipeline resolved into steps with exact versions and digests.
// Nothing has run yet.
type Plan struct {
	Name    string
	File    string
	Steps   []*ModuleStep // each after those that it needs
	Inputs  []PlanInput
	Params  schema.Map[any]
	Outputs []PlanOutput
	// Warnings do not keep it from running.
	Warnings schema.Diagnostics
	// Modules are the modules of the pipeline's own steps, by step.
	Modules map[string]*Module
}

// ModuleStep is a step bound to one resolved module version, its interface
// wired to the pipeline's data. A script step is one without a module.
type ModuleStep struct {
	// Name is the step's name; a step of a nested pipeline has those of the
	// steps around it before it: outer/inner.
	Name   string
	Module *Module   // nil for a script step
	Within []*Module // the modules around it that are pipelines, the outermost first
	schema.Interface
	Run      *schema.Run
	Snapshot *Snapshot

	Sources map[string]Source          // by input; an unset input is missing
	Values  map[string]Param           // by param; an unset param is missing
	Handed  map[string]string          // by secret: the secret's name outside
	Env     map[string]schema.Template // run.env; env. expressions are texts by now
	Needs   []*ModuleStep              // by data or after, in the order of the plan

	Retries   int
	Timeout   time.Duration // 0: none
	Resources schema.Resources
	Compute   string // "": local
	NoCache   bool

	file  string
	pos   schema.Pos
	index int
}

// Source is where data or a value comes from: a step's output, or an input of
// the pipeline.
type Source struct {
	Step   *ModuleStep
	Output string
	Input  string // of the pipeline, when Step is nil
	// Optional says that it may turn out unset.
	Optional bool
}

// String is the source as an expression names it.
func (s Source) String() string {
	if s.Step != nil {
		return "steps." + s.Step.Name + ".outputs." + s.Output
	}
	return "inputs." + s.Input
}

// Param is the value of a param: known in the plan, or composed of outputs of
// steps.
type Param struct {
	Value   any     // when Parts is empty
	Parts   []Piece // texts, step outputs and params of modules around, in order
	Whole   bool    // Parts is one value that keeps its type
	Default any     // when Parts turn out unset; nil: none
	Spec    schema.Spec
	// Sample says that Value stands for one that is not known: its type counts.
	Sample bool
}

// Piece is a literal text, a step's output, or a param of a module around.
type Piece struct {
	Literal string
	From    Source
	Of      *Param
}

// Pieces are the literal texts and the outputs that the value is made of,
// those of params around it in their place.
func (p Param) Pieces() []Piece {
	var out []Piece
	for _, piece := range p.Parts {
		if piece.Of != nil {
			out = append(out, piece.Of.Pieces()...)
		} else {
			out = append(out, piece)
		}
	}
	return out
}

// mayBeUnset reports whether the value may turn out to be unset.
func (p Param) mayBeUnset() bool {
	return p.Default == nil && slices.ContainsFunc(p.Parts, func(piece Piece) bool {
		return piece.From.Optional || (piece.Of != nil && piece.Of.mayBeUnset())
	})
}

// PlanInput is an input of the pipeline that is given.
type PlanInput struct {
	Name   string
	Type   schema.Type
	Format string
	Path   string
	Digest schema.Digest // that the content must have, or ""
}

// PlanOutput is an output of the pipeline.
type PlanOutput struct {
	Name string
	From Source
	schema.Output
}

// Step finds a step by its name.
func (p *Plan) Step(name string) (*ModuleStep, bool) {
	i := slices.IndexFunc(p.Steps, func(s *ModuleStep) bool { return s.Name == name })
	if i < 0 {
		return nil, false
	}
	return p.Steps[i], true
}

// Names lists the steps.
func (p *Plan) Names() []string {
	names := make([]string, len(p.Steps))
	for i, s := range p.Steps {
		names[i] = s.Name
	}
	return names
}

// Under lists the steps that a name stands for: the step itself, or all steps
// of the nested pipeline.
func (p *Plan) Under(name string) []*ModuleStep {
	var out []*ModuleStep
	for _, s := range p.Steps {
		if s.Name == name || strings.HasPrefix(s.Name, name+"/") {
			out = append(out, s)
		}
	}
	return out
}

// Title names what the step runs for people.
func (s *ModuleStep) Title() string {
	if s.Module == nil {
		return "script"
	}
	return s.Module.Ref
}

// NewPlan resolves a pipeline. All problems are reported at once; with errors
// among the diagnostics the plan is nil. The error tells of a failure of the
// world.
func NewPlan(ctx context.Context, p *schema.Pipeline, r Resolver, opt PlanOptions) (*Plan, schema.Diagnostics, error) {
	pl := &planner{
		ctx: ctx, resolver: r, opt: opt,
		plan:    &Plan{Name: p.Name, File: p.File, Modules: map[string]*Module{}},
		folders: map[string]*Snapshot{},
	}
	root := pl.pipelineScope(p)
	if err := pl.expand(root); err != nil {
		return nil, nil, err
	}
	pl.bind(root)
	pl.pipelineOutputs(root, p)
	pl.order()
	pl.diags.Sort()
	pl.plan.Warnings = pl.diags
	if pl.diags.Errors() > 0 {
		return nil, pl.diags, nil
	}
	return pl.plan, pl.diags, nil
}
