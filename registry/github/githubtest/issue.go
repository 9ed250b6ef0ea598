package githubtest

import (
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Comment is on a pull request.
type Comment struct {
	ID                   int
	Body, Author         string
	CreatedAt, UpdatedAt time.Time

	number int
}

// Comments returns the comments of a pull request, oldest first.
func (r *Repo) Comments(number int) []Comment {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	var list []Comment
	for _, c := range r.commentsOf(number) {
		list = append(list, *c)
	}
	return list
}

// AddComment has author comment on a pull request.
func (r *Repo) AddComment(number int, author, body string) Comment {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return *r.comment(number, author, body)
}

func (r *Repo) comment(number int, author, body string) *Comment {
	r.s.userID(author)
	c := &Comment{ID: r.s.id(), Body: body, Author: author, CreatedAt: now(), UpdatedAt: now(), number: number}
	r.comments = append(r.comments, c)
	return c
}

func (r *Repo) commentsOf(number int) []*Comment {
	return slices.DeleteFunc(slices.Clone(r.comments), func(c *Comment) bool { return c.number != number })
}

func (r *Repo) commentJSON(c *Comment) object {
	return object{
		"id": c.ID, "node_id": node("IC", c.ID), "url": r.api("/issues/comments/%d", c.ID), "issue_url": r.api("/issues/%d", c.number),
		"html_url": r.html("/pull/%d#issuecomment-%d", c.number, c.ID), "body": c.Body, "user": r.s.userJSON(c.Author),
		"created_at": c.CreatedAt, "updated_at": c.UpdatedAt, "author_association": r.association(c.Author), "performed_via_github_app": nil,
	}
}

func listComments(c *call) *answer {
	number := c.number("number")
	if c.repo.pull(number) == nil {
		return notFound()
	}
	list := c.repo.commentsOf(number)
	if since, err := time.Parse(time.RFC3339, c.query("since")); err == nil {
		list = slices.DeleteFunc(list, func(c *Comment) bool { return c.UpdatedAt.Before(since) })
	}
	return page(c, 30, list, each(c.repo.commentJSON))
}

// commentBody reads the body of a comment, which GitHub bounds.
func (c *call) commentBody() (string, *answer) {
	var in struct{ Body string }
	if a := c.decode(&in); a != nil {
		return "", a
	}
	switch {
	case strings.TrimSpace(in.Body) == "":
		return "", failed(object{"resource": "IssueComment", "code": "unprocessable", "field": "data", "message": "Body cannot be blank"})
	case utf8.RuneCountInString(in.Body) > 65536:
		return "", failed(object{"resource": "IssueComment", "code": "unprocessable", "field": "data", "message": "Body is too long (maximum is 65536 characters)"})
	}
	return in.Body, nil
}

func createComment(c *call) *answer {
	number := c.number("number")
	if c.repo.pull(number) == nil {
		return notFound()
	}
	body, a := c.commentBody()
	if a != nil {
		return a
	}
	return created(c.repo.commentJSON(c.repo.comment(number, c.who.login, body)))
}

// theirs finds a comment that the token may change.
func (c *call) theirs() (int, *answer) {
	i := slices.IndexFunc(c.repo.comments, func(x *Comment) bool { return x.ID == c.number("id") })
	if i < 0 {
		return 0, notFound()
	}
	if !c.who.pushes(c.repo) && !strings.EqualFold(c.repo.comments[i].Author, c.who.login) {
		return 0, forbidden()
	}
	return i, nil
}

func deleteComment(c *call) *answer {
	i, a := c.theirs()
	if a != nil {
		return a
	}
	c.repo.comments = slices.Delete(c.repo.comments, i, i+1)
	return &answer{status: http.StatusNoContent}
}

func updateComment(c *call) *answer {
	i, a := c.theirs()
	if a != nil {
		return a
	}
	comment := c.repo.comments[i]
	body, a := c.commentBody()
	if a != nil {
		return a
	}
	comment.Body, comment.UpdatedAt = body, now()
	return ok(c.repo.commentJSON(comment))
}

// timeline has labels and comments, by time.
func timeline(c *call) *answer {
	p := c.repo.pull(c.number("number"))
	if p == nil {
		return notFound()
	}
	type item struct {
		at   time.Time
		json object
	}
	var items []item
	for _, e := range p.events {
		items = append(items, item{e.at, object{
			"id": e.id, "node_id": node("LE", e.id), "url": c.repo.api("/issues/events/%d", e.id), "actor": c.userJSON(e.user), "event": e.what,
			"commit_id": nil, "commit_url": nil, "created_at": e.at, "label": object{"name": e.label, "color": "ededed"}, "performed_via_github_app": nil,
		}})
	}
	for _, comment := range c.repo.commentsOf(p.Number) {
		o := c.repo.commentJSON(comment)
		o["event"], o["actor"] = "commented", o["user"]
		items = append(items, item{comment.CreatedAt, o})
	}
	slices.SortStableFunc(items, func(a, b item) int { return a.at.Compare(b.at) })
	return page(c, 30, items, each(func(i item) object { return i.json }))
}
