package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// Object is the content of a file or folder.
type Object struct {
	Digest schema.Digest `json:"digest"`
	Size   int64         `json:"size"` // bytes of content
	Folder bool          `json:"folder,omitempty"`
	Files  int           `json:"files,omitempty"` // of a folder
}

// ErrDamaged says that an object's content is not what its digest says. It has
// been removed.
var ErrDamaged = errors.New("damaged in the store")

// ErrMissing says that an object is not in the store.
var ErrMissing = errors.New("not in the store")

// Path is where the object is.
func (s *Store) Path(o Object) string {
	p := s.shard("objects", o.Digest)
	if o.Folder {
		p += ".d"
	}
	return p
}

// MoveFile takes a file into the store; the file is gone from path.
func (s *Store) MoveFile(ctx context.Context, path string) (Object, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Object{}, err
	}
	if linked(info) { // the file has other names, which are not ours
		o, err := s.CopyFile(ctx, path)
		return o, errors.Join(err, os.Remove(path))
	}
	// Sealed before it is hashed: a later write leaves another time.
	if err := seal(path, objectMode); err != nil {
		return Object{}, err
	}
	digest, size, err := HashFile(ctx, path)
	if err != nil {
		return Object{}, err
	}
	if err := sealed(path, size); err != nil {
		return Object{}, err
	}
	o := Object{Digest: digest, Size: size}
	return o, s.commitFile(ctx, path, o)
}

// ErrChanged says that a file was written to while it was taken.
var ErrChanged = errors.New("it was written to while it was taken into the store")

func sealed(path string, size int64) error {
	info, err := os.Lstat(path)
	if err == nil && (info.Size() != size || !info.ModTime().Equal(untouched)) {
		err = ErrChanged
	}
	return err
}

// commitFile renames a file to where its object belongs.
func (s *Store) commitFile(ctx context.Context, path string, o Object) error {
	dst := s.Path(o)
	if err := s.Check(ctx, o); err == nil {
		return os.Remove(path)
	}
	return place(path, dst)
}

func place(path, dst string) error {
	err := os.Rename(path, dst)
	if errors.Is(err, fs.ErrNotExist) {
		if err = mkdir(filepath.Dir(dst)); err == nil {
			err = os.Rename(path, dst)
		}
	}
	return err
}

func seal(path string, mode fs.FileMode) error {
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	return os.Chtimes(path, untouched, untouched)
}

// CopyFile takes a copy of a file into the store and leaves the file alone.
// The object's digest is that of exactly the bytes that were copied.
func (s *Store) CopyFile(ctx context.Context, path string) (Object, error) {
	src, err := os.Open(path)
	if err != nil {
		return Object{}, err
	}
	defer src.Close()
	dst, err := os.CreateTemp(s.Temp(), "file-")
	if err != nil {
		return Object{}, err
	}
	defer os.Remove(dst.Name())
	h := sha256.New()
	var size int64
	if reflink(dst, src) == nil {
		size, err = copyContext(ctx, h, dst)
	} else {
		size, err = copyContext(ctx, io.MultiWriter(dst, h), src)
	}
	if err := errors.Join(err, dst.Close()); err != nil {
		return Object{}, err
	}
	if err := seal(dst.Name(), objectMode); err != nil {
		return Object{}, err
	}
	o := Object{Digest: schema.DigestSum(h.Sum(nil)), Size: size}
	return o, s.commitFile(ctx, dst.Name(), o)
}

// AddTree takes a tree into the store; its digest must be the one that is
// wanted, unless that is "". What has another is not kept.
func (s *Store) AddTree(ctx context.Context, t snapshot.Unpacker, want schema.Digest) (Object, error) {
	if want != "" {
		o := Object{Digest: want, Folder: true}
		if s.Check(ctx, o) == nil {
			return o, nil
		}
	}
	tmp, err := os.MkdirTemp(s.Temp(), "tree-")
	if err != nil {
		return Object{}, err
	}
	defer os.RemoveAll(tmp)
	c, err := t.Unpack(ctx, tmp)
	if err != nil {
		return Object{}, err
	}
	if want != "" && c.Digest != want {
		return Object{}, &MismatchError{Want: want, Got: c.Digest}
	}
	if _, err := sealTree(tmp, nil); err != nil {
		return Object{}, err
	}
	o := Object{Digest: c.Digest, Size: c.Size, Folder: true, Files: c.Files}
	return o, s.commitTree(ctx, tmp, o)
}

// MismatchError says that a copy of something is not what its digest says.
type MismatchError struct{ Want, Got schema.Digest }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("the content has the digest %s, not %s", e.Got, e.Want)
}

// MoveFolder takes a folder into the store; it is gone from path.
func (s *Store) MoveFolder(ctx context.Context, path string) (Object, error) {
	// Names, links and devices are judged before anything is changed.
	t, err := snapshot.Data(path)
	if err != nil {
		return Object{}, err
	}
	canonical, err := sealTree(path, t.Files())
	if err != nil {
		return Object{}, err
	}
	if !canonical {
		if t, err = snapshot.Data(path); err != nil {
			return Object{}, err
		}
		o, err := s.AddTree(ctx, t, "")
		return o, errors.Join(err, os.RemoveAll(path))
	}
	if t, err = snapshot.Data(path); err != nil {
		return Object{}, err
	}
	d, err := t.Digest(ctx)
	if err != nil {
		return Object{}, err
	}
	o := Object{Digest: d, Size: t.Size(), Folder: true, Files: len(t.Files())}
	return o, s.commitTree(ctx, path, o)
}

// sealTree makes a folder what its object is: regular files of our own, no
// empty folders. canonical is false when a name is not as the tree has it.
func sealTree(root string, names []string) (canonical bool, err error) {
	known := make(map[string]bool, len(names))
	for _, n := range names {
		known[n] = true
	}
	canonical = true
	var dirs []string
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, p)
			return os.Chmod(p, 0o755)
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		canonical = canonical && known[filepath.ToSlash(rel)]
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() || linked(info) {
			if err := ownCopy(p); err != nil {
				return err
			}
		}
		return seal(p, 0o555)
	})
	for _, dir := range slices.Backward(dirs[min(1, len(dirs)):]) {
		_ = os.Remove(dir) // it is empty, or it stays
	}
	return canonical, err
}

// ownCopy puts a copy of a file, or of what a link names, in its place.
func ownCopy(p string) error {
	tmp := p + ".modyard-copy"
	if err := clone(p, tmp, 0o555); err != nil {
		return err
	}
	return os.Rename(tmp, p)
}

func (s *Store) commitTree(ctx context.Context, path string, o Object) error {
	if s.Check(ctx, o) == nil {
		return os.RemoveAll(path)
	}
	dst := s.Path(o)
	if err := mkdir(filepath.Dir(dst)); err != nil {
		return err
	}
	// A rename onto a folder that is there fails: another run was first, or
	// what is there is damaged.
	if err := os.Rename(path, dst); err == nil {
		return nil
	}
	if s.Check(ctx, o) == nil {
		return os.RemoveAll(path)
	}
	return errors.Join(s.Evict(o), os.Rename(path, dst))
}

// Check reports whether an object is there as its stat was left: nil, or
// [ErrMissing], or [ErrDamaged]. What was touched is rehashed; what is damaged
// is removed.
func (s *Store) Check(ctx context.Context, o Object) error {
	if o.Folder {
		return s.checkTree(ctx, o)
	}
	p := s.Path(o)
	info, err := os.Lstat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", o.Digest.Short(), ErrMissing)
	}
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() && info.Size() == o.Size && info.ModTime().Equal(untouched) {
		return nil
	}
	return s.rehash(ctx, o)
}

func (s *Store) checkTree(ctx context.Context, o Object) error {
	info, err := os.Lstat(s.Path(o))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", o.Digest.Short(), ErrMissing)
	}
	if err != nil || !info.IsDir() {
		return errors.Join(err, s.rehash(ctx, o))
	}
	files, size, clean := 0, int64(0), true
	err = filepath.WalkDir(s.Path(o), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		size += info.Size()
		clean = clean && info.Mode().IsRegular() && info.ModTime().Equal(untouched)
		return nil
	})
	if err != nil {
		return err
	}
	if clean && o.Files > 0 && files == o.Files && size == o.Size {
		return nil
	}
	if _, hashed := s.whole.Load(o.Digest); hashed && clean && o.Files == 0 {
		return nil
	}
	if err := s.rehash(ctx, o); err != nil {
		return err
	}
	s.whole.Store(o.Digest, true)
	return nil
}

// rehash reads an object, and removes it when it is not what it should be.
func (s *Store) rehash(ctx context.Context, o Object) error {
	p := s.Path(o)
	var got schema.Digest
	var err error
	if o.Folder {
		var t *snapshot.Tree
		if t, err = snapshot.Data(p); err == nil {
			got, err = t.Digest(ctx)
		}
	} else {
		got, _, err = HashFile(ctx, p)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil && got == o.Digest {
		if o.Folder {
			return filepath.WalkDir(p, func(p string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				return seal(p, 0o555)
			})
		}
		return seal(p, objectMode)
	}
	return errors.Join(fmt.Errorf("%s: %w", o.Digest.Short(), ErrDamaged), s.Evict(o))
}

// Evict removes an object.
func (s *Store) Evict(o Object) error {
	tmp, err := os.MkdirTemp(s.Temp(), "evict-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	err = os.Rename(s.Path(o), filepath.Join(tmp, "object"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Link puts the object at dst for a task to read: by hard link, or by a copy
// where that cannot be. A task that changes it changes the store; see
// [Store.Check].
func (s *Store) Link(o Object, dst string) error {
	if !o.Folder {
		return s.linkFile(s.Path(o), dst)
	}
	return s.eachFile(o, dst, s.linkFile)
}

func (s *Store) linkFile(src, dst string) error {
	err := os.Link(src, dst)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := clone(src, dst, objectMode); err != nil {
		return err
	}
	return os.Chtimes(dst, untouched, untouched)
}

// Copy puts a copy of the object at dst that may be changed freely; files of
// folders may be executed.
func (s *Store) Copy(o Object, dst string) error {
	if !o.Folder {
		return clone(s.Path(o), dst, 0o644)
	}
	return s.eachFile(o, dst, func(src, dst string) error { return clone(src, dst, snapshot.Mode) })
}

// eachFile makes the folders of o below dst and calls put for each file.
func (s *Store) eachFile(o Object, dst string, put func(src, dst string) error) error {
	root := s.Path(o)
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dst, p[len(root):])
		if d.IsDir() {
			return mkdir(to)
		}
		return put(p, to)
	})
}

// clone copies a file, sharing its blocks where the file system can.
func clone(src, dst string, mode fs.FileMode) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if reflink(out, in) != nil {
		_, err = io.Copy(out, in)
	}
	return errors.Join(err, out.Chmod(mode), out.Close())
}

// copyContext is io.Copy that ends with its context.
func copyContext(ctx context.Context, dst io.Writer, src io.Reader) (int64, error) {
	buf := make([]byte, 1<<20)
	var total int64
	for {
		if ctx.Err() != nil {
			return total, context.Cause(ctx)
		}
		n, err := src.Read(buf)
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return total, werr
			}
			total += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// HashFile reads a file and returns its digest and size.
func HashFile(ctx context.Context, path string) (schema.Digest, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := copyContext(ctx, h, f)
	if err != nil {
		return "", 0, err
	}
	return schema.DigestSum(h.Sum(nil)), n, nil
}
