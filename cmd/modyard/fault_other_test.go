//go:build unix && !linux

package main

import "testing"

const (
	dieWithParent = false
	maxrssInKiB   = false
)

func fullDisk(t *testing.T, _ *program) {
	t.Skip("skipped a store on a full disk, which is mounted on Linux alone; to have it: run the test as root on Linux")
}
