package runner

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

// Options say how a plan is run. Store and Compute must be set.
type Options struct {
	Store   *store.Store
	Compute Compute
	// History is where the run's record and logs are kept. Default: nowhere
	// but a folder that is removed at the end.
	History History
	// Machine is what steps share. Default: the CPUs of this machine.
	Machine *Machine
	// KeepGoing finishes what does not depend on a failed step.
	KeepGoing bool
	// Force names steps that are computed anew; "*" means all.
	Force []string
	// From names steps that are computed anew with all that depends on them.
	From []string
	// Only names the steps that are run; those that they need are reused.
	Only []string
	// Secrets looks up the secrets that the pipeline names. Default: none is set.
	Secrets func(name string) (string, bool)
	// Event is told what happens, one call at a time.
	Event func(Event)
	// RetryDelay is the wait before the first retry; it doubles with each, up
	// to 60 times itself. Default 1s.
	RetryDelay time.Duration
}

// mode is what a run does with a step.
type mode int8

const (
	omit   mode = iota // left out
	reuse              // its result must be there
	either             // reused or run
	force              // run
)

// execution is one run of a plan.
type execution struct {
	plan *Plan
	opt  Options
	rec  *Record

	mode    []mode
	results []*store.Result // by step; a step writes its own
	params  []map[string]any
	inputs  map[string]*pipelineData

	envMu sync.Mutex
	envs  map[string]*envOnce

	earlier sync.Once
	last    *Record // the run before, for whyNew

	mu     sync.Mutex // of what follows, and of calls to opt.Event
	failed bool
}

// pipelineData is an input of the pipeline, hashed once.
type pipelineData struct {
	PlanInput
	hash   sync.Once
	object store.Object
	err    error
	taking sync.Mutex // held while it is taken into the store
}

type envOnce struct {
	once sync.Once
	env  Environment
	err  error
}

// Run executes the plan. The record tells what became of each step; the error
// is one of the world, or the cause when ctx ended. A run whose steps failed
// has the state Failed and no error.
func (p *Plan) Run(ctx context.Context, opt Options) (*Record, error) {
	e, done, err := p.prepare(opt)
	if err != nil {
		return nil, err
	}
	defer done()
	defer opt.Store.Tidy()
	e.emit(Event{Event: "run", Steps: len(p.Steps)})
	err = e.schedule(ctx)
	r := e.rec
	r.Finished = time.Now()
	switch {
	case ctx.Err() != nil:
		r.State, err = Interrupted, context.Cause(ctx)
	case err != nil:
		r.State, r.Error = Failed, err.Error()
	case e.failed:
		r.State = Failed
	default:
		r.State = Done
		err = e.outputs()
	}
	saved := r.save()
	r.journal.close(saved == nil)
	err = errors.Join(err, saved)
	e.emit(Event{Event: "finish", State: r.State, Seconds: r.Seconds(), Error: r.Error, Outputs: r.Outputs})
	return r, err
}

func (p *Plan) prepare(opt Options) (*execution, func(), error) {
	if opt.Machine == nil {
		opt.Machine = NewMachine(Capacity{})
	}
	if opt.RetryDelay == 0 {
		opt.RetryDelay = time.Second
	}
	n := len(p.Steps)
	e := &execution{
		plan: p, opt: opt,
		mode: make([]mode, n), results: make([]*store.Result, n), params: make([]map[string]any, n),
		inputs: map[string]*pipelineData{}, envs: map[string]*envOnce{},
		rec: &Record{Pipeline: p.Name, File: p.File, State: Running, Started: time.Now(), Params: map[string]any{}},
	}
	for _, in := range p.Inputs {
		e.inputs[in.Name] = &pipelineData{PlanInput: in}
	}
	for _, v := range p.Params {
		e.rec.Params[v.Name] = v.Value
	}
	diags := e.choose()
	for _, s := range p.Steps {
		r := &StepRecord{Name: s.Name, Module: moduleRef(s), Within: refs(s.Within), State: Waiting}
		if s.Module != nil {
			r.Version = s.Module.Version.Digest
		}
		e.rec.Steps = append(e.rec.Steps, r)
		diags = append(diags, e.ready(s)...)
	}
	if err := diags.Err(); err != nil {
		return nil, nil, err
	}
	done, err := e.begin()
	return e, done, err
}

// preparing is how many steps are prepared at once: more where a lookup waits
// for the network.
func preparing(st *store.Store) int {
	if st.Shared() {
		return 32
	}
	return 2 * runtime.GOMAXPROCS(0)
}

func moduleRef(s *ModuleStep) string {
	if s.Module == nil {
		return ""
	}
	return s.Module.Ref
}

func refs(list []*Module) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.Ref)
	}
	return out
}

// begin opens the record.
func (e *execution) begin() (func(), error) {
	if e.opt.History.Dir == "" {
		dir, err := os.MkdirTemp("", "modyard-run-")
		if err != nil {
			return nil, err
		}
		e.rec.ID, e.rec.dir = filepath.Base(dir), dir
		e.rec.Line = e.rec.ID
		return func() { os.RemoveAll(dir); e.rec.dir = "" }, nil
	}
	var last *Record
	if slices.ContainsFunc(e.plan.Steps, func(s *ModuleStep) bool { return s.Run.Nondeterministic }) {
		var err error
		last, err = e.opt.History.Latest(func(r *Record) bool { return r.Pipeline == e.plan.Name && r.File == e.plan.File })
		if err != nil {
			return nil, err
		}
	}
	unlock, err := e.opt.History.begin(e.rec)
	if err != nil {
		return nil, err
	}
	e.rec.Line = rand.Text() // no other folder's run may have the same
	if last != nil && last.State != Done && last.State != Running {
		e.rec.Line = last.Line
	}
	return unlock, e.rec.save()
}

// choose decides what the run does with each step.
func (e *execution) choose() schema.Diagnostics {
	var diags schema.Diagnostics
	names := func(option string, list []string) map[int]bool {
		out := map[int]bool{}
		for _, name := range list {
			steps := e.plan.Under(name)
			if name == "*" {
				steps = e.plan.Steps
			}
			if len(steps) == 0 {
				diags.Add("", schema.Pos{}, schema.RuleWiring, schema.DidYouMean(name, e.plan.Names()), "%s: there is no step %q", option, name)
			}
			for _, s := range steps {
				out[s.index] = true
			}
		}
		return out
	}
	only, from, anew := names("--only", e.opt.Only), names("--from", e.opt.From), names("--force", e.opt.Force)
	for i, s := range e.plan.Steps {
		if slices.ContainsFunc(s.Needs, func(n *ModuleStep) bool { return from[n.index] }) {
			from[i] = true
		}
		e.mode[i] = either
		if len(only) > 0 && !only[i] && !anew[i] {
			e.mode[i] = omit
		} else if anew[i] || from[i] || s.NoCache {
			e.mode[i] = force
		}
	}
	for i := len(e.plan.Steps) - 1; i >= 0; i-- {
		if e.mode[i] != omit {
			for _, n := range e.plan.Steps[i].Needs {
				if e.mode[n.index] == omit {
					e.mode[n.index] = reuse
				}
			}
		}
	}
	return diags
}

// ready checks what can be known of a step before anything runs.
func (e *execution) ready(s *ModuleStep) schema.Diagnostics {
	var diags schema.Diagnostics
	if e.mode[s.index] == omit {
		return nil
	}
	if err := e.opt.Machine.tooLarge(s.Resources); err != nil {
		diags.Add(s.file, s.pos, schema.RuleResources, "ask for less, or run it on a larger machine", "step %q cannot run here: %v", s.Name, err)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Handed)) {
		decl, _ := s.Secrets.Get(name)
		if _, set := e.secret(s.Handed[name]); !set && !decl.Optional {
			diags.Add(s.file, s.pos, schema.RuleSecret, fmt.Sprintf("set it in the environment: export %s=…", s.Handed[name]), "step %q needs the secret %s, which is not set", s.Name, s.Handed[name])
		}
	}
	return diags
}

func (e *execution) secret(name string) (string, bool) {
	if e.opt.Secrets == nil {
		return "", false
	}
	return e.opt.Secrets(name)
}

func (e *execution) emit(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.opt.Event != nil {
		ev.Time, ev.Run = time.Now(), e.rec.ID
		e.opt.Event(ev)
	}
}

// endedBefore is why a step was skipped that another one's failure kept from starting.
const endedBefore = "the run ended before"

// maxInFlight bounds how many steps wait for resources, or run.
const maxInFlight = 1024

// schedule starts every step when what it needs is done.
func (e *execution) schedule(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n := len(e.plan.Steps)
	missing := make([]int, n)
	dependents := make([][]int, n)
	var ready []int
	for i, s := range e.plan.Steps {
		if e.mode[i] == omit {
			e.end(i, StepRecord{State: Skipped, Why: "left out"}, nil)
			continue
		}
		for _, d := range s.Needs {
			if e.mode[d.index] != omit {
				missing[i]++
				dependents[d.index] = append(dependents[d.index], i)
			}
		}
		if missing[i] == 0 {
			ready = append(ready, i)
		}
	}
	outcomes := make(chan outcome, maxInFlight)
	begin := make(chan int)
	defer close(begin)
	for range min(preparing(e.opt.Store), n) {
		go func() {
			for i := range begin {
				e.step(ctx, i, outcomes)
			}
		}()
	}
	running := 0
	var world error
	var skip func(i int, why string)
	skip = func(i int, why string) {
		if e.rec.Steps[i].State != Waiting {
			return
		}
		e.end(i, StepRecord{State: Skipped, Why: why}, nil)
		for _, d := range dependents[i] {
			skip(d, why)
		}
	}
	for len(ready) > 0 || running > 0 {
		stop := world != nil || ctx.Err() != nil || (e.hasFailed() && !e.opt.KeepGoing)
		if stop && running == 0 {
			break
		}
		var next int
		var to chan<- int // nil when none can begin
		if len(ready) > 0 && running < maxInFlight && !stop {
			next, to = ready[0], begin
		}
		var o outcome
		select {
		case to <- next:
			ready = ready[1:]
			running++
			continue
		case o = <-outcomes:
		}
		running--
		switch {
		case o.err != nil && world == nil && ctx.Err() == nil:
			world = o.err
			cancel(o.err)
		case o.ok:
			for _, d := range dependents[o.i] {
				if missing[d]--; missing[d] == 0 {
					ready = append(ready, d)
				}
			}
		case o.err == nil:
			for _, d := range dependents[o.i] {
				why := e.plan.Steps[o.i].Name + " failed"
				if e.rec.Steps[o.i].State == Skipped {
					why = endedBefore
				}
				skip(d, why)
			}
		}
	}
	for i, s := range e.rec.Steps {
		if s.State == Waiting {
			skip(i, endedBefore)
		}
	}
	e.opt.Store.Flush() // what is on its way ends with ctx
	return world
}

func (e *execution) hasFailed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failed
}

// end records what became of a step and tells of it.
func (e *execution) end(i int, r StepRecord, ev *Event) {
	e.mu.Lock()
	rec := e.rec.Steps[i]
	r.Name, r.Module, r.Version, r.Within = rec.Name, rec.Module, rec.Version, rec.Within
	if r.Log == "" {
		r.Log = rec.Log
	}
	if r.Key == "" {
		r.Key = rec.Key
	}
	*rec = r
	e.rec.journal.add(rec)
	if r.State == Failed {
		e.failed = true
	}
	e.mu.Unlock()
	if ev == nil {
		ev = &Event{}
	}
	ev.Event, ev.Step, ev.State, ev.Why, ev.Error = "end", r.Name, r.State, r.Why, r.Error
	ev.Seconds, ev.Attempt, ev.Key, ev.Values = r.Seconds, r.Attempts, string(r.Key), r.Values
	e.emit(*ev)
}

// outputs puts the pipeline's outputs beside the record. Large files stay in
// the store unless they can be cloned: a run writes its data once.
func (e *execution) outputs() error {
	for _, o := range e.plan.Outputs {
		res := e.results[o.From.Step.index]
		if res == nil {
			continue
		}
		out, written := res.Outputs[o.From.Output]
		if !written {
			continue
		}
		rec := OutputRecord{Name: o.Name, Type: o.Type, Format: o.Format}
		if out.Object == nil {
			v, err := value(out, o.Spec)
			if err != nil {
				return err
			}
			rec.Value = v
		} else {
			rec.Digest, rec.Size = out.Digest, out.Size
			if e.opt.History.Dir != "" && out.Size <= maxKept {
				rec.Path = "outputs/" + rec.FileName()
				dst := filepath.Join(e.rec.dir, filepath.FromSlash(rec.Path))
				if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
					return fmt.Errorf("cannot keep the output %q: %w", o.Name, err)
				}
				if err := e.opt.Store.Copy(*out.Object, dst); err != nil {
					return fmt.Errorf("cannot keep the output %q: %w", o.Name, err)
				}
			}
		}
		e.rec.Outputs = append(e.rec.Outputs, rec)
	}
	return nil
}

// maxKept is the greatest output, in bytes, that is copied beside the record.
const maxKept = 64 << 20

// ownedFile lists, in a folder that outputs were copied into, their names.
const ownedFile = ".modyard-outputs"

// ErrOccupied says that something else stands where an output would go.
var ErrOccupied = errors.New("something that no run has put there is in the way")

// Export copies the pipeline's outputs into dir, which is made when needed.
// What an earlier export has put there is replaced; when anything else stands
// under the name of an output, nothing is written and the error is an
// [ErrOccupied].
func (r *Record) Export(st *store.Store, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot write the outputs: %w", err)
	}
	list := filepath.Join(dir, ownedFile)
	data, err := os.ReadFile(list)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot write the outputs: %w", err)
	}
	owned := strings.Fields(string(data))
	for _, o := range r.Outputs {
		if _, err := os.Lstat(filepath.Join(dir, o.FileName())); err == nil && !slices.Contains(owned, o.FileName()) {
			return fmt.Errorf("cannot write the output %q to %s: %w", o.Name, filepath.Join(dir, o.FileName()), ErrOccupied)
		}
	}
	for _, o := range r.Outputs {
		if !slices.Contains(owned, o.FileName()) {
			owned = append(owned, o.FileName())
		}
	}
	if err := os.WriteFile(list, []byte(strings.Join(owned, "\n")+"\n"), 0o644); err != nil {
		return fmt.Errorf("cannot write the outputs: %w", err)
	}
	for _, o := range r.Outputs {
		if err := o.export(st, filepath.Join(dir, o.FileName())); err != nil {
			return fmt.Errorf("cannot write the output %q: %w", o.Name, err)
		}
	}
	return nil
}

// FileName is the name under which the output is copied into a folder.
func (o OutputRecord) FileName() string { return schema.FileName(o.Name, o.Type, o.Format) }

func (o OutputRecord) export(st *store.Store, dst string) error {
	if err := os.RemoveAll(dst); err != nil {
		return err
	}
	if o.Digest == "" {
		return os.WriteFile(dst, []byte(schema.Render(o.Value)+"\n"), 0o644)
	}
	return st.Copy(store.Object{Digest: o.Digest, Size: o.Size, Folder: o.Type == schema.TypeFolder}, dst)
}

// logName is the log of a step, relative to the record.
func logName(step string) string { return "logs/" + strings.ReplaceAll(step, "/", ".") + ".log" }
