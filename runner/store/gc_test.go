package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/modyard/modyard/schema"
)

// age makes files look as if they were used so long ago.
func age(t *testing.T, d time.Duration, paths ...string) {
	t.Helper()
	then := time.Now().Add(-d)
	for _, p := range paths {
		if err := os.Chtimes(p, then, then); err != nil {
			t.Fatal(err)
		}
	}
}

func there(path string) bool { _, err := os.Stat(path); return err == nil }

const day = 24 * time.Hour

func TestGCByAge(t *testing.T) {
	s := open(t, t.TempDir())
	shared, old, fresh := object(t, s, "shared"), object(t, s, "old"), folder(t, s, "1", "2")
	result(t, s, "old", old, Scope{})
	result(t, s, "old too", shared, Scope{Machine: true})
	result(t, s, "fresh", fresh, Scope{})
	result(t, s, "fresh too", shared, Scope{Line: "run"})
	orphan := object(t, s, "of no result")
	age(t, 31*day, s.resultPath(key("old"), Scope{}), s.resultPath(key("old too"), Scope{Machine: true}))
	c, err := s.GC(t.Context(), GCOptions{})
	if err != nil || c.Results != 2 || c.Objects != 2 || c.Bytes <= 0 {
		t.Errorf("%+v, %v", c, err)
	}
	for o, want := range map[Object]bool{shared: true, fresh: true, old: false, orphan: false} {
		if there(s.Path(o)) != want {
			t.Errorf("%+v is there: %v", o, !want)
		}
	}
	whole(t, s)
}

// A result that is used stays.
func TestGCGoesByUse(t *testing.T) {
	s := open(t, t.TempDir())
	result(t, s, "k", object(t, s, "x"), Scope{})
	age(t, 31*day, s.resultPath(key("k"), Scope{}))
	if r, _, err := s.Lookup(t.Context(), key("k"), Scope{}); r == nil || err != nil {
		t.Fatal(r, err)
	}
	if c, err := s.GC(t.Context(), GCOptions{}); err != nil || c.Results != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestGCBySize(t *testing.T) {
	s := open(t, t.TempDir())
	big := string(make([]byte, 1000))
	for i, name := range []string{"a", "b", "c"} { // a was used last
		result(t, s, name, object(t, s, name+big), Scope{})
		age(t, time.Duration(i)*time.Hour, s.resultPath(key(name), Scope{}))
	}
	if c, err := s.GC(t.Context(), GCOptions{MaxBytes: 2500}); err != nil || c.Results != 1 || c.Objects != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	for name, want := range map[string]bool{"a": true, "b": true, "c": false} {
		if r, _, err := s.Lookup(t.Context(), key(name), Scope{}); err != nil || (r != nil) != want {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

// The snapshot and inputs of a result are kept with it: they are what tells
// how it was made.
func TestGCKeepsWhatKeysName(t *testing.T) {
	s := open(t, t.TempDir())
	snap, in := folder(t, s, "code", "x"), object(t, s, "input")
	doc := []byte(schema.JSON(map[string]any{"snapshot": snap.Digest, "inputs": map[string]any{"data": map[string]any{"type": "file", "digest": in.Digest}}}))
	k := schema.DigestBytes(doc)
	if err := s.PutKey(k, doc); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), &Result{Key: k, Outputs: map[string]Output{}}, Scope{}, false); err != nil {
		t.Fatal(err)
	}
	lone := schema.DigestBytes([]byte("{}"))
	if err := s.PutKey(lone, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	age(t, 31*day, s.shard("keys", k), s.shard("keys", lone))
	if _, err := s.GC(t.Context(), GCOptions{}); err != nil {
		t.Fatal(err)
	}
	if !there(s.Path(snap)) || !there(s.Path(in)) || !there(s.shard("keys", k)) {
		t.Error("what a result needs is gone")
	}
	if there(s.shard("keys", lone)) {
		t.Error("an old key of no result is still there")
	}
}

func TestGCOfTheRest(t *testing.T) {
	s := open(t, t.TempDir())
	env := func(name string) string { return filepath.Join(s.Envs(), name) }
	write(t, Ready(env("used")), "")
	write(t, Ready(env("old")), "")
	write(t, filepath.Join(env("half"), "bin/python"), "")
	hash := func(name string) string { return write(t, s.shard("hashes", key(name)), "{}") }
	used, old := hash("used"), hash("old")
	age(t, 31*day, old, Ready(env("old")))
	unlock, err := s.Lock(t.Context(), "abc")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	left := write(t, filepath.Join(s.Temp(), "task-1/x"), "")
	if _, err := s.GC(t.Context(), GCOptions{}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		env("used"): true, env("old"): false, env("half"): false, used: true, old: false, left: false, filepath.Join(s.root, "locks", "ab"): false,
	} {
		if there(path) != want {
			t.Errorf("%s is there: %v", path, !want)
		}
	}
	if _, err := s.Lock(t.Context(), "abc"); err != nil {
		t.Errorf("locking after gc: %v", err)
	}
}

func TestGCBusy(t *testing.T) {
	dir := t.TempDir()
	s, run := open(t, dir), open(t, dir)
	o := object(t, s, "used by a run, of no result yet")
	if c, err := s.GC(t.Context(), GCOptions{MaxAge: 1}); !errors.Is(err, ErrBusy) || c != (Collected{}) {
		t.Errorf("%+v, %v", c, err)
	}
	if !there(run.Path(o)) {
		t.Error("gc removed what a run uses")
	}
	// The one that asked still holds its own lock.
	if _, err := run.GC(t.Context(), GCOptions{}); !errors.Is(err, ErrBusy) {
		t.Errorf("the other way round: %v", err)
	}
	run.Close()
	if c, err := s.GC(t.Context(), GCOptions{MaxAge: 1}); err != nil || c.Objects != 1 {
		t.Errorf("with no run: %+v, %v", c, err)
	}
	other := open(t, dir)
	if _, err := other.GC(t.Context(), GCOptions{}); !errors.Is(err, ErrBusy) {
		t.Errorf("after gc the lock is not held: %v", err)
	}
}
