package git_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modyard/modyard/registry/git"
)

// noProxy keeps git on loopback, and apart from the user's own settings.
func noProxy(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{
		"no_proxy": "*", "NO_PROXY": "*", "GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ASKPASS": "", "SSH_ASKPASS": "",
	} {
		t.Setenv(name, value)
	}
}

// host is a git server.
type host struct {
	*httptest.Server
	mu    sync.Mutex
	asked int // requests
	sent  int // bytes
	most  int // bytes, after which it cuts off. Default: no bound
}

func (h *host) count() (asked, sent int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked, h.sent
}

// counted counts what is sent, and cuts off.
type counted struct {
	http.ResponseWriter
	h *host
}

func (c counted) Write(p []byte) (int, error) {
	c.h.mu.Lock()
	over := 0
	if c.h.sent += len(p); c.h.most > 0 {
		over = min(len(p), max(0, c.h.sent-c.h.most))
	}
	c.h.mu.Unlock()
	n, err := c.ResponseWriter.Write(p[:len(p)-over])
	if over > 0 {
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// maxAsked bounds the requests of one test: git that fetches within a fetch
// would fill the machine with processes.
const maxAsked = 100

// serve has git's own server serve the repositories below root, with the
// settings. What before answers, it does not.
func serve(t *testing.T, root string, config []string, before func(w http.ResponseWriter, r *http.Request) bool) *host {
	t.Helper()
	noProxy(t)
	backend, err := exec.LookPath(filepath.Join(run(t, root, "--exec-path"), "git-http-backend"))
	if err != nil {
		t.Skip("this git has no http-backend")
	}
	settings := []string{
		"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(config)),
	}
	for i, c := range config {
		name, value, _ := strings.Cut(c, "=")
		settings = append(settings, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, name), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, value))
	}
	h := &host{}
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.asked++
		enough := h.asked > maxAsked
		h.mu.Unlock()
		if enough {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		if before != nil && before(w, r) {
			return
		}
		env := append(slices.Clone(settings), "GIT_PROTOCOL="+r.Header.Get("Git-Protocol"))
		(&cgi.Handler{Path: backend, Env: env, Stderr: io.Discard, Logger: quiet}).ServeHTTP(counted{w, h}, r)
	}))
	h.Config.ErrorLog = quiet
	h.Start()
	t.Cleanup(func() {
		h.Close()
		if asked, _ := h.count(); asked > maxAsked {
			t.Errorf("%d requests were made", asked)
		}
	})
	return h
}

var quiet = log.New(io.Discard, "", 0)

// upstream is a repository to be served as repo.git.
type upstream struct {
	root, dir string
	commits   map[string]string // by name
	blobs     map[string]string // of the commit "old", by path
}

// newUpstream has a commit "old" on a branch, below "new"; "tagged" and "pull"
// which a tag or a pull request alone leads to; and "lost".
func newUpstream(t *testing.T, format string) *upstream {
	t.Helper()
	root := t.TempDir()
	u := &upstream{root: root, dir: filepath.Join(root, "repo.git"), commits: map[string]string{}, blobs: map[string]string{}}
	work := filepath.Join(root, "work")
	run(t, root, "init", "-q", "--template=", "--object-format="+format, "-b", "main", "work")
	commit := func(name string) {
		run(t, work, "add", "-A")
		run(t, work, "commit", "-q", "-m", name)
		u.commits[name] = run(t, work, "rev-parse", "HEAD")
	}
	put(t, work, "first", "1")
	commit("first")
	for _, f := range []string{"src/a", "src/d/b", "other/c"} {
		put(t, work, f, "content of "+f)
	}
	put(t, work, "big", noise(bigSize))
	commit("old")
	for line := range strings.Lines(run(t, work, "ls-tree", "-r", "HEAD")) {
		meta, path, _ := strings.Cut(strings.TrimSpace(line), "\t")
		u.blobs[path] = strings.Fields(meta)[2]
	}
	put(t, work, "src/a", "changed")
	commit("new")
	run(t, work, "switch", "-q", "-c", "side", "main~1")
	for _, name := range []string{"tagged", "pull", "lost"} {
		run(t, work, "reset", "-q", "--hard", "main~1")
		put(t, work, "src/"+name, name)
		commit(name)
		switch name {
		case "tagged":
			run(t, work, "tag", "-a", "-m", "one", "v1")
		case "pull":
			run(t, work, "update-ref", "refs/pull/1/head", "HEAD")
		}
	}
	run(t, root, "init", "-q", "--bare", "--template=", "--object-format="+format, "-b", "main", u.dir)
	run(t, work, "push", "-q", u.dir, "side:refs/heads/lost", "main", "v1", "refs/pull/1/head")
	run(t, u.dir, "update-ref", "-d", "refs/heads/lost") // the object stays
	return u
}

const bigSize = 1 << 20

func noise(n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return string(b)
}

// fetched fetches, and fails when it hangs.
func fetched(t *testing.T, address, commit string) (*git.Repo, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := git.Fetch(ctx, address, commit, t.TempDir())
	if ctx.Err() != nil {
		t.Fatalf("it hangs: %v", err)
	}
	return r, err
}

// present lists the blobs that a repository has, with no fetching.
func present(t *testing.T, r *git.Repo) []string {
	t.Helper()
	out, err := r.Output(t.Context(), "cat-file", "--batch-all-objects", "--batch-check")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); f[1] == "blob" {
			ids = append(ids, f[0])
		}
	}
	return ids
}

func read(t *testing.T, r *git.Repo, ids []string) (contents []string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = r.Blobs(ctx, ids, func(_ int, _ int64, content io.Reader) error {
		data, err := io.ReadAll(content)
		contents = append(contents, string(data))
		return err
	})
	if ctx.Err() != nil {
		t.Fatalf("it hangs: %v", err)
	}
	return contents, err
}

const (
	filter = "uploadpack.allowFilter=true"
	anySHA = "uploadpack.allowAnySHA1InWant=true"
)

// hosts are servers as there are.
var hosts = []struct {
	name, format string
	config       []string
	v0           bool // it speaks git's first protocol alone
	partial      bool // it serves files apart from their tree
}{
	{"as GitHub", "sha1", []string{filter, anySHA}, false, true},
	{"of sha256", "sha256", []string{filter, anySHA}, false, true},
	{"without filters", "sha1", []string{anySHA}, false, false},
	{"with neither", "sha1", nil, false, false},
	{"old, as GitHub", "sha1", []string{filter, anySHA}, true, true},
	{"old, without filters", "sha1", []string{anySHA}, true, false},
}

// old takes a request's protocol away.
func old(yes bool) func(w http.ResponseWriter, r *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if yes {
			r.Header.Del("Git-Protocol")
		}
		return false
	}
}

// TestFetch: from every server the files can be read, and from one that can
// the files alone that are asked for are sent.
func TestFetch(t *testing.T) {
	upstreams := map[string]*upstream{"sha1": newUpstream(t, "sha1"), "sha256": newUpstream(t, "sha256")}
	for _, c := range hosts {
		t.Run(c.name, func(t *testing.T) {
			u := upstreams[c.format]
			h := serve(t, u.root, c.config, old(c.v0))
			r, err := fetched(t, h.URL+"/repo.git", u.commits["old"])
			if err != nil {
				t.Fatal(err)
			}
			if got := present(t, r); c.partial != (len(got) == 0) {
				t.Errorf("at first it has %q", got)
			}
			entries, err := r.Tree(t.Context(), u.commits["old"], "src")
			if err != nil || len(entries) != 2 || entries[0].Path != "src/a" || entries[1].Path != "src/d/b" {
				t.Fatalf("%+v: %v", entries, err)
			}
			ids := []string{entries[0].Object, entries[1].Object}
			if err := r.Prefetch(t.Context(), ids); err != nil {
				t.Error(err)
			}
			before, _ := h.count()
			contents, err := read(t, r, ids)
			if err != nil || !slices.Equal(contents, []string{"content of src/a", "content of src/d/b"}) {
				t.Errorf("%q: %v", contents, err)
			}
			after, sent := h.count()
			if after != before {
				t.Errorf("to read took %d requests", after-before)
			}
			if !c.partial {
				return
			}
			got := present(t, r)
			if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(ids))) {
				t.Errorf("it has %q, not %q", got, ids)
			}
			if sent > bigSize/4 {
				t.Errorf("%d bytes were sent", sent)
			}
			// The rest is there for who asks, and not otherwise.
			if _, err := read(t, r, []string{u.blobs["big"]}); err == nil {
				t.Error("the big file came unasked")
			}
			if err := r.Prefetch(t.Context(), []string{u.blobs["big"]}); err != nil {
				t.Error(err)
			}
			if contents, err := read(t, r, []string{u.blobs["big"]}); err != nil || contents[0] != noise(bigSize) {
				t.Errorf("the big file: %v", err)
			}
		})
	}
}

// TestFetchReachable: a branch or a tag must lead to the commit.
func TestFetchReachable(t *testing.T) {
	u := newUpstream(t, "sha1")
	u.commits["none"] = strings.Repeat("12", 20)
	for _, c := range hosts {
		if c.format != "sha1" || len(c.config) == 0 {
			continue
		}
		h := serve(t, u.root, c.config, old(c.v0))
		for name, good := range map[string]bool{"first": true, "new": true, "tagged": true, "pull": false, "lost": false, "none": false} {
			if c.v0 && name != "first" && name != "pull" {
				continue
			}
			t.Run(c.name+"/"+name, func(t *testing.T) {
				r, err := fetched(t, h.URL+"/repo.git", u.commits[name])
				if !good {
					if !errors.Is(err, git.ErrUnreachable) {
						t.Errorf("got %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if entries, err := r.Tree(t.Context(), u.commits[name], ""); err != nil || len(entries) == 0 {
					t.Errorf("%+v: %v", entries, err)
				}
			})
		}
	}
}

// bad are servers that fail.
var bad = []struct {
	name string
	late bool // tried at each request, not the first alone
	fail http.HandlerFunc
}{
	{"401", false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}},
	{"403", false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }},
	{"404", false, http.NotFound},
	{"500", true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }},
	{"a page", false, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "<!doctype html>\n<html>\n<title>Hello</title>\n</html>\n")
	}},
	{"cut off", true, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	{"cut off in a line", true, func(w http.ResponseWriter, r *http.Request) {
		kind := "advertisement"
		if r.Method == http.MethodPost {
			kind = "result"
		}
		hijack(w, "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-"+kind+"\r\nContent-Length: 5000\r\n\r\n001e# service=git-up")
	}},
}

// hijack sends a raw answer and closes.
func hijack(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		io.WriteString(conn, text)
		conn.Close()
	}
}

// TestFetchFails: a server that fails, at whatever request, makes an error
// and no wait.
func TestFetchFails(t *testing.T) {
	u := newUpstream(t, "sha1")
	for _, c := range bad {
		for first := 1; ; first++ { // the first request that fails
			var reached atomic.Bool
			t.Run(fmt.Sprintf("%s/%d", c.name, first), func(t *testing.T) {
				var n atomic.Int64
				h := serve(t, u.root, []string{filter, anySHA}, func(w http.ResponseWriter, r *http.Request) bool {
					if n.Add(1) < int64(first) {
						return false
					}
					reached.Store(true)
					c.fail(w, r)
					return true
				})
				_, err := fetched(t, h.URL+"/repo.git", u.commits["old"])
				if reached.Load() != (err != nil) || errors.Is(err, git.ErrUnreachable) {
					t.Errorf("the server failed: %v, and the error is %v", reached.Load(), err)
				}
			})
			if !reached.Load() || !c.late {
				break
			}
		}
	}
	// In the middle of the pack.
	h := serve(t, u.root, nil, nil)
	h.most = bigSize / 2
	if _, err := fetched(t, h.URL+"/repo.git", u.commits["old"]); err == nil || errors.Is(err, git.ErrUnreachable) {
		t.Errorf("cut off in the pack: %v", err)
	}
	if _, sent := h.count(); sent < h.most {
		t.Errorf("%d bytes were sent", sent)
	}
}

// TestReadFails: when the server fails later, files that did not come are an
// error, and those that came can be read.
func TestReadFails(t *testing.T) {
	u := newUpstream(t, "sha1")
	const inPack = "cut off in the pack"
	for _, c := range append(slices.Clone(bad), struct {
		name string
		late bool
		fail http.HandlerFunc
	}{inPack, true, nil}) {
		if !c.late {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			var gone atomic.Bool
			h := serve(t, u.root, []string{filter, anySHA}, func(w http.ResponseWriter, r *http.Request) bool {
				if !gone.Load() || c.fail == nil {
					return false
				}
				c.fail(w, r)
				return true
			})
			if c.fail == nil {
				h.most = bigSize / 2
			}
			r, err := fetched(t, h.URL+"/repo.git", u.commits["old"])
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Prefetch(t.Context(), []string{u.blobs["src/a"]}); err != nil {
				t.Fatal(err)
			}
			gone.Store(true)
			if contents, err := read(t, r, []string{u.blobs["src/a"]}); err != nil || contents[0] != "content of src/a" {
				t.Errorf("%q: %v", contents, err)
			}
			if err := r.Prefetch(t.Context(), []string{u.blobs["big"]}); err != nil {
				return // it may say so at once
			}
			if contents, err := read(t, r, []string{u.blobs["big"]}); err == nil {
				t.Errorf("got %d files", len(contents))
			}
		})
	}
}

// TestFetchPrograms: an address that would run a program runs none, whatever
// the settings allow.
func TestFetchPrograms(t *testing.T) {
	noProxy(t)
	mark := filepath.ToSlash(filepath.Join(t.TempDir(), "mark"))
	t.Setenv("GIT_ALLOW_PROTOCOL", "ext:fd:file:http")
	t.Setenv("GIT_CONFIG_COUNT", "2")
	t.Setenv("GIT_CONFIG_KEY_0", "protocol.ext.allow")
	t.Setenv("GIT_CONFIG_VALUE_0", "always")
	t.Setenv("GIT_CONFIG_KEY_1", "protocol.allow")
	t.Setenv("GIT_CONFIG_VALUE_1", "always")
	exec.Command("git", "ls-remote", "ext::sh -c touch% "+mark).Run()
	if err := os.Remove(mark); err != nil && runtime.GOOS != "windows" {
		t.Errorf("git itself would run no program: %v", err)
	}
	for _, address := range []string{
		"ext::sh -c touch% " + mark,
		"ext::sh -c touch${IFS}" + mark,
		"fd::17",
		"--upload-pack=touch " + mark,
		"-u touch " + mark,
		"ssh://-oProxyCommand=touch%20" + mark + "/x",
		"-oProxyCommand=touch " + mark + ":x",
		"nothing::x",
		"",
		"file://" + filepath.ToSlash(t.TempDir()) + "/nothing",
	} {
		if _, err := fetched(t, address, strings.Repeat("12", 20)); err == nil || errors.Is(err, git.ErrUnreachable) {
			t.Errorf("%q: %v", address, err)
		}
		if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("%q ran a program: %v", address, err)
		}
	}
}
