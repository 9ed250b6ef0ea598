package store

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modyard/modyard/schema"
)

// remembered counts the digests that the store has remembered.
func remembered(t *testing.T, s *Store) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.root, "hashes", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// until moves the clock of a bubble on to the moment d after now, which the
// file system has given the files.
func until(now time.Time, d time.Duration) { time.Sleep(time.Until(now.Add(d))) }

func TestInput(t *testing.T) {
	s := open(t, t.TempDir())
	dir := t.TempDir()
	file, sub := write(t, filepath.Join(dir, "f"), "content"), filepath.Join(dir, "d")
	write(t, filepath.Join(sub, "a"), "1")
	write(t, filepath.Join(sub, "b/c"), "22")
	o, err := s.Input(t.Context(), file, false)
	if err != nil || o.Digest != schema.DigestBytes([]byte("content")) || o.Size != 7 {
		t.Errorf("%+v, %v", o, err)
	}
	d, err := s.Input(t.Context(), sub, true)
	if err != nil || d.Files != 2 || d.Size != 3 || !d.Folder {
		t.Errorf("%+v, %v", d, err)
	}
	for path, isFolder := range map[string]bool{file: true, sub: false, filepath.Join(dir, "none"): false} {
		if _, err := s.Input(t.Context(), path, isFolder); err == nil {
			t.Errorf("%s was read with folder: %v", path, isFolder)
		}
	}
}

// A digest is remembered only when a later write cannot leave the same times.
func TestRacyClean(t *testing.T) {
	s := open(t, t.TempDir())
	dir := t.TempDir()
	file, sub := write(t, filepath.Join(dir, "f"), "content"), filepath.Join(dir, "d")
	write(t, filepath.Join(sub, "x"), "1")
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		input := func(want int) {
			t.Helper()
			for path, folder := range map[string]bool{file: false, sub: true} {
				if _, err := s.Input(t.Context(), path, folder); err != nil {
					t.Fatal(err)
				}
			}
			if n := remembered(t, s); n != want {
				t.Errorf("%s after the write %d are remembered, want %d", time.Since(now), n, want)
			}
		}
		until(now, time.Second)
		input(0)
		until(now, racy+time.Second)
		input(2)
	})
}

// What is remembered is used, until stat says anything else.
func TestRemembered(t *testing.T) {
	s := open(t, t.TempDir())
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "f"), "content")
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		until(now, time.Minute)
		if _, err := s.Input(t.Context(), file, false); err != nil {
			t.Fatal(err)
		}
	})
	memo, err := filepath.Glob(filepath.Join(s.root, "hashes", "*", "*"))
	if err != nil || len(memo) != 1 {
		t.Fatal(memo, err)
	}
	mark := Object{Digest: key("mark"), Size: 7}
	packed, err := pack(mark)
	if err != nil {
		t.Fatal(err)
	}
	write(t, memo[0], string(packed))
	if o, err := s.Input(t.Context(), file, false); err != nil || o != mark {
		t.Errorf("it was hashed again: %+v, %v", o, err)
	}
	write(t, memo[0], "damaged")
	if o, err := s.Input(t.Context(), file, false); err != nil || o.Digest != schema.DigestBytes([]byte("content")) {
		t.Errorf("with a damaged memory: %+v, %v", o, err)
	}
	write(t, memo[0], schema.JSON(mark))
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	changes := map[string]func() string{
		"another file in its place": func() string {
			if err := os.Rename(write(t, filepath.Join(dir, "g"), "CONTENT"), file); err != nil {
				t.Fatal(err)
			}
			return "CONTENT"
		},
		"another content": func() string { write(t, file, "Content"); return "Content" },
	}
	for name, change := range changes {
		want := change()
		if runtime.GOOS == "linux" { // elsewhere the time of the inode's change is not looked at
			if err := os.Chtimes(file, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		}
		if o, err := s.Input(t.Context(), file, false); err != nil || o.Digest != schema.DigestBytes([]byte(want)) {
			t.Errorf("%s of the same size and time: %+v, %v", name, o, err)
		}
	}
}

func TestImport(t *testing.T) {
	s := open(t, t.TempDir())
	dir := t.TempDir()
	file, sub := write(t, filepath.Join(dir, "f"), "content"), filepath.Join(dir, "d")
	write(t, filepath.Join(sub, "x"), "1")
	for path, folder := range map[string]bool{file: false, sub: true} {
		o, err := s.Input(t.Context(), path, folder)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.Import(t.Context(), path, o); err != nil {
				t.Fatal(err)
			}
			if err := s.Check(t.Context(), o); err != nil {
				t.Error(err)
			}
		}
		at := path
		if folder {
			at = filepath.Join(path, "x")
		}
		if info, err := os.Stat(at); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("the input itself was changed: %v, %v", info, err)
		}
		write(t, at, "changed")
		if err := s.Check(t.Context(), o); err != nil {
			t.Errorf("a change of the input reaches the store: %v", err)
		}
		if err := s.Evict(o); err != nil {
			t.Fatal(err)
		}
		if err := s.Import(t.Context(), path, o); err == nil || !strings.Contains(err.Error(), "changed while it was used") {
			t.Errorf("an input that changed since it was hashed: %v", err)
		}
	}
	whole(t, s)
}
