package github

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"
	"golang.org/x/sync/errgroup"
)

// Proposal is a change for a pull request.
type Proposal struct {
	Onto   string // the branch that it is for; "" for the default branch
	Base   string // the commit that the files were changed from; "" for none
	Branch string // where the change is put; a pull request from it is updated
	Title  string
	Body   string
	// Files are the new contents by path, nil for a file that is removed.
	Files map[string][]byte
	// Modes are those of files that are not 100644.
	Modes map[string]string
}

// Proposed is a pull request that was opened or updated.
type Proposed struct {
	Number  int
	URL     string
	Updated bool   // it was open already
	Fork    string // OWNER/NAME where the branch is, if it is not the repository
}

// Propose commits a change with the Git data API and opens a pull request to
// the default branch, or updates the one that is open from the same branch.
// Where the token may not push, the branch is in a fork, which is made if it
// must.
func (c *Client) Propose(ctx context.Context, repo Repo, p Proposal) (*Proposed, error) {
	if c.opt.Token == "" {
		return nil, &ProblemError{Message: fmt.Sprintf("cannot propose a change of %s without a token", repo), Hint: "export GITHUB_TOKEN=…, or gh auth login"}
	}
	about, err := c.about(ctx, repo)
	if err != nil {
		return nil, err
	}
	at := repo
	if !about.GetPermissions()["push"] {
		if at, err = c.fork(ctx, repo); err != nil {
			return nil, err
		}
	}
	head, base := at.Owner+":"+p.Branch, cmp.Or(p.Onto, about.GetDefaultBranch())
	open, err := c.ourPull(ctx, repo, head, base)
	if err != nil {
		return nil, err
	}
	there, err := c.ourBranch(ctx, repo, at, p.Branch, base)
	if err != nil {
		return nil, err
	}
	commit, err := c.commitFiles(ctx, at, p, ours(p.Title, p.Branch))
	if err != nil {
		return nil, err
	}
	if err := c.setBranch(ctx, at, p.Branch, there, commit); err != nil {
		return nil, err
	}
	out, err := c.putPull(ctx, repo, open, head, base, p)
	if out != nil && at != repo {
		out.Fork = at.String()
	}
	return out, err
}

func (c *Client) about(ctx context.Context, repo Repo) (out *github.Repository, err error) {
	err = c.call(ctx, "cannot read "+repo.String(), func() (resp *github.Response, err error) {
		out, resp, err = c.gh.Repositories.Get(ctx, repo.Owner, repo.Name)
		return resp, err
	})
	return out, err
}

// DefaultBranch is the name of a repository's default branch.
func (c *Client) DefaultBranch(ctx context.Context, repo Repo) (string, error) {
	about, err := c.about(ctx, repo)
	return about.GetDefaultBranch(), err
}

// fork gives the fork of who has the token. GitHub makes it in the background.
func (c *Client) fork(ctx context.Context, repo Repo) (Repo, error) {
	var out Repo
	err := c.call(ctx, "cannot fork "+repo.String(), func() (*github.Response, error) {
		r, resp, err := c.gh.Repositories.CreateFork(ctx, repo.Owner, repo.Name, &github.RepositoryCreateForkOptions{DefaultBranchOnly: true})
		if _, accepted := errors.AsType[*github.AcceptedError](err); accepted {
			err = nil
		}
		out = Repo{r.GetOwner().GetLogin(), r.GetName()}
		return resp, err
	})
	if err != nil {
		return out, err
	}
	if out.Owner == "" || out.Name == "" {
		return out, &ProblemError{Message: fmt.Sprintf("cannot fork %s: the answer names no repository", repo), World: true}
	}
	for deadline := time.Now().Add(c.opt.Patience); ; {
		if _, err = c.about(ctx, out); !IsNotFound(err) || time.Now().After(deadline) {
			return out, err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return out, context.Cause(ctx)
		}
	}
}

// commitFiles puts the files on the base, blob by blob.
func (c *Client) commitFiles(ctx context.Context, at Repo, p Proposal, message string) (string, error) {
	entries := treeEntries(p)
	g, sending := errgroup.WithContext(ctx)
	const atOnce = 4 // GitHub asks not to write more at a time
	g.SetLimit(atOnce)
	for _, e := range entries {
		if p.Files[e.GetPath()] == nil {
			continue
		}
		g.Go(func() error {
			return c.call(sending, "cannot send "+e.GetPath(), func() (*github.Response, error) {
				blob, resp, err := c.gh.Git.CreateBlob(sending, at.Owner, at.Name, &github.Blob{Content: new(base64.StdEncoding.EncodeToString(p.Files[e.GetPath()])), Encoding: new("base64")})
				if err == nil {
					e.SHA = blob.SHA
				}
				return resp, err
			})
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	return c.commitTree(ctx, at, p.Base, entries, message)
}

// commitTexts is commitFiles for many small texts: they are sent with their list.
func (c *Client) commitTexts(ctx context.Context, at Repo, p Proposal, message string) (string, error) {
	entries := treeEntries(p)
	for _, e := range entries {
		if data := p.Files[e.GetPath()]; data != nil {
			e.Content = new(string(data))
		}
	}
	return c.commitTree(ctx, at, p.Base, entries, message)
}

func treeEntries(p Proposal) []*github.TreeEntry {
	var entries []*github.TreeEntry
	for name := range p.Files {
		mode := cmp.Or(p.Modes[name], "100644")
		entries = append(entries, &github.TreeEntry{Path: &name, Mode: &mode, Type: new("blob")})
	}
	slices.SortFunc(entries, func(a, b *github.TreeEntry) int { return strings.Compare(a.GetPath(), b.GetPath()) })
	return entries
}

// commitTree commits entries on a base, a list at a time.
func (c *Client) commitTree(ctx context.Context, at Repo, base string, entries []*github.TreeEntry, message string) (string, error) {
	const most = 500 // in one list
	tree := &github.Tree{SHA: &base}
	for list := range slices.Chunk(entries, most) {
		on := tree.GetSHA()
		err := c.call(ctx, "cannot send the list of files", func() (resp *github.Response, err error) {
			tree, resp, err = c.gh.Git.CreateTree(ctx, at.Owner, at.Name, on, list)
			return resp, err
		})
		if err != nil {
			return "", err
		}
	}
	var commit string
	err := c.call(ctx, "cannot commit", func() (*github.Response, error) {
		var parents []*github.Commit
		if base != "" {
			parents = append(parents, &github.Commit{SHA: &base})
		}
		made, resp, err := c.gh.Git.CreateCommit(ctx, at.Owner, at.Name, &github.Commit{Message: &message, Tree: tree, Parents: parents}, nil)
		commit = made.GetSHA()
		return resp, err
	})
	return commit, err
}

// trailer ends the message of a commit that a proposal has made.
const trailer = "Modyard-Proposal: "

// ours is the message of a proposal's commit, by which its branch is known again.
func ours(title, branch string) string { return title + "\n\n" + trailer + branch + "\n" }

// ourBranch reports whether a branch is there. One whose last commit no proposal
// has made is a problem: what is on it is not to be replaced. To have merged the
// base into it, as GitHub's button does, is none.
func (c *Client) ourBranch(ctx context.Context, repo, at Repo, branch, base string) (there bool, err error) {
	last, err := c.commitAt(ctx, at, "heads/"+branch)
	if IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ours := func(commit *github.RepositoryCommit) bool {
		return strings.HasSuffix(strings.TrimRight(commit.GetCommit().GetMessage(), "\n"), trailer+branch)
	}
	if ours(last) {
		return true, nil
	}
	if len(last.Parents) == 2 {
		before, err := c.commitAt(ctx, at, last.Parents[0].GetSHA())
		if err != nil {
			return true, err
		}
		merged, err := c.contains(ctx, repo, base, last.Parents[1].GetSHA())
		if err != nil {
			return true, err
		}
		if merged && ours(before) {
			return true, nil
		}
	}
	return true, &ProblemError{
		Message: fmt.Sprintf("the branch %s of %s has a commit that no proposal has made: %.12s, by %s", branch, at, last.GetSHA(), last.GetCommit().GetAuthor().GetName()),
		Hint:    "merge it, or delete the branch",
	}
}

func (c *Client) commitAt(ctx context.Context, at Repo, rev string) (commit *github.RepositoryCommit, err error) {
	err = c.call(ctx, fmt.Sprintf("cannot read %s of %s", rev, at), func() (resp *github.Response, err error) {
		commit, resp, err = c.gh.Repositories.GetCommit(ctx, at.Owner, at.Name, rev, &github.ListOptions{PerPage: 1})
		return resp, err
	})
	return commit, err
}

// contains reports whether a branch has a commit.
func (c *Client) contains(ctx context.Context, repo Repo, branch, commit string) (bool, error) {
	var status string
	err := c.call(ctx, fmt.Sprintf("cannot compare %.12s with %s of %s", commit, branch, repo), func() (*github.Response, error) {
		diff, resp, err := c.gh.Repositories.CompareCommits(ctx, repo.Owner, repo.Name, branch, commit, &github.ListOptions{PerPage: 1})
		status = diff.GetStatus()
		return resp, err
	})
	return status == "behind" || status == "identical", err
}

// setBranch makes a branch, or moves the one that is there.
func (c *Client) setBranch(ctx context.Context, at Repo, branch string, there bool, commit string) error {
	ref := &github.Reference{Ref: new("refs/heads/" + branch), Object: &github.GitObject{SHA: &commit}}
	return c.call(ctx, fmt.Sprintf("cannot write the branch %s of %s", branch, at), func() (resp *github.Response, err error) {
		if there {
			_, resp, err = c.gh.Git.UpdateRef(ctx, at.Owner, at.Name, ref, true)
		} else {
			_, resp, err = c.gh.Git.CreateRef(ctx, at.Owner, at.Name, ref)
		}
		return resp, err
	})
}

// ourPull finds the open pull request from a branch, which may be none. One that
// somebody else has opened is a problem: its commits are not to be replaced.
func (c *Client) ourPull(ctx context.Context, repo Repo, head, base string) (*github.PullRequest, error) {
	var open []*github.PullRequest
	err := c.call(ctx, "cannot list the pull requests of "+repo.String(), func() (resp *github.Response, err error) {
		open, resp, err = c.gh.PullRequests.List(ctx, repo.Owner, repo.Name, &github.PullRequestListOptions{State: "open", Head: head})
		return resp, err
	})
	if err != nil || len(open) == 0 {
		return nil, err
	}
	me, err := c.login(ctx)
	if err != nil {
		return nil, err
	}
	if by := open[0].GetUser().GetLogin(); !strings.EqualFold(by, me) && (me != "" || open[0].GetUser().GetType() != "Bot") {
		return nil, &ProblemError{
			Message: fmt.Sprintf("%s#%d, by %s, proposes it already, from the branch %s", repo, open[0].GetNumber(), by, head),
			Hint:    "commit to that branch, or close it first",
		}
	}
	if at := open[0].GetBase().GetRef(); at != base {
		return nil, &ProblemError{Message: fmt.Sprintf("%s#%d proposes what is on the branch %s, for %s and not for %s", repo, open[0].GetNumber(), head, at, base), Hint: "close it first"}
	}
	return open[0], nil
}

// putPull opens a pull request, or updates the one that is open.
func (c *Client) putPull(ctx context.Context, repo Repo, open *github.PullRequest, head, base string, p Proposal) (*Proposed, error) {
	var made *github.PullRequest
	what := "cannot open a pull request in " + repo.String()
	if open != nil {
		err := c.call(ctx, what, func() (resp *github.Response, err error) {
			made, resp, err = c.gh.PullRequests.Edit(ctx, repo.Owner, repo.Name, open.GetNumber(), &github.PullRequest{Title: &p.Title, Body: &p.Body})
			return resp, err
		})
		return &Proposed{Number: made.GetNumber(), URL: made.GetHTMLURL(), Updated: true}, err
	}
	err := c.call(ctx, what, func() (resp *github.Response, err error) {
		made, resp, err = c.gh.PullRequests.Create(ctx, repo.Owner, repo.Name, &github.NewPullRequest{Title: &p.Title, Body: &p.Body, Head: &head, Base: &base, MaintainerCanModify: new(true)})
		return resp, err
	})
	if err != nil {
		return nil, err
	}
	return &Proposed{Number: made.GetNumber(), URL: made.GetHTMLURL()}, nil
}
