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

// links is how many names a file has.
func links(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 1
}
