package githubtest

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// signature is who made a commit when.
type signature struct {
	Name, Email string
	Date        time.Time
}

func (s signature) String() string {
	return fmt.Sprintf("%s <%s> %d +0000", s.Name, s.Email, s.Date.Unix())
}

// commitRequest is POST git/commits.
type commitRequest struct {
	Message   string
	Tree      string
	Parents   []string
	Author    *signature
	Committer *signature
	Signature string
}

func createCommit(c *call) *answer {
	var in commitRequest
	if a := c.decode(&in); a != nil {
		return a
	}
	if a := c.empty(); a != nil {
		return a
	}
	if !fullSHA.MatchString(in.Tree) || c.repo.kind(in.Tree) != "tree" {
		return refuse(http.StatusUnprocessableEntity, "Tree SHA does not exist")
	}
	for _, p := range in.Parents {
		if !fullSHA.MatchString(p) || c.repo.kind(p) != "commit" {
			return refuse(http.StatusUnprocessableEntity, "Parent SHA does not exist or is not a commit object")
		}
	}
	sha, err := c.repo.writeCommit(in, signature{c.who.login, c.who.login + "@users.noreply.github.com", now()})
	if err != nil {
		c.tb.Errorf("githubtest: %v", err)
	}
	g := c.repo.read(sha)
	return created(object{
		"sha": sha, "node_id": node("C", sha), "url": c.repo.api("/git/commits/%s", sha), "html_url": c.repo.html("/commit/%s", sha),
		"author": g.author.json(), "committer": g.committer.json(), "message": g.message, "verification": g.verification(),
		"tree":    object{"sha": g.tree, "url": c.repo.api("/git/trees/%s", g.tree)},
		"parents": c.repo.parents(g, "/git/commits/%s"),
	})
}

// writeCommit writes a commit of just these bytes: git commit-tree would add
// to the message. Who is its author unless it has one.
func (r *Repo) writeCommit(in commitRequest, who signature) (string, error) {
	author := who
	if in.Author != nil {
		author = *in.Author
		if author.Date.IsZero() {
			author.Date = who.Date
		}
	}
	committer := author
	if in.Committer != nil {
		committer = *in.Committer
		if committer.Date.IsZero() {
			committer.Date = who.Date
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "tree %s\n", in.Tree)
	for _, p := range in.Parents {
		fmt.Fprintf(&b, "parent %s\n", p)
	}
	fmt.Fprintf(&b, "author %s\ncommitter %s\n", author, committer)
	if in.Signature != "" {
		fmt.Fprintf(&b, "gpgsig %s\n", strings.ReplaceAll(strings.TrimSuffix(in.Signature, "\n"), "\n", "\n "))
	}
	fmt.Fprintf(&b, "\n%s", in.Message)
	return r.try([]byte(b.String()), "hash-object", "-t", "commit", "-w", "--stdin")
}

func (s signature) json() object {
	return object{"name": s.Name, "email": s.Email, "date": s.Date}
}

// gitCommit is what git has of a commit.
type gitCommit struct {
	sha, tree, message string
	parents            []string
	author, committer  signature
}

func (g gitCommit) verification() object {
	return object{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil}
}

func (r *Repo) read(sha string) gitCommit {
	if list := r.log("-1", sha); len(list) == 1 {
		return list[0]
	}
	return gitCommit{sha: sha}
}

// log reads the commits git log lists.
func (r *Repo) log(args ...string) []gitCommit {
	args = append([]string{"log", "-z", "--format=" + strings.Join([]string{"%H", "%T", "%P", "%an", "%ae", "%at", "%cn", "%ce", "%ct", "%B"}, "%x1f")}, args...)
	lines, err := r.lines(args...)
	if err != nil {
		r.s.tb.Errorf("githubtest: %v", err)
	}
	var list []gitCommit
	for _, line := range lines {
		f := strings.SplitN(line, "\x1f", 10)
		list = append(list, gitCommit{
			sha: f[0], tree: f[1], parents: strings.Fields(f[2]),
			author: signature{f[3], f[4], unix(f[5])}, committer: signature{f[6], f[7], unix(f[8])},
			message: strings.TrimRight(f[9], "\n"),
		})
	}
	return list
}

func unix(s string) time.Time {
	n, _ := strconv.ParseInt(s, 10, 64)
	return time.Unix(n, 0).UTC()
}

func (r *Repo) parents(g gitCommit, url string) []object {
	list := []object{}
	for _, p := range g.parents {
		list = append(list, object{"sha": p, "url": r.api(url, p), "html_url": r.html("/commit/%s", p)})
	}
	return list
}

// commitJSON is a commit in the API's words. Emails belong to no account.
func (r *Repo) commitJSON(g gitCommit) object {
	return object{
		"sha": g.sha, "node_id": node("C", g.sha), "url": r.api("/commits/%s", g.sha), "html_url": r.html("/commit/%s", g.sha),
		"comments_url": r.api("/commits/%s/comments", g.sha),
		"commit": object{
			"author": g.author.json(), "committer": g.committer.json(), "message": g.message, "comment_count": 0,
			"tree": object{"sha": g.tree, "url": r.api("/git/trees/%s", g.tree)}, "url": r.api("/git/commits/%s", g.sha),
			"verification": g.verification(),
		},
		"author": nil, "committer": nil, "parents": r.parents(g, "/commits/%s"),
	}
}

func (r *Repo) commitsJSON(list []gitCommit) []object {
	out := []object{}
	for _, g := range list {
		out = append(out, r.commitJSON(g))
	}
	return out
}

// find resolves what the API takes for a commit: a hash or its start, a
// branch, a tag, or a ref such as heads/main. It returns "" for none.
func (r *Repo) find(ref string) string {
	if fullSHA.MatchString(ref) {
		return r.resolve(ref + "^{commit}")
	}
	if ref == "HEAD" {
		ref = r.DefaultBranch
	}
	for _, prefix := range []string{"refs/heads/", "refs/tags/", "refs/"} {
		if sha := r.ref(prefix + ref); sha != "" {
			return r.resolve(sha + "^{commit}")
		}
	}
	if len(ref) >= 7 && strings.Trim(ref, "0123456789abcdef") == "" {
		return r.resolve(ref + "^{commit}")
	}
	return ""
}

func noCommit(ref string) *answer {
	return refuse(http.StatusUnprocessableEntity, "No commit found for SHA: %s", ref)
}

const shaMedia = "application/vnd.github.sha"

func getCommit(c *call) *answer {
	if a := c.empty(); a != nil {
		return a
	}
	ref := c.r.PathValue("ref")
	sha := c.repo.find(ref)
	if sha == "" {
		return noCommit(ref)
	}
	if c.accepts(shaMedia, "application/vnd.github.v3.sha") != "" {
		return &answer{status: http.StatusOK, raw: []byte(sha), header: http.Header{
			"Content-Type": {shaMedia + "; charset=utf-8"}, "Etag": {strconv.Quote(sha)},
		}}
	}
	files := c.repo.files("--root", sha)
	added, deleted := 0, 0
	for _, f := range files {
		added += f["additions"].(int)
		deleted += f["deletions"].(int)
	}
	body := c.repo.commitJSON(c.repo.read(sha))
	body["files"] = files
	body["stats"] = object{"additions": added, "deletions": deleted, "total": added + deleted}
	return ok(body)
}

func listCommits(c *call) *answer {
	if a := c.empty(); a != nil {
		return a
	}
	sha := c.repo.find(cmp.Or(c.query("sha"), "HEAD"))
	if sha == "" {
		return notFound()
	}
	args := []string{}
	for _, name := range []string{"author", "committer", "since", "until"} {
		if v := c.query(name); v != "" {
			args = append(args, "--"+name+"="+v)
		}
	}
	args = append(args, sha)
	if path := c.query("path"); path != "" {
		args = append(args, "--", ":(literal)"+strings.Trim(path, "/"))
	}
	return page(c, 30, c.repo.log(args...), c.repo.commitsJSON)
}
