package githubtest

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// ref is what exactly this ref has: "" when there is none. It reads git's
// files, since it is asked for with nearly every request.
func (r *Repo) ref(name string) string {
	if strings.Contains(name, "..") {
		return ""
	}
	data, err := os.ReadFile(filepath.Join(r.Dir, filepath.FromSlash(name)))
	if sha := strings.TrimSpace(string(data)); err == nil && fullSHA.MatchString(sha) {
		return sha
	}
	data, err = os.ReadFile(filepath.Join(r.Dir, "packed-refs"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.s.tb.Errorf("githubtest: %v", err)
	}
	for line := range strings.Lines(string(data)) {
		if sha, found := strings.CutSuffix(strings.TrimSpace(line), " "+name); found {
			return sha
		}
	}
	return ""
}

func (r *Repo) refJSON(name, sha string) object {
	kind := r.kind(sha)
	return object{
		"ref": name, "node_id": node("REF", name), "url": r.api("/git/%s", name),
		"object": object{"type": kind, "sha": sha, "url": r.api("/git/%ss/%s", kind, sha)},
	}
}

func getRef(c *call) *answer {
	if a := c.empty(); a != nil {
		return a
	}
	name := "refs/" + c.r.PathValue("ref")
	sha := c.repo.ref(name)
	if sha == "" {
		return notFound()
	}
	return ok(c.repo.refJSON(name, sha))
}

func matchingRefs(c *call) *answer {
	if a := c.empty(); a != nil {
		return a
	}
	list := []object{}
	for line := range strings.Lines(c.repo.try1("for-each-ref", "--format=%(objectname) %(refname)")) {
		sha, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(name, "refs/"+c.r.PathValue("ref")) {
			list = append(list, c.repo.refJSON(name, sha))
		}
	}
	return ok(list)
}

func createRef(c *call) *answer {
	var in struct{ Ref, SHA string }
	if a := c.decode(&in); a != nil {
		return a
	}
	if a := c.empty(); a != nil {
		return a
	}
	_, err := c.repo.try(nil, "check-ref-format", in.Ref)
	switch {
	case !strings.HasPrefix(in.Ref, "refs/") || strings.Count(in.Ref, "/") < 2 || err != nil:
		return refuse(http.StatusUnprocessableEntity, "Reference name must start with 'refs/' and have at least two slashes")
	case !fullSHA.MatchString(in.SHA):
		return badSHA()
	case c.repo.ref(in.Ref) != "":
		return refuse(http.StatusUnprocessableEntity, "Reference already exists")
	}
	if a := c.pointable(in.Ref, in.SHA); a != nil {
		return a
	}
	return c.point(http.StatusCreated, in.Ref, in.SHA, "")
}

// pointable refuses what is not there, and a branch that is no commit.
func (c *call) pointable(ref, sha string) *answer {
	switch kind := c.repo.kind(sha); {
	case kind == "":
		return refuse(http.StatusUnprocessableEntity, "Object does not exist")
	case kind != "commit" && strings.HasPrefix(ref, "refs/heads/"):
		return refuse(http.StatusUnprocessableEntity, "Reference update failed")
	}
	return nil
}

// point moves a ref from old ("": none) to sha.
func (c *call) point(status int, ref, sha, old string) *answer {
	if _, err := c.repo.try(nil, "update-ref", ref, sha, old); err != nil {
		c.tb.Logf("githubtest: %v", err) // refs/heads/a beside refs/heads/a/b, or a push between
		return refuse(http.StatusUnprocessableEntity, "Reference update failed")
	}
	return &answer{status: status, body: c.repo.refJSON(ref, sha)}
}

func updateRef(c *call) *answer {
	var in struct {
		SHA   string
		Force bool
	}
	if a := c.decode(&in); a != nil {
		return a
	}
	name := "refs/" + c.r.PathValue("ref")
	old := c.repo.ref(name)
	switch {
	case old == "":
		return refuse(http.StatusUnprocessableEntity, "Reference does not exist")
	case !fullSHA.MatchString(in.SHA):
		return badSHA()
	}
	if a := c.pointable(name, in.SHA); a != nil {
		return a
	}
	if !in.Force && !c.repo.ancestor(old, in.SHA) {
		return refuse(http.StatusUnprocessableEntity, "Update is not a fast forward")
	}
	return c.point(http.StatusOK, name, in.SHA, old)
}

// ancestor says whether b has a.
func (r *Repo) ancestor(a, b string) bool {
	_, err := r.try(nil, "merge-base", "--is-ancestor", a, b)
	return err == nil
}

func deleteRef(c *call) *answer {
	name := "refs/" + c.r.PathValue("ref")
	old := c.repo.ref(name)
	if old == "" {
		return refuse(http.StatusUnprocessableEntity, "Reference does not exist")
	}
	if _, err := c.repo.try(nil, "update-ref", "-d", name, old); err != nil {
		c.tb.Logf("githubtest: %v", err)
		return refuse(http.StatusUnprocessableEntity, "Reference update failed")
	}
	return &answer{status: http.StatusNoContent}
}
