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
	arch := map[string]string{"amd64": "X64", "arm64": "ARM64"}[runtime.GOARCH]
	for _, x := range []struct {
		ref, says, output string
		good              bool
	}{
		{"v1.2.3", "", "build=false", true},
		{"v1.2.4", "which is not in its release's checksums.txt", "", false},
		{"v9.9.9", "There is no release v9.9.9", "build=true", true},
		{"main", "", "build=true", true},
	} {
		temp := t.TempDir()
		output := filepath.Join(temp, "output")
		cmd := exec.Command("bash", filepath.Join(root, ".github", "action", "install"))
		cmd.Env = append(os.Environ(), "MODYARD_REF="+x.ref, "MODYARD_RELEASES="+s.URL, "RUNNER_OS=Linux", "RUNNER_ARCH="+arch, "RUNNER_TEMP="+temp, "GITHUB_OUTPUT="+output)
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
