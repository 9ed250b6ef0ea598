package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/modyard/modyard/schema"
)

// Usage is how much a store holds.
type Usage struct {
	Results      int   `json:"results"`
	Objects      int   `json:"objects"`
	Environments int   `json:"environments"`
	Bytes        int64 `json:"bytes"` // of all files
}

// Usage counts what is in the store.
func (s *Store) Usage() (Usage, error) {
	var u Usage
	err := s.eachObject(func(Object, string) error { u.Objects++; return nil })
	if err != nil {
		return u, err
	}
	if err := s.Results(func(string, *Result, error) error { u.Results++; return nil }); err != nil {
		return u, err
	}
	envs, err := filepath.Glob(filepath.Join(s.Envs(), "*", readyFile))
	if err != nil {
		return u, err
	}
	u.Environments = len(envs)
	u.Bytes, err = treeSize(s.root)
	return u, err
}

// readyFile stands in a virtual environment that is whole; its time is that of
// the last use.
const readyFile = "modyard-ready"

// Ready is the file that marks the virtual environment in dir as whole.
func Ready(dir string) string { return filepath.Join(dir, readyFile) }

func treeSize(dir string) (int64, error) {
	var n int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return nil
	})
	return n, err
}

// eachObject calls f for every object; its size is not known.
func (s *Store) eachObject(f func(o Object, path string) error) error {
	shards, err := os.ReadDir(filepath.Join(s.root, "objects"))
	if err != nil {
		return err
	}
	for _, sh := range shards {
		dir := filepath.Join(s.root, "objects", sh.Name())
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			hex, folder := strings.CutSuffix(e.Name(), ".d")
			o := Object{Digest: schema.Digest("sha256:" + hex), Folder: folder}
			if o.Digest.Valid() {
				if err := f(o, filepath.Join(dir, e.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Verify hashes every object and reads every result. What is damaged is
// removed, so that it is computed again, and reported as text.
func (s *Store) Verify(ctx context.Context) (checked int, damaged []string, err error) {
	err = s.eachObject(func(o Object, path string) error {
		checked++
		err := s.rehash(ctx, o)
		if errors.Is(err, ErrDamaged) {
			damaged = append(damaged, fmt.Sprintf("object %s", o.Digest))
			return nil
		}
		return err
	})
	if err != nil {
		return checked, damaged, err
	}
	err = s.Results(func(path string, r *Result, err error) error {
		checked++
		if err != nil {
			damaged = append(damaged, "result "+filepath.Base(path))
			return os.Remove(path)
		}
		for name, o := range r.Outputs {
			if o.Object == nil {
				continue
			}
			err := s.Check(ctx, *o.Object)
			if errors.Is(err, ErrMissing) || errors.Is(err, ErrDamaged) {
				damaged = append(damaged, fmt.Sprintf("result %s (its output %q is gone)", r.Key, name))
				return os.Remove(path)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return checked, damaged, err
	}
	err = filepath.WalkDir(filepath.Join(s.root, "keys"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		checked++
		data, err := os.ReadFile(p)
		if err != nil || schema.DigestBytes(data).Hex() == d.Name() {
			return err
		}
		damaged = append(damaged, "key "+d.Name())
		return os.Remove(p)
	})
	return checked, damaged, err
}

// GCOptions bound what stays.
type GCOptions struct {
	// MaxAge removes what was not used for so long. Default: 30 days.
	MaxAge time.Duration
	// MaxBytes removes the results used longest ago until the rest fits.
	// Default: no bound.
	MaxBytes int64
}

// Collected is what a GC has removed.
type Collected struct {
	Results int   `json:"results"`
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// GC removes what was not used for long or does not fit. It takes the store
// for itself: while a run uses it, GC returns [ErrBusy] and removes nothing.
func (s *Store) GC(ctx context.Context, opt GCOptions) (Collected, error) {
	if opt.MaxAge == 0 {
		opt.MaxAge = 30 * 24 * time.Hour
	}
	if err := s.lock.Unlock(); err != nil {
		return Collected{}, err
	}
	alone, err := s.lock.TryLock()
	defer func() {
		_ = s.lock.Unlock()
		_, _ = s.lock.TryRLock()
	}()
	if err != nil {
		return Collected{}, err
	}
	if !alone {
		return Collected{}, ErrBusy
	}
	g := &collector{s: s, opt: opt, now: time.Now(), keep: map[string]bool{}}
	before, err := treeSize(s.root)
	if err != nil {
		return Collected{}, err
	}
	for _, step := range []func(context.Context) error{g.results, g.objects, g.rest} {
		if err := step(ctx); err != nil {
			return g.done, err
		}
	}
	after, err := treeSize(s.root)
	g.done.Bytes = before - after
	return g.done, err
}

type collector struct {
	s    *Store
	opt  GCOptions
	now  time.Time
	keep map[string]bool // paths of objects and keys
	done Collected
}

type usedResult struct {
	path string
	r    *Result
	used time.Time
}

// results removes results by age and size, and marks what the rest needs.
func (g *collector) results(ctx context.Context) error {
	var all []usedResult
	err := g.s.Results(func(path string, r *Result, err error) error {
		if err != nil {
			return os.Remove(path)
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		all = append(all, usedResult{path, r, info.ModTime()})
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b usedResult) int { return b.used.Compare(a.used) })
	var total int64
	full := false // what was used before the first that does not fit goes as well
	for _, u := range all {
		needs, size := g.needs(u.r)
		full = full || (g.opt.MaxBytes > 0 && total+size > g.opt.MaxBytes)
		if full || g.now.Sub(u.used) > g.opt.MaxAge {
			if err := os.Remove(u.path); err != nil {
				return err
			}
			g.done.Results++
			continue
		}
		total += size
		for _, p := range needs {
			g.keep[p] = true
		}
	}
	return nil
}

// needs lists what a result needs, and the bytes of it that are not needed by
// what is kept already.
func (g *collector) needs(r *Result) (paths []string, size int64) {
	add := func(o Object) {
		p := g.s.Path(o)
		paths = append(paths, p)
		if !g.keep[p] {
			n, _ := treeSize(p)
			size += n
		}
	}
	for _, o := range r.Outputs {
		if o.Object != nil {
			add(*o.Object)
		}
	}
	key := g.s.shard("keys", r.Key)
	paths = append(paths, key)
	var doc struct {
		Snapshot schema.Digest
		Inputs   map[string]struct {
			Type   schema.Type
			Digest schema.Digest
		}
	}
	data, err := os.ReadFile(key)
	if err != nil || json.Unmarshal(data, &doc) != nil {
		return paths, size
	}
	if doc.Snapshot.Valid() {
		add(Object{Digest: doc.Snapshot, Folder: true})
	}
	for _, in := range doc.Inputs {
		if in.Digest.Valid() {
			add(Object{Digest: in.Digest, Folder: in.Type == schema.TypeFolder})
		}
	}
	return paths, size
}

func (g *collector) objects(ctx context.Context) error {
	return g.s.eachObject(func(o Object, path string) error {
		if g.keep[path] {
			return ctx.Err()
		}
		g.done.Objects++
		return cmp.Or(g.s.Evict(o), ctx.Err())
	})
}

// rest removes keys, remembered hashes and environments that were not used for
// long, and all that is on its way: there is no run that it could be of.
func (g *collector) rest(ctx context.Context) error {
	for _, kind := range []string{"keys", "hashes"} {
		err := filepath.WalkDir(filepath.Join(g.s.root, kind), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || g.keep[p] {
				return err
			}
			info, err := d.Info()
			if err != nil || g.now.Sub(info.ModTime()) <= g.opt.MaxAge {
				return err
			}
			return cmp.Or(os.Remove(p), ctx.Err())
		})
		if err != nil {
			return err
		}
	}
	envs, err := os.ReadDir(g.s.Envs())
	if err != nil {
		return err
	}
	for _, e := range envs {
		dir := filepath.Join(g.s.Envs(), e.Name())
		info, err := os.Stat(Ready(dir))
		if err == nil && g.now.Sub(info.ModTime()) <= g.opt.MaxAge {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return errors.Join(emptyDir(filepath.Join(g.s.root, "locks")), emptyDir(g.s.Temp()))
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
