package githubtest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// recorder notes failures in place of a test.
type recorder struct {
	testing.TB
	failed []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.failed = append(r.failed, fmt.Sprintf(format, args...))
}

// TestChecks shows that the checks fire.
func TestChecks(t *testing.T) {
	post := []string{"Content-Type", "application/json", "Authorization", "Bearer alice-token"}
	for _, test := range []struct {
		name, method, path, body, want string
		spoil                          func(*answer)
	}{
		{"fine", "GET", "/git/ref/heads/main", "", "", nil},
		{"no such operation", "GET", "/nope", "", "no matching operation", nil},
		{"query", "GET", "/commits?per_pages=1", "", `unknown query parameter "per_pages"`, nil},
		{"number", "GET", "/pulls/one", "", `parameter "pull_number"`, nil},
		{"missing", "POST", "/git/refs", `{"ref": "refs/heads/x"}`, `property "sha" is missing`, nil},
		{"unknown", "POST", "/git/refs", `{"ref": "refs/heads/x", "sha": "x", "forced": true}`, `property "forced" is unsupported`, nil},
		{"type", "PATCH", "/git/refs/heads/main", `{"sha": "x", "force": "yes"}`, "value must be a boolean", nil},
		{"enum", "POST", "/git/trees", `{"tree": [{"path": "x", "mode": "0644", "content": ""}]}`, "not one of the allowed values", nil},
		{"answer's property", "GET", "/git/ref/heads/main", "", `property "object" is missing`, func(a *answer) { delete(a.body.(object), "object") }},
		{"answer's type", "GET", "", "", "value must be a boolean", func(a *answer) { a.body.(object)["private"] = "no" }},
		{"answer's null", "GET", "", "", "Value is not nullable", func(a *answer) { a.body.(object)["name"] = nil }},
		{"answer's address", "GET", "", "", "not an absolute URL", func(a *answer) { a.body.(object)["forks_url"] = "/forks" }},
		{"answer's status", "GET", "", "", "unexpected status 418", func(a *answer) { a.status = 418 }},
		{"answer's error", "GET", "/git/trees/nope", "", "", nil},
		{"answer's media type", "GET", "/commits/main", "", `no media type "text/plain"`, func(a *answer) {
			a.body, a.raw, a.header = nil, []byte("x"), http.Header{"Content-Type": {"text/plain"}}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &recorder{TB: t}
			s := New(r)
			s.Token("alice-token", "alice", "write")
			repo := s.Repo("acme", "tools")
			repo.Commit("main", "first", map[string]string{"a": "a"})
			s.spoil = test.spoil
			ask(t, test.method, repo.api("")+test.path, test.body, post...)
			got := strings.Join(r.failed, "\n")
			if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
