package githubtest

import (
	"cmp"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is one GitHub. Its methods may be called while it serves.
type Server struct {
	URL string // of the API, and with /OWNER/NAME.git of the git repositories

	tb      testing.TB
	root    string // has OWNER/NAME.git
	backend string // git-http-backend
	mux     *http.ServeMux
	check   *checker
	spoil   func(*answer) // changes answers before they are checked, for our own tests

	mu       sync.Mutex // guards all below, and what the repositories hold beside git
	repos    map[string]*Repo
	tokens   map[string]*token
	users    map[string]int // ids by login
	ids      int
	requests []string
	fault    func(w http.ResponseWriter, r *http.Request) bool
	truncate int
	limit    limits
}

// token is what a token is allowed.
type token struct {
	login string
	write bool
	repos []string // in lower case; none: every repository
}

// New starts a server on loopback, which ends with the test. The test fails
// when a request or an answer is not as GitHub's description says.
func New(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{
		tb: tb, root: tb.TempDir(),
		repos: map[string]*Repo{}, tokens: map[string]*token{}, users: map[string]int{},
		limit: limits{remaining: 5000, reset: time.Now().Add(time.Hour)},
	}
	var err error
	if s.backend, err = backend(); err != nil {
		tb.Fatal(err)
	}
	if s.check, err = newChecker(); err != nil {
		tb.Fatal(err)
	}
	s.mux = s.routes()
	h := httptest.NewServer(s)
	tb.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

// backend is where git's own server is.
var backend = sync.OnceValues(func() (string, error) {
	out, err := gitIn(".", nil, "--exec-path")
	return filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), err
})

// Token makes a token known. It belongs to login. Scopes are "write", or
// "read" for GETs only, and any number of "owner/name": the repositories it
// may push to and, when private, see. None: all of them. Write tokens may
// comment, fork and propose wherever they may look.
func (s *Server) Token(name, login string, scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &token{login: login}
	for _, scope := range scopes {
		switch {
		case scope == "write":
			t.write = true
		case strings.Contains(scope, "/"):
			t.repos = append(t.repos, strings.ToLower(scope))
		case scope != "read":
			s.tb.Errorf("githubtest: unknown scope %q", scope)
		}
	}
	s.tokens[name] = t
	s.userID(login)
}

// Requests returns what was asked so far, git included: "METHOD /path?query".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Forget empties Requests.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// Fault has f see every request first. When f answers it returns true. Its
// answers are not checked. Nil ends it.
func (s *Server) Fault(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// TruncateTrees has recursive trees of more than n entries hold the first n
// only. Zero: all (GitHub's own bounds are 100,000 entries and 7 MB).
func (s *Server) TruncateTrees(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.truncate = n
}

// Repo makes a repository, or returns the one there is. A new one is public
// and has no commits: GitHub then answers most of git's API with 409.
func (s *Server) Repo(owner, name string) *Repo {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.repo(owner, name); r != nil {
		return r
	}
	r, err := s.newRepo(owner, name, nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	return r
}

func (s *Server) repo(owner, name string) *Repo {
	return s.repos[strings.ToLower(owner+"/"+name)]
}

// sorted returns the repositories in the order they were made.
func (s *Server) sorted() []*Repo {
	return slices.SortedFunc(maps.Values(s.repos), func(a, b *Repo) int { return cmp.Compare(a.id, b.id) })
}

// id returns a number never used before.
func (s *Server) id() int {
	s.ids++
	return 1000 + s.ids
}

func (s *Server) userID(login string) int {
	key := strings.ToLower(login)
	if s.users[key] == 0 {
		s.users[key] = s.id()
	}
	return s.users[key]
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI())
	fault := s.fault
	s.mu.Unlock()
	switch {
	case fault != nil && fault(w, r):
	case isGit(r.URL.Path):
		s.serveGit(w, r)
	default:
		s.serveAPI(w, r)
	}
}

// now is the time in GitHub's precision.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
