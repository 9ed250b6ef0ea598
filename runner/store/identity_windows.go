package store

import (
	"io/fs"
	"time"
)

// identity has nothing beside size and modification time here.
func identity(fs.FileInfo) (string, time.Time) { return "", time.Time{} }

// linked is not told here.
func linked(fs.FileInfo) bool { return false }
