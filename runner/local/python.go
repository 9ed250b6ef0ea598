package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

// interpreter is what a Python says of itself, asked once.
type interpreter struct {
	once           sync.Once
	err            error
	path           string
	Implementation string `json:"implementation"`
	Version        string `json:"version"`
	Executable     string `json:"executable"`
}

const askPython = `import json, platform, sys
print(json.dumps({"implementation": platform.python_implementation(), "version": platform.python_version(), "executable": sys.executable}))`

// candidates are the names under which interpreters are looked for, the usual
// one first.
var candidates = []string{"python3", "python", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python3.9"}

// findPython finds the first interpreter on the host whose version fits.
func (c *Compute) findPython(ctx context.Context, envs, want string) (*interpreter, error) {
	fits := func(string) bool { return true }
	if want != "" {
		con, err := semver.NewConstraint(want)
		if err != nil {
			return nil, &runner.StepError{Reason: "start", Message: fmt.Sprintf("%q is no range of Python versions", want), Hint: `write ">=3.9" or ">=3.10, <3.13"`}
		}
		fits = func(v string) bool {
			// A pre-release such as 3.14.0rc1 counts as its release.
			v = strings.TrimRight(strings.SplitN(v, "rc", 2)[0], "+abrc")
			sv, err := semver.NewVersion(v)
			return err == nil && con.Check(sv)
		}
	}
	dirs, err := c.hostPath(envs)
	if err != nil {
		return nil, err
	}
	var seen []string
	for _, name := range candidates {
		p, err := lookPath(name, strings.Join(dirs, string(os.PathListSeparator)))
		if err != nil {
			continue
		}
		in, err := c.ask(ctx, p)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			continue
		}
		if fits(in.Version) {
			return in, nil
		}
		seen = append(seen, in.Version)
	}
	msg := "there is no Python on this machine"
	if len(seen) > 0 {
		msg = fmt.Sprintf("no Python on this machine fits %q; there is %s", want, strings.Join(seen, ", "))
	}
	return nil, &runner.StepError{Reason: "start", Message: msg, Hint: "install one, and have it in PATH"}
}

func (c *Compute) ask(ctx context.Context, path string) (*interpreter, error) {
	c.mu.Lock()
	if c.pythons == nil {
		c.pythons = map[string]*interpreter{}
	}
	in, ok := c.pythons[path]
	if !ok {
		in = &interpreter{path: path}
		c.pythons[path] = in
	}
	c.mu.Unlock()
	in.once.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, path, "-I", "-c", askPython)
		cmd.Env = c.toolEnv()
		out, err := cmd.Output()
		if err != nil {
			in.err = fmt.Errorf("cannot ask %s for its version: %w", path, err)
			return
		}
		in.err = json.Unmarshal(out, in)
	})
	return in, in.err
}

// toolEnv is the environment of the tools that make environments.
func (c *Compute) toolEnv() []string {
	env := []string{"PATH=" + c.path()}
	for _, e := range c.Environ {
		name, _, _ := strings.Cut(e, "=")
		if name != "PATH" && name != "VIRTUAL_ENV" && name != "PYTHONHOME" && name != "PYTHONPATH" {
			env = append(env, e)
		}
	}
	return env
}

// python resolves an environment with an interpreter and packages. The
// packages are installed when a task must run, not when its result is reused.
func (c *Compute) python(ctx context.Context, s *runner.ModuleStep, st *store.Store, p *schema.Python) (runner.Environment, error) {
	in, err := c.findPython(ctx, st.Envs(), p.Version.Value)
	if err != nil {
		return runner.Environment{}, err
	}
	env := runner.Environment{Key: runner.EnvironmentKey{
		Platform: platform(),
		Python:   &runner.PythonKey{Implementation: in.Implementation, Version: in.Version},
	}}
	if p.Requirements.Value == "" {
		// The interpreter alone: a virtual environment without packages keeps
		// the host's packages out.
		env.Handle = environment{venv: venvName(env.Key.Python)}
		return env, nil
	}
	data, err := readRequirements(ctx, s, st, p.Requirements.Value)
	if err != nil {
		return runner.Environment{}, err
	}
	env.Key.Python.Requirements = schema.DigestBytes(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")))
	env.Handle = environment{venv: venvName(env.Key.Python)}
	return env, nil
}

func readRequirements(ctx context.Context, s *runner.ModuleStep, st *store.Store, name string) ([]byte, error) {
	o, err := snapshotObject(ctx, s, st)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(st.Path(o), filepath.FromSlash(name)))
	if errors.Is(err, os.ErrNotExist) {
		return nil, &runner.StepError{Reason: "start", Message: fmt.Sprintf("the snapshot has no file %q", name)}
	}
	return data, err
}

// venvName is the folder of a virtual environment: the same for the same
// requirements and interpreter.
func venvName(k *runner.PythonKey) string {
	return schema.DigestBytes([]byte(schema.JSON(k) + platform())).Hex()
}

// makeVenv makes the virtual environment of an execution unless it is there.
// Two runs at once make it once.
func (c *Compute) makeVenv(ctx context.Context, x runner.Execution, env *environment) error {
	dir := filepath.Join(x.Store.Envs(), env.venv)
	unlock, err := x.Store.Lock(ctx, env.venv)
	if err != nil {
		return err
	}
	defer unlock()
	ready := store.Ready(dir)
	if _, err := os.Stat(ready); err != nil {
		if err := c.buildVenv(ctx, x, dir); err != nil {
			return err
		}
		if err := os.WriteFile(ready, nil, 0o644); err != nil {
			return fmt.Errorf("cannot make the virtual environment: %w", err)
		}
	} else {
		now := time.Now()
		_ = os.Chtimes(ready, now, now) // gc goes by it
	}
	env.venv = dir
	env.path = []string{filepath.Join(dir, venvBin())}
	return nil
}

func venvBin() string {
	if runtime.GOOS == "windows" {
		return "Scripts"
	}
	return "bin"
}

// buildVenv makes the environment where it will stay, since its programs name
// their folder; what is there without being ready is from a run that died.
func (c *Compute) buildVenv(ctx context.Context, x runner.Execution, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("cannot make the virtual environment: %w", err)
	}
	p := x.Task.Step.Run.Environment.Python
	in, err := c.findPython(ctx, x.Store.Envs(), p.Version.Value)
	if err != nil {
		return err
	}
	pip := filepath.Join(dir, venvBin(), "python")
	uv, uverr := lookPath("uv", c.path())
	var steps [][]string
	if uverr == nil {
		steps = append(steps, []string{uv, "venv", "--quiet", "--python", in.Executable, dir})
	} else {
		args := []string{in.Executable, "-m", "venv", dir}
		if p.Requirements.Value == "" {
			args = append(args, "--without-pip")
		}
		steps = append(steps, args)
	}
	if p.Requirements.Value != "" {
		data, err := readRequirements(ctx, x.Task.Step, x.Store, p.Requirements.Value)
		if err != nil {
			return err
		}
		file, err := os.CreateTemp(x.Store.Temp(), "requirements-*.txt")
		if err != nil {
			return err
		}
		defer os.Remove(file.Name())
		_, err = file.Write(data)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
		if uverr == nil {
			steps = append(steps, []string{uv, "pip", "install", "--quiet", "--python", pip, "-r", file.Name()})
		} else {
			steps = append(steps, []string{pip, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r", file.Name()})
		}
	}
	for _, argv := range steps {
		if err := c.tool(ctx, argv, x.Log); err != nil {
			return err
		}
	}
	return nil
}

// tool runs one of the tools that make an environment; what it prints is in
// the step's log.
func (c *Compute) tool(ctx context.Context, argv []string, log io.Writer) error {
	err := c.execute(ctx, &exec.Cmd{Path: argv[0], Args: argv, Env: c.toolEnv()}, log)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return &runner.StepError{Reason: "start", Message: fmt.Sprintf("cannot make the virtual environment: %v", err), Hint: "the log has what pip or uv said"}
	}
	return nil
}
