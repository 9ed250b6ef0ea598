package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/runner/local"
	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

// historyDir is where runs are kept, in the folder that modyard starts in.
const historyDir = ".modyard"

func history() runner.History { return runner.History{Dir: historyDir} }

type runOptions struct {
	planFlags
	keepGoing         bool
	force, from, only []string
	out               string
	json              bool
	cpus              float64
	memory            string
	gpus              string
}

func (a *app) runCmd() *cobra.Command {
	o := &runOptions{}
	cmd := &cobra.Command{
		Use:   "run PIPELINE.yaml | MODULE[@VERSION]",
		Short: "Run a pipeline, or one module",
		Long: `Run a pipeline: every step is executed once; a step whose module, params and
inputs' content are as they were is reused. Running again goes on where a run
stopped. Progress goes to stderr, the pipeline's outputs to stdout.

Secrets are read from the environment variables that the pipeline names.
` + exitHelp,
		Example: `  modyard run pipeline.yaml
  modyard run pipeline.yaml --set epochs=500 -o results
  modyard run train-model@^2 --input data=clean.csv --param epochs=3`,
		Args: oneArg("a pipeline's file or a module"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd.Context(), args[0], o) },
	}
	o.register(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.keepGoing, "keep-going", false, "after a failure finish what does not depend on it")
	f.StringSliceVar(&o.force, "force", nil, "compute `STEP`s anew; * means all")
	f.StringSliceVar(&o.from, "from", nil, "compute `STEP`s anew, and all that depends on them")
	f.StringSliceVar(&o.only, "only", nil, "run these `STEP`s alone; the results that they need must be there")
	f.StringVarP(&o.out, "output", "o", "", "copy the pipeline's outputs into `DIR`")
	f.BoolVar(&o.json, "json", false, "write events as JSON lines to stdout")
	f.Float64Var(&o.cpus, "cpus", 0, "the CPUs that steps share (default: those of this machine)")
	f.StringVar(&o.memory, "memory", "", "the memory that steps share, such as 8Gi (default: that of this machine)")
	f.StringVar(&o.gpus, "gpus", "", "the GPUs that steps share, such as 0,1 (default: CUDA_VISIBLE_DEVICES, or those of this machine)")
	a.storeFlag(cmd)
	return cmd
}

func (a *app) storeFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.store, "store", "", "the `DIR` that keeps results, or oci://HOST/REPO?accept=KEY.pub, which shares them (default: $MODYARD_STORE, or modyard in the user's cache folder)")
}

// storeAddress is what names the store: flag over environment; "" is the
// default.
func (a *app) storeAddress() string {
	if a.store != "" {
		return a.store
	}
	address, _ := a.lookup("MODYARD_STORE")
	return address
}

// storeDir is the store's folder on this disk.
func (a *app) storeDir() (string, error) {
	dir := a.storeAddress()
	if strings.HasPrefix(dir, "oci://") {
		_, query, _ := strings.Cut(dir, "?")
		q, err := url.ParseQuery(query)
		if err != nil {
			return "", usagef("the store %q has a query that cannot be read", dir)
		}
		dir = q.Get("local")
	}
	if dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cannot find a folder for results: %w; name one: --store DIR", err)
	}
	return filepath.Join(cache, "modyard"), nil
}

// openStore opens the store.
func (a *app) openStore(ctx context.Context) (*store.Store, error) {
	var sh *store.Sharing
	if address := a.storeAddress(); strings.HasPrefix(address, "oci://") {
		var err error
		if sh, err = a.sharing(address); err != nil {
			return nil, err
		}
	}
	dir, err := a.storeDir()
	if err != nil {
		return nil, err
	}
	st, err := store.Open(ctx, dir)
	if err == nil && sh != nil && !a.offline {
		st.Share(sh)
	}
	return st, err
}

func (a *app) run(ctx context.Context, target string, o *runOptions) error {
	machine, err := a.machine(o)
	if err != nil {
		return err
	}
	p, err := a.plan(ctx, target, &o.planFlags)
	if err != nil {
		return err
	}
	if err := a.warnings(p.plan); err != nil {
		return err
	}
	for _, n := range p.resolver.notes {
		a.say("note: %s", n)
	}
	st, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	path, _ := a.lookup("PATH")
	v := a.view(p.plan, o.json)
	rec, err := p.plan.Run(ctx, runner.Options{
		Store: st, Compute: &local.Compute{Path: path, Environ: os.Environ()}, History: history(), Machine: machine,
		KeepGoing: o.keepGoing, Force: o.force, From: o.from, Only: o.only, Secrets: a.secret, Event: v.event,
	})
	v.close()
	if rec != nil {
		a.setOutput("run", rec.ID)
	}
	if rec != nil && rec.State != runner.Done {
		a.say("to go on: %s", a.again())
	}
	if err != nil {
		return err
	}
	if rec.State == runner.Failed {
		return exitCode(exitProblems)
	}
	if o.out != "" {
		if err := rec.Export(st, o.out); err != nil {
			return err
		}
	}
	if o.json {
		return nil
	}
	return a.printOutputs(rec, o.out)
}

// warnings says what a plan warns of; nothing when there is nothing, so that
// results alone are on stdout.
func (a *app) warnings(p *runner.Plan) error {
	if len(p.Warnings) == 0 {
		return nil
	}
	return a.diagnostics(p.Warnings)
}

// secret looks a secret up in the environment. An empty one is not set: that
// is how CI systems hand over what a run may not see.
func (a *app) secret(name string) (string, bool) {
	v, _ := a.lookup(name)
	return v, v != ""
}

// again is the command line that goes on where a run stopped: the one that was
// typed, less what would compute anew what is there.
func (a *app) again() string {
	words := []string{"modyard"}
	for i := 0; i < len(a.args); i++ {
		name, _, has := strings.Cut(a.args[i], "=")
		if name == "--force" || name == "--from" {
			if !has {
				i++ // its value
			}
			continue
		}
		words = append(words, shellQuote(a.args[i]))
	}
	return strings.Join(words, " ")
}

func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@%+") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// printOutputs writes the pipeline's outputs: values as they are, data by its
// path.
func (a *app) printOutputs(r *runner.Record, dir string) error {
	t := a.table()
	for _, o := range r.Outputs {
		switch {
		case o.Digest == "":
			t.row(o.Name, schema.Render(o.Value))
		case dir != "":
			t.row(o.Name, filepath.Join(dir, o.FileName()))
		case o.Path == "":
			t.row(o.Name, fmt.Sprintf("%s in the store; -o DIR copies it", bytesText(o.Size)))
		default:
			t.row(o.Name, filepath.Join(r.Dir(), filepath.FromSlash(o.Path)))
		}
	}
	return t.flush()
}

// machine is this machine, or what the flags say of it.
func (a *app) machine(o *runOptions) (*runner.Machine, error) {
	c := runner.Capacity{CPUs: o.cpus, Memory: machineMemory()}
	if c.CPUs < 0 {
		return nil, usagef("--cpus must be positive")
	}
	if o.memory != "" {
		m, err := schema.ParseMemory(o.memory)
		if err != nil {
			return nil, usagef("--memory: %w", err)
		}
		c.Memory = m
	}
	list, visible := a.lookup("CUDA_VISIBLE_DEVICES")
	switch {
	case o.gpus != "":
		c.GPUs = strings.Split(o.gpus, ",")
	case !visible:
		c.GPUs = machineGPUs()
	case list != "" && list != "-1": // both mean none
		c.GPUs = strings.Split(list, ",")
	}
	return runner.NewMachine(c), nil
}

// machineMemory is the memory of this machine in bytes, or 0 where it cannot
// be told.
func machineMemory() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// machineGPUs lists the GPUs by their device files.
func machineGPUs() []string {
	files, _ := filepath.Glob("/dev/nvidia[0-9]*")
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimPrefix(f, "/dev/nvidia"))
	}
	slices.Sort(out)
	return out
}

// oneArg wants exactly one argument and says which.
func oneArg(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("name %s (there are %d arguments)", what, len(args))
		}
		return nil
	}
}

func argCount(least, most int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usagef("name %s (there are %d arguments)", what, len(args))
		}
		return nil
	}
}

func cmpOr(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
