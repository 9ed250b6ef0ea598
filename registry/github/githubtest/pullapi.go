package githubtest

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"
)

// pullRequest is POST and PATCH pulls.
type pullRequest struct {
	Title, Head, Base, Body string
	HeadRepo                string `json:"head_repo"`
	State                   string
	Draft                   bool
	Maintain                bool `json:"maintainer_can_modify"`
}

func createPull(c *call) *answer {
	var in pullRequest
	if a := c.decode(&in); a != nil {
		return a
	}
	owner, _, other := strings.Cut(in.Head, ":")
	if from := c.repo.network(owner); other && from != nil && !c.who.pushes(from) && !c.who.pushes(c.repo) {
		return forbidden()
	}
	p, a := c.repo.open(in, c.who.login)
	if a != nil {
		return a
	}
	return created(p.json(c.who, true))
}

// open opens a pull request, or says why not.
func (r *Repo) open(in pullRequest, author string) (*Pull, *answer) {
	from, branch := r, in.Head
	if owner, rest, ok := strings.Cut(in.Head, ":"); ok {
		from, branch = r.network(owner), rest
	}
	if from == nil {
		return nil, invalid("PullRequest", "head", "invalid")
	}
	head, base := from.ref("refs/heads/"+branch), r.ref("refs/heads/"+in.Base)
	switch {
	case in.Title == "":
		return nil, invalid("PullRequest", "title", "missing_field")
	case base == "":
		return nil, invalid("PullRequest", "base", "invalid")
	case head == "":
		return nil, invalid("PullRequest", "head", "invalid")
	case r.ancestor(head, base):
		return nil, unpullable("No commits between %s and %s", in.Base, branch)
	}
	r.sync()
	for _, p := range r.pulls {
		if p.State == "open" && p.HeadRepo == from.FullName() && p.Head == branch && p.Base == in.Base {
			return nil, unpullable("A pull request already exists for %s:%s.", from.Owner, branch)
		}
	}
	r.numbers++
	p := &Pull{
		Number: r.numbers, Title: in.Title, Body: in.Body, Author: author, State: "open", Draft: in.Draft,
		HeadRepo: from.FullName(), Head: branch, Base: in.Base, HeadSHA: head, BaseSHA: base,
		CreatedAt: now(), UpdatedAt: now(), id: r.s.id(), repo: r, maintain: in.Maintain,
	}
	r.s.userID(author)
	r.try1("update-ref", p.gitRef(), head)
	r.pulls = append(r.pulls, p)
	return p, nil
}

func getPull(c *call) *answer {
	p := c.repo.pull(c.number("number"))
	if p == nil {
		return notFound()
	}
	return ok(p.json(c.who, true))
}

func listPulls(c *call) *answer {
	c.repo.sync()
	head, base, state := c.query("head"), c.query("base"), cmp.Or(c.query("state"), "open")
	list := slices.DeleteFunc(slices.Clone(c.repo.pulls), func(p *Pull) bool {
		return state != "all" && state != p.State || base != "" && base != p.Base ||
			// GitHub heeds a head only with an owner.
			strings.Contains(head, ":") && !strings.EqualFold(head, p.headLabel())
	})
	order := func(a, b *Pull) int { return cmp.Compare(a.Number, b.Number) }
	if c.query("sort") == "updated" {
		order = func(a, b *Pull) int { return a.UpdatedAt.Compare(b.UpdatedAt) }
	}
	slices.SortStableFunc(list, order)
	if direction := c.query("direction"); direction == "desc" || direction == "" && (c.query("sort") == "" || c.query("sort") == "created") {
		slices.Reverse(list)
	}
	return page(c, 30, list, each(func(p *Pull) object { return p.json(c.who, false) }))
}

func (p *Pull) headLabel() string {
	owner, _, _ := strings.Cut(p.HeadRepo, "/")
	return owner + ":" + p.Head
}

func updatePull(c *call) *answer {
	p := c.repo.pull(c.number("number"))
	if p == nil {
		return notFound()
	}
	if !c.who.pushes(c.repo) && !strings.EqualFold(p.Author, c.who.login) {
		return forbidden()
	}
	in := pullRequest{Title: p.Title, Base: p.Base, Body: p.Body, State: p.State, Maintain: p.maintain}
	if a := c.decode(&in); a != nil {
		return a
	}
	base := c.repo.ref("refs/heads/" + in.Base)
	switch {
	case in.Title == "":
		return invalid("PullRequest", "title", "missing_field")
	case base == "":
		return invalid("PullRequest", "base", "invalid")
	case in.State == "open" && p.State == "closed" && p.headRepo().ref("refs/heads/"+p.Head) == "":
		return unpullable("state cannot be changed. The %s branch has been deleted.", p.Head)
	case in.State == "open" && p.Merged:
		return unpullable("state cannot be changed. The pull request cannot be reopened.")
	}
	p.Title, p.Body, p.Base, p.maintain, p.UpdatedAt = in.Title, in.Body, in.Base, in.Maintain, now()
	if p.State == "open" {
		p.BaseSHA = base
	}
	switch {
	case in.State == "closed" && p.State == "open":
		p.close()
	case in.State == "open":
		p.State, p.ClosedAt = "open", time.Time{}
		p.sync()
	}
	return ok(p.json(c.who, true))
}

// json is the pull request, or its shorter form in lists.
func (p *Pull) json(who *token, full bool) object {
	r := p.repo
	n := fmt.Sprint(p.Number)
	self, issue := r.api("/pulls/%s", n), r.api("/issues/%s", n)
	o := object{
		"id": p.id, "node_id": node("PR", p.id), "number": p.Number, "state": p.State, "locked": false, "title": p.Title, "draft": p.Draft,
		"user": r.s.userJSON(p.Author), "body": orNull(p.Body), "labels": each(r.labelJSON)(p.Labels), "milestone": nil,
		"assignee": nil, "assignees": []any{}, "requested_reviewers": []any{}, "requested_teams": []any{}, "active_lock_reason": nil,
		"created_at": p.CreatedAt, "updated_at": p.UpdatedAt, "closed_at": nil, "merged_at": nil, "merge_commit_sha": nil, "auto_merge": nil,
		"author_association": r.association(p.Author),
		"head":               p.side(who, p.headRepo(), p.Head, p.HeadSHA), "base": p.side(who, r, p.Base, p.BaseSHA),
		"url": self, "html_url": r.html("/pull/%s", n), "diff_url": r.html("/pull/%s.diff", n), "patch_url": r.html("/pull/%s.patch", n),
		"issue_url": issue, "comments_url": issue + "/comments", "commits_url": self + "/commits", "review_comments_url": self + "/comments",
		"review_comment_url": r.api("/pulls/comments{/number}"), "statuses_url": r.api("/statuses/%s", p.HeadSHA),
	}
	links := object{"self": object{"href": self}}
	for _, name := range []string{"html", "issue", "comments", "review_comments", "review_comment", "commits", "statuses"} {
		links[name] = object{"href": o[name+"_url"]}
	}
	o["_links"] = links
	if !p.ClosedAt.IsZero() {
		o["closed_at"] = p.ClosedAt
	}
	if p.Merged {
		o["merged_at"], o["merge_commit_sha"] = p.ClosedAt, p.BaseSHA
	}
	if full {
		p.more(o)
	}
	return o
}

// more adds what lists leave out.
func (p *Pull) more(o object) {
	r := p.repo
	added, deleted, files := 0, 0, []object{}
	commits := 0
	if merge := r.mergeBase(p.BaseSHA, p.HeadSHA); merge != "" {
		files = r.files(merge, p.HeadSHA)
		commits = len(r.log(p.BaseSHA + ".." + p.HeadSHA))
	}
	for _, f := range files {
		added += f["additions"].(int)
		deleted += f["deletions"].(int)
	}
	o["merged"], o["merged_by"], o["maintainer_can_modify"] = p.Merged, nil, p.maintain
	o["mergeable"], o["mergeable_state"], o["rebaseable"] = true, "clean", true
	o["comments"], o["review_comments"], o["commits"] = len(r.commentsOf(p.Number)), 0, commits
	o["additions"], o["deletions"], o["changed_files"] = added, deleted, len(files)
	if p.State == "closed" {
		o["mergeable"], o["mergeable_state"], o["rebaseable"] = nil, "unknown", nil
	}
	if p.Merged {
		o["merged_by"] = r.s.userJSON(r.Owner)
	}
}

func (p *Pull) side(who *token, r *Repo, branch, sha string) object {
	return object{"label": r.Owner + ":" + branch, "ref": branch, "sha": sha, "user": r.s.userJSON(r.Owner), "repo": r.json(who)}
}

func (r *Repo) labelJSON(name string) object {
	return object{
		"id": crc32.ChecksumIEEE([]byte(name)), "node_id": node("LA", name), "url": r.api("/labels/%s", name), "name": name,
		"description": "", "color": "ededed", "default": false,
	}
}

// association is what GitHub calls an author.
func (r *Repo) association(login string) string {
	switch permission := r.collaborators[strings.ToLower(login)]; {
	case strings.EqualFold(login, r.Owner):
		return "OWNER"
	case permission != "" && permission != "none":
		return "COLLABORATOR"
	}
	return "NONE"
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
