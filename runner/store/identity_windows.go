package store

import (
	"io/fs"
	"time"
)

// identity has nothing beside size and modification time here.
func identity(fs.FileInfo) (string, time.Time) { return "", time.Time{} }

// links is not told here.
func links(fs.FileInfo) uint64 { return 1 }
