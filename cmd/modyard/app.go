package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sethvargo/go-githubactions"
	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/registry/github"
	"github.com/modyard/modyard/registry/oci"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/registry/wheels"
	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

// Exit codes.
const (
	exitGood        = 0
	exitProblems    = 1 // the input has problems or a step failed
	exitUsage       = 2
	exitWorld       = 3 // modyard or the world failed
	exitLook        = 4 // good, but a maintainer must look first
	exitInterrupted = 130
)

const exitHelp = `
Exit codes: 0 good, 1 the input has problems or a step failed, 2 wrong usage,
3 modyard or the world failed (network, disk), 4 good but a maintainer must
look first (check), 130 interrupted.`

type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// app is what every command has: the streams, the environment, and the flags
// of all commands.
type app struct {
	ctx context.Context //nolint:containedctx // the command's: what it opens outlives its parts
	stdio
	actions *githubactions.Action // writes commands for the runner of GitHub Actions
	lookup  func(string) (string, bool)
	format  string // of diagnostics
	store   string
	args    []string

	offline bool
	fetch   *snapshot.Fetcher
	oci     *oci.Client
	hubs    map[string]*github.Client // by host
	places  map[string]opened         // remote registries, which a command reads at one commit
	opening sync.Mutex                // of places and homes
	homes   map[*registry.Registry]home
	token   string // that was handed over for GitHub
	// pipelines are those below a folder, once they were read.
	pipelines map[string][]*schema.Pipeline
	bytes     atomic.Int64 // that went over the network
	scratch   string       // a folder for what is fetched, made when it is needed
}

// run is the whole program: arguments in, exit code out.
func run(ctx context.Context, args []string, std stdio, lookup func(string) (string, bool)) int {
	a := &app{ctx: ctx, stdio: std, lookup: lookup, args: args}
	a.actions = githubactions.New(githubactions.WithWriter(std.out), githubactions.WithGetenv(func(name string) string {
		v, _ := lookup(name)
		return v
	}))
	if v, _ := lookup("GITHUB_ACTIONS"); v == "true" {
		a.err = &inert{w: std.err}
	}
	a.token = handedToken(lookup)
	root := a.root()
	root.SetArgs(args)
	root.SetIn(std.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if a.scratch != "" {
		os.RemoveAll(a.scratch)
	}
	return a.exit(ctx, err)
}

func (a *app) root() *cobra.Command {
	var dir string
	root := &cobra.Command{
		Use:   "modyard",
		Short: "Run pipelines of reusable modules from a registry that is a git repository",
		Long: `modyard checks registries of machine-learning pipeline modules and runs
pipelines of them. A registry is a git repository; no server is needed.

Begin with:  modyard run PIPELINE.yaml     run a pipeline
             modyard init DIR              make a registry with a pipeline that runs
             modyard check [DIR]           check a registry
` + exitHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if v, _ := a.lookup("GITHUB_ACTIONS"); v == "true" && !a.machineRead(cmd) {
				a.out = &inert{w: a.out}
			}
			if !slices.Contains(formats, a.format) {
				return usagef("there is no format %q; there is %s", a.format, schema.QuoteList(formats, "and"))
			}
			if dir == "" {
				return nil
			}
			if err := os.Chdir(dir); err != nil {
				return usagef("cannot start in %q: %w", dir, err)
			}
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVarP(&dir, "directory", "C", "", "run as if started in `DIR`")
	f.BoolVar(&a.offline, "offline", false, "use nothing but what is on this disk")
	f.StringVar(&a.format, "format", "text", "how problems are written: text, json, github or sarif")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err: err} })
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(
		a.initCmd(), a.newCmd(), a.addCmd(), a.checkCmd(), a.listCmd(), a.showCmd(), a.diffCmd(), a.searchCmd(),
		a.deprecateCmd(), a.disableCmd(), a.enableCmd(), a.defaultCmd(),
		a.publishCmd(), a.pullCmd(), a.verifyCmd(), a.proposeCmd(), a.indexCmd(),
		a.testCmd(), a.outdatedCmd(), a.upgradeCmd(), a.affectedCmd(), a.planCmd(), a.graphCmd(), a.lockCmd(), a.runCmd(), a.whyCmd(), a.runsCmd(), a.logsCmd(), a.cacheCmd(), a.versionCmd(),
	)
	return root
}

// machineRead tells whether what a command writes to stdout goes to a program or
// a file, where each of its bytes counts.
func (a *app) machineRead(cmd *cobra.Command) bool {
	if f := cmd.Flags().Lookup("json"); f != nil && f.Value.String() == "true" || a.format == "json" || a.format == "sarif" {
		return true
	}
	f, isFile := a.out.(*os.File)
	if !isFile {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// usageError says that the command line is wrong.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{err: fmt.Errorf(format, args...)} }

// hinted is a problem of the input with advice.
type hinted struct{ message, hint string }

func (e *hinted) Error() string { return e.message }

// exitCode ends the program without a further word.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// formats are the ways in which problems are written.
var formats = []string{"text", "json", "github", "sarif"}

// exit is the one place where errors become words and exit codes.
func (a *app) exit(ctx context.Context, err error) int {
	if err == nil {
		return exitGood
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	if ctx.Err() != nil {
		fmt.Fprintln(a.err, "modyard: interrupted")
		return exitInterrupted
	}
	if p, ok := errors.AsType[*schema.ProblemsError](err); ok {
		if werr := a.diagnostics(p.Diagnostics); werr != nil {
			return exitWorld
		}
		return exitProblems
	}
	code, hint := classify(err)
	a.fail(err.Error(), hint)
	return code
}

func classify(err error) (code int, hint string) {
	if u, ok := errors.AsType[*usageError](err); ok {
		if u.hint == "" {
			u.hint = "modyard help"
		}
		return exitUsage, u.hint
	}
	if strings.HasPrefix(err.Error(), "unknown command") {
		return exitUsage, "modyard help"
	}
	if h, ok := errors.AsType[*hinted](err); ok {
		return exitProblems, h.hint
	}
	if n, ok := registry.AsNotFound(err); ok {
		return exitProblems, n.Hint
	}
	if l, ok := errors.AsType[*registry.LockError](err); ok {
		return exitProblems, l.Hint
	}
	if p, ok := errors.AsType[*oci.ProblemError](err); ok && !oci.Unreachable(err) {
		return exitProblems, p.Hint
	}
	if p, ok := errors.AsType[*wheels.ProblemError](err); ok {
		return exitProblems, p.Hint
	}
	if p, ok := errors.AsType[*github.ProblemError](err); ok {
		if p.World {
			return exitWorld, p.Hint
		}
		return exitProblems, p.Hint
	}
	if r, ok := errors.AsType[*runner.ResolveError](err); ok {
		return exitProblems, r.Hint
	}
	if _, ok := errors.AsType[*oci.ConflictError](err); ok {
		return exitProblems, "a published version never changes: raise the version's number"
	}
	if oci.Denied(err) {
		return exitWorld, "log in: docker login HOST, podman login HOST, or for ghcr.io set GITHUB_TOKEN"
	}
	if l, ok := errors.AsType[*registry.LostError](err); ok {
		return exitWorld, l.Hint
	}
	switch {
	case errors.Is(err, runner.ErrOccupied):
		return exitProblems, "name another folder: -o DIR"
	case errors.Is(err, registry.ErrNoRegistry):
		return exitProblems, "name the folder that holds registry.yaml, or make one: modyard init"
	case errors.Is(err, runner.ErrNoRun):
		return exitProblems, "modyard runs lists them"
	case errors.Is(err, git.ErrNotTrusted):
		return exitProblems, "if you trust it: git config --global --add safe.directory DIR"
	case errors.Is(err, git.ErrNoRevision), errors.Is(err, git.ErrNoRepository), errors.Is(err, os.ErrNotExist):
		return exitProblems, ""
	}
	return exitWorld, ""
}

// fail prints what is wrong and what to do.
func (a *app) fail(message, hint string) {
	fmt.Fprintf(a.err, "error: %s\n", message)
	if hint != "" {
		fmt.Fprintf(a.err, "hint: %s\n", hint)
	}
}

func (a *app) say(format string, args ...any) { fmt.Fprintf(a.err, format+"\n", args...) }
