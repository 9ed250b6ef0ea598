package snapshot

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/modyard/modyard/schema"
)

// Packed is a snapshot in the form of a tree's archive, as images carry it.
type Packed struct {
	// Open begins to read the archive, uncompressed.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// Data says that it is a folder of data, which has no bound but the disk's.
	Data bool
}

// sparse reports whether a file's size says nothing of the archive's.
func sparse(h *tar.Header) bool {
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// Unpack writes the files into dir, which exists and is empty, in one pass. An
// archive that is no tree is refused: links and devices, names out of order,
// that clash, or that not every system can hold, and more than a snapshot may
// have. The digest is that of the tree's canonical archive, whatever the
// archive that was read looks like.
func (p Packed) Unpack(ctx context.Context, dir string) (Content, error) {
	rc, err := p.Open(ctx)
	if err != nil {
		return Content{}, err
	}
	defer rc.Close()
	h := sha256.New()
	w := newWriter(h, dir)
	taken, last := newNames(0), ""
	for tr := tar.NewReader(rc); ; {
		head, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Content{}, fmt.Errorf("cannot read the tree: %w", err)
		}
		name, ok := strings.CutPrefix(head.Name, Prefix)
		if !ok || head.Typeflag != tar.TypeReg || sparse(head) || name <= last {
			return Content{}, fmt.Errorf("cannot read the tree: %q is no file of a tree, or out of order", head.Name)
		}
		if err := taken.add(name); err != nil {
			return Content{}, fmt.Errorf("cannot read the tree: %w", err)
		}
		if !p.Data && (w.content.Files >= MaxFiles || head.Size > MaxBytes-w.content.Size) {
			return Content{}, fmt.Errorf("cannot read the tree: it has more than %d files or %d GiB", MaxFiles, MaxBytes>>30)
		}
		last = name
		if err := w.file(ctx, file{name: name, size: head.Size}, tr); err != nil {
			return Content{}, err
		}
	}
	// What follows the archive's end is padding; that of a stream with a
	// checksum is read to its end.
	if _, err := io.Copy(io.Discard, io.LimitReader(rc, 1<<20)); err != nil {
		return Content{}, fmt.Errorf("cannot read the tree: %w", err)
	}
	if err := w.tar.Close(); err != nil {
		return Content{}, err
	}
	w.content.Digest = schema.DigestSum(h.Sum(nil))
	return w.content, nil
}
