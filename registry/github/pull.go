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
