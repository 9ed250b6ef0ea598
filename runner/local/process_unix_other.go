//go:build unix && !linux

package local

import "syscall"

// dieWithParent has no counterpart here: what is left behind when modyard is
// killed writes to a folder that nothing reads.
func dieWithParent(*syscall.SysProcAttr) {}
