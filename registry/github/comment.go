package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-github/v60/github"
)

// ErrReadOnly says that the token may read alone, as it does for a pull request
// from a fork.
var ErrReadOnly = errors.New("the token may not write")

// maxComments bounds how many comments are read to find one.
const maxComments = 3000

// workflow is who writes with a workflow's token.
const workflow = "github-actions[bot]"

// Comment writes the one comment of a pull request that has a marker, an HTML
// comment that nobody sees: the one that is there and is by the same author is
// edited, else one is made. It returns the comment's address. The error is an
// [ErrReadOnly] when the token may not.
func (c *Client) Comment(ctx context.Context, repo Repo, number int, marker, body string) (string, error) {
	body = marker + "\n" + body
	me, err := c.login(ctx)
	if err != nil {
		return "", err
	}
	mine, err := c.comments(ctx, repo, number, marker, me)
	if err != nil {
		return "", err
	}
	if len(mine) == 0 {
		made, err := c.write(ctx, repo, number, 0, body)
		if err != nil {
			return "", err
		}
		me = made.GetUser().GetLogin()
		// Somebody may have written at the same time: the first one stays.
		if mine, err = c.comments(ctx, repo, number, marker, me); err != nil {
			return "", err
		}
		if len(mine) == 0 || len(mine) == 1 && mine[0].GetID() == made.GetID() {
			return made.GetHTMLURL(), nil
		}
	}
	for _, extra := range mine[1:] {
		err := c.call(ctx, "cannot remove a second comment", func() (*github.Response, error) {
			return c.gh.Issues.DeleteComment(ctx, repo.Owner, repo.Name, extra.GetID())
		})
		if err != nil && !IsNotFound(err) { // the other one has removed it
			return "", err
		}
	}
	if mine[0].GetBody() == body {
		return mine[0].GetHTMLURL(), nil
	}
	edited, err := c.write(ctx, repo, number, mine[0].GetID(), body)
	return edited.GetHTMLURL(), err
}

// write makes a comment, or edits the one with the id.
func (c *Client) write(ctx context.Context, repo Repo, number int, id int64, body string) (out *github.IssueComment, err error) {
	err = c.call(ctx, fmt.Sprintf("cannot comment on %s#%d", repo, number), func() (resp *github.Response, err error) {
		comment := &github.IssueComment{Body: &body}
		if id == 0 {
			out, resp, err = c.gh.Issues.CreateComment(ctx, repo.Owner, repo.Name, number, comment)
		} else {
			out, resp, err = c.gh.Issues.EditComment(ctx, repo.Owner, repo.Name, id, comment)
		}
		return resp, err
	})
	if refused(err) {
		err = fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return out, err
}

// refused reports whether a token has not the right for something.
func refused(err error) bool {
	_, limited := limitOf(err)
	return answered(err, http.StatusForbidden) && !limited
}

// answered reports whether GitHub has answered with a status.
func answered(err error, status int) bool {
	e, ok := errors.AsType[*github.ErrorResponse](err)
	return ok && e.Response.StatusCode == status
}

// login is who the token is of, or "" for an app, which may not ask.
func (c *Client) login(ctx context.Context) (string, error) {
	if c.opt.Token == "" {
		return "", fmt.Errorf("%w: there is none", ErrReadOnly)
	}
	var me string
	err := c.call(ctx, "cannot ask whose the token is", func() (*github.Response, error) {
		u, resp, err := c.gh.Users.Get(ctx, "")
		me = u.GetLogin()
		return resp, err
	})
	if refused(err) {
		return "", nil
	}
	return me, err
}

// comments lists those with the marker that an author has written, the first
// one first. Where that is not known, it is an app: a workflow's, if that has
// written any.
func (c *Client) comments(ctx context.Context, repo Repo, number int, marker, author string) ([]*github.IssueComment, error) {
	var out []*github.IssueComment
	opt := &github.IssueListCommentsOptions{ListOptions: github.ListOptions{PerPage: 100, Page: 1}}
	for opt.Page > 0 && opt.Page <= maxComments/100 {
		err := c.call(ctx, fmt.Sprintf("cannot read the comments of %s#%d", repo, number), func() (*github.Response, error) {
			list, resp, err := c.gh.Issues.ListComments(ctx, repo.Owner, repo.Name, number, opt)
			if err != nil {
				return resp, err
			}
			for _, one := range list {
				by := one.GetUser()
				if strings.HasPrefix(one.GetBody(), marker) && (strings.EqualFold(by.GetLogin(), author) || author == "" && by.GetType() == "Bot") {
					out = append(out, one)
				}
			}
			opt.Page = resp.NextPage
			return resp, nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b *github.IssueComment) int { return int(a.GetID() - b.GetID()) })
	if author == "" && len(out) > 0 {
		app := out[0].GetUser().GetLogin()
		for _, one := range out {
			if one.GetUser().GetLogin() == workflow {
				app = workflow
			}
		}
		out = slices.DeleteFunc(out, func(one *github.IssueComment) bool { return one.GetUser().GetLogin() != app })
	}
	return out, nil
}
