//go:build unix && !linux

package store

import (
	"syscall"
	"time"
)

// changeTime is left to the modification time where the field's name differs
// from system to system.
func changeTime(*syscall.Stat_t) time.Time { return time.Time{} }
