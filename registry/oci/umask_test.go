//go:build unix

package oci_test

import "syscall"

// umask sets the mask of new files until restore is called.
func umask(mask int) (restore func()) {
	old := syscall.Umask(mask)
	return func() { syscall.Umask(old) }
}
