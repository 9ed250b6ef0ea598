package github

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/go-github/v60/github"
)

// Tag makes a tag on a commit unless it is there. One that is on another commit
// is an error: a tag never moves.
func (c *Client) Tag(ctx context.Context, repo Repo, tag, commit string) error {
	what := fmt.Sprintf("cannot make the tag %s in %s", tag, repo)
	err := c.call(ctx, what, func() (*github.Response, error) {
		ref, object := "refs/tags/"+tag, commit
		_, resp, err := c.gh.Git.CreateRef(ctx, repo.Owner, repo.Name, &github.Reference{Ref: &ref, Object: &github.GitObject{SHA: &object}})
		return resp, err
	})
	if !answered(err, http.StatusUnprocessableEntity) {
		return err
	}
	var at string // it is there, or somebody else has made it
	rerr := c.call(ctx, what, func() (*github.Response, error) {
		sha, resp, err := c.gh.Repositories.GetCommitSHA1(ctx, repo.Owner, repo.Name, "tags/"+tag, "")
		at = sha
		return resp, err
	})
	switch {
	case IsNotFound(rerr):
		return err
	case rerr != nil:
		return rerr
	case at != commit:
		return &ProblemError{Message: fmt.Sprintf("the tag %s of %s is on %.12s, not on %.12s, which has the version", tag, repo, at, commit), Hint: "a tag never moves: raise the version's number"}
	}
	return nil
}

// maxPages is of 100 releases each: GitHub lists 10,000 at most.
const maxPages = 100

// Releases lists the releases of a repository, the newest 10,000: their
// addresses, by tag.
func (c *Client) Releases(ctx context.Context, repo Repo) (map[string]string, error) {
	out := map[string]string{}
	opt := &github.ListOptions{PerPage: 100, Page: 1}
	for opt.Page > 0 && opt.Page <= maxPages {
		err := c.call(ctx, "cannot list the releases of "+repo.String(), func() (*github.Response, error) {
			list, resp, err := c.gh.Repositories.ListReleases(ctx, repo.Owner, repo.Name, opt)
			if err != nil {
				return resp, err
			}
			for _, r := range list {
				if !r.GetDraft() {
					out[r.GetTagName()] = r.GetHTMLURL()
				}
			}
			opt.Page = resp.NextPage
			return resp, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Release makes the release of a tag unless there is one, and returns its
// address.
func (c *Client) Release(ctx context.Context, repo Repo, tag, title, notes string) (address string, made bool, err error) {
	find := func() error {
		return c.call(ctx, fmt.Sprintf("cannot find the release of %s in %s", tag, repo), func() (*github.Response, error) {
			r, resp, err := c.gh.Repositories.GetReleaseByTag(ctx, repo.Owner, repo.Name, tag)
			address = r.GetHTMLURL()
			return resp, err
		})
	}
	if err := find(); !IsNotFound(err) {
		return address, false, err
	}
	err = c.call(ctx, fmt.Sprintf("cannot make the release of %s in %s", tag, repo), func() (*github.Response, error) {
		latest := "false" // a registry has many modules: none of them is the latest
		r, resp, err := c.gh.Repositories.CreateRelease(ctx, repo.Owner, repo.Name, &github.RepositoryRelease{TagName: &tag, Name: &title, Body: &notes, MakeLatest: &latest})
		address = r.GetHTMLURL()
		return resp, err
	})
	if answered(err, http.StatusUnprocessableEntity) {
		if ferr := find(); ferr == nil {
			return address, false, nil // another run has made it at the same time
		}
	}
	return address, err == nil, err
}
