package git_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modyard/modyard/registry/git"
)

func run(tb testing.TB, dir string, args ...string) string {
	tb.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	cmd.Stderr = tb.Output()
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

func put(tb testing.TB, dir, name, content string) {
	tb.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		tb.Fatal(err)
	}
}

// newRepo makes a repository with one commit of files.
func newRepo(tb testing.TB, files ...string) *git.Repo {
	tb.Helper()
	dir := tb.TempDir()
	run(tb, dir, "init", "-q", "--template=")
	for _, f := range files {
		put(tb, dir, f, "content of "+f)
	}
	run(tb, dir, "add", "-A")
	run(tb, dir, "commit", "-q", "--allow-empty", "-m", "all")
	r, err := git.Open(tb.Context(), dir)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestOpen(t *testing.T) {
	r := newRepo(t, "a/b/c")
	inner, err := git.Open(t.Context(), filepath.Join(r.Root, "a/b"))
	if err != nil || inner.Root != r.Root {
		t.Errorf("from a folder within: %v %v", inner, err)
	}
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "nothing")} {
		if _, err := git.Open(t.Context(), dir); !errors.Is(err, git.ErrNoRepository) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := git.Open(ctx, r.Root); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	// A hook's environment names another repository.
	t.Setenv("GIT_DIR", filepath.Join(newRepo(t).Root, ".git"))
	t.Setenv("GIT_INDEX_FILE", "elsewhere")
	if other, err := git.Open(t.Context(), r.Root); err != nil || other.Root != r.Root {
		t.Errorf("in a hook: %v %v", other, err)
	}
	t.Setenv("PATH", "")
	if _, err := git.Open(t.Context(), r.Root); !errors.Is(err, git.ErrNoGit) {
		t.Errorf("without git: %v", err)
	}
}

func TestRel(t *testing.T) {
	r := newRepo(t, "a/b")
	away := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(r.Root, "a"), away); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		r.Root: ".", filepath.Join(r.Root, "a"): "a", filepath.Join(r.Root, "a", "b"): "a/b",
		away: "a", filepath.Join(away, "b"): "a/b", filepath.Join(away, "gone", "x"): "a/gone/x",
	} {
		if got, err := r.Rel(path); err != nil || got != want {
			t.Errorf("%s is %q: %v", path, got, err)
		}
	}
	for _, path := range []string{t.TempDir(), filepath.Dir(r.Root), r.Root + "2"} {
		if got, err := r.Rel(path); err == nil {
			t.Errorf("%s is %q", path, got)
		}
	}
	t.Chdir(filepath.Join(r.Root, "a"))
	if got, err := r.Rel("b"); err != nil || got != "a/b" {
		t.Errorf("b is %q: %v", got, err)
	}
}

func TestCommit(t *testing.T) {
	r := newRepo(t, "a")
	want := run(t, r.Root, "rev-parse", "HEAD")
	run(t, r.Root, "tag", "-a", "-m", "one", "v1")
	for _, rev := range []string{"HEAD", "v1", want, want[:10]} {
		if got, err := r.Commit(t.Context(), rev); err != nil || got != want {
			t.Errorf("%s is %s: %v", rev, got, err)
		}
	}
	for _, rev := range []string{"", "nowhere", "HEAD:a", "HEAD~9", "--all", "-h", "HEAD\n"} {
		if got, err := r.Commit(t.Context(), rev); !errors.Is(err, git.ErrNoRevision) {
			t.Errorf("%q is %s: %v", rev, got, err)
		}
	}
}

func TestTree(t *testing.T) {
	files := []string{"a/b", "a b/ü\n\"x\"\t", "ab/c", "*/d"}
	r := newRepo(t, files...)
	for path, want := range map[string][]string{
		"": files, ".": files, "a": {"a/b"}, "a b": {files[1]}, "*": {"*/d"}, "nothing": nil,
	} {
		entries, err := r.Tree(t.Context(), "HEAD", path)
		if err != nil {
			t.Errorf("%q: %v", path, err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Path)
			if e.Mode != "100644" || len(e.Object) < 40 {
				t.Errorf("%+v", e)
			}
		}
		slices.Sort(got)
		if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
			t.Errorf("%q has %q, want %q", path, got, want)
		}
	}
	if _, err := r.Tree(t.Context(), "nowhere", ""); err == nil {
		t.Error("a tree of nowhere")
	}
}

func TestBlobs(t *testing.T) {
	r := newRepo(t, "a", "b")
	put(t, r.Root, "large", strings.Repeat("0123456789", 1<<17))
	put(t, r.Root, "empty", "")
	want := []string{"content of a", "", strings.Repeat("0123456789", 1<<17), "content of b", "content of a"}
	var ids []string
	for _, f := range []string{"a", "empty", "large", "b", "a"} {
		ids = append(ids, run(t, r.Root, "hash-object", "-w", f))
	}
	var got []string
	err := r.Blobs(t.Context(), ids, func(i int, size int64, content io.Reader) error {
		data, err := io.ReadAll(content)
		if i != len(got) || int(size) != len(data) {
			t.Errorf("blob %d has %d bytes, not %d", i, len(data), size)
		}
		got = append(got, string(data))
		return err
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v: %d blobs", err, len(got))
	}
	// What is not read is passed over.
	seen := 0
	err = r.Blobs(t.Context(), ids, func(int, int64, io.Reader) error { seen++; return nil })
	if err != nil || seen != len(ids) {
		t.Errorf("%v: %d blobs", err, seen)
	}
	if err := r.Blobs(t.Context(), nil, nil); err != nil {
		t.Errorf("no blobs: %v", err)
	}

	enough := errors.New("enough")
	many := slices.Repeat(ids, 1000) // more than a pipe holds
	if err := r.Blobs(t.Context(), many, func(int, int64, io.Reader) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a failing function: %v", err)
	}
	for _, bad := range []string{strings.Repeat("0", 40), "nowhere", run(t, r.Root, "rev-parse", "HEAD"), run(t, r.Root, "rev-parse", "HEAD^{tree}")} {
		called := false
		if err := r.Blobs(t.Context(), []string{bad}, func(int, int64, io.Reader) error { called = true; return nil }); err == nil || called {
			t.Errorf("%s was read", bad)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = r.Blobs(ctx, many, func(int, int64, io.Reader) error { cancel(); return nil })
	if err == nil {
		t.Error("it was not interrupted")
	}
}

func TestOutput(t *testing.T) {
	r := newRepo(t, "a")
	if out, err := r.Output(t.Context(), "ls-files"); err != nil || string(out) != "a\n" {
		t.Errorf("%q: %v", out, err)
	}
	_, err := r.Output(t.Context(), "log", "nowhere")
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 128 {
		t.Errorf("got %v", err)
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := r.Output(ctx, "ls-files"); !errors.Is(err, why) {
		t.Errorf("interrupted: %v", err)
	}
}
