package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

// outcome is how a step ended: ok tells whether what depends on it may go on;
// err is a failure of the world.
type outcome struct {
	i   int
	ok  bool
	err error
}

// step brings one step to its end: reused, run, or failed. It returns when that
// is known or the step's task is handed over, to run on its own.
func (e *execution) step(ctx context.Context, i int, outcomes chan<- outcome) {
	t, why, ok, err := e.lookup(ctx, i)
	if t == nil {
		outcomes <- outcome{i, ok, err}
		return
	}
	go func() {
		ok, err := e.compute(ctx, i, t, why)
		outcomes <- outcome{i, ok, err}
	}()
}

// lookup makes the task of a step and looks for its result. When there is none
// it returns the task, and why it is to be computed; otherwise the step is at
// its end, ok or not.
func (e *execution) lookup(ctx context.Context, i int) (todo *Task, why string, ok bool, err error) {
	t, res, why, err := e.prepareTask(ctx, e.plan.Steps[i])
	if f, isStep := stepFailure(err); isStep {
		e.fail(i, t, f, 0, 0)
		return nil, "", false, nil
	}
	if err != nil {
		ok, err = e.broken(ctx, i, err)
		return nil, "", ok, err
	}
	if res != nil {
		return nil, "", true, e.reused(i, t, res)
	}
	if e.mode[i] == reuse {
		e.fail(i, t, &StepError{Reason: "input", Message: "its result is needed and not in the store", Hint: "run it as well: leave --only out"}, 0, 0)
		return nil, "", false, nil
	}
	return t, why, false, nil
}

// compute runs a task when there is room for it, unless another process has
// done so meanwhile.
func (e *execution) compute(ctx context.Context, i int, t *Task, why string) (ok bool, err error) {
	s := t.Step
	unlock, err := e.opt.Store.Lock(ctx, lockName(t))
	if err != nil {
		return e.broken(ctx, i, err)
	}
	defer unlock()
	if e.mode[i] != force {
		res, again, err := e.opt.Store.LookupHere(ctx, t.Key, t.Scope)
		if err != nil {
			return e.broken(ctx, i, err)
		}
		if res != nil {
			return true, e.reused(i, t, res)
		}
		if again != nil {
			why = again.Error()
		}
	}
	if why == "" {
		why = e.whyNew(t)
	}
	need := e.opt.Machine.need(s.Resources)
	if err := e.opt.Machine.acquire(ctx, need); err != nil {
		return e.broken(ctx, i, err)
	}
	defer e.opt.Machine.release(need)
	if e.hasFailed() && !e.opt.KeepGoing {
		e.end(i, StepRecord{State: Skipped, Key: t.Key, Why: endedBefore}, nil)
		return false, nil
	}
	ok, err = e.execute(ctx, i, t, why)
	if err != nil {
		return e.broken(ctx, i, err)
	}
	return ok, nil
}

// lockName is the name of the lock that a task holds on its machine.
func lockName(t *Task) string {
	name := t.Key.Hex()
	if t.Scope.Line != "" {
		name += "." + t.Scope.Line
	}
	return name
}

// broken ends a step for which the world, or the user, ended the run.
func (e *execution) broken(ctx context.Context, i int, err error) (bool, error) {
	r := StepRecord{State: Interrupted}
	if ctx.Err() == nil {
		r.State, r.Error = Failed, err.Error()
		err = fmt.Errorf("step %q: %w", e.plan.Steps[i].Name, err)
	}
	e.end(i, r, nil)
	return false, err
}

// prepareTask makes the task of a step and looks its result up.
func (e *execution) prepareTask(ctx context.Context, s *ModuleStep) (t *Task, res *store.Result, why string, err error) {
	if ctx.Err() != nil {
		return nil, nil, "", context.Cause(ctx)
	}
	inputs, err := e.taskInputs(ctx, s)
	if err != nil {
		return nil, nil, "", err
	}
	params, err := s.resolveParams(e.output)
	if err != nil {
		return nil, nil, "", err
	}
	e.params[s.index] = params
	env, err := e.environment(ctx, s)
	if err != nil {
		return nil, nil, "", err
	}
	if t, err = newTask(s, inputs, params, env); err != nil {
		return nil, nil, "", err
	}
	if s.Run.Nondeterministic {
		t.Scope.Line = e.rec.Line + "-" + schema.DigestBytes([]byte(s.Name)).Hex()[:12]
	}
	if e.mode[s.index] == force {
		return t, nil, "asked for", nil
	}
	res, damaged, err := e.opt.Store.Lookup(ctx, t.Key, t.Scope)
	if damaged != nil {
		why = damaged.Error()
	}
	return t, res, why, err
}

// environment resolves the environment of a step, once for equal ones.
func (e *execution) environment(ctx context.Context, s *ModuleStep) (Environment, error) {
	id := schema.JSON(s.Run.Environment)
	if p := s.Run.Environment.Python; p != nil && p.Requirements.Value != "" {
		id += string(s.Snapshot.Digest)
	}
	e.envMu.Lock()
	once, ok := e.envs[id]
	if !ok {
		once = &envOnce{}
		e.envs[id] = once
	}
	e.envMu.Unlock()
	once.once.Do(func() { once.env, once.err = e.opt.Compute.Environment(ctx, s, e.opt.Store) })
	return once.env, once.err
}

// taskInputs finds the content of a step's inputs.
func (e *execution) taskInputs(ctx context.Context, s *ModuleStep) (map[string]store.Object, error) {
	out := make(map[string]store.Object, len(s.Sources))
	for name, src := range s.Sources {
		if src.Step != nil {
			res := e.results[src.Step.index]
			o, written := res.Outputs[src.Output]
			if written && o.Object != nil {
				out[name] = *o.Object
			} else if decl, _ := s.Inputs.Get(name); !decl.Optional {
				return nil, &StepError{Reason: "input", Message: fmt.Sprintf("the input %q is required, but %s was not written", name, src)}
			}
			continue
		}
		d := e.inputs[src.Input]
		d.hash.Do(func() { d.object, d.err = e.hashInput(ctx, d.PlanInput) })
		if d.err != nil {
			return nil, d.err
		}
		out[name] = d.object
	}
	return out, nil
}

func (e *execution) hashInput(ctx context.Context, in PlanInput) (store.Object, error) {
	o, err := e.opt.Store.Input(ctx, in.Path, in.Type == schema.TypeFolder)
	if ctx.Err() != nil {
		return o, context.Cause(ctx)
	}
	if err != nil {
		hint := ""
		if errors.Is(err, os.ErrNotExist) {
			hint = fmt.Sprintf("put it there, or name another: --input %s=PATH", in.Name)
		}
		return o, &StepError{Reason: "input", Message: fmt.Sprintf("cannot read the pipeline's input %q: %v", in.Name, err), Hint: hint}
	}
	if in.Digest != "" && o.Digest != in.Digest {
		return o, &StepError{Reason: "input", Message: fmt.Sprintf("the pipeline's input %q has the digest %s, not %s", in.Name, o.Digest, in.Digest)}
	}
	return o, nil
}

// output reads a value that a step before has written.
func (e *execution) output(src Source) (any, bool, error) {
	o, written := e.results[src.Step.index].Outputs[src.Output]
	if !written {
		return nil, false, nil
	}
	decl, _ := src.Step.Outputs.Get(src.Output)
	v, err := value(o, decl.Spec)
	return v, true, err
}

// values collects the value outputs of a result.
func (e *execution) values(s *ModuleStep, res *store.Result) (map[string]any, error) {
	var out map[string]any
	for name, o := range res.Outputs {
		if o.Object != nil {
			continue
		}
		decl, _ := s.Outputs.Get(name)
		v, err := value(o, decl.Spec)
		if err != nil {
			return nil, fmt.Errorf("cannot read the output %q: %w", name, err)
		}
		if out == nil {
			out = map[string]any{}
		}
		out[name] = v
	}
	return out, nil
}

func (e *execution) reused(i int, t *Task, res *store.Result) error {
	e.results[i] = res
	values, err := e.values(t.Step, res)
	if err != nil {
		return err
	}
	why := "the same task ran before"
	if res.Run != "" {
		why = "the same task ran in " + res.Run
	}
	e.end(i, StepRecord{State: Reused, Key: t.Key, From: res.Run, Params: e.params[i], Values: values, Why: why}, nil)
	return nil
}

// execute runs a task, again after a failure when retries are left, and
// commits its result.
func (e *execution) execute(ctx context.Context, i int, t *Task, why string) (bool, error) {
	s := t.Step
	if err := e.opt.Store.PutKey(t.Key, t.Document); err != nil {
		return false, err
	}
	if err := e.importInputs(ctx, s); err != nil {
		return false, err
	}
	log := e.openLog(i, s)
	defer log.Close()
	secrets := map[string]string{}
	for name, outside := range s.Handed {
		if v, set := e.secret(outside); set {
			secrets[name] = v
		}
	}
	log.mask(secrets)
	gpus, release, err := gpuLease(ctx, e.opt.Machine.GPUs, s.Resources.GPUs)
	if err != nil {
		return false, err
	}
	defer release()
	e.started(i, t, why)
	began := time.Now()
	for attempt := 1; ; attempt++ {
		e.emit(Event{Event: "start", Step: s.Name, State: Running, Attempt: attempt, Why: why, Key: string(t.Key)})
		outputs, err := e.opt.Compute.Run(ctx, Execution{Task: t, Store: e.opt.Store, Log: log, Secrets: secrets, GPUs: gpus})
		if err == nil {
			err = log.leak(outputs)
		}
		took := time.Since(began)
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if f, isStep := stepFailure(err); isStep {
			if attempt > s.Retries || f.Reason == "input" || f.Reason == "start" {
				if err := log.finish(); err != nil {
					return false, err
				}
				e.failLog(i, t, f, attempt, took, log)
				return false, nil
			}
			fmt.Fprintf(log, "modyard: %s; trying again (%d of %d)\n", f.Message, attempt, s.Retries)
			e.emit(Event{Event: "retry", Step: s.Name, Attempt: attempt, Error: f.Message})
			if err := sleep(ctx, e.opt.RetryDelay<<min(attempt-1, 6)); err != nil {
				return false, err
			}
			continue
		}
		if err != nil {
			return false, err
		}
		return e.commit(ctx, i, t, outputs, attempt, took, log, why)
	}
}

// started records that a step's command starts.
func (e *execution) started(i int, t *Task, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.rec.Steps[i]
	r.State, r.Key, r.Why, r.Params = Running, t.Key, why, e.params[i]
	e.rec.journal.add(r)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (e *execution) commit(ctx context.Context, i int, t *Task, outputs map[string]store.Output, attempt int, took time.Duration, log *stepLog, why string) (bool, error) {
	if err := log.finish(); err != nil {
		return false, err
	}
	res, err := e.opt.Store.Commit(ctx, &store.Result{
		Key: t.Key, Outputs: outputs, Made: time.Now().UTC(), Duration: took, Run: e.rec.ID, Step: t.Step.Name,
	}, t.Scope, e.mode[i] == force)
	if err != nil {
		return false, err
	}
	e.results[i] = res
	values, err := e.values(t.Step, res)
	if err != nil {
		return false, err
	}
	e.end(i, StepRecord{State: Done, Key: t.Key, Seconds: took.Seconds(), Attempts: attempt, Params: e.params[i], Values: values, Why: why}, nil)
	return true, nil
}

// importInputs brings the pipeline's inputs that a step reads into the store.
func (e *execution) importInputs(ctx context.Context, s *ModuleStep) error {
	for _, src := range s.Sources {
		if src.Step != nil {
			continue
		}
		d := e.inputs[src.Input]
		d.taking.Lock() // for each step: one before may have damaged it
		err := e.opt.Store.Import(ctx, d.Path, d.object)
		d.taking.Unlock()
		if err != nil {
			return fmt.Errorf("cannot take the input %q into the store: %w", src.Input, err)
		}
	}
	return nil
}

// fail ends a step that failed before it ran.
func (e *execution) fail(i int, t *Task, f *StepError, attempts int, took time.Duration) {
	r := StepRecord{State: Failed, Error: f.Message, Attempts: attempts, Seconds: took.Seconds(), Params: e.params[i]}
	if t != nil {
		r.Key = t.Key
	}
	e.end(i, r, &Event{Hint: f.Hint})
}

func (e *execution) failLog(i int, t *Task, f *StepError, attempts int, took time.Duration, log *stepLog) {
	r := StepRecord{State: Failed, Key: t.Key, Error: f.Message, ExitCode: f.ExitCode, Attempts: attempts, Seconds: took.Seconds(), Params: e.params[i]}
	e.end(i, r, &Event{Hint: f.Hint, Log: log.made(), Tail: log.lastLines()})
}

func (e *execution) openLog(i int, s *ModuleStep) *stepLog {
	name := logName(s.Name)
	e.mu.Lock()
	e.rec.Steps[i].Log = name
	e.mu.Unlock()
	return &stepLog{path: filepath.Join(e.rec.dir, filepath.FromSlash(name))}
}
