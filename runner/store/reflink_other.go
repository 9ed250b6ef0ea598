//go:build !linux

package store

import (
	"errors"
	"os"
)

// reflink is not tried here; io.Copy does what the system offers.
func reflink(_, _ *os.File) error { return errors.ErrUnsupported }
