//go:build unix

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestInstall: the action takes the binary of a release when its checksum is
// the release's, and builds from source when there is no release.
func TestInstall(t *testing.T) {
	need(t, "bash", "curl")
	if runtime.GOOS != "linux" {
		t.Skip("the script asks a runner of GitHub for its system: this test knows linux")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	build := exec.Command("bash", filepath.Join(root, ".github", "release"), filepath.Join(dir, "v1.2.3"), "linux/"+runtime.GOARCH)
	build.Dir, build.Env = root, append(os.Environ(), "GITHUB_REF_NAME=v1.2.3")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.CopyFS(filepath.Join(dir, "v1.2.4"), os.DirFS(filepath.Join(dir, "v1.2.3"))); err != nil {
		t.Fatal(err)
	}
	sums := filepath.Join(dir, "v1.2.4", "checksums.txt")
	if err := os.WriteFile(sums, []byte(strings.Repeat("0", 64)+"  modyard_linux_"+runtime.GOARCH+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(s.Close)
	source := filepath.Join(dir, "source")
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", source, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	git("init", "-q")
	git("commit", "-q", "--allow-empty", "-m", "one")
	git("tag", "-a", "-m", "release", "v1.2.3")
	released := git("rev-parse", "HEAD")
	git("commit", "-q", "--allow-empty", "-m", "two")
	arch := map[string]string{"amd64": "X64", "arm64": "ARM64"}[runtime.GOARCH]
	for _, x := range []struct {
		ref, says, output string
		good              bool
	}{
		{"v1.2.3", "", "build=false", true},
		{"v1.2.4", "which is not in its release's checksums.txt", "", false},
		{"v9.9.9", "There is no release v9.9.9", "build=true", true},
		{"main", "", "build=true", true},
		{released, "", "build=false", true},
		{git("rev-parse", "HEAD"), "", "build=true", true},
	} {
		temp := t.TempDir()
		output := filepath.Join(temp, "output")
		cmd := exec.Command("bash", filepath.Join(root, ".github", "action", "install"))
		cmd.Env = append(os.Environ(), "MODYARD_REF="+x.ref, "MODYARD_RELEASES="+s.URL, "MODYARD_SOURCE="+source, "RUNNER_OS=Linux", "RUNNER_ARCH="+arch, "RUNNER_TEMP="+temp, "GITHUB_OUTPUT="+output)
		said, err := cmd.CombinedOutput()
		set, _ := os.ReadFile(output)
		if (err == nil) != x.good || !strings.Contains(string(said), x.says) || !strings.Contains(string(set), x.output) {
			t.Errorf("%s: %v, said %q, outputs %q", x.ref, err, said, set)
		}
		if x.ref != "v1.2.3" {
			continue
		}
		_, bin, _ := strings.Cut(string(set), "bin=")
		bin, _, _ = strings.Cut(bin, "\n")
		if version, err := exec.Command(bin, "version").Output(); err != nil || !strings.Contains(string(version), "v1.2.3") {
			t.Errorf("the binary says %q: %v", version, err)
		}
	}
}

// TestActionRef: the workflows of a release name it by its commit.
func TestActionRef(t *testing.T) {
	commit := strings.Repeat("1", 40)
	for _, c := range [][3]string{{"(devel)", "", "main"}, {"(devel)", commit, "main"}, {"v1.2.3-0.20260101000000-abcdefabcdef", commit, "main"}, {"v1.2.3", "", "v1.2.3"}, {"v1.2.3", commit, commit + " # v1.2.3"}} {
		if got := actionRef(c[0], c[1]); got != c[2] {
			t.Errorf("%q: %s", c[:2], got)
		}
	}
}

// TestActionRun: a run of the action reads a private registry, and nothing that
// it executes, or that is around it, has the token.
func TestActionRun(t *testing.T) {
	need(t, "bash")
	if runtime.GOOS != "linux" {
		t.Skip("it looks into /proc")
	}
	t.Parallel()
	h := newHub(t, "")
	h.repo.Private = true
	w := h.user(t, "")
	script, err := filepath.Abs(filepath.Join("..", "..", ".github", "action", "modyard"))
	if err != nil {
		t.Fatal(err)
	}
	bin, err := exec.LookPath("modyard")
	if err != nil {
		t.Fatal(err)
	}
	// The step looks for the token wherever it may: in its environment, its open
	// files, and those of what it was started by.
	look := "for p in $$ $PPID $(cut -d' ' -f4 /proc/$PPID/stat); do cat /proc/$p/environ; for f in /proc/$p/fd/*; do [ -f $f ] && cat $f; done; done > $0 2>/dev/null; true"
	text := strings.Replace(remotePipeline, "steps:\n", "steps:\n  env:\n    run: {command: [sh, -c, "+jsonText(look)+", \"${{ outputs.env }}\"]}\n    outputs: {env: {type: file}}\n", 1)
	text = strings.Replace(text, "outputs: {total:", "outputs: {env: \"${{ steps.env.outputs.env }}\", total:", 1)
	write(t, filepath.Join(w.dir, "pipeline.yaml"), text)
	write(t, filepath.Join(w.dir, "text.txt"), "one two three\n")
	run := func(command string, env ...string) (string, error) {
		cmd := exec.Command("bash", script)
		cmd.Dir = w.dir
		cmd.Env = append(append(append([]string{}, w.env...), "RUNNER_TEMP="+w.dir, "MODYARD_COMMAND="+command, "MODYARD_BIN="+bin, "MODYARD_REGISTRY=.", "MODYARD_ARGS=pipeline.yaml\n-o\nout"), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("run"); err == nil || !strings.Contains(out, "it is private") {
		t.Errorf("without a token: %v: %s", err, out)
	}
	if out, err := run("hand", "MODYARD_TOKEN=alice-token"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := run("run"); err != nil || !strings.Contains(out, "total  3") || strings.Contains(out, "alice-token") {
		t.Fatalf("%v: %s", err, out)
	}
	seen := content(t, filepath.Join(w.dir, "out"))
	if !strings.Contains(seen, "MODYARD_TOKEN_FD=3") || strings.Contains(content(t, w.dir), "alice-token") {
		t.Errorf("what was executed saw %q", seen)
	}
}
