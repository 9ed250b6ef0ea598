package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

// errTimeout is the cause when a task's time is over.
var errTimeout = errors.New("timeout")

// start runs the command to its end, and ends what it leaves behind.
func (c *Compute) start(ctx context.Context, x runner.Execution, w *workspace, env environment) error {
	argv, err := x.Task.Command()
	if err != nil {
		return err
	}
	environ, path, err := c.environ(x, w, env)
	if err != nil {
		return err
	}
	program, err := findProgram(argv[0], w.work, path)
	if err != nil {
		return err
	}
	timed := ctx
	if t := x.Task.Step.Timeout; t > 0 {
		var cancel context.CancelFunc
		timed, cancel = context.WithTimeoutCause(ctx, t, errTimeout)
		defer cancel()
	}
	err = c.execute(timed, &exec.Cmd{Path: program, Args: argv, Dir: w.work, Env: environ}, x.Log)
	return explainExit(ctx, timed, x.Task.Step, argv, err)
}

// execute runs a command as the leader of a process group of its own.
func (c *Compute) execute(ctx context.Context, cmd *exec.Cmd, log io.Writer) error {
	r, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	// The context's command ends the group first by SIGTERM, then by SIGKILL.
	run := exec.CommandContext(ctx, cmd.Path)
	run.Args, run.Dir, run.Env = cmd.Args, cmd.Dir, cmd.Env
	run.Err = nil
	run.Stdout, run.Stderr = out, out
	group(run)
	run.Cancel = func() error { return endGroup(run) }
	run.WaitDelay = c.grace()
	if err := run.Start(); err != nil {
		out.Close()
		return &startError{err}
	}
	out.Close()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.CopyBuffer(onlyWriter{log}, onlyReader{r}, make([]byte, 32<<10))
	}()
	err = run.Wait()
	killGroup(run)
	// What left the group may still hold the pipe: it is not waited for.
	select {
	case <-copied:
	case <-time.After(time.Second):
		r.Close()
		<-copied
	}
	return err
}

type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
	startError struct{ error }
)

func (e *startError) Unwrap() error { return e.error }

func explainExit(ctx, timed context.Context, s *runner.ModuleStep, argv []string, err error) error {
	var exit *exec.ExitError
	var start *startError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case timed.Err() != nil && err != nil:
		return &runner.StepError{Reason: "timeout", Message: fmt.Sprintf("the command took longer than its timeout, %s", s.Timeout), Hint: "give the step a longer timeout"}
	case err == nil:
		return nil
	case errors.As(err, &start):
		hint := ""
		if errors.Is(err, fs.ErrNotExist) {
			hint = "its first line (#!) names an interpreter that is not there"
		}
		return &runner.StepError{Reason: "start", Message: fmt.Sprintf("cannot start %q: %v", argv[0], start.error), Hint: hint}
	case errors.As(err, &exit):
		if sig := signalOf(exit); sig != "" {
			return &runner.StepError{Reason: "exit", ExitCode: exit.ExitCode(), Message: "the command was ended by the signal " + sig}
		}
		return &runner.StepError{Reason: "exit", ExitCode: exit.ExitCode(), Message: fmt.Sprintf("the command ended with exit code %d", exit.ExitCode())}
	}
	return err
}

// environ is the whole environment of a command, and its PATH.
func (c *Compute) environ(x runner.Execution, w *workspace, env environment) (environ []string, path string, err error) {
	host, err := c.hostPath(x.Store.Envs())
	if err != nil {
		return nil, "", err
	}
	path = strings.Join(append(env.path, host...), string(os.PathListSeparator))
	declared := x.Task.Env(x.Secrets)
	all := map[string]string{
		"LANG": "C.UTF-8", "PATH": path,
		"HOME": w.home, "TMPDIR": w.home,
		"CUDA_VISIBLE_DEVICES": strings.Join(x.GPUs, ","),
	}
	if env.venv != "" {
		all["VIRTUAL_ENV"] = env.venv
	}
	if runtime.GOOS == "windows" {
		all["SYSTEMROOT"] = cmp.Or(os.Getenv("SYSTEMROOT"), `C:\Windows`)
		all["TEMP"], all["TMP"], all["USERPROFILE"] = all["TMPDIR"], all["TMPDIR"], all["HOME"]
	}
	for name, v := range declared {
		if _, ours := all[name]; !ours || name == "LANG" {
			all[name] = v
		}
	}
	for name, v := range all {
		if strings.ContainsRune(v, 0) {
			return nil, "", &runner.StepError{Reason: "start", Message: fmt.Sprintf("the variable %s holds a NUL byte", name)}
		}
		environ = append(environ, name+"="+v)
	}
	return environ, path, nil
}

// hostPaths is the PATH of the host, with a folder for python where there is
// none but python3.
type hostPaths struct{ dirs []string }

func (c *Compute) hostPath(envs string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.host != nil {
		return c.host.dirs, nil
	}
	var dirs []string
	for _, d := range filepath.SplitList(c.path()) {
		if filepath.IsAbs(d) {
			dirs = append(dirs, d)
		}
	}
	path := strings.Join(dirs, string(os.PathListSeparator))
	if _, err := lookPath("python", path); err != nil {
		if python3, err := lookPath("python3", path); err == nil {
			dir := filepath.Join(envs, "python-"+schema.DigestBytes([]byte(python3)).Hex()[:12])
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return nil, fmt.Errorf("cannot make python a name of python3: %w", err)
			}
			if err := os.Symlink(python3, filepath.Join(dir, "python")); err != nil && !errors.Is(err, fs.ErrExist) {
				return nil, fmt.Errorf("cannot make python a name of python3: %w", err)
			}
			dirs = append([]string{dir}, dirs...)
		}
	}
	c.host = &hostPaths{dirs}
	return dirs, nil
}

// findProgram finds a program: one with a slash in the working directory,
// else in the path.
func findProgram(name, work, path string) (string, error) {
	if strings.Contains(name, "/") {
		p := filepath.FromSlash(name)
		if !filepath.IsAbs(p) {
			p = filepath.Join(work, p)
		}
		if !executable(p) {
			return "", &runner.StepError{Reason: "start", Message: fmt.Sprintf("there is no program %q in the snapshot", name)}
		}
		return p, nil
	}
	p, err := lookPath(name, path)
	if err != nil {
		hint := ""
		if executable(filepath.Join(work, name)) {
			hint = "the snapshot has it: write ./" + name
		}
		return "", &runner.StepError{Reason: "start", Message: fmt.Sprintf("there is no program %q on this machine", name), Hint: hint}
	}
	return p, nil
}

func lookPath(name, path string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		for _, ext := range programEndings {
			if p := filepath.Join(dir, name+ext); executable(p) {
				return p, nil
			}
		}
	}
	return "", exec.ErrNotFound
}

func executable(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.Mode().IsRegular() && (info.Mode()&0o111 != 0 || runtime.GOOS == "windows")
}
