package githubtest

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
)

// need is what an operation asks of the token.
type need int

const (
	look need = iota // the repository is public, or its own
	talk             // and the token may write
	push             // and the repository is its own
)

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /user", s.handle(look, user))
	for _, route := range []struct {
		pattern string
		need    need
		do      func(*call) *answer
	}{
		{"GET ", look, getRepo},
		{"POST /forks", talk, fork},
		{"GET /collaborators/{username}/permission", look, permission},
		{"GET /commits", look, listCommits},
		{"GET /commits/{ref...}", look, getCommit},
		{"GET /compare/{basehead...}", look, compare},
		{"GET /git/trees/{sha...}", look, getTree},
		{"POST /git/trees", push, createTree},
		{"GET /git/blobs/{sha}", look, getBlob},
		{"POST /git/blobs", push, createBlob},
		{"POST /git/commits", push, createCommit},
		{"GET /git/ref/{ref...}", look, getRef},
		{"GET /git/matching-refs/{ref...}", look, matchingRefs},
		{"POST /git/refs", push, createRef},
		{"PATCH /git/refs/{ref...}", push, updateRef},
		{"DELETE /git/refs/{ref...}", push, deleteRef},
		{"GET /pulls", look, listPulls},
		{"POST /pulls", talk, createPull},
		{"GET /pulls/{number}", look, getPull},
		{"PATCH /pulls/{number}", talk, updatePull},
		{"GET /issues/{number}/comments", look, listComments},
		{"POST /issues/{number}/comments", talk, createComment},
		{"PATCH /issues/comments/{id}", talk, updateComment},
		{"DELETE /issues/comments/{id}", talk, deleteComment},
		{"GET /issues/{number}/timeline", look, timeline},
		{"GET /releases/tags/{tag...}", look, getRelease},
		{"GET /releases", look, listReleases},
		{"POST /releases", push, createRelease},
		{"PATCH /releases/{id}", push, updateRelease},
	} {
		method, rest, _ := strings.Cut(route.pattern, " ")
		mux.HandleFunc(method+" /repos/{owner}/{repo}"+rest, s.handle(route.need, route.do))
	}
	return mux
}

// slot takes the answer from a handler.
type slot struct {
	*httptest.ResponseRecorder // what the mux itself says is not GitHub's
	who                        *token
	answer                     *answer
}

// respond finds the answer. One request at a time has the server's state.
func (s *Server) respond(r *http.Request) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	who, known := s.bearer(r)
	if !known {
		return refuse(http.StatusUnauthorized, "Bad credentials")
	}
	if a := s.limited(who); a != nil {
		return a
	}
	to := &slot{ResponseRecorder: httptest.NewRecorder(), who: who}
	s.mux.ServeHTTP(to, r)
	if to.answer == nil {
		return notFound()
	}
	return to.answer
}

func (s *Server) handle(needs need, do func(*call) *answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		to := w.(*slot)
		c := &call{Server: s, r: r, who: to.who}
		if to.answer = c.enter(needs); to.answer == nil {
			to.answer = do(c)
		}
	}
}

// enter finds the repository and returns an answer when the token may not.
// Writing takes a little more than seeing; what one may not see is not there.
func (c *call) enter(needs need) *answer {
	if owner := c.r.PathValue("owner"); owner != "" {
		if c.repo = c.Server.repo(owner, c.r.PathValue("repo")); c.repo == nil || !c.who.sees(c.repo) {
			return notFound()
		}
	}
	switch {
	case needs == look:
		return nil
	case c.who == nil:
		return refuse(http.StatusUnauthorized, "Requires authentication")
	case !c.who.write:
		return forbidden()
	case needs == push && !c.who.pushes(c.repo):
		if c.who.bot() {
			return forbidden()
		}
		return notFound()
	}
	return nil
}

// bearer finds the request's token: nil for nobody. The token may also be the
// password or the user of basic authentication.
func (s *Server) bearer(r *http.Request) (who *token, known bool) {
	scheme, name, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if scheme == "" {
		return nil, true
	}
	if login, password, ok := r.BasicAuth(); ok {
		if name = password; s.tokens[name] == nil {
			name = login
		}
	} else if s := strings.ToLower(scheme); s != "bearer" && s != "token" {
		return nil, false
	}
	who = s.tokens[name]
	return who, who != nil
}

// own says whether the repository is one of the token's.
func (t *token) own(r *Repo) bool {
	return t != nil && (len(t.repos) == 0 || slices.Contains(t.repos, strings.ToLower(r.FullName())))
}

func (t *token) sees(r *Repo) bool   { return !r.Private || t.own(r) }
func (t *token) pushes(r *Repo) bool { return t.own(r) && t.write }

// bot says whether the token is an app's, as GITHUB_TOKEN is.
func (t *token) bot() bool { return strings.HasSuffix(t.login, "[bot]") }
