package githubtest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"
)

// client asks s with a token, "" for nobody.
func client(t *testing.T, s *Server, token string) *github.Client {
	t.Helper()
	c := github.NewClient(nil)
	if token != "" {
		c = c.WithAuthToken(token)
	}
	base, err := url.Parse(s.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	c.BaseURL = base
	return c
}

// started is a server with acme/tools, which has one commit; alice may write
// anywhere, reader nowhere, and bob in what is his.
func started(t *testing.T) (*Server, *Repo) {
	t.Helper()
	s := New(t)
	s.Token("alice-token", "alice", "write")
	s.Token("reader-token", "github-actions[bot]", "read")
	s.Token("bob-token", "bob", "write", "bob/none")
	r := s.Repo("acme", "tools")
	r.Commit("main", "first", map[string]string{"README.md": "hello\n", "lib/a.txt": "a\n"})
	return s, r
}

// git runs git as a user would.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := gitErr(dir, args...)
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func gitErr(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(gitEnv(), "no_proxy=*", "GIT_ASKPASS=")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// login is the repository's address with a token.
func login(r *Repo, token string) string {
	return strings.Replace(r.CloneURL(), "http://", "http://x-access-token:"+token+"@", 1)
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, _ *github.Response, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refused wants an error of this status with some text.
func refused(t *testing.T, err error, status int, text string) {
	t.Helper()
	var limited *github.RateLimitError
	var abuse *github.AbuseRateLimitError
	var e *github.ErrorResponse
	var got *http.Response
	switch {
	case errors.As(err, &limited):
		got = limited.Response
	case errors.As(err, &abuse):
		got = abuse.Response
	case errors.As(err, &e):
		got = e.Response
	default:
		t.Fatalf("got %v, want status %d", err, status)
	}
	if got.StatusCode != status || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want status %d with %q", err, status, text)
	}
}

func TestAPIThenGit(t *testing.T) {
	s, r := started(t)
	c, ctx := client(t, s, "alice-token"), t.Context()
	head := must(c.Git.GetRef(ctx, "acme", "tools", "heads/main"))(t).GetObject().GetSHA()
	blob := must(c.Git.CreateBlob(ctx, "acme", "tools", &github.Blob{Content: new("AAEC"), Encoding: new("base64")}))(t)
	tree := must(c.Git.CreateTree(ctx, "acme", "tools", head, []*github.TreeEntry{
		{Path: new("bin/run"), Mode: new("100755"), Type: new("blob"), SHA: blob.SHA},
		{Path: new("docs/index.md"), Mode: new("100644"), Type: new("blob"), Content: new("# docs\n")},
		{Path: new("lib/a.txt"), Mode: new("100644"), Type: new("blob")}, // deleted
	}))(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	commit := must(c.Git.CreateCommit(ctx, "acme", "tools", &github.Commit{
		Message: new("second"), Tree: &github.Tree{SHA: tree.SHA}, Parents: []*github.Commit{{SHA: &head}},
		Author: &github.CommitAuthor{Name: new("A"), Email: new("a@example.com"), Date: &github.Timestamp{Time: at}},
	}, nil))(t)
	ref := &github.Reference{Ref: new("refs/heads/feature/x"), Object: &github.GitObject{SHA: commit.SHA}}
	must(c.Git.CreateRef(ctx, "acme", "tools", ref))(t)

	dir := t.TempDir()
	git(t, dir, "clone", "-q", "-b", "feature/x", r.CloneURL(), "x")
	got := git(t, filepath.Join(dir, "x"), "ls-tree", "-r", "--format=%(objectmode) %(path)", "HEAD")
	if want := "100644 README.md\n100755 bin/run\n100644 docs/index.md"; got != want {
		t.Errorf("files: got %q, want %q", got, want)
	}
	if got := git(t, filepath.Join(dir, "x"), "log", "-1", "--format=%H %an %at %P %s"); got != fmt.Sprintf("%s A %d %s second", commit.GetSHA(), at.Unix(), head) {
		t.Errorf("commit: %s", got)
	}
	git(t, filepath.Join(dir, "x"), "fsck", "--strict")
	git(t, dir, "clone", "-q", "--filter=blob:none", "--no-checkout", r.CloneURL(), "y")

	// What GitHub refuses of refs.
	_, _, err := c.Git.CreateRef(ctx, "acme", "tools", ref)
	refused(t, err, 422, "Reference already exists")
	other := r.Commit("other", "apart", map[string]string{"x": "y"})
	ref.Object.SHA = &other
	_, _, err = c.Git.UpdateRef(ctx, "acme", "tools", ref, false)
	refused(t, err, 422, "Update is not a fast forward")
	must(c.Git.UpdateRef(ctx, "acme", "tools", ref, true))(t)
	if list := must(c.Git.ListMatchingRefs(ctx, "acme", "tools", &github.ReferenceListOptions{Ref: "heads/feat"}))(t); len(list) != 1 || list[0].GetObject().GetSHA() != other {
		t.Errorf("matching refs: %v", list)
	}
	if _, err := c.Git.DeleteRef(ctx, "acme", "tools", "heads/feature/x"); err != nil {
		t.Error(err)
	}
	_, _, err = c.Git.GetRef(ctx, "acme", "tools", "heads/feature/x")
	refused(t, err, 404, "Not Found")
}

func TestGitThenAPI(t *testing.T) {
	s, r := started(t)
	c, ctx := client(t, s, ""), t.Context()
	dir := filepath.Join(t.TempDir(), "x")
	git(t, ".", "clone", "-q", login(r, "alice-token"), dir)
	before := git(t, dir, "rev-parse", "HEAD")
	write(t, filepath.Join(dir, "lib", "ü b.txt"), strings.Repeat("line\n", 50))
	git(t, dir, "mv", "README.md", "READ ME.md")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "pushed\n\nwith a body")
	git(t, dir, "tag", "-a", "v1", "-m", "one")
	git(t, dir, "push", "-q", "origin", "main", "v1")
	head := git(t, dir, "rev-parse", "HEAD")

	for _, ref := range []string{"main", "heads/main", "v1", "tags/v1", head, head[:9], "HEAD"} {
		got := must(c.Repositories.GetCommit(ctx, "acme", "tools", ref, nil))(t)
		if got.GetSHA() != head || got.GetCommit().GetMessage() != "pushed\n\nwith a body" || len(got.Files) != 2 {
			t.Errorf("commit %s: %v", ref, got)
		}
		if f := got.Files[0]; f.GetStatus() != "renamed" || f.GetPreviousFilename() != "README.md" || f.GetFilename() != "READ ME.md" {
			t.Errorf("renamed file: %v", f)
		}
	}
	sha, _, err := c.Repositories.GetCommitSHA1(ctx, "acme", "tools", "main", "")
	if err != nil || sha != head {
		t.Errorf("sha: %s %v", sha, err)
	}
	if _, res, _ := c.Repositories.GetCommitSHA1(ctx, "acme", "tools", "main", head); res.StatusCode != http.StatusNotModified {
		t.Errorf("the same sha: %d", res.StatusCode)
	}
	_, _, err = c.Repositories.GetCommit(ctx, "acme", "tools", "nope", nil)
	refused(t, err, 422, "No commit found for SHA: nope")

	tree := must(c.Git.GetTree(ctx, "acme", "tools", head, true))(t)
	var paths []string
	for _, e := range tree.Entries {
		paths = append(paths, e.GetType()+" "+e.GetPath())
	}
	if want := []string{"blob READ ME.md", "tree lib", "blob lib/a.txt", "blob lib/ü b.txt"}; !slices.Equal(paths, want) {
		t.Errorf("tree: got %q", paths)
	}
	blob := tree.Entries[3]
	data, _, err := c.Git.GetBlobRaw(ctx, "acme", "tools", blob.GetSHA())
	if err != nil || string(data) != strings.Repeat("line\n", 50) || blob.GetSize() != len(data) {
		t.Errorf("blob: %q %v", data, err)
	}
	if text := must(c.Git.GetBlob(ctx, "acme", "tools", blob.GetSHA()))(t); !strings.HasPrefix(text.GetContent(), "bGluZQps") || strings.Index(text.GetContent(), "\n") != 60 {
		t.Errorf("blob: %v", text)
	}
	cmp := must(c.Repositories.CompareCommits(ctx, "acme", "tools", before, "main", nil))(t)
	if cmp.GetStatus() != "ahead" || cmp.GetAheadBy() != 1 || cmp.GetMergeBaseCommit().GetSHA() != before || len(cmp.Files) != 2 {
		t.Errorf("compare: %v", cmp)
	}
	list := must(c.Repositories.ListCommits(ctx, "acme", "tools", &github.CommitsListOptions{Path: "lib/a.txt"}))(t)
	if len(list) != 1 || list[0].GetSHA() != before {
		t.Errorf("commits of a path: %v", list)
	}
}

func TestComments(t *testing.T) {
	s, r := started(t)
	c, ctx := client(t, s, "alice-token"), t.Context()
	r.Commit("topic", "topic", map[string]string{"t": "t"})
	pull := r.OpenPull("topic", "main", "A topic", "bob")
	for i := range 45 {
		must(c.Issues.CreateComment(ctx, "acme", "tools", pull.Number, &github.IssueComment{Body: new(fmt.Sprint(i))}))(t)
	}
	opts := &github.IssueListCommentsOptions{ListOptions: github.ListOptions{PerPage: 20}}
	var got []string
	pages := 0
	for {
		list, res, err := c.Issues.ListComments(ctx, "acme", "tools", pull.Number, opts)
		if err != nil {
			t.Fatal(err)
		}
		if pages++; pages == 1 && res.LastPage != 3 {
			t.Errorf("last page %d", res.LastPage)
		}
		for _, x := range list {
			got = append(got, x.GetBody())
		}
		if res.NextPage == 0 {
			break
		}
		opts.Page = res.NextPage
	}
	if len(got) != 45 || got[44] != "44" || pages != 3 {
		t.Errorf("%d pages of %q", pages, got)
	}
	first := r.Comments(pull.Number)[0]
	must(c.Issues.EditComment(ctx, "acme", "tools", int64(first.ID), &github.IssueComment{Body: new("new")}))(t)
	if first = r.Comments(pull.Number)[0]; first.Body != "new" || first.Author != "alice" {
		t.Errorf("edited: %+v", first)
	}
	_, _, err := client(t, s, "bob-token").Issues.EditComment(ctx, "acme", "tools", int64(first.ID), &github.IssueComment{Body: new("mine")})
	refused(t, err, 403, "")
	_, _, err = c.Issues.CreateComment(ctx, "acme", "tools", pull.Number, &github.IssueComment{Body: new(strings.Repeat("x", 65537))})
	refused(t, err, 422, "too long")
}

func TestPermissions(t *testing.T) {
	s, r := started(t)
	secret := s.Repo("acme", "secret")
	secret.Private = true
	secret.Commit("main", "first", map[string]string{"a": "a"})
	r.Commit("topic", "topic", map[string]string{"t": "t"})
	r.OpenPull("topic", "main", "A topic", "alice")
	r.Collaborator("carol", "maintain")
	ctx := t.Context()
	comment := &github.IssueComment{Body: new("hi")}

	_, _, err := client(t, s, "reader-token").Issues.CreateComment(ctx, "acme", "tools", 1, comment)
	refused(t, err, 403, "Resource not accessible by integration")
	_, _, err = client(t, s, "").Issues.CreateComment(ctx, "acme", "tools", 1, comment)
	refused(t, err, 401, "Requires authentication")
	_, _, err = client(t, s, "wrong").Repositories.Get(ctx, "acme", "tools")
	refused(t, err, 401, "Bad credentials")
	_, _, err = client(t, s, "bob-token").Git.CreateBlob(ctx, "acme", "tools", &github.Blob{Content: new("x"), Encoding: new("utf-8")})
	refused(t, err, 404, "Not Found")
	for _, token := range []string{"", "bob-token"} {
		_, _, err = client(t, s, token).Repositories.Get(ctx, "acme", "secret")
		refused(t, err, 404, "Not Found")
		if out, err := gitErr(t.TempDir(), "clone", login(secret, token), "x"); err == nil {
			t.Errorf("cloned as %q: %s", token, out)
		}
	}
	must(client(t, s, "alice-token").Repositories.Get(ctx, "acme", "secret"))(t)
	git(t, t.TempDir(), "clone", "-q", login(secret, "alice-token"), "x")
	git(t, t.TempDir(), "clone", "-q", login(secret, "reader-token"), "x")
	if out, err := gitErr(r.Dir, "push", login(r, "reader-token"), "main:other"); err == nil || !strings.Contains(out, "403") {
		t.Errorf("pushed as a reader: %v %s", err, out)
	}

	c := client(t, s, "reader-token")
	for login, want := range map[string]string{"acme": "admin admin", "carol": "write maintain", "bob": "read read"} {
		got := must(c.Repositories.GetPermissionLevel(ctx, "acme", "tools", login))(t)
		if s := got.GetPermission() + " " + got.GetUser().GetRoleName(); s != want {
			t.Errorf("permission of %s: %s", login, s)
		}
	}
	_, _, err = c.Repositories.GetPermissionLevel(ctx, "acme", "tools", "nobody")
	refused(t, err, 404, "nobody is not a user")
	if got := must(client(t, s, "bob-token").Users.Get(ctx, ""))(t); got.GetLogin() != "bob" {
		t.Errorf("user: %v", got)
	}
	_, _, err = c.Users.Get(ctx, "")
	refused(t, err, 403, "")
}

func TestForkAndPull(t *testing.T) {
	s, r := started(t)
	c, ctx := client(t, s, "bob-token"), t.Context()
	_, _, err := c.Repositories.CreateFork(ctx, "acme", "tools", nil)
	if accepted := (*github.AcceptedError)(nil); !errors.As(err, &accepted) {
		t.Fatal(err)
	}
	if got := must(c.Repositories.Get(ctx, "bob", "tools"))(t); !got.GetFork() || got.GetParent().GetFullName() != "acme/tools" {
		t.Errorf("fork: %v", got)
	}
	head := s.Repo("bob", "tools").Commit("topic", "topic", map[string]string{"t": "t"})
	in := &github.NewPullRequest{Title: new("T"), Head: new("bob:topic"), Base: new("main"), Body: new("why")}
	pull := must(c.PullRequests.Create(ctx, "acme", "tools", in))(t)
	if pull.GetHead().GetSHA() != head || pull.GetHead().GetRepo().GetFullName() != "bob/tools" || pull.GetChangedFiles() != 1 {
		t.Errorf("pull: %v", pull)
	}
	_, _, err = c.PullRequests.Create(ctx, "acme", "tools", in)
	refused(t, err, 422, "A pull request already exists for bob:topic.")
	// The commit is found in the repository it was proposed to.
	must(c.Repositories.GetCommit(ctx, "acme", "tools", head, nil))(t)
	must(c.Repositories.CompareCommits(ctx, "acme", "tools", "main", "bob:topic", nil))(t)
	if got := git(t, ".", "ls-remote", r.CloneURL(), "refs/pull/1/head"); !strings.HasPrefix(got, head) {
		t.Errorf("refs/pull/1/head: %s", got)
	}
	for _, state := range []string{"open", "all"} {
		list := must(c.PullRequests.List(ctx, "acme", "tools", &github.PullRequestListOptions{Head: "bob:topic", Base: "main", State: state}))(t)
		if len(list) != 1 {
			t.Errorf("%s: %v", state, list)
		}
	}
	must(c.PullRequests.Edit(ctx, "acme", "tools", 1, &github.PullRequest{Title: new("new")}))(t)

	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r.Pull(1).Label("ok", "alice", at)
	events := must(c.Issues.ListIssueTimeline(ctx, "acme", "tools", 1, nil))(t)
	if len(events) != 1 || events[0].GetEvent() != "labeled" || events[0].GetActor().GetLogin() != "alice" || !events[0].GetCreatedAt().Equal(github.Timestamp{Time: at}) {
		t.Errorf("timeline: %v", events)
	}
	// A merge by git.
	git(t, r.Dir, "push", "-q", login(r, "alice-token"), head+":refs/heads/main")
	if p := r.Pull(1); !p.Merged || p.State != "closed" || p.Title != "new" || !slices.Equal(p.Labels, []string{"ok"}) {
		t.Errorf("merged: %+v", p)
	}
	must(c.PullRequests.Get(ctx, "acme", "tools", 1))(t)
	_, _, err = c.PullRequests.Create(ctx, "acme", "tools", in)
	refused(t, err, 422, "No commits between main and topic")
}

func TestReleases(t *testing.T) {
	s, r := started(t)
	c, ctx := client(t, s, "alice-token"), t.Context()
	in := &github.RepositoryRelease{TagName: new("v1"), Name: new("One"), Draft: new(true)}
	draft := must(c.Repositories.CreateRelease(ctx, "acme", "tools", in))(t)
	_, _, err := c.Repositories.GetReleaseByTag(ctx, "acme", "tools", "v1")
	refused(t, err, 404, "")
	must(c.Repositories.EditRelease(ctx, "acme", "tools", draft.GetID(), &github.RepositoryRelease{Draft: new(false), Body: new("b")}))(t)
	if got := must(c.Repositories.GetReleaseByTag(ctx, "acme", "tools", "v1"))(t); got.GetBody() != "b" || got.GetName() != "One" {
		t.Errorf("release: %v", got)
	}
	if r.Git("rev-parse", "v1") != r.Git("rev-parse", "main") || len(r.Releases()) != 1 {
		t.Error("no tag")
	}
	in.Draft = nil
	_, _, err = c.Repositories.CreateRelease(ctx, "acme", "tools", in)
	refused(t, err, 422, "already_exists")
}

func TestBounds(t *testing.T) {
	s, r := started(t)
	c, ctx := client(t, s, "alice-token"), t.Context()
	s.TruncateTrees(2)
	if tree := must(c.Git.GetTree(ctx, "acme", "tools", "main", true))(t); !tree.GetTruncated() || len(tree.Entries) != 2 {
		t.Errorf("tree: %v", tree)
	}
	if tree := must(c.Git.GetTree(ctx, "acme", "tools", "main", false))(t); tree.GetTruncated() {
		t.Errorf("not recursive, yet truncated: %v", tree)
	}
	s.Forget()
	if _, _, err := c.Repositories.Get(ctx, "acme", "gone"); err == nil || !slices.Equal(s.Requests(), []string{"GET /repos/acme/gone"}) {
		t.Errorf("requests: %q", s.Requests())
	}
	_, _, err := c.Git.GetTree(ctx, "acme", s.Repo("acme", "empty").Name, "main", true)
	refused(t, err, 409, "Git Repository is empty.")

	// A client of its own for each limit: it remembers them.
	s.RateLimit(1, time.Now().Add(time.Hour))
	must(client(t, s, "alice-token").Repositories.Get(ctx, "acme", "tools"))(t)
	_, _, err = client(t, s, "alice-token").Repositories.Get(ctx, "acme", "tools")
	refused(t, err, 403, "API rate limit")
	if limited := (*github.RateLimitError)(nil); !errors.As(err, &limited) || limited.Rate.Remaining != 0 {
		t.Errorf("rate limit: %v", err)
	}
	s.RateLimit(1, time.Now().Add(-time.Second))
	s.SecondaryLimit(1, 3*time.Second)
	if status, header := ask(t, "GET", r.api(""), ""); status != http.StatusTooManyRequests || header.Get("Retry-After") != "3" {
		t.Errorf("secondary limit: %d %v", status, header)
	}
	must(client(t, s, "alice-token").Repositories.Get(ctx, "acme", "tools"))(t)

	s.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	_, _, err = client(t, s, "alice-token").Repositories.Get(ctx, "acme", "tools")
	refused(t, err, 502, "")
}

// ask asks without a client library, and returns the status and the headers.
func ask(t *testing.T, method, url, body string, header ...string) (int, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header
}

func TestETag(t *testing.T) {
	_, r := started(t)
	url := r.api("/git/ref/heads/main")
	_, header := ask(t, "GET", url, "")
	etag := header.Get("ETag")
	if status, _ := ask(t, "GET", url, "", "If-None-Match", etag); etag == "" || status != http.StatusNotModified {
		t.Errorf("the same: %q %d", etag, status)
	}
	r.Commit("main", "second", map[string]string{"b": "b"})
	if status, _ := ask(t, "GET", url, "", "If-None-Match", etag); status != http.StatusOK {
		t.Errorf("moved: %d", status)
	}
}

func TestTrees(t *testing.T) {
	s, r := started(t)
	c, ctx := client(t, s, "alice-token"), t.Context()
	text, dir, file, folder := new("x\n"), new("040000"), new("100644"), new("tree")
	lib := r.Git("rev-parse", "main:lib")
	for _, test := range []struct {
		name    string
		entries []*github.TreeEntry
		want    string // files, or the error
	}{
		{"graft", []*github.TreeEntry{{Path: new("copy"), Mode: dir, Type: folder, SHA: &lib}}, "README.md copy/a.txt lib/a.txt"},
		{"replace by a file", []*github.TreeEntry{{Path: new("lib"), Mode: file, Content: text}}, "README.md lib"},
		{"replace by a directory", []*github.TreeEntry{{Path: new("README.md/b"), Mode: file, Content: text}}, "README.md/b lib/a.txt"},
		{"delete a directory", []*github.TreeEntry{{Path: new("lib"), Mode: dir, Type: folder}}, "README.md"},
		{"delete nothing", []*github.TreeEntry{{Path: new("gone"), Mode: file}}, "BadObjectState"},
		{"outside", []*github.TreeEntry{{Path: new("../x"), Mode: file, Content: text}}, "malformed path component"},
		{"no such object", []*github.TreeEntry{{Path: new("x"), Mode: file, SHA: new(strings.Repeat("1", 40))}}, "BadObjectState"},
		{"odd names", []*github.TreeEntry{{Path: new("a b/ü"), Mode: new("120000"), Content: text}}, "README.md a b/ü lib/a.txt"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got string
			tree, _, err := c.Git.CreateTree(ctx, "acme", "tools", r.Git("rev-parse", "main^{tree}"), test.entries)
			if err != nil {
				got = err.Error()
			} else {
				got = strings.TrimSuffix(strings.ReplaceAll(r.Git("ls-tree", "-r", "-z", "--name-only", tree.GetSHA()), "\x00", " "), " ")
			}
			if got != test.want && (err == nil || !strings.Contains(got, test.want)) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if status, _ := ask(t, "POST", r.api("/git/trees"), `{"tree": [{"path": "x", "mode": "100644", "type": "blob"}]}`,
		"Authorization", "token alice-token", "Content-Type", "application/json"); status != http.StatusUnprocessableEntity {
		t.Errorf("neither hash nor content: %d", status)
	}
}

// TestBigPush has a body that comes in chunks.
func TestBigPush(t *testing.T) {
	_, r := started(t)
	dir := filepath.Join(t.TempDir(), "x")
	git(t, ".", "clone", "-q", login(r, "alice-token"), dir)
	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(i * i >> 7 * 31 >> (i % 5))
	}
	write(t, filepath.Join(dir, "big"), string(data))
	git(t, dir, "add", "big")
	git(t, dir, "commit", "-q", "-m", "big")
	git(t, dir, "-c", "core.compression=0", "-c", "http.postBuffer=65536", "push", "-q", "origin", "HEAD:big")
	if r.ref("refs/heads/big") != git(t, dir, "rev-parse", "HEAD") {
		t.Error("not pushed")
	}
}

// TestAtOnce has clients move a branch from the same place: one wins.
func TestAtOnce(t *testing.T) {
	_, r := started(t)
	base := r.ref("refs/heads/main")
	var status [8]int
	var g sync.WaitGroup
	for i := range status {
		sha := r.Git("commit-tree", "-p", base, "-m", fmt.Sprint(i), base+"^{tree}")
		g.Go(func() {
			status[i], _ = ask(t, "PATCH", r.api("/git/refs/heads/main"), `{"sha": "`+sha+`"}`, "Authorization", "token alice-token", "Content-Type", "application/json")
		})
	}
	g.Wait()
	slices.Sort(status[:])
	if status != [8]int{200, 422, 422, 422, 422, 422, 422, 422} {
		t.Errorf("status: %v", status)
	}
}
