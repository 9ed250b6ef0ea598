package github

import (
	"context"
	"fmt"

	"github.com/google/go-github/v60/github"
)

// FindPull finds the open pull request of a branch, OWNER:BRANCH, whose last
// commit is head: its number, and the commit of its base. The number is 0 when
// there is none.
func (c *Client) FindPull(ctx context.Context, repo Repo, owner, branch, head string) (number int, base string, err error) {
	err = c.call(ctx, fmt.Sprintf("cannot find the pull request of %s:%s", owner, branch), func() (*github.Response, error) {
		list, resp, err := c.gh.PullRequests.List(ctx, repo.Owner, repo.Name, &github.PullRequestListOptions{State: "open", Head: owner + ":" + branch})
		for _, p := range list {
			if p.GetHead().GetSHA() == head {
				number, base = p.GetNumber(), p.GetBase().GetSHA()
			}
		}
		return resp, err
	})
	return number, base, err
}

// PullHead is the last commit of a pull request.
func (c *Client) PullHead(ctx context.Context, repo Repo, number int) (head string, err error) {
	err = c.call(ctx, fmt.Sprintf("cannot read %s#%d", repo, number), func() (*github.Response, error) {
		p, resp, err := c.gh.PullRequests.Get(ctx, repo.Owner, repo.Name, number)
		head = p.GetHead().GetSHA()
		return resp, err
	})
	return head, err
}
