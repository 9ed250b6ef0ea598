package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/registry/github"
)

// event is what GitHub Actions says of what happened; only what is used of it.
// Every text in it may be an attacker's.
type event struct {
	PullRequest *struct {
		Number int `json:"number"`
		Base   struct {
			SHA string `json:"sha"`
			Ref string `json:"ref"`
		} `json:"base"`
		Head struct {
			SHA string `json:"sha"`
		} `json:"head"`
	} `json:"pull_request"`
	WorkflowRun *struct {
		HeadSHA        string `json:"head_sha"`
		HeadBranch     string `json:"head_branch"`
		HeadRepository struct {
			Owner struct {
				Login string `json:"login"`
			} `json:"owner"`
		} `json:"head_repository"`
	} `json:"workflow_run"`
	Repository struct {
		FullName      string `json:"full_name"`
		DefaultBranch string `json:"default_branch"`
	} `json:"repository"`
	Action string `json:"action"`
	Label  struct {
		Name string `json:"name"`
	} `json:"label"`
	Ref    string `json:"ref"`
	Before string `json:"before"`
}

// eventGiven refuses --event without a file, as $GITHUB_EVENT_PATH is outside of
// GitHub Actions.
func eventGiven(cmd *cobra.Command) error {
	if f := cmd.Flags().Lookup("event"); f.Changed && f.Value.String() == "" {
		return usagef("--event names no file: GitHub Actions has it in $GITHUB_EVENT_PATH")
	}
	return nil
}

// maxEvent bounds an event, in bytes.
const maxEvent = 25 << 20

func readEvent(file string) (*event, error) {
	data, err := readManifest(file, maxEvent)
	if err != nil {
		return nil, err
	}
	e := &event{}
	if err := json.Unmarshal(data, e); err != nil {
		return nil, &hinted{fmt.Sprintf("%s is no event of GitHub: %v", file, err), "GitHub Actions writes it to $GITHUB_EVENT_PATH"}
	}
	return e, nil
}

// head is the last commit of the pull request that the event is about, or "".
func (e *event) head() string {
	switch {
	case e.PullRequest != nil:
		return e.PullRequest.Head.SHA
	case e.WorkflowRun != nil:
		return e.WorkflowRun.HeadSHA
	}
	return ""
}

// repo is the repository that the event is of.
func (e *event) repo() (github.Repo, bool) {
	owner, name, ok := strings.Cut(e.Repository.FullName, "/")
	return github.Repo{Owner: owner, Name: name}, ok && owner != "" && name != ""
}

// runLabel is the label by which a maintainer lets a change be run.
const runLabel = "modyard: run"

// allowed reports whether the event is that a maintainer gave the label: it
// holds for the commit of this event alone, since a later push is another
// event. Only who may triage can label.
func (e *event) allowed() bool { return e.Action == "labeled" && e.Label.Name == runLabel }

// noCommit is how GitHub writes that there is none.
const noCommit = "0000000000000000000000000000000000000000"

// pullOf finds the pull request that an event is about: its number and the commit
// of its base; 0 when it is about none.
func (a *app) pullOf(ctx context.Context, e *event) (number int, base string, err error) {
	if e.PullRequest != nil {
		return e.PullRequest.Number, e.PullRequest.Base.SHA, nil
	}
	if e.WorkflowRun == nil {
		return 0, e.Before, nil
	}
	repo, ok := e.repo()
	if !ok {
		return 0, "", nil
	}
	c, err := a.github(ctx, a.actionsHost())
	if err != nil {
		return 0, "", err
	}
	run := e.WorkflowRun
	return c.FindPull(ctx, repo, run.HeadRepository.Owner.Login, run.HeadBranch, run.HeadSHA)
}

// deepHint is what makes a clone have the commits that a question needs.
const deepHint = "check out with fetch-depth: 0 and filter: blob:none"

// forkPoint is where the working tree parted from the base of an event.
func (a *app) forkPoint(ctx context.Context, dir string, e *event, base string) (string, error) {
	repo, err := git.Open(ctx, dir)
	if err != nil {
		return "", err
	}
	if want := e.head(); want != "" {
		head, err := repo.Commit(ctx, "HEAD")
		if err != nil {
			return "", err
		}
		// What GitHub merges to try a pull request has the base's branch as it was
		// then, which may be later than the event's. Anybody can merge: the first
		// parent must be on that branch.
		if second, err := repo.Commit(ctx, "HEAD^2"); err == nil && second == want && e.PullRequest != nil {
			if _, err := repo.Output(ctx, "merge-base", "--is-ancestor", "HEAD^1", "refs/remotes/origin/"+e.PullRequest.Base.Ref); err == nil {
				return repo.Commit(ctx, "HEAD^1")
			}
		}
		if head != want {
			return "", &hinted{
				fmt.Sprintf("what is checked out, %.12s, is not of the pull request, whose last commit is %.12s", head, want),
				"check on pull_request, or on workflow_run with ref: ${{ github.event.workflow_run.head_sha }}; pull_request_target checks out the base",
			}
		}
	}
	if _, err := repo.Commit(ctx, base); err != nil {
		// A clone of a fork lacks what its parent has gained since.
		if from, ok := e.repo(); ok && !a.offline {
			host := a.actionsHost()
			err = repo.Bring(ctx, git.Remote{URL: "https://" + host + "/" + from.String(), Token: a.githubToken(ctx, host)}, base)
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if err != nil {
			return "", &hinted{fmt.Sprintf("the commit %.12s of the base is not in this clone", base), deepHint}
		}
	}
	out, err := repo.Output(ctx, "merge-base", base, "HEAD")
	if err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", &hinted{fmt.Sprintf("there is no common history of %.12s and what is checked out", base), deepHint}
	}
	return strings.TrimSpace(string(out)), nil
}

// setOutput sets an output of the step, where there is one.
func (a *app) setOutput(name, value string) {
	if file, _ := a.lookup("GITHUB_OUTPUT"); file != "" {
		a.actions.SetOutput(name, value)
	}
}

// summarize adds to the job's summary, where there is one.
func (a *app) summarize(markdown string) {
	if file, _ := a.lookup("GITHUB_STEP_SUMMARY"); file != "" {
		a.actions.AddStepSummary(markdown)
	}
}

// marker is in the one comment that a check writes.
const marker = "<!-- modyard check: this comment is edited in place -->"

// tellPull says what a check has found where the reviewers of a pull request
// look: in the job's summary, and in one comment where the token may write.
func (a *app) tellPull(ctx context.Context, e *event, number int, r *review) error {
	r.Commit = e.head()
	text := r.markdown()
	a.summarize(text)
	a.setOutput("verdict", r.Verdict)
	var names []string
	for _, v := range r.Versions {
		names = append(names, v.Module+"@"+v.Version)
	}
	a.setOutput("versions", strings.Join(names, " "))
	a.setOutput("test", strings.Join(append(names, r.tested...), "\n"))
	a.setOutput("run", strconv.FormatBool(r.Verdict == verdictGood || r.Verdict == verdictLook && e.allowed()))
	repo, ok := e.repo()
	if number == 0 || !ok {
		return nil
	}
	c, err := a.github(ctx, a.actionsHost())
	if err != nil {
		return err
	}
	// A check of what was there before must not have the last word.
	if now, err := c.PullHead(ctx, repo, number); err == nil && now != e.head() {
		a.say("note: the pull request is at %.12s by now: its comment is left to the check of that", now)
		return nil
	}
	where, err := c.Comment(ctx, repo, number, marker, text)
	switch {
	case errors.Is(err, github.ErrReadOnly), errors.Is(err, github.ErrOffline):
		a.say("note: no comment, the job's summary has the report: %v (permissions: {pull-requests: write})", err)
		return nil
	case err != nil:
		if p, ok := errors.AsType[*github.ProblemError](err); ok && p.World {
			// What was found holds, whatever GitHub has today.
			a.say("warning: no comment, the job's summary has the report: %v", err)
			return nil
		}
		return err
	}
	a.say("comment: %s", where)
	return nil
}
