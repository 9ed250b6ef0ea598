package store

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// write makes a file outside the store.
func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// object takes a file with the content into the store.
func object(t *testing.T, s *Store, content string) Object {
	t.Helper()
	o, err := s.MoveFile(t.Context(), write(t, filepath.Join(t.TempDir(), "x"), content))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// folder takes a folder of two files into the store.
func folder(t *testing.T, s *Store, a, b string) Object {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f/a"), a)
	write(t, filepath.Join(dir, "f/sub/b"), b)
	o, err := s.MoveFolder(t.Context(), filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func key(name string) schema.Digest { return schema.DigestBytes([]byte(name)) }

// result commits a result with one output.
func result(t *testing.T, s *Store, name string, o Object, sc Scope) *Result {
	t.Helper()
	r, err := s.Commit(t.Context(), &Result{Key: key(name), Run: name, Outputs: map[string]Output{"out": {Object: &o, Type: schema.TypeFile}}}, sc, false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// damage flips a bit of a file in the store and gives it a time.
func damage(t *testing.T, path string, mtime time.Time) {
	t.Helper()
	data := []byte(read(t, path))
	data[len(data)/2] ^= 1
	if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, data, 0o644), os.Chtimes(path, mtime, mtime)); err != nil {
		t.Fatal(err)
	}
}

// whole asserts that the store is as it should be and nothing is on its way.
func whole(t *testing.T, s *Store) {
	t.Helper()
	_, damaged, err := s.Verify(t.Context())
	if err != nil || len(damaged) > 0 {
		t.Errorf("verify: %q, %v", damaged, err)
	}
	if left, err := os.ReadDir(s.Temp()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestResult(t *testing.T) {
	s := open(t, t.TempDir())
	if r, why, err := s.Lookup(t.Context(), key("k"), Scope{}); r != nil || why != nil || err != nil {
		t.Fatalf("lookup in an empty store: %v, %v, %v", r, why, err)
	}
	o, d := object(t, s, "content"), folder(t, s, "1", "2")
	want := &Result{Key: key("k"), Outputs: map[string]Output{
		"file":   {Object: &o, Type: schema.TypeFile},
		"folder": {Object: &d, Type: schema.TypeFolder},
		"value":  {Type: schema.TypeInteger, Value: []byte("0")},
	}}
	if _, err := s.Commit(t.Context(), want, Scope{}, false); err != nil {
		t.Fatal(err)
	}
	got, why, err := s.Lookup(t.Context(), key("k"), Scope{})
	if err != nil || why != nil {
		t.Fatal(why, err)
	}
	if schema.JSON(got) != schema.JSON(want) {
		t.Errorf("got %s, want %s", schema.JSON(got), schema.JSON(want))
	}
	if other, _, _ := s.Lookup(t.Context(), key("other"), Scope{}); other != nil {
		t.Errorf("another key has the result %v", other)
	}
	whole(t, s)
}

func TestFirstCommitWins(t *testing.T) {
	s := open(t, t.TempDir())
	first, second := object(t, s, "first"), object(t, s, "second")
	result(t, s, "k", first, Scope{})
	if r := result(t, s, "k", second, Scope{}); r.Outputs["out"].Digest != first.Digest {
		t.Errorf("the second commit won: %s", r.Outputs["out"].Digest)
	}
	r, err := s.Commit(t.Context(), &Result{Key: key("k"), Outputs: map[string]Output{"out": {Object: &second, Type: schema.TypeFile}}}, Scope{}, true)
	if err != nil || r.Outputs["out"].Digest != second.Digest {
		t.Errorf("replacing gives %v, %v", r, err)
	}
	if r, _, _ := s.Lookup(t.Context(), key("k"), Scope{}); r == nil || r.Outputs["out"].Digest != second.Digest {
		t.Errorf("after replacing there is %v", r)
	}
}

func TestScopes(t *testing.T) {
	dir := t.TempDir()
	s, other := open(t, dir), open(t, dir)
	other.machine = "another machine"
	o := object(t, s, "x")
	scopes := []Scope{{}, {Machine: true}, {Line: "run1"}, {Line: "run2"}, {Machine: true, Line: "run1"}}
	for i, made := range scopes {
		k := string(rune('a' + i))
		result(t, s, k, o, made)
		for _, sc := range scopes {
			if r, _, err := s.Lookup(t.Context(), key(k), sc); err != nil || (r != nil) != (sc == made) {
				t.Errorf("made with %+v, looked up with %+v: %v, %v", made, sc, r, err)
			}
			if r, _, err := other.Lookup(t.Context(), key(k), sc); err != nil || (r != nil) != (sc == made && !sc.Machine) {
				t.Errorf("made with %+v, looked up elsewhere with %+v: %v, %v", made, sc, r, err)
			}
		}
	}
}

func TestDamage(t *testing.T) {
	tests := map[string]struct {
		harm   func(t *testing.T, s *Store, o, d Object)
		unseen bool // stat does not show it: Verify alone finds it
		why    string
	}{
		"bit":                   {harm: func(t *testing.T, s *Store, o, _ Object) { damage(t, s.Path(o), time.Now()) }, why: "damaged"},
		"bit, same time":        {harm: func(t *testing.T, s *Store, o, _ Object) { damage(t, s.Path(o), untouched) }, unseen: true},
		"folder bit":            {harm: func(t *testing.T, s *Store, _, d Object) { damage(t, filepath.Join(s.Path(d), "sub/b"), time.Now()) }, why: "damaged"},
		"folder bit, same time": {harm: func(t *testing.T, s *Store, _, d Object) { damage(t, filepath.Join(s.Path(d), "a"), untouched) }, unseen: true},
		"folder, file more": {harm: func(t *testing.T, s *Store, _, d Object) {
			if err := seal(write(t, filepath.Join(s.Path(d), "more"), "x"), 0o444); err != nil {
				t.Fatal(err)
			}
		}, why: "damaged"},
		"folder, file less": {harm: func(t *testing.T, s *Store, _, d Object) { os.Remove(filepath.Join(s.Path(d), "a")) }, why: "damaged"},
		"cut": {harm: func(t *testing.T, s *Store, o, _ Object) {
			if err := errors.Join(os.Chmod(s.Path(o), 0o644), os.Truncate(s.Path(o), 1)); err != nil {
				t.Fatal(err)
			}
		}, why: "damaged"},
		"file gone":   {harm: func(_ *testing.T, s *Store, o, _ Object) { os.Remove(s.Path(o)) }, why: "not in the store"},
		"folder gone": {harm: func(_ *testing.T, s *Store, _, d Object) { os.RemoveAll(s.Path(d)) }, why: "not in the store"},
		"a folder for a file": {harm: func(t *testing.T, s *Store, o, _ Object) {
			if err := errors.Join(os.Remove(s.Path(o)), os.Mkdir(s.Path(o), 0o755)); err != nil {
				t.Fatal(err)
			}
		}, why: "damaged"},
		"a link for a file": {harm: func(t *testing.T, s *Store, o, _ Object) {
			p := s.Path(o)
			if err := errors.Join(os.Rename(p, p+".x"), os.Symlink(write(t, filepath.Join(t.TempDir(), "y"), "y"), p)); err != nil {
				t.Fatal(err)
			}
		}, why: "damaged"},
		"result cut": {harm: func(t *testing.T, s *Store, _, _ Object) { write(t, s.resultPath(key("k"), Scope{}), `{"key":`) }, why: "damaged"},
		"result of another key": {harm: func(t *testing.T, s *Store, o, _ Object) {
			result(t, s, "l", o, Scope{})
			if err := os.Rename(s.resultPath(key("l"), Scope{}), s.resultPath(key("k"), Scope{})); err != nil {
				t.Fatal(err)
			}
		}, why: "damaged"},
	}
	setup := func(t *testing.T) (*Store, Object, Object) {
		s := open(t, t.TempDir())
		o, d := object(t, s, "content"), folder(t, s, "one", "two")
		_, err := s.Commit(t.Context(), &Result{Key: key("k"), Outputs: map[string]Output{
			"file": {Object: &o, Type: schema.TypeFile}, "folder": {Object: &d, Type: schema.TypeFolder},
		}}, Scope{}, false)
		if err != nil {
			t.Fatal(err)
		}
		return s, o, d
	}
	for name, tt := range tests {
		t.Run("lookup "+name, func(t *testing.T) {
			s, o, d := setup(t)
			tt.harm(t, s, o, d)
			r, why, err := s.Lookup(t.Context(), key("k"), Scope{})
			if err != nil || (r != nil) != tt.unseen {
				t.Fatalf("lookup: %v, %v, %v", r, why, err)
			}
			if tt.unseen {
				return
			}
			if why == nil || !strings.Contains(why.Error(), tt.why) {
				t.Errorf("why is %v, want %q", why, tt.why)
			}
			// It is made again and is whole.
			o2, d2 := object(t, s, "content"), folder(t, s, "one", "two")
			if o2 != o || d2 != d {
				t.Errorf("made again: %v and %v, not %v and %v", o2, d2, o, d)
			}
			result(t, s, "k", o2, Scope{})
			whole(t, s)
		})
		t.Run("verify "+name, func(t *testing.T) {
			s, o, d := setup(t)
			tt.harm(t, s, o, d)
			if _, damaged, err := s.Verify(t.Context()); err != nil || len(damaged) == 0 {
				t.Errorf("verify: %q, %v", damaged, err)
			}
			whole(t, s)
			if r, why, err := s.Lookup(t.Context(), key("k"), Scope{}); r != nil || err != nil {
				t.Errorf("after verify: %v, %v, %v", r, why, err)
			}
		})
	}
}

// What was touched and is still right is taken as it is.
func TestTouched(t *testing.T) {
	s := open(t, t.TempDir())
	o, d := object(t, s, "content"), folder(t, s, "1", "2")
	now := time.Now()
	for _, p := range []string{s.Path(o), filepath.Join(s.Path(d), "a")} {
		if err := os.Chtimes(p, now, now); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []Object{o, d} {
		if err := s.Check(t.Context(), x); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(s.Path(o)); err != nil || !info.ModTime().Equal(untouched) {
		t.Errorf("its time was not set back: %v", err)
	}
}

func TestMoveAndCopy(t *testing.T) {
	s := open(t, t.TempDir())
	path := write(t, filepath.Join(t.TempDir(), "x"), "content")
	c, err := s.CopyFile(t.Context(), path)
	if err != nil || read(t, path) != "content" {
		t.Fatal(err)
	}
	m, err := s.MoveFile(t.Context(), path)
	if err != nil || m != c {
		t.Fatalf("moved %v, copied %v: %v", m, c, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the moved file is still there: %v", err)
	}
	a, b := folder(t, s, "1", "2"), folder(t, s, "1", "2")
	if a != b || a.Files != 2 || a.Size != 2 {
		t.Errorf("the same folder twice: %+v, %+v", a, b)
	}
	whole(t, s)
}

func TestAddTree(t *testing.T) {
	s := open(t, t.TempDir())
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sub/x"), "1")
	tree, err := snapshot.Data(dir)
	if err != nil {
		t.Fatal(err)
	}
	want, err := tree.Digest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddTree(t.Context(), tree, key("other")); err == nil {
		t.Error("a tree of another digest was taken")
	}
	for range 2 {
		o, err := s.AddTree(t.Context(), tree, want)
		if err != nil || o.Digest != want {
			t.Fatalf("%v, %v", o, err)
		}
		if got := read(t, filepath.Join(s.Path(o), "sub/x")); got != "1" {
			t.Errorf("the store has %q", got)
		}
	}
	whole(t, s)
}

func TestLinkAndCopy(t *testing.T) {
	s := open(t, t.TempDir())
	o, d := object(t, s, "content"), folder(t, s, "one", "two")
	// On the store's own file system, where links can be.
	dir := filepath.Join(s.Temp(), "work")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	to := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(s.Link(o, to("link")), s.Copy(o, to("copy")), s.Link(d, to("dlink")), s.Copy(d, to("dcopy"))); err != nil {
		t.Fatal(err)
	}
	same := func(a, b string) bool {
		x, err1 := os.Stat(a)
		y, err2 := os.Stat(b)
		return err1 == nil && err2 == nil && os.SameFile(x, y)
	}
	if !same(to("link"), s.Path(o)) || !same(to("dlink/sub/b"), filepath.Join(s.Path(d), "sub/b")) {
		t.Error("a link is a copy")
	}
	if same(to("copy"), s.Path(o)) || same(to("dcopy/sub/b"), filepath.Join(s.Path(d), "sub/b")) {
		t.Error("a copy is a link")
	}
	for _, p := range []string{"copy", "dcopy/a", "dcopy/sub/b"} {
		write(t, to(p), "changed") // copies may be changed
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	whole(t, s)
	if err := s.Link(Object{Digest: key("none")}, to("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("linking what is not there: %v", err)
	}
}

// A link that was written to is found by Check, and gone for others.
func TestWrittenLink(t *testing.T) {
	s := open(t, t.TempDir())
	o := object(t, s, "content")
	link := filepath.Join(s.Temp(), "link")
	if err := s.Link(o, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(link, 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, link, "CONTENT")
	if err := s.Check(t.Context(), o); !errors.Is(err, ErrDamaged) {
		t.Errorf("check: %v", err)
	}
	if err := s.Check(t.Context(), o); !errors.Is(err, ErrMissing) {
		t.Errorf("check again: %v", err)
	}
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "store")
	open(t, dir)
	open(t, dir) // again, while it is open
	write(t, filepath.Join(dir, "layout"), "modyard store 99\n")
	if _, err := Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "its layout is") {
		t.Errorf("another layout: %v", err)
	}
	foreign := t.TempDir()
	write(t, filepath.Join(foreign, "thesis.tex"), "")
	if _, err := Open(t.Context(), foreign); err == nil || !strings.Contains(err.Error(), `"thesis.tex"`) {
		t.Errorf("a folder that is no store: %v", err)
	}
	if entries, _ := os.ReadDir(foreign); len(entries) != 1 {
		t.Errorf("it was written to: %v", entries)
	}
	half := t.TempDir() // what a crash while making a store leaves
	if err := os.Mkdir(filepath.Join(half, "objects"), 0o755); err != nil {
		t.Fatal(err)
	}
	whole(t, open(t, half))
	if _, err := Open(t.Context(), write(t, filepath.Join(t.TempDir(), "file"), "")); err == nil {
		t.Error("a file was opened as a store")
	}
}

// Many processes may make one store at once.
func TestOpenAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			s, err := Open(t.Context(), dir)
			if err != nil {
				t.Error(err)
				return
			}
			s.Close()
		})
	}
	wg.Wait()
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	left := write(t, filepath.Join(first.Temp(), "task-1/home/x"), "left by a run that died")
	second := open(t, dir) // while first lives, it may be its
	if _, err := os.Stat(left); err != nil {
		t.Error(err)
	}
	first.Close()
	second.Close()
	third := open(t, dir)
	whole(t, third)
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir), open(t, dir)
	unlock, err := a.Lock(t.Context(), "abcdef")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Lock(ctx, "abcdef"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a held lock: %v", err)
	}
	other, err := b.Lock(t.Context(), "abcdeg")
	if err != nil {
		t.Fatal(err)
	}
	other()
	time.AfterFunc(50*time.Millisecond, unlock)
	again, err := b.Lock(t.Context(), "abcdef")
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestKeys(t *testing.T) {
	s := open(t, t.TempDir())
	doc := []byte(`{"task":"x"}`)
	k := schema.DigestBytes(doc)
	if got, err := s.Key(k); got != nil || err != nil {
		t.Errorf("before: %q, %v", got, err)
	}
	for range 2 {
		if err := s.PutKey(k, doc); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Key(k); !bytes.Equal(got, doc) || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.Key("../../etc/passwd"); err == nil {
		t.Error("a path was taken as a key")
	}
}

func TestUsageAndResults(t *testing.T) {
	s := open(t, t.TempDir())
	result(t, s, "a", object(t, s, "12345"), Scope{})
	result(t, s, "b", folder(t, s, "1", "2"), Scope{Machine: true})
	u, err := s.Usage()
	if err != nil || u.Results != 2 || u.Objects != 2 || u.Bytes < 7 {
		t.Errorf("%+v, %v", u, err)
	}
	var names []string
	err = s.Results(func(_ string, r *Result, err error) error { names = append(names, r.Run); return err })
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("%v, %v", names, err)
	}
}

// A tree that lost a file is found even by one who knows its digest alone.
func TestTreeLostFile(t *testing.T) {
	dir := t.TempDir()
	src := t.TempDir()
	write(t, filepath.Join(src, "a"), "1")
	write(t, filepath.Join(src, "b"), "2")
	tree, err := snapshot.Data(src)
	if err != nil {
		t.Fatal(err)
	}
	o, err := open(t, dir).AddTree(t.Context(), tree, "")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	alone := Object{Digest: o.Digest, Folder: true}
	if err := s.Check(t.Context(), alone); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.Path(o), "b")); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Check(t.Context(), alone); !errors.Is(err, ErrDamaged) {
		t.Errorf("a tree without one of its files: %v", err)
	}
}

// A flipped bit in the text of a result or key is found.
func TestFlippedValue(t *testing.T) {
	s := open(t, t.TempDir())
	k := schema.DigestBytes([]byte("document"))
	if err := s.PutKey(k, []byte("document")); err != nil {
		t.Fatal(err)
	}
	r := &Result{Key: k, Outputs: map[string]Output{"n": {Type: schema.TypeInteger, Value: []byte("4711")}}}
	if _, err := s.Commit(t.Context(), r, Scope{}, false); err != nil {
		t.Fatal(err)
	}
	path := s.resultPath(k, Scope{})
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, strings.Replace(string(data), "4711", "4710", 1))
	write(t, s.shard("keys", k), "documens")
	if doc, err := s.Key(k); doc != nil || err != nil {
		t.Errorf("a damaged key was read: %s, %v", doc, err)
	}
	if _, damaged, err := s.Verify(t.Context()); err != nil || len(damaged) != 2 {
		t.Errorf("verify found %v, %v", damaged, err)
	}
	if r, _, err := s.Lookup(t.Context(), k, Scope{}); r != nil || err != nil {
		t.Errorf("a damaged result was used: %v, %v", r, err)
	}
}
