package snapshot

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Bounds of an archive, beyond those of a snapshot.
const (
	maxEntries   = 2 * MaxFiles // files, folders and links
	maxDirectory = 64 << 20     // bytes of a zip's directory
	maxRatio     = 1000         // content to archive, beyond freeRatio
	freeRatio    = 64 << 20     // bytes of content for which no ratio counts
)

// ArchiveOptions say which part of an archive is taken.
type ArchiveOptions struct {
	Strip int    // leading folders of its names that are dropped
	Path  string // the folder that is taken, after that. Default: all
}

// Archive is the tree of an archive on this disk: tar, tar.gz, tar.zst or zip,
// told by its first bytes. The contents are unpacked below scratch, under names
// of our own, and must stay while the tree is used. Links to files of the
// archive become copies; what else is no file or folder is refused.
func Archive(ctx context.Context, file, scratch string, opt ArchiveOptions) (*Tree, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(scratch, "archive-")
	if err != nil {
		return nil, err
	}
	u := newUnpacking(ctx, dir, opt)
	u.most = min(MaxBytes, max(freeRatio, info.Size()*maxRatio))
	if err := u.read(f, info.Size()); err != nil {
		return nil, fmt.Errorf("cannot read the archive: %w", err)
	}
	return u.tree()
}

// Tar is the tree of a folder of a tar archive that is read once, such as the
// file system of an image. What is outside the folder does not count.
func Tar(ctx context.Context, r io.Reader, scratch string, opt ArchiveOptions) (*Tree, error) {
	dir, err := os.MkdirTemp(scratch, "archive-")
	if err != nil {
		return nil, err
	}
	u := newUnpacking(ctx, dir, opt)
	u.most = MaxBytes
	if err := u.tar(r, maxOutside); err != nil {
		return nil, fmt.Errorf("cannot read the archive: %w", err)
	}
	return u.tree()
}

// unpacking is the reading of one archive.
type unpacking struct {
	*listing
	ctx     context.Context //nolint:containedctx // one call's state
	dir     string
	opt     ArchiveOptions
	most    int64 // bytes of content that may be
	total   int64 // bytes of content so far
	entries int
	sizes   map[string]int64 // by what stands for the content
	buf     []byte
}

func newUnpacking(ctx context.Context, dir string, opt ArchiveOptions) *unpacking {
	return &unpacking{ctx: ctx, dir: dir, opt: opt, listing: newListing(), sizes: map[string]int64{}, buf: make([]byte, 64<<10)}
}

func (u *unpacking) read(f *os.File, size int64) error {
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	if head = head[:n]; n == 0 {
		return errors.New("it is empty")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return u.zip(f, size)
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		return u.tar(z, u.most+freeRatio)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(f, zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderMaxWindow(64<<20))
		if err != nil {
			return err
		}
		defer z.Close()
		return u.tar(z, u.most+freeRatio)
	}
	return u.tar(f, MaxBytes+freeRatio)
}

// entry counts an entry and gives its name in the archive; ok is false for one
// that has none, such as the root.
func (u *unpacking) entry(raw string) (name string, ok bool, err error) {
	if u.ctx.Err() != nil {
		return "", false, context.Cause(u.ctx)
	}
	if u.entries++; u.entries > maxEntries {
		return "", false, fmt.Errorf("it has more than %d entries", maxEntries)
	}
	name = strings.TrimSuffix(raw, "/")
	if len(name) > maxPath {
		return "", false, &ProblemError{name[:min(len(name), 2*maxPath)], fmt.Sprintf("is longer than %d bytes", maxPath), "rename it"}
	}
	if path.IsAbs(name) || strings.ContainsRune(name, 0) || name == ".." || strings.HasPrefix(name, "../") || strings.Contains(name, "/../") || strings.HasSuffix(name, "/..") {
		return "", false, &ProblemError{raw, "leads out of the archive", "make the archive anew"}
	}
	name = path.Clean(name)
	return name, name != ".", nil
}

// content unpacks the content of one file.
func (u *unpacking) content(name string, r io.Reader) error {
	if _, twice := u.files[name]; twice || u.links[name] != "" {
		return &ProblemError{name, "is there twice", "make the archive anew"}
	}
	if len(u.files) >= maxEntries {
		return fmt.Errorf("it has more than %d files", MaxFiles)
	}
	id := strconv.Itoa(len(u.files))
	out, err := os.OpenFile(filepath.Join(u.dir, id), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	most := u.most - u.total
	n, err := io.CopyBuffer(onlyWriter{out}, cancelled{u.ctx, io.LimitReader(r, most+1)}, u.buf)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if u.total += n; n > most {
		return fmt.Errorf("%q %w", name, errTooMuch)
	}
	u.files[name], u.sizes[id] = id, n
	return nil
}

var errTooMuch = fmt.Errorf("is too much: a snapshot has at most %d GiB, and %d times its archive", MaxBytes>>30, maxRatio)

// maxOutside bounds what is read of a tar that is read once, in bytes.
const maxOutside = 256 << 30

// bounded is what a tar is read from: no more than it may be, and no longer
// than its context.
type bounded struct {
	u    *unpacking
	r    io.Reader
	left int64
	end  bool // the last block that was read was of zeros, as a tar ends
}

func (b *bounded) Read(p []byte) (n int, err error) {
	if b.u.ctx.Err() != nil {
		return 0, context.Cause(b.u.ctx)
	}
	if b.left <= 0 {
		return 0, fmt.Errorf("it %w", errTooMuch)
	}
	if len(p) > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	const block = 512
	if len(p) == block { // a header
		n, err = io.ReadFull(b.r, p)
	} else {
		n, err = b.r.Read(p)
	}
	b.left -= int64(n)
	if n > 0 {
		b.end = n == block && len(bytes.Trim(p[:n], "\x00")) == 0
	}
	return n, err
}

func (u *unpacking) tar(r io.Reader, most int64) error {
	from := &bounded{u: u, r: bufio.NewReaderSize(r, 64<<10), left: most}
	for tr := tar.NewReader(from); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			if !from.end {
				return io.ErrUnexpectedEOF
			}
			// The checksum of what it was compressed with is at its end.
			_, err := io.CopyBuffer(onlyWriter{io.Discard}, from, u.buf)
			if errors.Is(err, gzip.ErrHeader) {
				err = nil // what follows the last gzip is passed over, as gzip does
			}
			return err
		}
		if err != nil {
			return err
		}
		if u.outside(h.Name) {
			continue
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			h.Name = "." // it is counted
		}
		name, ok, err := u.entry(h.Name)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		switch h.Typeflag {
		case tar.TypeReg:
			err = u.content(name, tr)
		case tar.TypeDir:
		case tar.TypeSymlink:
			u.link(name, h.Linkname)
		case tar.TypeLink:
			// A hard link names its target from the root.
			u.link(name, strings.Repeat("../", strings.Count(name, "/"))+strings.TrimPrefix(h.Linkname, "./"))
		default:
			u.wrong[name] = &ProblemError{name, "is neither a file nor a folder", "devices, pipes and sockets cannot be kept"}
		}
		if err != nil {
			return err
		}
	}
}

// outside reports whether an entry cannot be of the folder that is taken.
func (u *unpacking) outside(name string) bool {
	if u.opt.Path == "" || u.opt.Strip > 0 {
		return false
	}
	return !strings.HasPrefix(path.Clean("/"+name)+"/", path.Clean("/"+u.opt.Path)+"/")
}

func (u *unpacking) link(name, target string) {
	switch {
	case len(target) == 0 || len(target) > maxLink:
		u.wrong[name] = &ProblemError{name, "is a link to nothing", "put the file itself there"}
	case u.files[name] != "" || u.links[name] != "":
		u.wrong[name] = &ProblemError{name, "is there twice", "make the archive anew"}
	default:
		u.links[name] = target
	}
}

func (u *unpacking) zip(f *os.File, size int64) error {
	if err := checkZip(f, size); err != nil {
		return err
	}
	z, err := zip.NewReader(f, size)
	if err != nil {
		return err
	}
	for _, e := range z.File {
		name, ok, err := u.entry(e.Name)
		if err != nil {
			return err
		}
		if !ok || e.Mode().IsDir() {
			continue
		}
		switch mode := e.Mode(); {
		case mode&fs.ModeSymlink != 0:
			err = u.zipLink(name, e)
		case mode.IsRegular():
			err = u.zipFile(name, e)
		default:
			u.wrong[name] = &ProblemError{name, "is neither a file nor a folder", "devices, pipes and sockets cannot be kept"}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacking) zipFile(name string, e *zip.File) error {
	rc, err := e.Open()
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	defer rc.Close()
	return u.content(name, rc)
}

func (u *unpacking) zipLink(name string, e *zip.File) error {
	rc, err := e.Open()
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	defer rc.Close()
	target, err := io.ReadAll(io.LimitReader(rc, maxLink+1))
	u.link(name, string(target))
	return err
}

// checkZip refuses a zip whose directory is too large to be read: the library
// reads all of it, whatever number of entries it is said to have.
func checkZip(f io.ReaderAt, size int64) error {
	const tail = 22 + 1<<16 // the end record and its longest comment
	buf := make([]byte, min(size, tail))
	if _, err := f.ReadAt(buf, size-int64(len(buf))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	at := bytes.LastIndex(buf, []byte("PK\x05\x06"))
	if at < 0 || len(buf)-at < 22 {
		return zip.ErrFormat
	}
	length, offset := int64(binary.LittleEndian.Uint32(buf[at+12:])), int64(binary.LittleEndian.Uint32(buf[at+16:]))
	if length == 0xffffffff || length == 0xffff || offset == 0xffffffff || binary.LittleEndian.Uint16(buf[at+10:]) == 0xffff {
		return errors.New("it is a zip64 archive, which is not read: make a tar.gz of it")
	}
	if size-offset > maxDirectory+tail || length > maxDirectory {
		return fmt.Errorf("its directory is longer than %d MiB", maxDirectory>>20)
	}
	// The directory is where the record says, or just before the record.
	for _, at := range []int64{offset, size - int64(len(buf)-at) - length} {
		if at >= 0 && countZip(io.NewSectionReader(f, at, size-at)) > maxEntries {
			return fmt.Errorf("it has more than %d entries", maxEntries)
		}
	}
	return nil
}

// countZip counts the entries of a zip's directory, up to what is too many.
func countZip(r io.Reader) (n int) {
	br := bufio.NewReader(r)
	head := make([]byte, 46)
	for n <= maxEntries {
		if _, err := io.ReadFull(br, head); err != nil || !bytes.HasPrefix(head, []byte("PK\x01\x02")) {
			break
		}
		n++
		rest := 0
		for _, at := range []int{28, 30, 32} { // of its name, its extra fields, its comment
			rest += int(binary.LittleEndian.Uint16(head[at:]))
		}
		if _, err := br.Discard(rest); err != nil {
			break
		}
	}
	return n
}

// tree takes the part of the archive that is wanted.
func (u *unpacking) tree() (*Tree, error) {
	prefix := strings.Trim(path.Clean("/"+u.opt.Path), "/")
	part := newListing()
	cut := func(name string) (string, bool) {
		for range u.opt.Strip {
			_, rest, ok := strings.Cut(name, "/")
			if !ok {
				return "", false
			}
			name = rest
		}
		if prefix == "" {
			return name, true
		}
		return strings.CutPrefix(name, prefix+"/")
	}
	taken := map[string]string{} // where a name of the part comes from
	take := func(name string) (string, error) {
		short, ok := cut(name)
		if !ok {
			return "", nil
		}
		if first, twice := taken[short]; twice {
			return "", &ProblemError{name, fmt.Sprintf("would have the same name as %q", first), "strip less of the names"}
		}
		taken[short] = name
		return short, nil
	}
	u.resolve(".")
	for name, id := range u.files {
		short, err := take(name)
		if err != nil {
			return nil, err
		}
		if short == "" {
			continue
		}
		if target := u.links[name]; target != "" && !u.inside(name, cut) {
			part.wrong[short] = &ProblemError{short, "is a link out of the folder", "put the file itself there"}
			continue
		}
		part.files[short] = id
	}
	for name, err := range u.wrong {
		if short, ok := cut(name); ok {
			part.wrong[short] = err
		}
	}
	if len(part.files)+len(part.wrong) == 0 && (u.opt.Path != "" || u.opt.Strip > 0) {
		return nil, fmt.Errorf("the archive has nothing at %q after %d folders are dropped", u.opt.Path, u.opt.Strip)
	}
	patterns, err := u.patterns(part.files)
	if err != nil {
		return nil, err
	}
	t, ids, err := part.tree(patterns)
	if err != nil {
		return nil, err
	}
	var total int64 // with the copies that links have become
	for i, id := range ids {
		if total += u.sizes[id]; total > MaxBytes {
			return nil, fmt.Errorf("the archive, with what its links name, %w", errTooMuch)
		}
		t.files[i].size = u.sizes[id]
		t.files[i].open = func() (io.ReadCloser, error) { return os.Open(filepath.Join(u.dir, id)) }
	}
	return t, nil
}

// inside reports whether all that a link goes through is of the part.
func (u *unpacking) inside(name string, cut func(string) (string, bool)) bool {
	for hops := 0; u.links[name] != "" && hops < 40; hops++ {
		name = follow(".", name, u.links[name])
		if _, ok := cut(name); !ok {
			return false
		}
	}
	return true
}

func (u *unpacking) patterns(files map[string]string) ([]string, error) {
	id, ok := files[IgnoreFile]
	if !ok {
		return nil, nil
	}
	return readIgnore(filepath.Join(u.dir, id))
}

// copyContext is io.Copy that ends with its context.
func copyContext(ctx context.Context, dst io.Writer, src io.Reader) (int64, error) {
	return io.CopyBuffer(onlyWriter{dst}, cancelled{ctx, src}, make([]byte, 64<<10))
}

type onlyWriter struct{ io.Writer }

// cancelled is a reader that ends with its context.
type cancelled struct {
	ctx context.Context //nolint:containedctx // a reader has no other way to have one
	r   io.Reader
}

func (c cancelled) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
