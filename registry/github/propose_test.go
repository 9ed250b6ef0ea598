package github_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/modyard/modyard/registry/github"
)

// TestPropose: who may push gets a branch, who may not a fork; proposing again
// updates the same pull request. What the API writes, git reads.
func TestPropose(t *testing.T) {
	s, r := started(t)
	s.Token("bob-token", "bob", "write", "bob/none")
	base := strings.TrimSpace(r.Git("rev-parse", "main"))
	for _, x := range []struct{ token, owner, fork string }{{"alice-token", "acme", ""}, {"bob-token", "bob", "bob/modules"}} {
		c := client(t, s, github.Options{Token: x.token})
		number := 0
		for i, text := range []string{"one\n", "two\n"} {
			p, err := c.Propose(t.Context(), modules, github.Proposal{
				Base: base, Branch: "modyard/a-1.1.0", Title: "a 1.1.0", Body: "What it does.\n",
				Files: map[string][]byte{"modules/a/versions/1.1.0.yaml": []byte(text), "modules/a/src/main.py": nil, "modules/a/src/run": []byte("x")},
				Modes: map[string]string{"modules/a/src/run": "100755"},
			})
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				number = p.Number
			}
			if p.Number != number || p.Updated != (i > 0) || p.Fork != x.fork {
				t.Errorf("%s: %+v", x.token, p)
			}
		}
		at := s.Repo(x.owner, "modules")
		if got := at.Git("show", "modyard/a-1.1.0:modules/a/versions/1.1.0.yaml"); got != "two" && got != "two\n" {
			t.Errorf("git has %q", got)
		}
		if got := at.Git("ls-tree", "-r", "--format=%(objectmode) %(path)", "modyard/a-1.1.0", "modules/a"); strings.Contains(got, "main.py") || !strings.Contains(got, "100755 modules/a/src/run") {
			t.Errorf("git has %s", got)
		}
		if pull := r.Pull(number); pull == nil || pull.Title != "a 1.1.0" {
			t.Errorf("the pull request is %+v", pull)
		}
	}
	if _, err := client(t, s, github.Options{}).Propose(t.Context(), modules, github.Proposal{}); err == nil || !strings.Contains(err.Error(), "without a token") {
		t.Errorf("without a token: %v", err)
	}
}

// TestProposeRefused: a file that GitHub does not take ends with what it says.
func TestProposeRefused(t *testing.T) {
	s, r := started(t)
	base := strings.TrimSpace(r.Git("rev-parse", "main"))
	s.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/git/blobs") {
			return false
		}
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"message": "too large"}`)
		return true
	})
	_, err := client(t, s, github.Options{Token: "alice-token"}).Propose(t.Context(), modules, github.Proposal{
		Base: base, Branch: "b", Title: "t", Files: map[string][]byte{"a": []byte("a")},
	})
	if err == nil || !strings.Contains(err.Error(), "cannot send a: GitHub answers 422 too large") {
		t.Errorf("%v", err)
	}
}
