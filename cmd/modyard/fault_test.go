//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/modyard/modyard/runner"
)

// program is the real modyard, built once, in a folder of its own with a store
// of its own.
type program struct {
	bin, dir, store string
	user            *syscall.Credential // whom to run it as; nil: who runs the test
}

// TestFaults does to modyard what the world does: kills it, interrupts it, runs
// it many times at once, fills its disk.
func TestFaults(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "modyard")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Run("kill", func(t *testing.T) {
		// Some rounds a store, side by side: what is verified stays small.
		const rounds = 25
		for range (kills() + rounds - 1) / rounds {
			t.Run("some", func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				killed(t, &program{bin: bin, dir: dir, store: filepath.Join(dir, "store")}, min(rounds, kills()))
			})
		}
	})
	for name, test := range map[string]func(*testing.T, *program){
		"at once": atOnce, "killed record": killedRecord, "permissions": permissions, "interrupted": interrupted, "terminated": terminated, "stubborn": stubborn,
		"second signal": secondSignal, "full disk": fullDisk, "large log": largeLog, "large output": largeOutput,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			test(t, &program{bin: bin, dir: dir, store: filepath.Join(dir, "store")})
		})
	}
}

func (p *program) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.bin, args...)
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.user}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "MODYARD_STORE=" + p.store}
	return cmd
}

// run runs to the end and returns the exit code and all that was printed.
func (p *program) run(t *testing.T, args ...string) (int, string) {
	t.Helper()
	cmd := p.command(args...)
	out, err := cmd.CombinedOutput()
	if err != nil && !isExit(err) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func isExit(err error) bool {
	_, ok := errors.AsType[*exec.ExitError](err)
	return ok
}

func (p *program) want(t *testing.T, code int, text string, args ...string) {
	t.Helper()
	got, out := p.run(t, args...)
	if got != code || !strings.Contains(out, text) {
		t.Fatalf("modyard %s: exit %d, want %d and %q:\n%s", strings.Join(args, " "), got, code, text, out)
	}
}

// pipeline writes pipeline.yaml; @DIR@ in the text is the folder.
func (p *program) pipeline(t *testing.T, text string) {
	t.Helper()
	text = "apiVersion: modyard.dev/v1\nkind: Pipeline\nname: faults\n" + strings.ReplaceAll(text, "@DIR@", p.dir)
	if err := os.WriteFile(filepath.Join(p.dir, "pipeline.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
	}
}

const work = `
params: {round: {type: integer, default: 0}}
inputs: {raw: {type: file, path: raw.txt}}
steps:
  same: {run: {command: [sh, -c, 'cat inputs/raw inputs/raw > outputs/f']}, inputs: {raw: "${{ inputs.raw }}"}, outputs: {f: {type: file}}}
  gen:
    run: {command: [sh, -c, 'yes "round $1" | head -n 30000 > outputs/lines', x, "${{ params.round }}"]}
    params: {round: "${{ params.round }}"}
    outputs: {lines: {type: file}}
  split:
    run: {command: [sh, -c, 'cd outputs/parts; split -l 2000 ../../inputs/lines part-']}
    inputs: {lines: "${{ steps.gen.outputs.lines }}"}
    outputs: {parts: {type: folder}}
  count:
    run: {command: [sh, -c, 'cat inputs/parts/* | wc -l > outputs/n']}
    inputs: {parts: "${{ steps.split.outputs.parts }}"}
    outputs: {n: {type: integer}}
  sum:
    run: {command: [sh, -c, 'echo $(($1 + $2)) > outputs/n; cp -r inputs/parts/. outputs/copy; cat inputs/same > outputs/copy/same', x, "${{ params.n }}", "${{ params.round }}"]}
    params: {n: "${{ steps.count.outputs.n }}", round: "${{ params.round }}"}
    inputs: {parts: "${{ steps.split.outputs.parts }}", same: "${{ steps.same.outputs.f }}"}
    outputs: {n: {type: integer}, copy: {type: folder}}
outputs: {n: "${{ steps.sum.outputs.n }}", copy: "${{ steps.sum.outputs.copy }}"}
`

// killed kills modyard at random moments: the store is whole each time, and
// running again ends right.
// kills is how many runs are killed.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("MODYARD_KILLS")); err == nil {
		return n
	}
	if testing.Short() {
		return 5
	}
	return 25
}

func killed(t *testing.T, p *program, kills int) {
	p.pipeline(t, work)
	if err := os.WriteFile(filepath.Join(p.dir, "raw.txt"), bytes.Repeat([]byte("raw\n"), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p.want(t, exitGood, "30000", "run", "pipeline.yaml")
	whole := time.Since(began)
	died := 0
	for round := 1; round <= kills; round++ {
		set := fmt.Sprintf("round=%d", round)
		cmd := p.command("run", "pipeline.yaml", "--set", set)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(whole))
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err != nil {
			died++
		}
		p.want(t, exitGood, "all whole", "cache", "verify")
		out := filepath.Join(p.dir, "out"+strconv.Itoa(round))
		p.want(t, exitGood, strconv.Itoa(30000+round), "run", "pipeline.yaml", "--set", set, "-o", out)
		checkCopy(t, filepath.Join(out, "copy"), round)
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
	}
	if died < kills/4 {
		t.Errorf("only %d of %d runs were killed before their end", died, kills)
	}
	p.want(t, exitGood, "died", "runs", "-n", "10000")
	if left, err := os.ReadDir(filepath.Join(p.store, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func checkCopy(t *testing.T, dir string, round int) {
	t.Helper()
	parts, err := filepath.Glob(filepath.Join(dir, "part-*"))
	if err != nil || len(parts) != 15 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	want := strings.Repeat(fmt.Sprintf("round %d\n", round), 2000)
	for _, part := range parts {
		if data, err := os.ReadFile(part); err != nil || string(data) != want {
			t.Fatalf("%s has %d bytes, want %d: %v", part, len(data), len(want), err)
		}
	}
}

// atOnce runs one pipeline eight times at once on one store: every task is
// executed exactly once in all.
func atOnce(t *testing.T, p *program) {
	const tasks = 12
	var b strings.Builder
	b.WriteString("steps:\n")
	for i := range tasks {
		after := ""
		if i >= 4 {
			after = fmt.Sprintf("s%d", i-4)
		}
		fmt.Fprintf(&b, "  s%d: {run: {command: [sh, -c, 'echo %d >> \"$1/done\"; sleep 0.05; echo %d > outputs/f', x, '${{ params.dir }}']}, params: {dir: '@DIR@'}, outputs: {f: {type: file}}, after: [%s]}\n", i, i, i, after)
	}
	p.pipeline(t, b.String())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if code, out := p.run(t, "run", "pipeline.yaml"); code != exitGood {
				t.Errorf("exit %d:\n%s", code, out)
			}
		})
	}
	wg.Wait()
	data, err := os.ReadFile(filepath.Join(p.dir, "done"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(data))
	slices.Sort(lines)
	if len(lines) != tasks || len(slices.Compact(lines)) != tasks {
		t.Errorf("executed: %v", lines)
	}
	p.want(t, exitGood, "all whole", "cache", "verify")
}

// begin starts a run of a step that writes the ids of its processes, and waits
// for them.
func (p *program) begin(t *testing.T, script string) (*exec.Cmd, []int) {
	t.Helper()
	p.pipeline(t, "steps:\n  early: {run: {command: [echo]}}\n  long: {run: {command: [sh, -c, '"+script+"']}, after: [early]}\n")
	cmd := p.command("run", "pipeline.yaml")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var pids []int
	eventually(t, "the step", func() bool {
		data, _ := os.ReadFile(filepath.Join(p.dir, "pids"))
		pids = nil
		for f := range strings.FieldsSeq(string(data)) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
		return bytes.HasSuffix(data, []byte("\n"))
	})
	return cmd, pids
}

// ends asserts how a run ended, and that its processes are gone.
func ends(t *testing.T, cmd *exec.Cmd, pids []int, within time.Duration) syscall.WaitStatus {
	t.Helper()
	began := time.Now()
	timer := time.AfterFunc(within, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil && !isExit(err) {
		t.Fatal(err)
	}
	if took := time.Since(began); took >= within {
		t.Errorf("it took %s to end", took)
	}
	eventually(t, "the step's processes to end", func() bool {
		return !slices.ContainsFunc(pids, alive)
	})
	return cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// alive reports whether a process runs; one that nobody has waited for does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

const family = `sleep 60 & echo $$ $! > @DIR@/pids; sleep 60`

func interrupted(t *testing.T, p *program) { endedBy(t, p, syscall.SIGINT) }
func terminated(t *testing.T, p *program)  { endedBy(t, p, syscall.SIGTERM) }

// endedBy sends one signal: the step's whole group ends soon, the exit code is
// 130, and running again goes on.
func endedBy(t *testing.T, p *program, sig syscall.Signal) {
	cmd, pids := p.begin(t, family)
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if st := ends(t, cmd, pids, 4*time.Second); st.ExitStatus() != exitInterrupted {
		t.Errorf("it ended with %v, want exit %d", st, exitInterrupted)
	}
	p.want(t, exitGood, "interrupted", "runs")
	p.want(t, exitGood, "all whole", "cache", "verify")
	p.pipeline(t, "steps:\n  early: {run: {command: [echo]}}\n")
	p.want(t, exitGood, "reused", "run", "pipeline.yaml")
}

// stubborn ends a step that ignores SIGTERM, after the time it is given.
func stubborn(t *testing.T, p *program) {
	cmd, pids := p.begin(t, `trap "" TERM INT; `+family)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if st := ends(t, cmd, pids, 10*time.Second); st.ExitStatus() != exitInterrupted {
		t.Errorf("it ended with %v, want exit %d", st, exitInterrupted)
	}
}

// secondSignal does not wait for a stubborn step.
func secondSignal(t *testing.T, p *program) {
	cmd, pids := p.begin(t, `trap "" TERM INT; echo $$ > @DIR@/pids; while :; do sleep 0.1; done`)
	for range 2 {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
	}
	if !dieWithParent {
		_ = syscall.Kill(-pids[0], syscall.SIGKILL) // the system cannot: modyard had no time to
	}
	if st := ends(t, cmd, pids, 2*time.Second); !st.Signaled() || st.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v, want the signal's own end", st)
	}
	p.want(t, exitGood, "died", "runs")
	p.want(t, exitGood, "all whole", "cache", "verify")
}

// killedRecord looks at a run while it lives and after it is killed: its record
// tells how far it is, and how far it came.
func killedRecord(t *testing.T, p *program) {
	p.pipeline(t, `
steps:
  early: {run: {command: [sh, -c, 'echo 7 > outputs/n']}, outputs: {n: {type: integer}}}
  late: {run: {command: [sh, -c, 'echo begun; test $1 = 7; sleep 1000', x, "${{ params.n }}"]}, params: {n: "${{ steps.early.outputs.n }}"}}
  last: {run: {command: [echo]}, after: [late]}
`)
	cmd := p.command("run", "pipeline.yaml")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	states := func() string {
		code, out := p.run(t, "runs", "latest", "--json")
		if code != exitGood { // not begun
			return ""
		}
		var r runner.Record
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		all := []string{string(r.State)}
		for _, s := range r.Steps {
			all = append(all, s.Name+":"+string(s.State))
		}
		return strings.Join(all, " ")
	}
	eventually(t, "the second step", func() bool {
		now := states()
		return now == "running early:done late:running last:waiting"
	})
	eventually(t, "its log", func() bool { _, out := p.run(t, "logs", "late"); return out == "begun\n" })
	p.want(t, exitGood, "1 ran, 1 running", "runs")
	p.want(t, exitGood, "late is running", "why", "late")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got, want := states(), "died early:done late:died last:skipped"; got != want {
		t.Errorf("killed, its record says %q, want %q", got, want)
	}
	p.want(t, exitGood, "1 ran, 1 skipped, 1 died", "runs")
	p.want(t, exitGood, "n=7", "runs", "latest")
	p.want(t, exitGood, "begun\n", "logs", "late")
	p.want(t, exitGood, "late was killed", "why", "late")

	again := p.command("run", "pipeline.yaml")
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second step", func() bool { return states() == "running early:reused late:running last:waiting" })
	p.want(t, exitGood, "it was killed in", "why", "late")
	if err := again.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = again.Wait()
	if got, want := states(), "interrupted early:reused late:interrupted last:skipped"; got != want {
		t.Errorf("interrupted, its record says %q, want %q", got, want)
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, ".modyard/runs/*/steps.jsonl")); len(left) != 1 {
		t.Errorf("journals left: %q, want that of the killed run", left)
	}
}

// permissions fails steps that take the permissions of their outputs away. The
// superuser has them all, so it is somebody else who runs them.
func permissions(t *testing.T, p *program) {
	if os.Getuid() == 0 {
		p.user = &syscall.Credential{Uid: 65534, Gid: 65534}
		err := os.Chown(p.dir, 65534, 65534)
		for _, dir := range []string{p.dir, filepath.Dir(p.bin)} {
			err = errors.Join(err, os.Chmod(filepath.Dir(dir), 0o711)) //nolint:gosec // others may go through
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct{ script, problem string }{
		"a folder in it":        {"mkdir outputs/d/x; echo > outputs/d/x/f; chmod 0 outputs/d/x", "outputs/d/x"},
		"it":                    {"echo > outputs/d/f; chmod 0 outputs/d", "outputs/d"},
		"around it":             {"echo > outputs/d/f; chmod 500 outputs", "outputs/d"},
		"around it, altogether": {"echo > outputs/d/f; chmod 0 outputs", "outputs/d"},
	} {
		p.pipeline(t, "steps:\n  a: {run: {command: [sh, -c, '"+c.script+"']}, outputs: {d: {type: folder}}}\n")
		code, out := p.run(t, "run", "pipeline.yaml")
		if want := `the output "d" cannot be kept: no permission for ` + c.problem; code != exitProblems || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s", name, code, exitProblems, want, out)
		}
	}
	p.want(t, exitGood, "all whole", "cache", "verify")
	if left, _ := os.ReadDir(filepath.Join(p.store, "tmp")); len(left) > 0 {
		t.Errorf("%d working folders are left", len(left))
	}
}

// large skips what needs time and space, unless it is asked for.
func large(t *testing.T, bytes uint64) {
	t.Helper()
	if testing.Short() || os.Getenv("MODYARD_LARGE") == "" {
		t.Skip("skipped what needs gigabytes; to have it: MODYARD_LARGE=1 go test ./cmd/modyard -run TestFaults")
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(os.TempDir(), &st); err != nil {
		t.Fatal(err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < bytes {
		t.Skipf("skipped: the disk of %s has %d MiB free, not %d; to have it: TMPDIR=/a/larger/disk", os.TempDir(), free>>20, bytes>>20)
	}
}

const mostMemory = 200 << 20

// memory is the most that a process, or one that it waited for, has held.
func memory(cmd *exec.Cmd) int64 {
	n := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	if maxrssInKiB {
		n <<= 10
	}
	return n
}

// largeLog lets a step print 1 GB.
func largeLog(t *testing.T, p *program) {
	large(t, 1<<30)
	p.pipeline(t, `steps: {a: {run: {command: [sh, -c, 'echo the beginning; head -c 1000000000 /dev/zero | tr "\0" x; echo; echo the end']}}}`)
	cmd := p.command("run", "pipeline.yaml")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := memory(cmd); n > mostMemory {
		t.Errorf("it took %d MiB of memory", n>>20)
	}
	logs, err := filepath.Glob(filepath.Join(p.dir, historyDir, "runs", "*", "logs", "a.log"))
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	data, err := os.ReadFile(logs[0])
	if err != nil || len(data) > 40<<20 || !bytes.HasPrefix(data, []byte("the beginning\n")) || !bytes.HasSuffix(data, []byte("\nthe end\n")) {
		t.Errorf("the log has %d bytes: %v", len(data), err)
	}
}

// largeOutput brings 2 GB through the store, which are written once.
func largeOutput(t *testing.T, p *program) {
	large(t, 8<<30)
	const size = 2 << 30
	p.pipeline(t, fmt.Sprintf(`
steps:
  make: {run: {command: [sh, -c, 'head -c %d /dev/zero > outputs/f']}, outputs: {f: {type: file}}}
  use: {run: {command: [sh, -c, 'wc -c < inputs/f > outputs/n']}, inputs: {f: "${{ steps.make.outputs.f }}"}, outputs: {n: {type: integer}}}
outputs: {f: "${{ steps.make.outputs.f }}", n: "${{ steps.use.outputs.n }}"}
`, size))
	cmd := p.command("run", "pipeline.yaml")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(strconv.Itoa(size))) {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := memory(cmd); n > mostMemory {
		t.Errorf("it took %d MiB of memory", n>>20)
	}
	t.Logf("%d MiB of memory, %d MiB written", memory(cmd)>>20, cmd.ProcessState.SysUsage().(*syscall.Rusage).Oublock>>11)
	// Blocks of 512 bytes; 0 where the file system does not count.
	if n := cmd.ProcessState.SysUsage().(*syscall.Rusage).Oublock * 512; n > size*5/4 {
		t.Errorf("%d MiB were written for %d", n>>20, size>>20)
	}
}
