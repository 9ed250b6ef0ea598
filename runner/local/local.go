package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

// Compute runs tasks as processes. The zero value works.
type Compute struct {
	// Path is the PATH of the host. Default: none but the system's folders.
	Path string
	// Environ is what pip and uv find around them, as os.Environ gives it;
	// steps do not see it. Default: nothing.
	Environ []string
	// Grace is how long a process may take to end after SIGTERM. Default 5s.
	Grace time.Duration

	mu      sync.Mutex
	host    *hostPaths
	pythons map[string]*interpreter // by path
}

const defaultPath = "/usr/local/bin:/usr/bin:/bin"

func (c *Compute) grace() time.Duration {
	if c.Grace == 0 {
		return 5 * time.Second
	}
	return c.Grace
}

func (c *Compute) path() string {
	if c.Path == "" {
		return defaultPath
	}
	return c.Path
}

// platform names the machine in keys.
func platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

// environment is the handle of an Environment: what stands before the host's
// PATH, and the virtual environment.
type environment struct {
	path []string
	venv string
}

// Environment resolves the host, or a virtual environment, which is made once
// per content of its requirements and interpreter.
func (c *Compute) Environment(ctx context.Context, s *runner.ModuleStep, st *store.Store) (runner.Environment, error) {
	if p := s.Run.Environment.Python; p != nil {
		return c.python(ctx, s, st, p)
	}
	return runner.Environment{
		Key: runner.EnvironmentKey{Host: true, Platform: platform()}, Machine: true, Handle: environment{},
	}, nil
}

// Run executes a task once.
func (c *Compute) Run(ctx context.Context, x runner.Execution) (map[string]store.Output, error) {
	w, err := newWorkspace(ctx, x)
	if err != nil {
		return nil, err
	}
	defer w.discard(x.Store)
	env, _ := x.Task.Environment.Handle.(environment)
	if env.venv != "" {
		if err := c.makeVenv(ctx, x, &env); err != nil {
			return nil, err
		}
	}
	err = c.start(ctx, x, w, env)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	// A step that failed may have changed its inputs all the same.
	if changed := w.inputsUnchanged(ctx, x); changed != nil {
		return nil, changed
	}
	if err != nil {
		return nil, err
	}
	return w.collect(ctx, x)
}

// workspace is the folders of one execution. There are few, since making and
// removing them is most of what a small task costs.
type workspace struct {
	work string // the working directory
	home string // for HOME and TMPDIR
}

func newWorkspace(ctx context.Context, x runner.Execution) (_ *workspace, err error) {
	work, err := os.MkdirTemp(x.Store.Temp(), "task-")
	if err != nil {
		return nil, fmt.Errorf("cannot make the working directory: %w", err)
	}
	w := &workspace{work: work, home: work + "-home"}
	defer func() {
		if err != nil {
			w.discard(x.Store)
		}
	}()
	if err := w.snapshot(ctx, x); err != nil {
		return nil, err
	}
	for _, d := range []string{w.home, w.file("outputs")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, fmt.Errorf("cannot make the working directory: %w", err)
		}
	}
	for _, o := range x.Task.Step.Outputs {
		if o.Value.Type == schema.TypeFolder {
			if err := os.Mkdir(w.file(o.Value.Path(o.Name)), 0o755); err != nil {
				return nil, fmt.Errorf("cannot make the working directory: %w", err)
			}
		}
	}
	return w, w.link(x)
}

func (w *workspace) discard(st *store.Store) {
	st.Discard(w.work)
	st.Discard(w.home)
}

func (w *workspace) file(name string) string { return filepath.Join(w.work, filepath.FromSlash(name)) }

// snapshot puts a private, writable copy of the snapshot into the working
// directory.
func (w *workspace) snapshot(ctx context.Context, x runner.Execution) error {
	snap := x.Task.Step.Snapshot
	if snap.Digest == runner.EmptyTree {
		return nil
	}
	o, err := snapshotObject(ctx, x.Task.Step, x.Store)
	if err != nil {
		return err
	}
	if err := x.Store.Copy(o, w.work); err != nil {
		return fmt.Errorf("cannot copy the snapshot: %w", err)
	}
	return nil
}

// snapshotObject brings a step's snapshot into the store.
func snapshotObject(ctx context.Context, s *runner.ModuleStep, st *store.Store) (store.Object, error) {
	o := store.Object{Digest: s.Snapshot.Digest, Folder: true}
	err := st.Check(ctx, o)
	if err == nil {
		return o, nil
	}
	if !errors.Is(err, store.ErrMissing) && !errors.Is(err, store.ErrDamaged) {
		return o, fmt.Errorf("cannot read the snapshot: %w", err)
	}
	// It may have to be fetched, which is done once.
	unlock, err := st.Lock(ctx, "snapshot-"+o.Digest.Hex())
	if err != nil {
		return o, err
	}
	defer unlock()
	if st.Check(ctx, o) == nil {
		return o, nil
	}
	t, err := s.Snapshot.Open(ctx)
	if err != nil {
		return o, fmt.Errorf("cannot read the snapshot: %w", err)
	}
	if _, err := st.AddTree(ctx, t, s.Snapshot.Digest); err != nil {
		return o, fmt.Errorf("cannot take the snapshot into the store: %w", err)
	}
	return o, nil
}

// link hands the inputs over.
func (w *workspace) link(x runner.Execution) error {
	if len(x.Task.Inputs) == 0 {
		return nil
	}
	if err := os.Mkdir(w.file("inputs"), 0o755); err != nil {
		return fmt.Errorf("cannot hand the inputs over: %w", err)
	}
	for name, o := range x.Task.Inputs {
		in, _ := x.Task.Step.Inputs.Get(name)
		err := x.Store.Link(o, w.file(in.Path(name)))
		if errors.Is(err, fs.ErrNotExist) {
			return &runner.StepError{Reason: "input", Message: fmt.Sprintf("the input %q is no longer in the store: another step has changed it", name), Hint: "run again: it is computed again"}
		}
		if err != nil {
			return fmt.Errorf("cannot hand the input %q over: %w", name, err)
		}
	}
	return nil
}

// inputsUnchanged fails a task that wrote to its inputs: what it wrote to is
// evicted from the store.
func (w *workspace) inputsUnchanged(ctx context.Context, x runner.Execution) error {
	for name, o := range x.Task.Inputs {
		err := x.Store.Check(ctx, o)
		if errors.Is(err, store.ErrMissing) {
			return &runner.StepError{Reason: "input", Message: fmt.Sprintf("another step changed the input %q while this one ran", name), Hint: "run again: it is computed again"}
		}
		if errors.Is(err, store.ErrDamaged) {
			return &runner.StepError{Reason: "input", Message: fmt.Sprintf("the step changed its input %q", name), Hint: "copy it before changing it: inputs are shared with other steps"}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
