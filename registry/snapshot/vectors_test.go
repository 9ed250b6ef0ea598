package snapshot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// vector is a tree of testdata/vectors.txt.
type vector struct {
	name    string
	files   []vectorFile
	folders []string
	digest  schema.Digest
}

type vectorFile struct {
	name, content string
	without       bool // it is there and does not belong to the tree
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	text, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		tb.Fatal(err)
	}
	var all []vector
	for line := range strings.Lines(string(text)) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch kind {
		case "tree":
			all = append(all, vector{name: rest})
			continue
		case "", "#":
			continue
		}
		v := &all[len(all)-1]
		switch kind {
		case "file", "without":
			v.files = append(v.files, parseFile(tb, rest, kind == "without"))
		case "folder":
			name, err := strconv.Unquote(rest)
			if err != nil {
				tb.Fatal(err)
			}
			v.folders = append(v.folders, name)
		case "sha256":
			v.digest = schema.Digest("sha256:" + rest)
		default:
			tb.Fatalf("testdata/vectors.txt has %q", line)
		}
	}
	if len(all) < 30 {
		tb.Fatalf("testdata/vectors.txt has %d trees", len(all))
	}
	return all
}

func parseFile(tb testing.TB, text string, without bool) vectorFile {
	tb.Helper()
	f := vectorFile{without: without}
	text, times, repeated := strings.Cut(text, " * ")
	dec := json.NewDecoder(strings.NewReader(text))
	if err := dec.Decode(&f.name); err != nil {
		tb.Fatal(err)
	}
	if err := dec.Decode(&f.content); err != nil {
		tb.Fatal(err)
	}
	if repeated {
		n, err := strconv.Atoi(times)
		if err != nil {
			tb.Fatal(err)
		}
		f.content = strings.Repeat(f.content, n)
	}
	return f
}

// make writes the tree into a folder, with modes and times that say nothing.
func (v vector) make(tb testing.TB, dir string) {
	tb.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	for i, f := range v.files {
		put(tb, dir, f.name, f.content)
		file := filepath.Join(dir, filepath.FromSlash(f.name))
		when := time.Unix(int64(1e9+i*86399), int64(i))
		if err := os.Chtimes(file, when, when); err != nil {
			tb.Fatal(err)
		}
		if err := os.Chmod(file, []os.FileMode{0o644, 0o755, 0o600, 0o444}[i%4]); err != nil {
			tb.Fatal(err)
		}
	}
	for _, f := range v.folders {
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(f)), 0o700); err != nil {
			tb.Fatal(err)
		}
	}
}

// names lists what belongs to the tree.
func (v vector) names() []string {
	names := []string{}
	for _, f := range v.files {
		if !f.without {
			names = append(names, norm.NFC.String(f.name))
		}
	}
	slices.Sort(names)
	return names
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

func digest(tb testing.TB, t *snapshot.Tree) schema.Digest {
	tb.Helper()
	d, err := t.Digest(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func folder(tb testing.TB, dir string) *snapshot.Tree {
	tb.Helper()
	t, err := snapshot.Folder(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// TestVectors makes each tree on disk and takes its digest; packs, unpacks and
// reads it; and finds the same in git.
func TestVectors(t *testing.T) {
	repo := newRepo(t)
	for i, v := range vectors(t) {
		v.make(t, filepath.Join(repo.Root, strconv.Itoa(i)))
	}
	commit := repo.commit(t)
	for i, v := range vectors(t) {
		t.Run(v.name, func(t *testing.T) {
			tree := folder(t, filepath.Join(repo.Root, strconv.Itoa(i)))
			if got := tree.Files(); !slices.Equal(got, v.names()) {
				t.Errorf("files: %q\n want: %q", got, v.names())
			}
			if got := digest(t, tree); got != v.digest {
				t.Errorf("the digest is %s, want %s", got, v.digest)
			}
			var packed bytes.Buffer
			if err := tree.WriteTar(t.Context(), &packed); err != nil || schema.DigestBytes(packed.Bytes()) != v.digest {
				t.Errorf("packed: %v %v", schema.DigestBytes(packed.Bytes()), err)
			}
			read := snapshot.Packed{Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(&packed), nil }}
			if got, err := read.Unpack(t.Context(), t.TempDir()); err != nil || got.Digest != v.digest {
				t.Errorf("read: %+v %v", got, err)
			}
			out := t.TempDir()
			if got, err := tree.Unpack(t.Context(), out); err != nil || got.Digest != v.digest {
				t.Errorf("unpacked: %+v %v", got, err)
			}
			again, err := snapshot.Data(out)
			if err != nil || digest(t, again) != v.digest {
				t.Errorf("unpacked, and taken as data: %v", err)
			}
			for _, name := range again.Files() {
				info, err := os.Stat(filepath.Join(out, filepath.FromSlash(name)))
				if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != snapshot.Mode {
					t.Errorf("%q is unpacked with mode %v: %v", name, info.Mode(), err)
				}
			}
			if len(v.files) == 0 {
				return // git has no empty folders
			}
			inGit, err := snapshot.Commit(t.Context(), repo.Repo, commit, strconv.Itoa(i))
			if err != nil {
				t.Fatal(err)
			}
			if got := digest(t, inGit); got != v.digest {
				t.Errorf("in git: %s, want %s", got, v.digest)
			}
		})
	}
}

// TestVectorsOtherwise takes the same digests under another umask, time zone,
// locale, and in another folder.
func TestVectorsOtherwise(t *testing.T) {
	const mark = "MODYARD_TEST_OTHERWISE"
	if os.Getenv(mark) != "" {
		t.Skip("this is the other run")
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ umask, zone, locale string }{
		{"077", "Asia/Kathmandu", "tr_TR.UTF-8"},
		{"000", "America/St_Johns", "C"},
	} {
		cmd := exec.Command("sh", "-c", `umask "$0" && exec "$@"`, c.umask, binary, "-test.run=^TestVectors$")
		cmd.Env = append(os.Environ(), mark+"=1", "TZ="+c.zone, "LC_ALL="+c.locale, "LANG="+c.locale, "TMPDIR="+filepath.Join(t.TempDir(), "a b é"))
		if err := os.Mkdir(strings.TrimPrefix(cmd.Env[len(cmd.Env)-1], "TMPDIR="), 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%+v: %v\n%s", c, err, out)
		}
	}
}

// TestVectorsByPython computes every digest by other code than ours.
func TestVectorsByPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	want, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-X", "utf8", "testdata/vectors.py")
	cmd.Stdin = bytes.NewReader(want)
	cmd.Stderr = t.Output()
	got, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("vectors.py < vectors.txt gives\n%s", got)
	}
}

// testRepo is a repository that a test commits to.
type testRepo struct{ *git.Repo }

func newRepo(tb testing.TB) testRepo {
	tb.Helper()
	dir := tb.TempDir()
	r := testRepo{&git.Repo{Root: dir}}
	r.git(tb, "init", "-q", "--template=")
	repo, err := git.Open(tb.Context(), dir)
	if err != nil {
		tb.Fatal(err)
	}
	return testRepo{repo}
}

func (r testRepo) git(tb testing.TB, args ...string) string {
	tb.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.Root
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	cmd.Stderr = tb.Output()
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// commit commits all files, whatever .gitignore says.
func (r testRepo) commit(tb testing.TB) string {
	tb.Helper()
	r.git(tb, "add", "-A", "-f")
	r.git(tb, "commit", "-q", "-m", "all")
	return r.git(tb, "rev-parse", "HEAD")
}

// pausing runs a function when so many bytes went by.
type pausing struct {
	io.Writer
	after int
	then  func()
}

func (p *pausing) Write(b []byte) (int, error) {
	if p.after -= len(b); p.after <= 0 && p.then != nil {
		p.then()
		p.then = nil
	}
	return p.Writer.Write(b)
}
