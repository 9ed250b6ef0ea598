package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// discarded holds folders of Temp that wait for their removal.
type discarded struct {
	mu    sync.Mutex
	dirs  []string
	bytes int64
}

// Bounds of what waits.
const (
	maxDiscarded      = 16 << 10
	maxDiscardedBytes = 256 << 20
)

// Discard gives up a folder of Temp. It is removed by [Store.Tidy], or at once
// when much waits already: some file systems (an ext4 without a journal) pass
// over the inodes that were freed in the last minutes one by one whenever they
// make a new one, so that removing folders while tasks start makes each start
// slower than the one before.
func (s *Store) Discard(dir string) {
	size, err := treeSize(dir)
	s.trash.mu.Lock()
	s.trash.dirs = append(s.trash.dirs, dir)
	s.trash.bytes += size
	much := err != nil || s.trash.bytes > maxDiscardedBytes || len(s.trash.dirs) > maxDiscarded
	s.trash.mu.Unlock()
	if much {
		s.Tidy()
	}
}

// Tidy removes what was discarded. What cannot be removed is left to the next
// [Open] or [Store.GC].
func (s *Store) Tidy() {
	s.trash.mu.Lock()
	dirs := s.trash.dirs
	s.trash.dirs, s.trash.bytes = nil, 0
	s.trash.mu.Unlock()
	for _, dir := range dirs {
		removeAll(dir)
	}
}

// removeAll removes a folder, whatever modes a task has set in it.
func removeAll(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}
