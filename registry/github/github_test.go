package github_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modyard/modyard/registry/github"
	"github.com/modyard/modyard/registry/github/githubtest"
)

var modules = github.Repo{Owner: "acme", Name: "modules"}

// started is a fake GitHub with acme/modules; alice may write there.
func started(t *testing.T) (*githubtest.Server, *githubtest.Repo) {
	t.Helper()
	s := githubtest.New(t)
	s.Token("alice-token", "alice", "write", "acme/modules")
	s.Token("bot-token", "github-actions[bot]", "write", "acme/modules")
	s.Token("reader-token", "github-actions[bot]", "read", "acme/modules")
	r := s.Repo("acme", "modules")
	r.Commit("main", "first", map[string]string{
		"registry.yaml":                          "name: acme\n",
		"modules/a/module.yaml":                  "name: a\n",
		"modules/a/versions/1.0.0.yaml":          "version: 1.0.0\n",
		"modules/a/src/main.py":                  "print(1)\n",
		"modules/a/src/lib/x.py":                 "x = 1\n",
		"modules/b/module.yaml":                  "name: b\n",
		"modules/b/versions/1.0.0.yaml":          "version: 1.0.0\n",
		"ml/reg/registry.yaml":                   "name: inner\n",
		"ml/reg/modules/c/module.yaml":           "name: c\n",
		"ml/reg/modules/c/src/deep/er/script.py": "print(3)\n",
	})
	return s, r
}

func client(t *testing.T, s *githubtest.Server, opt github.Options) *github.Client {
	t.Helper()
	opt.API = s.URL
	c, err := github.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func read(t *testing.T, fsys fs.FS, name string) string {
	t.Helper()
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func names(t *testing.T, fsys fs.FS, dir string) string {
	t.Helper()
	list, err := fs.ReadDir(fsys, dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

// TestTree: files are brought when they are read, once; what is cached and has
// not changed costs one request, and none without a network.
func TestTree(t *testing.T) {
	s, r := started(t)
	opt := github.Options{Cache: t.TempDir()}
	look := func(c *github.Client, ref string) *github.Tree {
		t.Helper()
		tree, err := c.At(t.Context(), modules, ref, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := names(t, tree, "modules"); got != "a/ b/" {
			t.Errorf("modules has %q", got)
		}
		if got := read(t, tree, "modules/a/src/main.py"); got != "print(1)\n" {
			t.Errorf("the file is %q", got)
		}
		return tree
	}
	tree := look(client(t, s, opt), "main")
	if got := s.Requests(); len(got) != 3 {
		t.Errorf("a branch, a tree and a file took %q", got)
	}
	if _, err := fs.ReadFile(tree, "modules/none.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := tree.Open("../x"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a path out of it: %v", err)
	}
	s.Forget()
	look(client(t, s, opt), "main")
	if got := s.Requests(); len(got) != 1 {
		t.Errorf("unchanged and cached it took %q", got)
	}
	s.Forget()
	look(client(t, s, opt), tree.Commit)
	offline := opt
	offline.Offline = true
	look(client(t, s, offline), "main")
	if got := s.Requests(); len(got) != 0 {
		t.Errorf("a commit, and offline, took %q", got)
	}
	if _, err := client(t, s, offline).At(t.Context(), modules, "other", ""); !errors.Is(err, github.ErrOffline) {
		t.Errorf("what is not cached, offline: %v", err)
	}
	r.Commit("main", "second", map[string]string{"modules/a/src/main.py": "print(2)\n"})
	now, err := client(t, s, opt).At(t.Context(), modules, "", "")
	if err != nil || read(t, now, "modules/a/src/main.py") != "print(2)\n" || read(t, tree, "modules/a/src/main.py") != "print(1)\n" {
		t.Errorf("after a push: %v", err)
	}
}

// TestTruncated: a repository that is too large for one listing is read folder
// by folder.
func TestTruncated(t *testing.T) {
	for _, folder := range []string{"", "ml/reg"} {
		s, _ := started(t)
		s.TruncateTrees(3)
		tree, err := client(t, s, github.Options{}).At(t.Context(), modules, "main", folder)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"": "a/ b/", "ml/reg": "c/"}[folder]
		if got := names(t, tree, "modules"); got != want {
			t.Errorf("%q: modules has %q", folder, got)
		}
		if read(t, tree, "registry.yaml") == "" {
			t.Error("no registry.yaml")
		}
		if folder != "" && read(t, tree, "modules/c/src/deep/er/script.py") != "print(3)\n" {
			t.Error("no script")
		}
	}
}

// TestFolder: a folder at the commit that is read, and at the one that added a
// file.
func TestFolder(t *testing.T) {
	s, r := started(t)
	first := strings.TrimSpace(r.Git("rev-parse", "main"))
	r.Commit("main", "second", map[string]string{"modules/a/src/main.py": "print(2)\n"})
	tree, err := client(t, s, github.Options{Cache: t.TempDir()}).At(t.Context(), modules, "main", "")
	if err != nil {
		t.Fatal(err)
	}
	added, err := tree.Added(t.Context(), "modules/a/versions/1.0.0.yaml")
	if err != nil || added != first {
		t.Fatalf("added by %q, want %q: %v", added, first, err)
	}
	for commit, want := range map[string]string{"": "print(2)\n", first: "print(1)\n"} {
		f, err := tree.Folder(t.Context(), "modules/a/src", commit)
		if err != nil {
			t.Fatal(err)
		}
		data, err := f.ReadFile(t.Context(), "main.py", 100)
		if err != nil || string(data) != want || len(f.Files()) != 2 {
			t.Errorf("at %q: %q, %v: %v", commit, data, f.Files(), err)
		}
	}
	if _, err := tree.Folder(t.Context(), "modules/none", ""); err == nil {
		t.Error("a folder that is not there was taken")
	}
}

// TestRefused: what GitHub refuses is said in words, with advice and without
// the token.
func TestRefused(t *testing.T) {
	s, r := started(t)
	hidden := s.Repo("acme", "hidden")
	hidden.Private = true
	hidden.Commit("main", "first", map[string]string{"a": "a"})
	pull := func() int {
		r.Commit("topic", "change", map[string]string{"b": "b"})
		return r.OpenPull("topic", "main", "Change", "alice").Number
	}()
	for _, x := range []struct {
		name, token string
		do          func(c *github.Client) error
		want, hint  string
	}{
		{"bad token", "wrong-token", func(c *github.Client) error { _, err := c.At(t.Context(), modules, "main", ""); return err }, "the token is not valid", "gh auth login"},
		{"private", "", func(c *github.Client) error {
			_, err := c.At(t.Context(), github.Repo{Owner: "acme", Name: "hidden"}, "main", "")
			return err
		}, "it is not there, or it is private", "GITHUB_TOKEN"},
		{"not seen", "alice-token", func(c *github.Client) error {
			_, err := c.At(t.Context(), github.Repo{Owner: "acme", Name: "hidden"}, "main", "")
			return err
		}, "the token may not see it", ""},
		{"no branch", "alice-token", func(c *github.Client) error { _, err := c.At(t.Context(), modules, "nope", ""); return err }, `acme/modules has no branch, tag or commit "nope"`, ""},
		{"read only", "reader-token", func(c *github.Client) error {
			_, err := c.Comment(t.Context(), modules, pull, "<!-- m -->", "x")
			if !errors.Is(err, github.ErrReadOnly) {
				t.Errorf("no ErrReadOnly: %v", err)
			}
			return err
		}, "the token may not write", "permissions: {pull-requests: write}"},
	} {
		err := x.do(client(t, s, github.Options{Token: x.token}))
		var p *github.ProblemError
		if !errors.As(err, &p) || !strings.Contains(err.Error(), x.want) || !strings.Contains(p.Hint, x.hint) {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		if x.token != "" && strings.Contains(err.Error()+p.Hint, x.token) {
			t.Errorf("%s: the token is in %v", x.name, err)
		}
	}
}

// TestLimits: a short wait is waited for, a long one said.
func TestLimits(t *testing.T) {
	s, _ := started(t)
	var said []string
	opt := github.Options{Token: "alice-token", Say: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }}
	s.SecondaryLimit(1, time.Second)
	if _, err := client(t, s, opt).At(t.Context(), modules, "main", ""); err != nil || len(said) == 0 {
		t.Errorf("a short wait: %v, said %q", err, said)
	}
	s.RateLimit(0, time.Now().Add(time.Hour))
	opt.Token = ""
	_, err := client(t, s, opt).At(t.Context(), modules, "main", "")
	var p *github.ProblemError
	if !errors.As(err, &p) || !p.World || !strings.Contains(err.Error(), "is used up until") || !strings.Contains(p.Hint, "with a token the limit is higher") {
		t.Errorf("a long wait: %v", err)
	}
}

// TestEndlessTree: a host that goes on with folders for ever is left.
func TestEndlessTree(t *testing.T) {
	t.Parallel()
	for name, folders := range map[string]int{"deep": 1, "wide": 50} {
		n := 0
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var tree []string
			for range folders {
				n++
				tree = append(tree, fmt.Sprintf(`{"path":"m%d","mode":"040000","type":"tree","sha":"%040x"}`, n, n))
			}
			fmt.Fprintf(w, `{"sha":"%040x","truncated":%v,"tree":[%s]}`, n, r.URL.Query().Has("recursive"), strings.Join(tree, ","))
		}))
		t.Cleanup(s.Close)
		c, err := github.New(github.Options{API: s.URL})
		if err != nil {
			t.Fatal(err)
		}
		tree, err := c.At(t.Context(), modules, strings.Repeat("b", 40), "")
		if err != nil {
			t.Fatal(err)
		}
		list, err := tree.ReadDir(".")
		if err != nil || len(list) != folders {
			t.Fatal(err, list)
		}
		requests := n / folders
		if _, err := tree.Folder(t.Context(), list[0].Name(), ""); err == nil {
			t.Errorf("%s: it has an end", name)
		}
		if n/folders-requests > 500 {
			t.Errorf("%s: it took %d requests", name, n/folders-requests)
		}
	}
}

// TestLimitsSaid: whichever way GitHub says that it is too much, it is said when
// to come again, and that is not the token's fault.
func TestLimitsSaid(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(time.Hour)
	clock := at.Local().Format("15:04")
	// A minute may begin between the two readings of the clock.
	next := at.Add(time.Second).Local().Format("15:04")
	for _, c := range []struct {
		name    string
		code    int
		header  map[string]string
		message string
		want    string
	}{
		{"secondary", 403, map[string]string{"Retry-After": "3600"}, "You have exceeded a secondary rate limit.", "GitHub asks to wait until "},
		{"secondary, too many", 429, map[string]string{"Retry-After": "3600"}, "You have exceeded a secondary rate limit.", "GitHub asks to wait until "},
		{"primary", 403, map[string]string{"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": fmt.Sprint(at.Unix())}, "API rate limit exceeded", "the limit of 5000 requests an hour is used up until "},
		{"primary, too many", 429, map[string]string{"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": fmt.Sprint(at.Unix())}, "API rate limit exceeded", "the limit of 5000 requests an hour is used up until "},
	} {
		for _, docs := range []string{"https://docs.github.com/rest", "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"} {
			if c.name == "primary" || c.name == "primary, too many" {
				docs = "https://docs.github.com/rest"
			}
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range c.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(c.code)
				fmt.Fprintf(w, `{"message": %q, "documentation_url": %q}`, c.message, docs)
			}))
			t.Cleanup(s.Close)
			g, err := github.New(github.Options{API: s.URL, Token: "x", Patience: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			_, err = g.Comment(t.Context(), modules, 1, "<!-- x -->", "x")
			var p *github.ProblemError
			if !errors.As(err, &p) || !p.World || errors.Is(err, github.ErrReadOnly) || p.Hint != "" || !strings.HasSuffix(p.Message, c.want+clock) && !strings.HasSuffix(p.Message, c.want+next) {
				t.Errorf("%s: %v, hint %q", c.name, err, p.Hint)
			}
		}
	}
}

// TestBroken: answers that are cut off or fail are asked for again; bytes that
// are not those of their hash are not used.
func TestBroken(t *testing.T) {
	s, _ := started(t)
	n := 0
	s.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		if n++; n > 3 {
			return false
		}
		switch n {
		case 1:
			w.WriteHeader(http.StatusBadGateway)
			return true
		case 2: // within its body
			w.Header().Set("Content-Length", "5000")
			fmt.Fprint(w, "{")
			return true
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
		return true
	})
	tree, err := client(t, s, github.Options{}).At(t.Context(), modules, "main", "")
	if err != nil {
		t.Fatal(err)
	}
	s.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/git/blobs/") {
			fmt.Fprint(w, "other bytes")
			return true
		}
		return false
	})
	if _, err := fs.ReadFile(tree, "registry.yaml"); err == nil || !strings.Contains(err.Error(), "the answer has the hash") {
		t.Errorf("other bytes: %v", err)
	}
}

// TestComment: there is one comment of ours, whoever else writes, however many
// there are, and when two write at once.
func TestComment(t *testing.T) {
	s, r := started(t)
	r.Commit("topic", "change", map[string]string{"b": "b"})
	number := r.OpenPull("topic", "main", "Change", "alice").Number
	const marker = "<!-- modyard -->"
	r.AddComment(number, "mallory", marker+"\nforged")
	for i := range 120 {
		r.AddComment(number, "bob", fmt.Sprint("talk ", i))
	}
	c := client(t, s, github.Options{Token: "bot-token"})
	ours := func() (out []string) {
		for _, one := range r.Comments(number) {
			if one.Author == "github-actions[bot]" {
				out = append(out, one.Body)
			}
		}
		return out
	}
	for _, text := range []string{"first", "second"} {
		if _, err := c.Comment(t.Context(), modules, number, marker, text); err != nil {
			t.Fatal(err)
		}
		if got := ours(); len(got) != 1 || got[0] != marker+"\n"+text {
			t.Errorf("our comments are %q", got)
		}
	}
	r.Commit("other", "change", map[string]string{"c": "c"})
	number = r.OpenPull("other", "main", "Change", "alice").Number
	var both sync.WaitGroup
	for _, text := range []string{"one", "two"} {
		both.Go(func() {
			if _, err := c.Comment(t.Context(), modules, number, marker, text); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if got := ours(); len(got) != 1 {
		t.Errorf("two at once made %q", got)
	}
}

// TestCommentOfAnApp: an app may not ask who it is; its comment is found again,
// beside those of other apps.
func TestCommentOfAnApp(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	s.Token("app-token", "acme-checks[bot]", "write", "acme/modules")
	r.Commit("topic", "change", map[string]string{"b": "b"})
	number := r.OpenPull("topic", "main", "Change", "alice").Number
	const marker = "<!-- modyard -->"
	r.AddComment(number, "mallory", marker+"\nforged")
	r.AddComment(number, "other[bot]", "as somebody said: "+marker)
	c := client(t, s, github.Options{Token: "app-token"})
	for _, text := range []string{"first", "second"} {
		if _, err := c.Comment(t.Context(), modules, number, marker, text); err != nil {
			t.Fatal(err)
		}
		if got := r.Comments(number); len(got) != 3 || got[2].Author != "acme-checks[bot]" || got[2].Body != marker+"\n"+text || got[0].Body != marker+"\nforged" {
			t.Errorf("the comments are %+v", got)
		}
	}
}

// TestToken: it goes to the API and nowhere else.
func TestToken(t *testing.T) {
	s, _ := started(t)
	elsewhere := githubtest.New(t)
	seen := ""
	elsewhere.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		seen += r.Header.Get("Authorization")
		w.WriteHeader(http.StatusTeapot)
		return true
	})
	s.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, elsewhere.URL+"/x", http.StatusTemporaryRedirect)
		return true
	})
	if _, err := client(t, s, github.Options{Token: "alice-token"}).At(t.Context(), modules, "main", ""); err == nil || seen != "" {
		t.Errorf("the other host saw %q: %v", seen, err)
	}
	if _, err := github.New(github.Options{API: "http://api.example.com", Token: "x"}); err == nil {
		t.Error("an API without TLS was taken")
	}
}
