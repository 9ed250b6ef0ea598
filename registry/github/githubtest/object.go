package githubtest

import (
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var fullSHA = regexp.MustCompile(`^[0-9a-f]{40}$`)

// empty is the answer while there is no commit.
func (c *call) empty() *answer {
	if !c.repo.begun {
		c.repo.begun = c.repo.try1("for-each-ref", "--count=1") != ""
	}
	if !c.repo.begun {
		return refuse(http.StatusConflict, "Git Repository is empty.")
	}
	return nil
}

func badSHA() *answer {
	return refuse(http.StatusUnprocessableEntity, "The sha parameter must be exactly 40 characters and contain only [0-9a-f].")
}

// kind is the type of an object, "" when there is none.
func (r *Repo) kind(sha string) string {
	kind, err := r.try(nil, "cat-file", "-t", sha)
	if err != nil {
		return ""
	}
	return kind
}

// try1 is try for what does not fail in a sound repository.
func (r *Repo) try1(args ...string) string {
	out, err := r.try(nil, args...)
	if err != nil {
		r.s.tb.Errorf("githubtest: %v", err)
	}
	return out
}

func getBlob(c *call) *answer {
	if a := c.empty(); a != nil {
		return a
	}
	sha := c.r.PathValue("sha")
	if !fullSHA.MatchString(sha) {
		return badSHA()
	}
	if c.repo.kind(sha) != "blob" {
		return notFound()
	}
	data, err := gitIn(c.repo.Dir, nil, "cat-file", "blob", sha)
	if err != nil {
		c.tb.Errorf("githubtest: %v", err)
	}
	if media := c.accepts(rawBlob...); media != "" {
		return &answer{status: http.StatusOK, header: http.Header{"Content-Type": {media + "; charset=utf-8"}}, raw: data}
	}
	return ok(object{
		"sha": sha, "node_id": node("B", sha), "size": len(data), "url": c.repo.api("/git/blobs/%s", sha),
		"content": wrapped(data), "encoding": "base64",
	})
}

// wrapped is base64 in lines of 60, as GitHub has it.
func wrapped(data []byte) string {
	var b strings.Builder
	for line := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(data)), 60) {
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.String()
}

func createBlob(c *call) *answer {
	var in struct{ Content, Encoding string }
	if a := c.decode(&in); a != nil {
		return a
	}
	if a := c.empty(); a != nil {
		return a
	}
	data := []byte(in.Content)
	switch in.Encoding {
	case "", "utf-8":
	case "base64":
		var err error
		if data, err = base64.StdEncoding.DecodeString(in.Content); err != nil {
			return refuse(http.StatusUnprocessableEntity, "content is not valid Base64")
		}
	default:
		return refuse(http.StatusUnprocessableEntity, "encoding must be one of utf-8, base64")
	}
	sha, err := c.repo.try(data, "hash-object", "-w", "--stdin")
	if err != nil {
		c.tb.Errorf("githubtest: %v", err)
	}
	return created(object{"sha": sha, "url": c.repo.api("/git/blobs/%s", sha)})
}

// getTree also takes a commit or the name of a ref. Its sha is then the
// commit's: only the entries are sure.
func getTree(c *call) *answer {
	if a := c.empty(); a != nil {
		return a
	}
	sha := c.r.PathValue("sha")
	if fullSHA.MatchString(sha) {
		sha = c.repo.resolve(sha + "^{}")
	} else {
		sha = c.repo.find(sha)
	}
	if kind := c.repo.kind(sha); kind != "tree" && kind != "commit" {
		return notFound()
	}
	args := []string{"ls-tree", "-z", "-l"}
	_, recursive := c.r.URL.Query()["recursive"]
	if recursive {
		args = append(args, "-r", "-t")
	}
	list, err := c.repo.lines(append(args, sha)...)
	if err != nil {
		c.tb.Errorf("githubtest: %v", err)
	}
	truncated := recursive && c.truncate > 0 && len(list) > c.truncate
	if truncated {
		list = list[:c.truncate]
	}
	entries := []object{}
	for _, line := range list {
		entries = append(entries, c.repo.treeEntry(line))
	}
	return ok(object{"sha": sha, "url": c.repo.api("/git/trees/%s", sha), "tree": entries, "truncated": truncated})
}

// treeEntry reads a line of git ls-tree -l.
func (r *Repo) treeEntry(line string) object {
	facts, path, _ := strings.Cut(line, "\t")
	f := strings.Fields(facts) // mode, type, sha, size
	e := object{"path": path, "mode": f[0], "type": f[1], "sha": f[2]}
	if size, err := strconv.Atoi(f[3]); err == nil {
		e["size"] = size
	}
	if f[1] != "commit" { // a submodule is elsewhere
		e["url"] = r.api("/git/%ss/%s", f[1], f[2])
	}
	return e
}
