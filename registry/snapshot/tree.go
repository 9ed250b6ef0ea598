package snapshot

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/modyard/modyard/schema"
)

// Prefix begins every name in a tree's archive.
const Prefix = "modyard/snapshot/"

// Mode is the mode of every file of a tree.
const Mode = 0o755

// Bounds of a snapshot. Folders of data have no bound but the disk's.
const (
	MaxFiles = 100_000
	MaxBytes = 16 << 30
	maxName  = 255  // bytes of one element of a path
	maxPath  = 1024 // bytes of a whole path
)

// A file of a tree. Its content is read through open, once a use.
type file struct {
	name string // from the root, with /, in NFC
	size int64
	open func() (io.ReadCloser, error)
}

// Tree is a canonical tree whose files are read when needed.
type Tree struct {
	files []file // sorted by name
	// each, when set, reads all files in one go, which is how git serves them.
	each func(ctx context.Context, f func(i int, content io.Reader) error) error
}

// ProblemError says what about a folder keeps it from being a tree.
type ProblemError struct {
	Path    string // in the folder, with /
	Message string
	Hint    string
}

func (e *ProblemError) Error() string { return fmt.Sprintf("%q %s", e.Path, e.Message) }

// newTree puts the files in order and refuses names that clash or that not
// every system can hold.
func newTree(files []file) (*Tree, error) {
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.name, b.name) })
	var problems []error
	fold := cases.Fold()
	type place struct {
		name   string
		isFile bool
	}
	seen := make(map[string]place, len(files))
	for _, f := range files {
		if err := checkName(f.name); err != nil {
			problems = append(problems, err)
			continue
		}
		for p := f.name; p != "."; p = path.Dir(p) {
			key := fold.String(p)
			first, dup := seen[key]
			if !dup {
				seen[key] = place{p, p == f.name}
				continue
			}
			if first.name != p || first.isFile || p == f.name {
				problems = append(problems, &ProblemError{f.name, fmt.Sprintf("clashes with %q on systems that ignore case or compose letters", first.name), "rename one of them"})
			}
			break
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &Tree{files: files}, nil
}

func checkName(name string) error {
	bad := func(format string, args ...any) error {
		return &ProblemError{name, fmt.Sprintf(format, args...), "rename it"}
	}
	if len(name) > maxPath {
		return bad("is longer than %d bytes", maxPath)
	}
	if !utf8.ValidString(name) {
		return bad("is not UTF-8")
	}
	if !norm.NFC.IsNormalString(name) {
		return bad("is not in Unicode's NFC")
	}
	for elem := range strings.SplitSeq(name, "/") {
		switch {
		case elem == "" || elem == "." || elem == "..":
			return bad("is no plain path")
		case len(elem) > maxName:
			return bad("has an element longer than %d bytes", maxName)
		case strings.HasSuffix(elem, ".") || strings.HasSuffix(elem, " "):
			return bad("ends with a dot or a space, which Windows drops")
		case strings.ContainsAny(elem, `<>:"|?*\`) || strings.ContainsFunc(elem, func(r rune) bool { return r < 32 || r == 127 }):
			return bad("has a character that Windows cannot hold")
		}
		base, _, _ := strings.Cut(strings.ToUpper(elem), ".")
		switch base {
		case "CON", "PRN", "AUX", "NUL":
			return bad("is a device on Windows")
		}
		if len(base) == 4 && (strings.HasPrefix(base, "COM") || strings.HasPrefix(base, "LPT")) && base[3] >= '1' && base[3] <= '9' {
			return bad("is a device on Windows")
		}
	}
	return nil
}

// Files lists the names in the tree, sorted.
func (t *Tree) Files() []string {
	names := make([]string, len(t.files))
	for i, f := range t.files {
		names[i] = f.name
	}
	return names
}

// Size is the bytes of all files' contents.
func (t *Tree) Size() int64 {
	var n int64
	for _, f := range t.files {
		n += f.size
	}
	return n
}

// Digest reads the tree and returns its digest.
func (t *Tree) Digest(ctx context.Context) (schema.Digest, error) {
	h := sha256.New()
	if err := t.write(ctx, h, nil); err != nil {
		return "", err
	}
	return schema.DigestSum(h.Sum(nil)), nil
}

// WriteTar writes the canonical archive.
func (t *Tree) WriteTar(ctx context.Context, w io.Writer) error { return t.write(ctx, w, nil) }

// Unpack writes the files into dir, which exists and is empty, and returns
// the digest of exactly what it wrote.
func (t *Tree) Unpack(ctx context.Context, dir string) (schema.Digest, error) {
	h := sha256.New()
	made := map[string]bool{}
	err := t.write(ctx, h, func(name string) (io.WriteCloser, error) {
		dst := filepath.Join(dir, filepath.FromSlash(name))
		if parent := filepath.Dir(dst); !made[parent] {
			if err := os.MkdirAll(parent, 0o755); err != nil {
				return nil, err
			}
			made[parent] = true
		}
		f, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, Mode)
		if err != nil {
			return nil, err
		}
		return f, f.Chmod(Mode)
	})
	if err != nil {
		return "", err
	}
	return schema.DigestSum(h.Sum(nil)), nil
}

// write writes the archive to w and, with create, each file's content too.
func (t *Tree) write(ctx context.Context, w io.Writer, create func(name string) (io.WriteCloser, error)) error {
	tw := tar.NewWriter(w)
	buf := make([]byte, 256<<10)
	one := func(i int, content io.Reader) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		f := t.files[i]
		if err := tw.WriteHeader(header(f)); err != nil {
			return fmt.Errorf("cannot write %q into the tree: %w", f.name, err)
		}
		var dst io.Writer = tw
		var out io.WriteCloser
		if create != nil {
			var err error
			if out, err = create(f.name); err != nil {
				return err
			}
			dst = io.MultiWriter(tw, out)
		}
		n, err := io.CopyBuffer(dst, onlyReader{io.LimitReader(content, f.size+1)}, buf)
		if out != nil {
			err = errors.Join(err, out.Close())
		}
		if n != f.size || errors.Is(err, tar.ErrWriteTooLong) {
			return &ProblemError{f.name, "changed while it was read", "try again when nothing writes to it"}
		}
		return err
	}
	if err := t.contents(ctx, one); err != nil {
		return err
	}
	return tw.Close()
}

// onlyReader hides WriteTo, which would pass by the buffer.
type onlyReader struct{ io.Reader }

func (t *Tree) contents(ctx context.Context, one func(i int, content io.Reader) error) error {
	if t.each != nil {
		return t.each(ctx, one)
	}
	for i, f := range t.files {
		rc, err := f.open()
		if err != nil {
			return err
		}
		err = one(i, rc)
		if err := errors.Join(err, rc.Close()); err != nil {
			return err
		}
	}
	return nil
}

var epoch = time.Unix(0, 0).UTC()

func header(f file) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: Prefix + f.name, Size: f.size, Mode: Mode, ModTime: epoch}
}

// ReadTar reads a canonical archive into memory, at most limit bytes of
// content, and refuses any archive that is not exactly canonical.
func ReadTar(ctx context.Context, data []byte, limit int64) (*Tree, error) {
	tr := tar.NewReader(bytes.NewReader(data))
	var files []file
	var total int64
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the tree: %w", err)
		}
		name, ok := strings.CutPrefix(h.Name, Prefix)
		if !ok || h.Typeflag != tar.TypeReg {
			return nil, fmt.Errorf("cannot read the tree: %q is no file of a tree", h.Name)
		}
		if total += h.Size; total > limit || len(files) >= MaxFiles {
			return nil, errors.New("cannot read the tree: it is too large")
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			return nil, fmt.Errorf("cannot read the tree: %w", err)
		}
		files = append(files, file{name, int64(len(content)), func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content)), nil
		}})
	}
	t, err := newTree(files)
	if err != nil {
		return nil, fmt.Errorf("cannot read the tree: %w", err)
	}
	var again bytes.Buffer
	if err := t.WriteTar(ctx, &again); err != nil {
		return nil, err
	}
	if !bytes.Equal(again.Bytes(), data) {
		return nil, errors.New("cannot read the tree: the archive is not canonical")
	}
	return t, nil
}

func nfc(name string) string { return norm.NFC.String(name) }
