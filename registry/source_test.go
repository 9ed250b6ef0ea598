package registry_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/snapshot"
)

// source asks for the files of a version of the registry in dir.
func source(t *testing.T, dir, module, version string, f *snapshot.Fetcher) (*snapshot.Tree, error) {
	t.Helper()
	r, diags, err := registry.Open(os.DirFS(dir), dir)
	if err != nil || diags.Err() != nil {
		t.Fatal(err, diags)
	}
	r.Dir = dir
	v, err := r.Pick(module, version, registry.PickOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return v.Source(t.Context(), f)
}

// borrower is the text of a version that takes its files from another one.
func borrower(module, from string) string {
	return "apiVersion: modyard.dev/v1\nkind: ModuleVersion\nmodule: " + module + "\nversion: 1.0.0\ncreated: 2026-01-02T00:00:00Z\nrun: {command: ['true']}\n" +
		"snapshot: {snapshot: '" + from + "', digest: 'sha256:" + strings.Repeat("0", 64) + "'}\n"
}

// TestBorrowed: versions that take their files from each other are an error and
// no endless way, and a registry that a version does not name is not read.
func TestBorrowed(t *testing.T) {
	_, dir := newRegistry(t, "reg")
	for module, from := range map[string]string{"x": "y@1.0.0", "y": "x@1.0.0", "z": "other/a@1.0.0"} {
		put(t, dir, "modules/"+module+"/module.yaml", moduleYAML(module, ""))
		put(t, dir, "modules/"+module+"/versions/1.0.0.yaml", borrower(module, from))
	}
	for module, want := range map[string]string{"x": "lead in a circle", "z": `the registry "other", which is not under registries`} {
		_, err := source(t, dir, module, "1.0.0", &snapshot.Fetcher{})
		var lost *registry.LostError
		if !errors.As(err, &lost) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", module, err)
		}
	}
}

// TestShallow: what a clone without history lacks is said with what helps.
func TestShallow(t *testing.T) {
	root, dir := newRegistry(t, "")
	put(t, dir, "modules/a/src/main.py", "print('another')\n")
	commit(t, root, "the source moves on")
	clone := filepath.Join(t.TempDir(), "clone")
	if out, err := exec.Command("git", "clone", "-q", "--depth=1", "file://"+root, clone).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r, _, err := registry.Open(os.DirFS(clone), clone)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := r.Module("a")
	if err != nil || len(m.Versions) == 0 {
		t.Fatal(m, err)
	}
	_, err = source(t, clone, "a", m.Versions[0].String(), &snapshot.Fetcher{})
	var lost *registry.LostError
	if !errors.As(err, &lost) || !strings.Contains(lost.Hint, "git fetch --unshallow") {
		t.Errorf("%v", err)
	}
}
