package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/modyard/modyard/schema"
)

// Store is a store in a folder. It may be used by several goroutines, and the
// folder by several processes.
type Store struct {
	root string
	lock *flock.Flock
	// Machine names this machine: results of host environments are reused on
	// the machine that made them only.
	machine string
	// whole has the trees that were hashed by this process, of those whose
	// count and size nobody told.
	whole   sync.Map
	trash   discarded
	sharing *Sharing // nil: none
}

const (
	layout     = "modyard store 1\n"
	objectMode = 0o444 // mode of an object
)

// untouched is the modification time of every object.
var untouched = time.Unix(1_000_000_000, 0)

// ErrBusy says that runs use the store.
var ErrBusy = errors.New("the store is in use by a run")

// Open opens the store in dir and makes it when it is not there. Until Close
// it holds a lock, shared with other users, that keeps [Store.GC] away.
func Open(ctx context.Context, dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{root: dir, machine: machineID()}
	fresh, err := s.prepare()
	if err != nil {
		return nil, fmt.Errorf("cannot open the store %s: %w", dir, err)
	}
	s.lock = flock.New(filepath.Join(dir, "lock"))
	s.sweep()
	if _, err := s.lock.TryRLockContext(ctx, 50*time.Millisecond); err != nil {
		return nil, fmt.Errorf("cannot lock the store %s: %w", dir, err)
	}
	if fresh { // written under the lock: what is in tmp is swept without it
		if err := writeFile(s.Temp(), filepath.Join(dir, "layout"), []byte(layout)); err != nil {
			s.lock.Close()
			return nil, fmt.Errorf("cannot open the store %s: %w", dir, err)
		}
	}
	return s, nil
}

// sweep removes what runs that died have left on its way, when no run lives.
func (s *Store) sweep() {
	entries, err := os.ReadDir(s.Temp())
	if err != nil || len(entries) == 0 {
		return
	}
	if alone, err := s.lock.TryLock(); err == nil && alone {
		_ = emptyDir(s.Temp())
		_ = s.lock.Unlock()
	}
}

// prepare makes the folders of a store that is not there yet, and refuses what
// is no store.
func (s *Store) prepare() (fresh bool, err error) {
	have, err := os.ReadFile(filepath.Join(s.root, "layout"))
	switch {
	case err == nil && string(have) == layout:
		return false, nil
	case err == nil:
		return false, fmt.Errorf("its layout is %q, not %q; name another folder, or delete it", have, layout)
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	if entries, err := os.ReadDir(s.root); err == nil {
		for _, e := range entries {
			switch e.Name() {
			case "objects", "results", "keys", "hashes", "envs", "locks", "tmp", "lock", "layout":
			default:
				return false, fmt.Errorf("the folder is not empty and no store: it holds %q", e.Name())
			}
		}
	}
	for _, d := range []string{"objects", "results", "keys", "hashes", "envs", "locks", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.root, d), 0o755); err != nil {
			return false, err
		}
	}
	return true, nil
}

// Close lets go of the store.
func (s *Store) Close() error {
	s.Flush()
	s.Tidy()
	return s.lock.Close()
}

// Root is the store's folder.
func (s *Store) Root() string { return s.root }

// Temp is the folder for what is on its way into the store, on the same file
// system.
func (s *Store) Temp() string { return filepath.Join(s.root, "tmp") }

// Envs is the folder of virtual environments.
func (s *Store) Envs() string { return filepath.Join(s.root, "envs") }

// Lock takes the lock of a task, or of whatever the name stands for, on this
// machine; others wait until unlock.
func (s *Store) Lock(ctx context.Context, name string) (unlock func(), err error) {
	l := flock.New(filepath.Join(s.root, "locks", name))
	if _, err := l.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", l.Path(), err)
	}
	return func() { l.Close() }, nil
}

// shard is the path of what is kept under a digest.
func (s *Store) shard(kind string, d schema.Digest) string {
	h := d.Hex()
	return filepath.Join(s.root, kind, h[:2], h)
}

// mkdir makes one folder whose parent mostly exists.
func mkdir(dir string) error {
	err := os.Mkdir(dir, 0o755)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return os.MkdirAll(dir, 0o755)
	}
	return err
}

// writeFile writes a file whole or not at all.
func writeFile(temp, path string, data []byte) error {
	f, err := os.CreateTemp(temp, "write-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return err
	}
	err = os.Rename(f.Name(), path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = os.Rename(f.Name(), path)
		}
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
