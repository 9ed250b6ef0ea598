// Bench measures modyard against peers in one run and prints a table of
// ratios. With -quick the cases are small: it shows that they work.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
	"gopkg.in/yaml.v3"
)

func main() {
	quick := flag.Bool("quick", false, "small cases, once each")
	only := flag.String("only", "", "run the cases whose name holds this")
	parse := flag.String("parse", "", "parse the YAML files below this folder and do nothing else")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *parse != "" {
		err = parseAll(*parse)
	} else {
		err = run(ctx, *quick, *only)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one measuring: where it works and with what.
type bench struct {
	ctx   context.Context
	dir   string
	exe   string // modyard
	self  string
	quick bool
	env   []string // more of the environment
	rows  [][]string
}

// used is what a command took.
type used struct {
	wall, cpu time.Duration
	rss       int64 // bytes
}

func run(ctx context.Context, quick bool, only string) error {
	dir, err := os.MkdirTemp("", "modyard-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{ctx: ctx, dir: dir, exe: filepath.Join(dir, "modyard"), quick: quick}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.exe, "./cmd/modyard")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	for _, c := range []struct {
		name string
		f    func() error
	}{
		{"steps", b.steps}, {"plan", b.plan}, {"check", b.check}, {"hash", b.hash}, {"output", b.output}, {"start", b.start},
		{"images", b.images}, {"shared", b.shared}, {"github", b.github},
	} {
		if !strings.Contains(c.name, only) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring: %s\n", c.name)
		if err := c.f(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "what\tmodyard\tpeer\tratio\tgoal")
	for _, r := range b.rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	fmt.Fprintf(w, "(%d CPUs, %s/%s, %s)\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	return w.Flush()
}

func (b *bench) row(what, ours, peer, ratio, goal string) {
	b.rows = append(b.rows, []string{what, ours, peer, ratio, goal})
}

// cmd runs a command in the bench's folder and says what it took.
func (b *bench) cmd(name string, args ...string) (used, error) {
	c := exec.CommandContext(b.ctx, name, args...)
	c.Dir = b.dir
	c.Env = append(append(os.Environ(), "MODYARD_STORE="+filepath.Join(b.dir, "store")), b.env...)
	log, err := os.Create(filepath.Join(b.dir, "log"))
	if err != nil {
		return used{}, err
	}
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	began := time.Now()
	if err := c.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		return used{}, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text[max(0, len(text)-2000):])
	}
	return used{time.Since(began), c.ProcessState.UserTime() + c.ProcessState.SystemTime(), maxRSS(c.ProcessState)}, nil
}

// best runs a command several times and keeps the shortest.
func (b *bench) best(n int, before func() error, name string, args ...string) (used, error) {
	if b.quick {
		n = 1
	}
	var out used
	for i := range n {
		if before != nil {
			if err := before(); err != nil {
				return out, err
			}
		}
		u, err := b.cmd(name, args...)
		if err != nil {
			return out, err
		}
		if i == 0 || u.wall < out.wall {
			out = u
		}
	}
	return out, nil
}

func (b *bench) size(full, quick int) int {
	if b.quick {
		return quick
	}
	return full
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(b.path(name), []byte(text), 0o644)
}

// inMemory moves the bench to a file system in memory, where there is one, for
// cases of many small files: what an ext4 without a journal takes for a new
// file depends on what was removed there in the last minutes, by anybody.
func (b *bench) inMemory() (where string, back func()) {
	dir, err := os.MkdirTemp("/dev/shm", "modyard-bench-")
	if err != nil {
		return "", func() {}
	}
	disk := b.dir
	b.dir = dir
	return " (in memory)", func() {
		b.dir = disk
		os.RemoveAll(dir)
	}
}

// aside moves what a run has left out of the way; removing it is paid for by
// what is measured next.
func (b *bench) aside(names ...string) func() error {
	return func() error {
		dir, err := os.MkdirTemp(b.dir, "aside-")
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := os.Rename(b.path(n), filepath.Join(dir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	}
}

func ratio(a, p time.Duration) string { return fmt.Sprintf("%.2f", a.Seconds()/p.Seconds()) }

func ms(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// pipelineOf writes a pipeline of n independent steps that touch a file.
func (b *bench) pipelineOf(n int) (string, error) {
	var s strings.Builder
	s.WriteString("apiVersion: modyard.dev/v1\nkind: Pipeline\nname: bench\nsteps:\n")
	for i := range n {
		fmt.Fprintf(&s, "  s%d:\n    run: {command: [touch, \"${{ outputs.o }}\"]}\n    outputs: {o: {type: file, format: f%d}}\n", i, i)
	}
	name := fmt.Sprintf("p%d.yaml", n)
	return name, b.write(name, s.String())
}

func (b *bench) steps() error {
	n := b.size(1000, 50)
	where, back := b.inMemory()
	defer back()
	p, err := b.pipelineOf(n)
	if err != nil {
		return err
	}
	cold, err := b.best(3, b.aside("store", ".modyard"), b.exe, "run", p)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d trivial steps, cold%s", n, where)
	if err := b.peers(n, what, cold); err != nil {
		return err
	}
	for _, m := range []int{n, b.size(10_000, 100)} {
		p, err := b.pipelineOf(m)
		if err != nil {
			return err
		}
		if m != n {
			if _, err := b.cmd(b.exe, "run", p); err != nil {
				return err
			}
		}
		again, err := b.best(5, nil, b.exe, "run", p)
		if err != nil {
			return err
		}
		goal := map[int]string{1000: "≤ 0.2 s", 10_000: "≤ 2 s"}[m]
		b.row(fmt.Sprintf("%d steps again, all reused%s", m, where), ms(again.wall), "", "", goal)
	}
	return nil
}

// peers runs the same commands by other tools, those that are installed.
func (b *bench) peers(n int, what string, ours used) error {
	var ninja, mk, snake strings.Builder
	ninja.WriteString("rule t\n command = touch $out\n")
	mk.WriteString("all:")
	for i := range n {
		fmt.Fprintf(&ninja, "build out/o%d: t\n", i)
		fmt.Fprintf(&mk, " out/o%d", i)
	}
	mk.WriteString("\nout/%:\n\t@touch $@\n")
	fmt.Fprintf(&snake, "rule all:\n    input: expand(\"out/o{i}\", i=range(%d))\nrule t:\n    output: \"out/o{i}\"\n    shell: \"touch {output}\"\n", n)
	cwl := "cwlVersion: v1.2\nclass: Workflow\nrequirements: [{class: ScatterFeatureRequirement}]\ninputs: {i: {type: 'int[]'}}\noutputs: []\nsteps:\n  t:\n    scatter: i\n    in: {i: i}\n    out: []\n    run: {class: CommandLineTool, baseCommand: [touch, o], inputs: {i: {type: int}}, outputs: []}\n"
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint(i))
	}
	for name, text := range map[string]string{"build.ninja": ninja.String(), "Makefile": mk.String(), "Snakefile": snake.String(), "t.cwl": cwl, "t.yml": "i: [" + strings.Join(list, ", ") + "]\n"} {
		if err := b.write(name, text); err != nil {
			return err
		}
	}
	mkdir := func() error {
		return cmp.Or(b.aside("out", ".snakemake", ".ninja_log")(), os.MkdirAll(b.path("out"), 0o755))
	}
	for _, p := range []struct {
		name, goal string
		times      int
		args       []string
	}{
		{"ninja", "≤ 2.5", 3, nil},
		{"make", "", 3, []string{"-j2", "all"}},
		{"snakemake", "", 1, []string{"-j2", "--quiet"}},
		{"cwltool", "", 1, []string{"--no-container", "--parallel", "--quiet", "t.cwl", "t.yml"}},
	} {
		if _, err := exec.LookPath(p.name); err != nil {
			b.row(what, ms(ours.wall), p.name+" is not installed", "", p.goal)
			continue
		}
		u, err := b.best(p.times, mkdir, p.name, p.args...)
		if err != nil {
			return err
		}
		b.row(what, ms(ours.wall), p.name+" "+ms(u.wall), ratio(ours.wall, u.wall), p.goal)
		if p.name == "ninja" {
			each := func(u used) string { return fmt.Sprintf("%.1f ms", u.cpu.Seconds()*1e3/float64(n)) }
			b.row("CPU of each, with the step's own", each(ours), "ninja "+each(u), ratio(ours.cpu, u.cpu), "≤ 5 ms")
		}
	}
	return nil
}

func (b *bench) plan() error {
	n := b.size(100_000, 2000)
	p, err := b.pipelineOf(n)
	if err != nil {
		return err
	}
	u, err := b.best(3, nil, b.exe, "plan", p)
	if err != nil {
		return err
	}
	b.row(fmt.Sprintf("plan of %d steps", n), fmt.Sprintf("%s, %d MB", ms(u.wall), u.rss>>20), "", "", "≤ 5 s, 1.5 GB")
	return nil
}

// check measures a large registry against merely parsing its files.
func (b *bench) check() error {
	modules := b.size(1250, 50)
	versions, err := b.registryOf(modules)
	if err != nil {
		return err
	}
	// Run in turn, so that what else the machine does falls on both.
	var ours, peer used
	for i := range b.size(3, 1) {
		u, err := b.cmd(b.exe, "check", "registry")
		if err != nil {
			return err
		}
		p, err := b.cmd(b.self, "-parse", b.path("registry"))
		if err != nil {
			return err
		}
		if i == 0 || u.wall < ours.wall {
			ours = u
		}
		if i == 0 || p.wall < peer.wall {
			peer = p
		}
	}
	b.row(fmt.Sprintf("check of %d modules, %d versions", modules, versions), ms(ours.wall), "yaml.v3 alone "+ms(peer.wall), ratio(ours.wall, peer.wall), "≤ 1.5")
	for _, args := range [][]string{
		{"init", "-q", "registry"}, {"-C", "registry", "add", "-A"},
		{"-C", "registry", "-c", "user.name=b", "-c", "user.email=b@example.com", "commit", "-q", "-m", "base"},
	} {
		if _, err := b.cmd("git", args...); err != nil {
			return err
		}
	}
	if _, err := b.cmd(b.exe, "-C", "registry", "new", "version", "m0", "--bump", "minor"); err != nil {
		return err
	}
	u, err := b.best(5, nil, b.exe, "check", "registry", "--base", "HEAD")
	if err != nil {
		return err
	}
	b.row("check --base, one version changed", ms(u.wall), "", "", "≤ 0.3 s")
	return nil
}

const digestOfOne = "snapshot: {folder: ../src}\n"

// registryOf writes a registry of n modules with 7 versions each and more for
// some: 9,000 for 1,250.
func (b *bench) registryOf(n int) (int, error) {
	if err := b.write("registry/registry.yaml", "apiVersion: modyard.dev/v1\nkind: Registry\nname: bench\n"); err != nil {
		return 0, err
	}
	total := 0
	for i := range n {
		dir := fmt.Sprintf("registry/modules/m%d/", i)
		err := cmp.Or(
			b.write(dir+"module.yaml", fmt.Sprintf("apiVersion: modyard.dev/v1\nkind: Module\nname: m%d\ndescription: Module number %d.\ntags: [bench]\n", i, i)),
			b.write(dir+"src/train.py", fmt.Sprintf("import sys\nprint(%d, sys.argv)\n", i)),
		)
		if err != nil {
			return 0, err
		}
		versions := 7
		if i%5 == 0 {
			versions = 8
		}
		for v := range versions {
			total++
			text := fmt.Sprintf(versionText, i, v, v+1)
			if err := b.write(fmt.Sprintf("%sversions/1.%d.0.yaml", dir, v), text); err != nil {
				return 0, err
			}
		}
	}
	_, err := b.cmd(b.exe, "check", "registry", "--fix")
	return total, err
}

const versionText = `apiVersion: modyard.dev/v1
kind: ModuleVersion
module: m%d
version: 1.%d.0
description: Multinomial logistic regression with early stopping.
created: 2026-01-0%dT10:00:00Z

inputs:
  data:   {type: file, format: csv, description: "Clean rows, one label column"}
  labels: {type: file, optional: true}
outputs:
  model:    {type: file, format: json}
  accuracy: {type: number}
  report:   {type: folder}
params:
  epochs: {type: integer, default: 200, minimum: 1}
  rate:   {type: number, default: 0.1, exclusiveMinimum: 0}
  solver: {type: string, enum: [sgd, newton], default: sgd}

run:
  command:
    - python
    - train.py
    - --data=${{ inputs.data }}
    - --epochs=${{ params.epochs }}
    - --rate=${{ params.rate }}
    - --solver=${{ params.solver }}
    - [--labels, "${{ inputs.labels }}"]
    - --model=${{ outputs.model }}
    - --accuracy=${{ outputs.accuracy }}
    - --report=${{ outputs.report }}
  env: {OMP_NUM_THREADS: "1"}
  resources: {cpus: 1, memory: 512Mi}
  timeout: 30m

` + digestOfOne

// parseAll parses YAML files on all CPUs.
func parseAll(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "modules", "*", "versions", "*.yaml"))
	if err != nil {
		return err
	}
	more, err := filepath.Glob(filepath.Join(dir, "modules", "*", "module.yaml"))
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for _, f := range append(files, more...) {
		g.Go(func() error {
			data, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			var n yaml.Node
			return yaml.Unmarshal(data, &n)
		})
	}
	return g.Wait()
}

// hash measures the hashing of a large input: everything else is reused.
func (b *bench) hash() error {
	mb := b.size(1024, 16)
	if err := b.fill("big.bin", mb); err != nil {
		return err
	}
	err := b.write("hash.yaml", "apiVersion: modyard.dev/v1\nkind: Pipeline\nname: hash\ninputs: {big: {type: file, path: big.bin}}\nsteps:\n  size:\n    run: {command: [sh, -c, \"wc -c < $0 > $1\", \"${{ inputs.big }}\", \"${{ outputs.n }}\"]}\n    inputs: {big: \"${{ inputs.big }}\"}\n    outputs: {n: {type: integer}}\n")
	if err != nil {
		return err
	}
	if _, err := b.cmd(b.exe, "run", "hash.yaml"); err != nil {
		return err
	}
	day := 0
	touch := func() error { // an older, other time: the digest is not remembered
		day++
		at := time.Now().AddDate(0, 0, -day)
		return os.Chtimes(b.path("big.bin"), at, at)
	}
	ours, err := b.best(3, touch, b.exe, "run", "hash.yaml")
	if err != nil {
		return err
	}
	peer, err := b.best(3, nil, "sha256sum", "big.bin")
	if err != nil {
		return err
	}
	b.row(fmt.Sprintf("hashing an input of %d MB", mb), ms(ours.wall), "sha256sum "+ms(peer.wall), ratio(ours.wall, peer.wall), "≤ 1.2")
	time.Sleep(3 * time.Second) // the inode's time must be old enough to be trusted
	if _, err := b.cmd(b.exe, "run", "hash.yaml"); err != nil {
		return err
	}
	again, err := b.best(3, nil, b.exe, "run", "hash.yaml")
	if err != nil {
		return err
	}
	b.row("the same input, unchanged", ms(again.wall), "", "", "at once")
	return nil
}

func (b *bench) fill(name string, mb int) error {
	f, err := os.Create(b.path(name))
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i * 7)
	}
	for i := range mb {
		copy(block, fmt.Sprint(i))
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return nil
}

// output measures a large output on its way through the store.
func (b *bench) output() error {
	mb := b.size(2048, 32)
	err := b.write("out.yaml", fmt.Sprintf("apiVersion: modyard.dev/v1\nkind: Pipeline\nname: out\nsteps:\n  make:\n    run: {command: [dd, if=/dev/zero, \"of=${{ outputs.big }}\", bs=1M, count=%d]}\n    outputs: {big: {type: file}}\noutputs: {big: \"${{ steps.make.outputs.big }}\"}\n", mb))
	if err != nil {
		return err
	}
	ours, err := b.cmd(b.exe, "run", "out.yaml")
	if err != nil {
		return err
	}
	peer, err := b.cmd("sh", "-c", fmt.Sprintf("dd if=/dev/zero of=plain.bin bs=1M count=%d && sha256sum plain.bin && rm plain.bin", mb))
	if err != nil {
		return err
	}
	b.row(fmt.Sprintf("an output of %d MB through the store", mb), describe(ours), "dd and sha256sum "+ms(peer.wall), ratio(ours.wall, peer.wall), "≤ 200 MB of memory")
	return nil
}

func (b *bench) start() error {
	u, err := b.best(20, nil, b.exe, "version")
	if err != nil {
		return err
	}
	// The interpreter itself: python3 may be a script that looks for one.
	python, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		return err
	}
	peer, err := b.best(20, nil, strings.TrimSpace(string(python)), "-I", "-c", "pass")
	if err != nil {
		return err
	}
	b.row("start-up", ms(u.wall), "python3 "+ms(peer.wall), ratio(u.wall, peer.wall), "≤ 30 ms")
	return nil
}
