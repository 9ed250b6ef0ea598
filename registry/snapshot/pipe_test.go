//go:build unix

package snapshot_test

import (
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/modyard/modyard/registry/snapshot"
)

func TestPipesAreRefused(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a", "x")
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	link(t, dir, "link", "pipe")
	_, err := snapshot.Folder(dir)
	if got := problems(t, err); !slices.Equal(got, []string{"link", "pipe"}) {
		t.Errorf("%q: %v", got, err)
	}
}
