package snapshot_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// link makes a symbolic link.
func link(t *testing.T, dir, name, target string) {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, file); err != nil {
		t.Fatal(err)
	}
}

// problems lists the paths that an error finds fault with, and checks that
// each says what to do.
func problems(t *testing.T, err error) []string {
	t.Helper()
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []string
		for _, e := range joined.Unwrap() {
			out = append(out, problems(t, e)...)
		}
		slices.Sort(out)
		return out
	}
	p, ok := errors.AsType[*snapshot.ProblemError](err)
	if !ok {
		if err != nil {
			t.Errorf("%v is no ProblemError", err)
		}
		return nil
	}
	if p.Message == "" || p.Hint == "" {
		t.Errorf("%q lacks a hint", p)
	}
	return []string{p.Path}
}

// TestLinks: in a folder and in git the same links are good, with the same
// digest, and the same are refused.
func TestLinks(t *testing.T) {
	for _, c := range []struct {
		name  string
		links map[string]string
		files string // what else is there
		bad   []string
	}{
		{"a copy", map[string]string{"b": "a", "d/c": "../a", "d/e": "./c"}, "a", nil},
		{"through the folder's own name", map[string]string{"b": "../src/a"}, "a", nil},
		{"a link to a link", map[string]string{"b": "c", "c": "d/e", "d/e": "../a"}, "a", nil},
		{"to what is left out", map[string]string{"b": "__pycache__/x"}, "__pycache__/x", nil},
		{"out", map[string]string{"b": "../other", "ok": "a"}, "a ../other", []string{"b"}},
		{"out by a name that begins alike", map[string]string{"b": "../src2/x"}, "a ../src2/x", []string{"b"}},
		{"out, absolute", map[string]string{"b": os.DevNull}, "a", []string{"b"}},
		{"dangling", map[string]string{"b": "nothing", "d/c": "../nothing"}, "a", []string{"b", "d/c"}},
		{"in a circle", map[string]string{"b": "c", "c": "b"}, "a", []string{"b", "c"}},
		{"to a folder", map[string]string{"b": "d"}, "d/a", []string{"b"}},
		{"to the folder itself", map[string]string{"b": "."}, "a", []string{"b"}},
		{"left out", map[string]string{"__pycache__/b": "nothing", "c.log": "../other"}, "a .modyardignore", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			repo := newRepo(t)
			src := filepath.Join(repo.Root, "src")
			for name := range strings.FieldsSeq(c.files) {
				put(t, src, name, "*.log\n")
			}
			for name, target := range c.links {
				link(t, src, name, target)
			}
			a, err := snapshot.Folder(src)
			if got := problems(t, err); !slices.Equal(got, c.bad) {
				t.Errorf("folder: %q, want %q", got, c.bad)
			}
			b, err := snapshot.Commit(t.Context(), repo.Repo, repo.commit(t), "src")
			if got := problems(t, err); !slices.Equal(got, c.bad) {
				t.Errorf("commit: %q, want %q", got, c.bad)
			}
			if a == nil || b == nil {
				return
			}
			if da, db := digest(t, a), digest(t, b); da != db || !slices.Equal(a.Files(), b.Files()) {
				t.Errorf("folder %s %q\ncommit %s %q", da, a.Files(), db, b.Files())
			}
		})
	}
}

// TestNames: names that not every system can hold are refused, all at once.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		bad   []string
	}{
		{"clash by case", []string{"a", "A"}, []string{"a"}},
		{"clash by the case of a folder", []string{"d/x", "D/y"}, []string{"d/x"}},
		{"clash of a file and a folder", []string{"d", "D/y"}, []string{"d"}},
		{"clash beyond ASCII", []string{"é", "É", "straße", "STRASSE"}, []string{"straße", "é"}},
		{"clash of letters composed and not", []string{"\u00e9", "e\u0301"}, []string{"\u00e9"}},
		{"no clash", []string{"a", "b/a", "b/c", "a.b"}, nil},
		{"devices", []string{"con", "d/NUL.txt", "Aux/x", "com1.py", "LPT9", "prn"}, []string{"Aux/x", "LPT9", "com1.py", "con", "d/NUL.txt", "prn"}},
		{"no devices", []string{"console", "com", "com10", "null", "a.con", "lpt0"}, nil},
		{"characters", []string{"a:b", "a\\b", "a*", "a?", "a\"", "a<", "a>", "a|", "a\nb", "a\x7f", "a\x01"}, []string{"a\x01", "a\nb", "a\"", "a*", "a:b", "a<", "a>", "a?", "a\\b", "a|", "a\x7f"}},
		{"ends", []string{"a.", "b /x", "c./x"}, []string{"a.", "b /x", "c./x"}},
		{"good ends", []string{" a", ".b", "..c"}, nil},
		{"no UTF-8", []string{"a\xff"}, []string{"a\xff"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			repo := newRepo(t)
			src := filepath.Join(repo.Root, "src")
			for _, f := range c.files {
				put(t, src, f, "x")
			}
			_, err := snapshot.Folder(src)
			if got := problems(t, err); !slices.Equal(got, c.bad) {
				t.Errorf("folder: %q, want %q", got, c.bad)
			}
			_, err = snapshot.Data(src)
			if got := problems(t, err); !slices.Equal(got, c.bad) {
				t.Errorf("data: %q, want %q", got, c.bad)
			}
			_, err = snapshot.Commit(t.Context(), repo.Repo, repo.commit(t), "src")
			if got := problems(t, err); !slices.Equal(got, c.bad) {
				t.Errorf("commit: %q, want %q", got, c.bad)
			}
		})
	}
	deep := t.TempDir()
	long := strings.Repeat("d", 240)
	put(t, deep, strings.Join([]string{long, long, long, long, long}, "/"), "")
	if _, err := snapshot.Folder(deep); len(problems(t, err)) != 1 {
		t.Errorf("a path of 1200 bytes: %v", err)
	}
}

// TestFolderOrData: data leaves out nothing.
func TestFolderOrData(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"a", "__pycache__/b", ".DS_Store", ".git/config"} {
		put(t, dir, f, "x")
	}
	put(t, dir, ".modyardignore", "a\n")
	tree, err := snapshot.Data(dir)
	if err != nil || !slices.Equal(tree.Files(), []string{".DS_Store", ".git/config", ".modyardignore", "__pycache__/b", "a"}) {
		t.Errorf("%v %q", err, tree.Files())
	}
	if got := folder(t, dir).Files(); !slices.Equal(got, []string{".modyardignore"}) {
		t.Errorf("%q", got)
	}
}

// TestFolderByAnotherName: a folder behind a link is the folder.
func TestFolderByAnotherName(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "src/a", "x")
	link(t, dir, "src/b", "a")
	link(t, dir, "other", "src")
	if digest(t, folder(t, filepath.Join(dir, "src"))) != digest(t, folder(t, filepath.Join(dir, "other"))) {
		t.Error("they differ")
	}
	t.Chdir(dir)
	if digest(t, folder(t, "src")) != digest(t, folder(t, filepath.Join(dir, "src")+"/.")) {
		t.Error("relative and absolute differ")
	}
}

func TestBadFolders(t *testing.T) {
	dir := t.TempDir()
	if _, err := snapshot.Folder(filepath.Join(dir, "nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	put(t, dir, "file", "x")
	if _, err := snapshot.Folder(filepath.Join(dir, "file")); err == nil {
		t.Error("a file was taken for a folder")
	}
	for _, text := range []string{"!keep\n", "[a\n", strings.Repeat("x\n", 40<<10)} {
		repo := newRepo(t)
		put(t, repo.Root, "src/.modyardignore", text)
		_, err := snapshot.Folder(filepath.Join(repo.Root, "src"))
		p, ok := errors.AsType[*snapshot.ProblemError](err)
		if !ok || p.Path != snapshot.IgnoreFile {
			t.Errorf("%.20q in a folder: %v", text, err)
		}
		_, err = snapshot.Commit(t.Context(), repo.Repo, repo.commit(t), "src")
		if q, ok := errors.AsType[*snapshot.ProblemError](err); !ok || *q != *p {
			t.Errorf("%.20q in git: %v", text, err)
		}
	}
}

// TestChanged: a file that changes after it was listed, or while it is read,
// gives no digest.
func TestChanged(t *testing.T) {
	const size = 1 << 20
	old := time.Now().Add(-time.Hour)
	for _, c := range []struct {
		name   string
		change func(file string) error
	}{
		{"grown", func(f string) error { return os.WriteFile(f, make([]byte, size+1), 0o644) }},
		{"shrunk", func(f string) error { return os.Truncate(f, size-1) }},
		{"other bytes", func(f string) error { return os.WriteFile(f, bytes.Repeat([]byte("y"), size), 0o644) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "b")
			fresh := func() *snapshot.Tree {
				put(t, dir, "b", strings.Repeat("x", size))
				if err := os.Chtimes(file, old, old); err != nil {
					t.Fatal(err)
				}
				return folder(t, dir)
			}
			change := func() {
				if err := c.change(file); err != nil {
					t.Error(err)
				}
			}
			tree := fresh()
			change()
			if _, err := tree.Digest(t.Context()); !slices.Equal(problems(t, err), []string{"b"}) {
				t.Errorf("before it is read: %v", err)
			}
			tree = fresh()
			if err := tree.WriteTar(t.Context(), &pausing{io.Discard, size / 2, change}); !slices.Contains(problems(t, err), "b") {
				t.Errorf("while it is read: %v", err)
			}
		})
	}
	dir := t.TempDir()
	put(t, dir, "b", "x")
	tree := folder(t, dir)
	if err := os.Remove(filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Digest(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	repo := newRepo(t)
	put(t, repo.Root, "a", "x")
	commit := repo.commit(t)
	inGit, err := snapshot.Commit(t.Context(), repo.Repo, commit, "")
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for _, tree := range []*snapshot.Tree{folder(t, repo.Root), inGit} {
		if _, err := tree.Digest(ctx); !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
		if _, err := tree.Unpack(ctx, t.TempDir()); !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := snapshot.Commit(ctx, repo.Repo, commit, ""); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

// TestUnpackOntoFiles: nothing that is there is overwritten or followed.
func TestUnpackOntoFiles(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	put(t, dir, "a", "x")
	link(t, out, "a", filepath.Join(dir, "target"))
	if _, err := folder(t, dir).Unpack(t.Context(), out); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "target")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link was followed: %v", err)
	}
}

func TestCommit(t *testing.T) {
	repo := newRepo(t)
	put(t, repo.Root, "src/a.txt", "one\n")
	put(t, repo.Root, "src2/a.txt", "two\n")
	put(t, repo.Root, "[s]rc/a.txt", "three\n")
	put(t, repo.Root, "x/src/a.txt", "four\n")
	first := repo.commit(t)
	put(t, repo.Root, ".gitattributes", "*.txt text eol=crlf\n")
	put(t, repo.Root, "src/a.txt", "changed\n")
	repo.commit(t)
	of := func(content string) schema.Digest {
		dir := t.TempDir()
		put(t, dir, "a.txt", content)
		return digest(t, folder(t, dir))
	}
	for _, c := range []struct{ rev, folder, content string }{
		{first, "src", "one\n"}, {first, "src/", "one\n"}, {"HEAD", "src", "changed\n"}, {first, "src2", "two\n"}, {first, "[s]rc", "three\n"}, {first, "x/src", "four\n"},
	} {
		tree, err := snapshot.Commit(t.Context(), repo.Repo, c.rev, c.folder)
		if err != nil {
			t.Errorf("%s: %v", c.folder, err)
			continue
		}
		if digest(t, tree) != of(c.content) {
			t.Errorf("%s of %s is not %q", c.folder, c.rev, c.content)
		}
		if digest(t, tree) != of(c.content) {
			t.Error("the second time it differs")
		}
	}
	whole, err := snapshot.Commit(t.Context(), repo.Repo, first, ".")
	if err != nil || len(whole.Files()) != 4 {
		t.Errorf("the whole commit: %v", err)
	}
	for _, folder := range []string{"nothing", "sr", "*"} {
		if _, err := snapshot.Commit(t.Context(), repo.Repo, first, folder); err == nil {
			t.Errorf("%q was found", folder)
		}
	}
}

func TestSubmodulesAndPointers(t *testing.T) {
	repo := newRepo(t)
	put(t, repo.Root, "src/a", "x")
	commit := repo.commit(t)
	repo.git(t, "update-index", "--add", "--cacheinfo", "160000,"+commit+",src/sub", "--cacheinfo", "160000,"+commit+",ok/__pycache__/sub", "--cacheinfo", "100644,"+repo.git(t, "hash-object", "src/a")+",ok/a")
	repo.git(t, "commit", "-q", "-m", "a submodule")
	if _, err := snapshot.Commit(t.Context(), repo.Repo, "HEAD", "src"); !slices.Equal(problems(t, err), []string{"sub"}) {
		t.Errorf("a submodule: %v", err)
	}
	if _, err := snapshot.Commit(t.Context(), repo.Repo, "HEAD", "ok"); err != nil {
		t.Errorf("a submodule that is left out: %v", err)
	}
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 1\n"
	put(t, repo.Root, "lfs/model.bin", pointer)
	put(t, repo.Root, "text/about.md", strings.Repeat(pointer, 20))
	repo.commit(t)
	tree, err := snapshot.Commit(t.Context(), repo.Repo, "HEAD", "lfs")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Digest(t.Context()); !slices.Equal(problems(t, err), []string{"model.bin"}) {
		t.Errorf("a pointer: %v", err)
	}
	tree, err = snapshot.Commit(t.Context(), repo.Repo, "HEAD", "text")
	if err != nil || digest(t, tree) != digest(t, folder(t, filepath.Join(repo.Root, "text"))) {
		t.Errorf("a text about pointers: %v", err)
	}
}

func TestAdded(t *testing.T) {
	repo := newRepo(t)
	put(t, repo.Root, "other", "x")
	repo.commit(t)
	trunk := repo.git(t, "branch", "--show-current")
	repo.git(t, "switch", "-q", "-c", "work")
	put(t, repo.Root, "v", "1")
	repo.commit(t)
	repo.git(t, "switch", "-q", trunk)
	put(t, repo.Root, "other", "y")
	repo.commit(t)
	repo.git(t, "merge", "-q", "--no-ff", "-m", "merge", "work")
	merge := repo.git(t, "rev-parse", "HEAD")
	put(t, repo.Root, "other", "z")
	repo.commit(t)
	if got, err := snapshot.Added(t.Context(), repo.Repo, "HEAD", "v"); err != nil || got != merge {
		t.Errorf("%s added it, not the merge %s: %v", got, merge, err)
	}
	put(t, repo.Root, "v", "2") // a branch that was rebased, not merged
	corrected := repo.commit(t)
	if got, err := snapshot.Added(t.Context(), repo.Repo, "HEAD", "v"); err != nil || got != corrected {
		t.Errorf("%s made it what it is, not %s: %v", got, corrected, err)
	}
	repo.git(t, "config", "log.showSignature", "true")
	repo.git(t, "config", "log.follow", "true")
	repo.git(t, "mv", "v", "w")
	last := repo.commit(t)
	if got, err := snapshot.Added(t.Context(), repo.Repo, "HEAD", "w"); err != nil || got != last {
		t.Errorf("%s added what was renamed: %v", got, err)
	}
	if _, err := snapshot.Added(t.Context(), repo.Repo, "HEAD", "*"); err == nil {
		t.Error("a pattern was found")
	}
	if _, err := snapshot.Added(t.Context(), &git.Repo{Root: t.TempDir()}, "HEAD", "v"); err == nil {
		t.Error("found outside of a repository")
	}
}

// TestPackedRefuses: an archive that is not exactly canonical.
func TestPackedRefuses(t *testing.T) {
	archive := func(end bool, headers ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			h.Size = 1
			if h.Typeflag != tar.TypeReg {
				h.Size = 0
			}
			if h.ModTime.IsZero() {
				h.ModTime = time.Unix(0, 0)
			}
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(make([]byte, h.Size)); err != nil {
				t.Fatal(err)
			}
		}
		if end {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		} else if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	h := func(name string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: snapshot.Prefix + name, Mode: snapshot.Mode}
	}
	with := func(name string, change func(*tar.Header)) tar.Header {
		x := h(name)
		change(&x)
		return x
	}
	good := archive(true, h("a"), h("b/c"))
	unpack := func(data []byte) (snapshot.Content, error) {
		return snapshot.Packed{Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}.Unpack(t.Context(), t.TempDir())
	}
	want, err := unpack(good)
	if err != nil || want.Digest != schema.DigestBytes(good) || want.Files != 2 {
		t.Fatalf("a good one: %+v, %v", want, err)
	}
	// What is no canonical archive may hold the same tree; then it is that
	// tree's digest that counts.
	for i, other := range [][]byte{
		append(slices.Clone(good), 0),
		archive(false, h("a"), h("b/c")),
		archive(true, with("a", func(h *tar.Header) { h.Mode = 0o644 }), h("b/c")),
		archive(true, with("a", func(h *tar.Header) { h.Uid, h.Uname = 1, "root" }), h("b/c")),
		archive(true, with("a", func(h *tar.Header) { h.ModTime = time.Unix(1, 0) }), h("b/c")),
		archive(true, with("a", func(h *tar.Header) { h.Format = tar.FormatPAX; h.PAXRecords = map[string]string{"X.y": "z"} }), h("b/c")),
		archive(true, with("a", func(h *tar.Header) { h.Format = tar.FormatGNU }), h("b/c")),
	} {
		if got, err := unpack(other); err != nil || got != want {
			t.Errorf("archive %d: %+v, %v", i, got, err)
		}
	}
	for i, bad := range [][]byte{
		[]byte("text"), good[:1100],
		archive(true, h("b"), h("a")),
		archive(true, h("a"), h("a")),
		archive(true, h("a"), h("A")),
		archive(true, h("a"), h("a/b")),
		archive(true, h("../a")), archive(true, h("/a")), archive(true, h("a//b")), archive(true, h("./a")),
		archive(true, h("e\u0301")), archive(true, h("con")), archive(true, h("a\\b")),
		archive(true, tar.Header{Typeflag: tar.TypeReg, Name: "a", Mode: snapshot.Mode}),
		archive(true, with("a", func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeSymlink, "b" })),
		archive(true, with("a/", func(h *tar.Header) { h.Typeflag = tar.TypeDir })),
	} {
		if _, err := unpack(bad); err == nil {
			t.Errorf("bad archive %s was read", strconv.Itoa(i))
		}
	}
}
