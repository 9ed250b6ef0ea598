package githubtest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

func compare(c *call) *answer {
	if a := c.empty(); a != nil {
		return a
	}
	base, head, found := strings.Cut(c.r.PathValue("basehead"), "...")
	from, to := c.side(base), c.side(head)
	if !found || from == "" || to == "" {
		return notFound()
	}
	merge := c.repo.mergeBase(from, to)
	if merge == "" {
		return refuse(http.StatusNotFound, "No common ancestor between %s and %s.", base, head)
	}
	ahead, behind := c.repo.log("--reverse", from+".."+to), c.repo.log(to+".."+from)
	status := "identical"
	switch {
	case len(ahead) > 0 && len(behind) > 0:
		status = "diverged"
	case len(ahead) > 0:
		status = "ahead"
	case len(behind) > 0:
		status = "behind"
	}
	at := c.r.PathValue("basehead")
	return page(c, 250, ahead, func(commits []gitCommit) object {
		body := object{
			"url": c.repo.api("/compare/%s", at), "html_url": c.repo.html("/compare/%s", at), "diff_url": c.repo.html("/compare/%s.diff", at),
			"patch_url": c.repo.html("/compare/%s.patch", at), "permalink_url": c.repo.html("/compare/%s...%s", from[:12], to[:12]),
			"base_commit": c.repo.commitJSON(c.repo.read(from)), "merge_base_commit": c.repo.commitJSON(c.repo.read(merge)),
			"status": status, "ahead_by": len(ahead), "behind_by": len(behind), "total_commits": len(ahead),
			"commits": c.repo.commitsJSON(commits),
		}
		if n := c.query("page"); n == "" || n == "1" {
			body["files"] = c.repo.files(merge, to)
		}
		return body
	})
}

// side is one end of a comparison: a ref, or owner:ref in a fork.
func (c *call) side(ref string) string {
	if owner, branch, ok := strings.Cut(ref, ":"); ok {
		if other := c.repo.network(owner); other != nil && c.who.sees(other) {
			return other.find(branch)
		}
		return ""
	}
	return c.repo.find(ref)
}

// mergeBase returns "" when there is none.
func (r *Repo) mergeBase(a, b string) string {
	sha, err := r.try(nil, "merge-base", a, b)
	if err != nil {
		return ""
	}
	return sha
}

// files lists what git diff-tree finds, the first 300 as GitHub does, without
// patches.
func (r *Repo) files(args ...string) []object {
	list, err := r.lines(append([]string{"diff-tree", "-r", "-z", "-M", "--no-commit-id", "--raw", "--numstat", "--no-abbrev", "-m", "--first-parent"}, args...)...)
	if err != nil {
		r.s.tb.Errorf("githubtest: %v", err)
	}
	commit := args[len(args)-1]
	out := []object{}
	for len(list) > 0 && strings.HasPrefix(list[0], ":") {
		f := strings.Fields(list[0]) // modes, hashes, letter
		e := object{"filename": list[1], "sha": f[3], "status": statuses[f[4][0]]}
		list = list[2:]
		if f[4][0] == 'R' || f[4][0] == 'C' {
			e["previous_filename"], e["filename"], list = e["filename"], list[0], list[1:]
		}
		if f[4][0] == 'D' {
			e["sha"] = f[2]
		}
		path := (&url.URL{Path: e["filename"].(string)}).EscapedPath()
		e["blob_url"], e["raw_url"] = r.html("/blob/%s/%s", commit, path), r.html("/raw/%s/%s", commit, path)
		e["contents_url"] = r.api("/contents/%s?ref=%s", path, commit)
		out = append(out, e)
	}
	for _, e := range out {
		f := strings.SplitN(list[0], "\t", 3) // added, deleted, path; "-" when binary
		list = list[1:]
		if f[2] == "" { // renamed: two names follow
			list = list[2:]
		}
		added, _ := strconv.Atoi(f[0])
		deleted, _ := strconv.Atoi(f[1])
		e["additions"], e["deletions"], e["changes"] = added, deleted, added+deleted
	}
	return out[:min(len(out), 300)]
}

var statuses = map[byte]string{'A': "added", 'D': "removed", 'M': "modified", 'R': "renamed", 'C': "copied", 'T': "changed"}
