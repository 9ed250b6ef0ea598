package githubtest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cgi"
	"strings"
)

// gitPaths are the requests of git's smart protocol.
var gitPaths = []string{"/info/refs", "/git-upload-pack", "/git-receive-pack"}

func isGit(path string) bool {
	for _, p := range gitPaths {
		if rest, ok := strings.CutSuffix(path, p); ok {
			return strings.Count(rest, "/") == 2
		}
	}
	return false
}

// serveGit has git's own server answer, for /OWNER/NAME.git and, as on
// GitHub, /OWNER/NAME.
func (s *Server) serveGit(w http.ResponseWriter, r *http.Request) {
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 3)
	pushing := parts[2] == "git-receive-pack" || r.URL.Query().Get("service") == "git-receive-pack"
	s.mu.Lock()
	repo := s.repo(parts[0], strings.TrimSuffix(parts[1], ".git"))
	who, known := s.bearer(r)
	if repo != nil {
		repo.sync()
	}
	s.mu.Unlock()
	switch {
	case !known, who == nil && (pushing || repo == nil || repo.Private):
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		http.Error(w, "Authentication failed.", http.StatusUnauthorized)
		return
	case repo == nil || !who.sees(repo):
		http.Error(w, "Repository not found.", http.StatusNotFound)
		return
	case pushing && !who.pushes(repo):
		http.Error(w, "Write access to repository not granted.", http.StatusForbidden)
		return
	}
	env := append(gitEnv(), "GIT_PROJECT_ROOT="+s.root, "GIT_HTTP_EXPORT_ALL=1")
	if v := r.Header.Get("Git-Protocol"); v != "" {
		env = append(env, "GIT_PROTOCOL="+v)
	}
	if who != nil {
		env = append(env, "REMOTE_USER="+who.login)
	}
	r = r.Clone(r.Context())
	if r.ContentLength < 0 { // net/http/cgi has no chunked bodies
		data, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(data)), int64(len(data)), nil
	}
	r.URL.Path = "/" + repo.FullName() + ".git/" + parts[2]
	r.URL.RawPath = ""
	(&cgi.Handler{Path: s.backend, Dir: s.root, Env: env, Stderr: s.tb.Output()}).ServeHTTP(w, r)
}
