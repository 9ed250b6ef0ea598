package oci_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/modyard/modyard/registry/oci"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// read gives the files below dir, NAME to content.
func read(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		out[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func tryUnpack(tb testing.TB, images *oci.Images, m *schema.ModuleVersion) (map[string]string, snapshot.Content, error) {
	tb.Helper()
	dir := tb.TempDir()
	c, err := images.Snapshot(m).Unpack(tb.Context(), dir)
	return read(tb, dir), c, err
}

// unpack pulls a version's files and holds them against its digest.
func unpack(tb testing.TB, images *oci.Images, m *schema.ModuleVersion) map[string]string {
	tb.Helper()
	got, c, err := tryUnpack(tb, images, m)
	if err != nil {
		tb.Fatal(err)
	}
	if c.Digest != m.Snapshot.Digest {
		tb.Errorf("digest %s, want %s", c.Digest, m.Snapshot.Digest)
	}
	return got
}
