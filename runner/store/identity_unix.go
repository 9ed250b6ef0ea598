//go:build unix

package store

import (
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// identity tells a file from one that took its place, and when its inode
// changed last.
func identity(info fs.FileInfo) (string, time.Time) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", time.Time{}
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino), changeTime(st)
}

// linked reports whether a file has more names than one.
func linked(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
}
