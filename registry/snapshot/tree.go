package snapshot

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	taken := newNames(len(files))
	for _, f := range files {
		if err := taken.add(f.name); err != nil {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &Tree{files: files}, nil
}

// names are those of a tree so far; they must be told apart on every system.
type names struct {
	fold cases.Caser
	seen map[string]place
}

type place struct {
	name   string
	isFile bool
}

func newNames(n int) *names { return &names{cases.Fold(), make(map[string]place, n)} }

// add takes a file's name, or says what is wrong with it.
func (n *names) add(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	for p := name; p != "."; p = path.Dir(p) {
		key := n.fold.String(p)
		first, dup := n.seen[key]
		if !dup {
			n.seen[key] = place{p, p == name}
			continue
		}
		if first.name != p || first.isFile || p == name {
			return &ProblemError{name, fmt.Sprintf("clashes with %q on systems that ignore case or compose letters", first.name), "rename one of them"}
		}
		break
	}
	return nil
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
	if err := t.write(ctx, newWriter(h, "")); err != nil {
		return "", err
	}
	return schema.DigestSum(h.Sum(nil)), nil
}

// WriteTar writes the canonical archive.
func (t *Tree) WriteTar(ctx context.Context, w io.Writer) error {
	return t.WriteTarUnder(ctx, w, Prefix)
}

// WriteTarUnder writes the archive with another beginning of all names, which
// ends with a slash.
func (t *Tree) WriteTarUnder(ctx context.Context, w io.Writer, prefix string) error {
	out := newWriter(w, "")
	out.prefix = prefix
	return t.write(ctx, out)
}

// ReadFile reads the first limit bytes of a file.
func (t *Tree) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	at, ok := slices.BinarySearchFunc(t.files, name, func(f file, name string) int { return cmp.Compare(f.name, name) })
	if !ok {
		return nil, fmt.Errorf("%q: %w", name, fs.ErrNotExist)
	}
	if t.each == nil {
		rc, err := t.files[at].open()
		if err != nil {
			return nil, err
		}
		defer rc.Close()
		return io.ReadAll(io.LimitReader(rc, limit))
	}
	var data []byte
	err := t.each(ctx, func(i int, content io.Reader) (err error) {
		if i == at {
			data, err = io.ReadAll(io.LimitReader(content, limit))
		}
		return err
	})
	return data, err
}

// Content is what was unpacked.
type Content struct {
	Digest schema.Digest
	Files  int
	Size   int64 // bytes of content
}

// Unpacker is a snapshot's files wherever they are: a [Tree], or [Packed].
type Unpacker interface {
	// Unpack writes the files into dir, which exists and is empty, and
	// returns the digest of exactly what it wrote.
	Unpack(ctx context.Context, dir string) (Content, error)
}

// Unpack writes the files into dir, which exists and is empty, and returns
// the digest of exactly what it wrote.
func (t *Tree) Unpack(ctx context.Context, dir string) (Content, error) {
	h := sha256.New()
	w := newWriter(h, dir)
	if err := t.write(ctx, w); err != nil {
		return Content{}, err
	}
	w.content.Digest = schema.DigestSum(h.Sum(nil))
	return w.content, nil
}

func (t *Tree) write(ctx context.Context, w *writer) error {
	if err := t.contents(ctx, func(i int, content io.Reader) error { return w.file(ctx, t.files[i], content) }); err != nil {
		return err
	}
	return w.tar.Close()
}

// writer writes the canonical archive and, with a folder, the files too.
type writer struct {
	tar     *tar.Writer
	prefix  string
	buf     []byte
	dir     string // "" to write no files
	made    map[string]bool
	content Content
}

func newWriter(w io.Writer, dir string) *writer {
	return &writer{tar: tar.NewWriter(w), prefix: Prefix, buf: make([]byte, 256<<10), dir: dir, made: map[string]bool{}}
}

func (w *writer) file(ctx context.Context, f file, content io.Reader) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := w.tar.WriteHeader(header(w.prefix, f)); err != nil {
		return fmt.Errorf("cannot write %q into the tree: %w", f.name, err)
	}
	var dst io.Writer = w.tar
	var out *os.File
	if w.dir != "" {
		var err error
		if out, err = w.create(f.name); err != nil {
			return err
		}
		dst = io.MultiWriter(w.tar, out)
	}
	n, err := io.CopyBuffer(dst, onlyReader{io.LimitReader(content, f.size+1)}, w.buf)
	if out != nil {
		err = errors.Join(err, out.Close())
	}
	if n != f.size || errors.Is(err, tar.ErrWriteTooLong) {
		return &ProblemError{f.name, "changed while it was read", "try again when nothing writes to it"}
	}
	w.content.Files++
	w.content.Size += n
	return err
}

func (w *writer) create(name string) (*os.File, error) {
	dst := filepath.Join(w.dir, filepath.FromSlash(name))
	if parent := filepath.Dir(dst); !w.made[parent] {
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return nil, err
		}
		w.made[parent] = true
	}
	f, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, Mode)
	if err != nil {
		return nil, err
	}
	return f, f.Chmod(Mode)
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

func header(prefix string, f file) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: prefix + f.name, Size: f.size, Mode: Mode, ModTime: epoch}
}

func nfc(name string) string { return norm.NFC.String(name) }
