package githubtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// entry is one of POST git/trees. Its sha may be there, null, or left out.
type entry struct {
	Path, Mode, Type string
	SHA              json.RawMessage
	Content          *string
}

// sha is "" for null and for none.
func (e entry) sha() string {
	s, _ := strconv.Unquote(string(e.SHA))
	return s
}

func createTree(c *call) *answer {
	var in struct {
		Base string `json:"base_tree"`
		Tree []entry
	}
	if a := c.decode(&in); a != nil {
		return a
	}
	if a := c.empty(); a != nil {
		return a
	}
	if len(in.Tree) == 0 {
		return refuse(http.StatusUnprocessableEntity, "Invalid tree info")
	}
	base := ""
	if in.Base != "" {
		if base = c.repo.resolve(in.Base + "^{tree}"); base == "" || !fullSHA.MatchString(in.Base) {
			return refuse(http.StatusUnprocessableEntity, "base_tree %s is not a tree", in.Base)
		}
	}
	for _, e := range in.Tree {
		if problem := e.problem(); problem != "" {
			return refuse(http.StatusUnprocessableEntity, "%s", problem)
		}
	}
	sha, err := c.repo.writeTree(base, in.Tree)
	if err != nil { // git's own reason is in no answer of GitHub's
		c.tb.Logf("githubtest: %v", err)
		return refuse(http.StatusUnprocessableEntity, "GitRPC::BadObjectState")
	}
	a := getTree(&call{Server: c.Server, repo: c.repo, r: withSHA(c.r, sha)})
	a.status = http.StatusCreated
	return a
}

func (e entry) problem() string {
	for part := range strings.SplitSeq(e.Path, "/") {
		if part == "" || part == "." || part == ".." || strings.EqualFold(part, ".git") {
			return "tree.path contains a malformed path component"
		}
	}
	switch {
	case e.sha() != "" && !fullSHA.MatchString(e.sha()):
		return "The sha parameter must be exactly 40 characters and contain only [0-9a-f]."
	case e.SHA != nil && e.Content != nil:
		return "Must supply either tree.sha or tree.content, not both"
	case e.SHA == nil && e.Content == nil:
		return "Must supply a valid tree.sha or tree.content"
	}
	return ""
}

// withSHA is r as if it asked for sha.
func withSHA(r *http.Request, sha string) *http.Request {
	r = r.Clone(r.Context())
	r.URL.RawQuery = ""
	r.SetPathValue("sha", sha)
	return r
}

// writeTree applies entries to a tree ("": none), by an index of its own.
func (r *Repo) writeTree(base string, entries []entry) (string, error) {
	dir, err := os.MkdirTemp(r.s.root, "tree-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	blobs, err := r.writeBlobs(dir, entries)
	if err != nil {
		return "", err
	}
	x := &index{r: r, file: filepath.Join(dir, "index")}
	if base != "" {
		if _, err := x.git("", "read-tree", base); err != nil {
			return "", err
		}
	}
	for i, e := range entries {
		if err := x.apply(e, cmp.Or(e.sha(), blobs[i])); err != nil {
			return "", err
		}
	}
	if err := x.flush(); err != nil {
		return "", err
	}
	return x.git("", "write-tree")
}

// writeBlobs writes the contents among the entries, by way of files in dir,
// and returns their hashes by the entries' places.
func (r *Repo) writeBlobs(dir string, entries []entry) (map[int]string, error) {
	var places []int
	var files strings.Builder
	for i, e := range entries {
		if e.Content == nil {
			continue
		}
		file := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(file, []byte(*e.Content), 0o600); err != nil {
			return nil, err
		}
		places = append(places, i)
		files.WriteString(file + "\n")
	}
	blobs := map[int]string{}
	if places == nil {
		return blobs, nil
	}
	out, err := r.try([]byte(files.String()), "hash-object", "-w", "--no-filters", "--stdin-paths")
	for i, sha := range strings.Fields(out) {
		blobs[places[i]] = sha
	}
	return blobs, err
}

// index is a git index while a tree is made.
type index struct {
	r     *Repo
	file  string
	lines strings.Builder // for git update-index --index-info
}

func (x *index) git(stdin string, args ...string) (string, error) {
	cmd := command(x.r.Dir, args...)
	cmd.Env = append(cmd.Env, "GIT_INDEX_FILE="+x.file)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := output(cmd)
	return strings.TrimSuffix(string(out), "\n"), err
}

// apply puts what sha has at the entry's path. "": nothing.
func (x *index) apply(e entry, sha string) error {
	if sha != "" && e.Mode != "040000" {
		fmt.Fprintf(&x.lines, "%s %s\t%s\x00", cmp.Or(e.Mode, "100644"), sha, e.Path)
		return nil
	}
	if err := x.flush(); err != nil {
		return err
	}
	n, err := x.remove(e.Path)
	switch {
	case err != nil:
		return err
	case sha == "" && n == 0:
		return fmt.Errorf("no %q to delete", e.Path)
	case sha == "":
		return nil
	}
	list, err := x.r.lines("ls-tree", "-r", "-z", sha)
	for _, line := range list {
		facts, path, _ := strings.Cut(line, "\t")
		fmt.Fprintf(&x.lines, "%s\t%s/%s\x00", facts, e.Path, path)
	}
	return err
}

func (x *index) flush() error {
	_, err := x.git(x.lines.String(), "update-index", "-z", "--index-info")
	x.lines.Reset()
	return err
}

// remove removes a file, or all below a path, and says how many.
func (x *index) remove(path string) (int, error) {
	list, err := x.git("", "--literal-pathspecs", "ls-files", "-z", "--cached", "--", path)
	if list == "" || err != nil {
		return 0, err
	}
	names := strings.Split(strings.TrimSuffix(list, "\x00"), "\x00")
	for _, name := range names {
		fmt.Fprintf(&x.lines, "0 %040d\t%s\x00", 0, name)
	}
	return len(names), x.flush()
}
