package snapshot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBounds: too many files, or too much of them.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("four"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		files int
		bytes int64
		good  bool
	}{{3, 12, true}, {2, 12, false}, {3, 11, false}} {
		_, err := walkFolder(dir, func(string, bool) bool { return false }, c.files, c.bytes)
		if p, ok := errors.AsType[*ProblemError](err); (err == nil) != c.good || err != nil && (!ok || p.Path != "c") {
			t.Errorf("at most %d files, %d bytes: %v", c.files, c.bytes, err)
		}
	}
}

// memory makes a tree of files in memory.
func memory(names, contents []string) (*Tree, error) {
	var files []file
	for i, n := range names {
		content := []byte(contents[i])
		files = append(files, file{nfc(n), int64(len(content)), func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content)), nil
		}})
	}
	return newTree(files)
}

// FuzzTree: what is written is read again, whatever the order of the files.
func FuzzTree(f *testing.F) {
	f.Add("a\nb/c", "one\x00two")
	f.Add("é\n"+strings.Repeat("d/", 90)+"x\n"+strings.Repeat("n", 101), "\x00\x00three")
	f.Add(strings.Repeat("é", 60)+"/"+strings.Repeat("n", 100), "")
	f.Add("a\na/b\nA", "1\x002\x003")
	f.Fuzz(func(t *testing.T, names, contents string) {
		list := strings.Split(names, "\n")
		parts := strings.Split(contents, "\x00")
		for len(parts) < len(list) {
			parts = append(parts, "")
		}
		tree, err := memory(list, parts[:len(list)])
		if err != nil {
			return
		}
		var packed bytes.Buffer
		if err := tree.WriteTar(t.Context(), &packed); err != nil {
			t.Fatal(err)
		}
		want, err := tree.Digest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := packedIn(packed.Bytes()).Unpack(t.Context(), t.TempDir()); err != nil || got.Digest != want || got.Files != len(tree.Files()) {
			t.Errorf("%q is read as %+v: %v", tree.Files(), got, err)
		}
		slices.Reverse(list)
		back := slices.Clone(parts[:len(list)])
		slices.Reverse(back)
		other, err := memory(list, back)
		if err != nil {
			t.Fatalf("in another order: %v", err)
		}
		if got, err := other.Digest(t.Context()); err != nil || got != want {
			t.Errorf("in another order %s, not %s: %v", got, want, err)
		}
		dir := t.TempDir()
		if got, err := tree.Unpack(t.Context(), dir); err != nil || got.Digest != want {
			t.Fatalf("unpacked: %v", err)
		}
		again, err := Data(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := again.Digest(t.Context()); err != nil || got != want {
			t.Errorf("unpacked, and taken again: %v", err)
		}
	})
}

func packedIn(data []byte) Packed {
	return Packed{Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

// FuzzPacked: what an archive is unpacked to has the digest that was told.
func FuzzPacked(f *testing.F) {
	for _, names := range [][]string{nil, {"a"}, {"a/b", "c"}, {"é"}, {strings.Repeat("n", 120)}, {strings.Repeat("d/", 80) + "x"}} {
		tree, err := memory(names, make([]string, len(names)))
		if err != nil {
			f.Fatal(err)
		}
		var b bytes.Buffer
		if err := tree.WriteTar(f.Context(), &b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		c, err := packedIn(data).Unpack(t.Context(), dir)
		if err != nil {
			return
		}
		tree, err := Data(dir)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := tree.Digest(t.Context()); err != nil || d != c.Digest || tree.Size() != c.Size || len(tree.Files()) != c.Files {
			t.Errorf("unpacked to %s, not %+v: %v", d, c, err)
		}
	})
}

// FuzzIgnore: a line more never brings a file back, and what is in a folder
// that is left out is left out.
func FuzzIgnore(f *testing.F) {
	f.Add("*.log\nbuild/", "/top\n", "a/build/x.log")
	f.Add("**/deep/**", "[a-z]?", "x/deep/y")
	f.Add("{a,b}/\n", "\\", "a/b")
	f.Add("/", "//", "a")
	f.Fuzz(func(t *testing.T, first, more, name string) {
		if checkName(name) != nil {
			return
		}
		a, err := parseIgnore([]byte(first))
		if err != nil {
			return
		}
		b, err := parseIgnore([]byte(first + "\n" + more))
		if err != nil {
			return
		}
		if ignoredPath(a, name) && !ignoredPath(b, name) {
			t.Errorf("%q is left out by %q, not by %q", name, a, b)
		}
		if parent := path.Dir(name); parent != "." && ignored(b, parent, true) && !ignoredPath(b, name) {
			t.Errorf("%q is left out, %q is not", parent, name)
		}
		if !ignoredPath(b, name+"/__pycache__/x") || !ignoredPath(b, ".git/"+name) {
			t.Error("what is always left out was not")
		}
	})
}
