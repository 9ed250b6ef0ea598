package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// racy is how much older than the moment of hashing a file's times must be for
// its digest to be remembered: within it, a later write might leave the same
// times (git's racy-clean rule).
const racy = 2 * time.Second

// Input finds the digest of a file outside the store. The digest of an
// unchanged file is remembered by what stat says of it.
func (s *Store) Input(ctx context.Context, path string, folder bool) (Object, error) {
	key, newest, err := statKey(path, folder)
	if err != nil {
		return Object{}, err
	}
	memo := s.shard("hashes", key)
	if data, err := os.ReadFile(memo); err == nil {
		var o Object
		if unpack(data, &o) == nil && o.Digest.Valid() {
			return o, nil
		}
	}
	began := time.Now()
	var o Object
	if folder {
		t, err := snapshot.Data(path)
		if err != nil {
			return Object{}, err
		}
		d, err := t.Digest(ctx)
		if err != nil {
			return Object{}, err
		}
		o = Object{Digest: d, Size: t.Size(), Folder: true, Files: len(t.Files())}
	} else if o.Digest, o.Size, err = HashFile(ctx, path); err != nil {
		return Object{}, err
	}
	again, _, err := statKey(path, folder)
	if err != nil {
		return Object{}, err
	}
	if again != key {
		return Object{}, fmt.Errorf("%s changed while it was read", path)
	}
	if began.Sub(newest) > racy {
		data, err := pack(o)
		if err != nil {
			return Object{}, err
		}
		return o, s.write(memo, data)
	}
	return o, nil
}

// Import takes a copy of what was hashed as o into the store.
func (s *Store) Import(ctx context.Context, path string, o Object) error {
	if err := s.Check(ctx, o); err == nil || (!errors.Is(err, ErrMissing) && !errors.Is(err, ErrDamaged)) {
		return err
	}
	var got Object
	var err error
	if o.Folder {
		var t *snapshot.Tree
		if t, err = snapshot.Data(path); err == nil {
			got, err = s.AddTree(ctx, t, "")
		}
	} else {
		got, err = s.CopyFile(ctx, path)
	}
	if err == nil && got.Digest != o.Digest {
		err = fmt.Errorf("%s changed while it was used", path)
	}
	return err
}

// statKey is the digest of what stat says of a file, or of all files of a
// folder, and the newest of their times.
func statKey(path string, folder bool) (schema.Digest, time.Time, error) {
	var newest time.Time
	var text []byte
	add := func(name string, info fs.FileInfo) {
		id, changed := identity(info)
		for _, t := range []time.Time{info.ModTime(), changed} {
			if t.After(newest) {
				newest = t
			}
		}
		text = fmt.Appendf(text, "%q %d %d %d %s\n", name, info.Size(), info.ModTime().UnixNano(), changed.UnixNano(), id)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", newest, err
	}
	switch {
	case folder != info.IsDir() && folder:
		return "", newest, fmt.Errorf("%s is not a folder", path)
	case folder != info.IsDir():
		return "", newest, fmt.Errorf("%s is a folder, not a file", path)
	case !folder && !info.Mode().IsRegular():
		return "", newest, fmt.Errorf("%s is no regular file", path)
	case !folder:
		add("", info)
	default:
		err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := os.Stat(p) // through links, whose targets count
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(path, p)
			if err != nil {
				return err
			}
			add(rel, info)
			return nil
		})
	}
	return schema.DigestBytes(text), newest, err
}
