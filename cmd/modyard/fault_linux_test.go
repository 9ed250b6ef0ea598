package main

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

const (
	dieWithParent = true
	maxrssInKiB   = true
)

// fullDisk keeps the store on a disk of 4 MiB.
func fullDisk(t *testing.T, p *program) {
	if err := os.Mkdir(p.store, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", p.store, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("skipped a store on a full disk: a small disk cannot be mounted (%v); to have it: run the test as root, outside of a container", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(p.store, 0); err != nil {
			t.Error(err)
		}
	})
	raw := func(size int) {
		if err := os.WriteFile(filepath.Join(p.dir, "raw.txt"), bytes.Repeat([]byte("x"), size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.pipeline(t, `
inputs: {raw: {type: file, path: raw.txt}}
steps:
  a: {run: {command: [sh, -c, 'cp inputs/raw outputs/f; echo >> outputs/f']}, inputs: {raw: "${{ inputs.raw }}"}, outputs: {f: {type: file}}}
`)
	// An input that does not fit is modyard's failure.
	raw(8 << 20)
	p.want(t, exitWorld, "no space left on device", "run", "pipeline.yaml")
	p.want(t, exitGood, "all whole", "cache", "verify")
	// An output that does not fit is the step's.
	raw(3 << 20)
	p.want(t, exitProblems, "exit code 1", "run", "pipeline.yaml")
	p.want(t, exitGood, "all whole", "cache", "verify")
	// Not a byte is left.
	p.want(t, exitGood, "removed", "cache", "gc", "--max-age", "0s")
	filler := filepath.Join(p.store, "filler")
	fill(t, filler)
	raw(100)
	p.want(t, exitWorld, "no space left on device", "run", "pipeline.yaml")
	if err := os.RemoveAll(filler); err != nil {
		t.Fatal(err)
	}
	p.want(t, exitGood, "all whole", "cache", "verify")
	p.want(t, exitGood, "done", "run", "pipeline.yaml")
	p.want(t, exitGood, "reused", "run", "pipeline.yaml")
}

// fill writes until there is no space.
func fill(t *testing.T, path string) {
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
}
