package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/registry/github"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// fromEvent turns an event into arguments: the tag that was pushed; what a push
// to the default branch has added; for any other event, such as one by hand, all.
// What is published, and what is checked out, must be on the default branch. It
// is none when the tag is of something else.
func (a *app) fromEvent(ctx context.Context, reg *registry.Registry, args []string, o *publishOptions) (_ []string, none bool, _ error) {
	if len(args) > 0 || o.all || o.since != "" {
		return nil, false, usagef("--event says what to publish: name nothing else")
	}
	e, err := readEvent(o.event)
	if err != nil {
		return nil, false, err
	}
	branch := e.Repository.DefaultBranch
	o.branch = branch
	tag, isTag := strings.CutPrefix(e.Ref, "refs/tags/")
	if isTag {
		name, number, isVersion := versionTag(tag)
		if !slices.Contains(reg.Names(), name) {
			hint := ""
			if near := schema.Nearest(name, reg.Names()); len(near) > 0 {
				hint = "; did you mean " + near[0] + "/v" + number + "?"
			}
			a.say("note: the tag %s is of no module here: there is nothing to publish%s", tag, hint)
			return nil, true, nil
		}
		if !isVersion {
			return nil, false, &hinted{fmt.Sprintf("the tag %s names no version of %q", tag, name), "a tag is such as " + name + "/v2.1.0"}
		}
		if _, err := onDefault(ctx, reg.Dir, e.Ref, "the tag "+tag, branch); err != nil {
			return nil, false, err
		}
	}
	if o.tip, err = onDefault(ctx, reg.Dir, "HEAD", "what is checked out", branch); err != nil {
		return nil, false, err
	}
	if isTag {
		return []string{tag}, false, nil
	}
	o.all = true
	if e.Ref == "refs/heads/"+branch && e.Before != "" && e.Before != noCommit {
		repo, err := git.Open(ctx, reg.Dir)
		if err != nil {
			return nil, false, err
		}
		if _, err := repo.Commit(ctx, e.Before); err == nil {
			o.since, o.all = e.Before, false
		} else {
			a.say("note: the branch was at %.12s, which is gone: everything that is not published is", e.Before)
		}
	}
	return nil, false, nil
}

// versionTag reads a tag such as train-model/v2.1.0.
func versionTag(tag string) (module, number string, ok bool) {
	module, number, ok = strings.Cut(tag, "/v")
	if ok {
		_, err := semver.StrictNewVersion(number)
		ok = err == nil
	}
	return module, number, ok
}

// onDefault refuses a revision that nobody has merged into the default branch,
// and gives the last commit of that.
func onDefault(ctx context.Context, dir, rev, what, branch string) (tip string, err error) {
	repo, err := git.Open(ctx, dir)
	if err != nil {
		return "", err
	}
	for _, name := range []string{"refs/remotes/origin/" + branch, "refs/heads/" + branch} {
		if tip, err = repo.Commit(ctx, name); err == nil {
			break
		}
	}
	if tip == "" {
		return "", &hinted{fmt.Sprintf("the branch %q is not in this clone, so nothing tells whether %s was merged", branch, what), deepHint}
	}
	commit, err := repo.Commit(ctx, rev)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if _, err := repo.Output(ctx, "merge-base", "--is-ancestor", commit, tip); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", &hinted{fmt.Sprintf("%s is on the commit %.12s, which is not on the branch %s", what, commit, branch), "merge it first: what is published was reviewed"}
	}
	return tip, nil
}

// outputs sets those of the step, for GitHub Actions.
func (a *app) outputs(rows []publishRow) {
	var refs, digests []string
	for _, r := range rows {
		if r.State == "published" || r.State == "already" {
			refs, digests = append(refs, r.Ref), append(digests, string(r.Digest))
		}
	}
	a.setOutput("published", strings.Join(refs, "\n"))
	a.setOutput("digests", strings.Join(digests, "\n"))
}

// releases makes a tag and a release for each version that is published.
func (p *publishing) releases(ctx context.Context, versions []*registry.Version, rows []publishRow, failed []error) error {
	repo, host, err := p.a.hub(p.reg)
	if err != nil {
		return err
	}
	c, err := p.a.github(ctx, host)
	if err != nil {
		return err
	}
	// A list of all costs less than to ask for many.
	const many = 10
	var there map[string]string
	if len(versions) > many {
		if there, err = c.Releases(ctx, repo); err != nil {
			return err
		}
	}
	for i, v := range versions {
		if failed[i] != nil || rows[i].State == "" {
			continue
		}
		tag := v.Module() + "/v" + v.String()
		if rows[i].Release = there[tag]; rows[i].Release != "" {
			continue
		}
		failed[i] = func() error {
			if p.source.repo == nil {
				return git.ErrNoRepository
			}
			commit, err := snapshot.Added(ctx, p.source.repo, "HEAD", path.Join(p.source.prefix, v.Path()))
			if err != nil {
				return err
			}
			// A tag that was made by hand may be on any commit that has the version.
			if at, err := p.source.repo.Commit(ctx, "refs/tags/"+tag); err == nil {
				if _, err := p.source.repo.Output(ctx, "merge-base", "--is-ancestor", at, cmpOr(p.tip, "HEAD")); err != nil {
					return &hinted{fmt.Sprintf("its tag %s is on the commit %.12s, which was not merged: there is no release on it", tag, at), "remove the tag, and publish again"}
				}
				commit = at
			}
			if err := c.Tag(ctx, repo, tag, commit); err != nil {
				return err
			}
			notes, err := p.notes(v, rows[i])
			if err != nil {
				return err
			}
			rows[i].Release, _, err = c.Release(ctx, repo, tag, v.Module()+" "+v.String(), notes)
			return err
		}()
		if failed[i] != nil {
			failed[i] = fmt.Errorf("%s@%s: %w", v.Module(), v, failed[i])
		}
	}
	return nil
}

// hub is the repository on GitHub: the workflow's, or the one that the registry
// says it is.
func (a *app) hub(reg *registry.Registry) (github.Repo, string, error) {
	name, _ := a.lookup("GITHUB_REPOSITORY")
	host := a.actionsHost()
	if name == "" {
		place, err := a.parsePlace(reg.Source)
		if err != nil || place == nil || place.owner == "" {
			return github.Repo{}, "", &hinted{"the registry does not say which repository on GitHub it is", "add source: https://github.com/OWNER/REPO to registry.yaml"}
		}
		return github.Repo{Owner: place.owner, Name: place.name}, place.host, nil
	}
	owner, repo, ok := strings.Cut(name, "/")
	if !ok {
		return github.Repo{}, "", usagef("GITHUB_REPOSITORY %q is not OWNER/REPO", name)
	}
	return github.Repo{Owner: owner, Name: repo}, host, nil
}

// notes are those of a release: what changed, the digests, how to use it.
func (p *publishing) notes(v *registry.Version, row publishRow) (string, error) {
	m, _, err := v.Manifest()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if m.Description != "" {
		b.WriteString(plain(firstLine(m.Description)) + "\n\n")
	}
	mod, _, err := p.reg.Module(v.Module())
	if err != nil {
		return "", err
	}
	if lower := mod.Below(v); lower != nil {
		if before, _, err := lower.Manifest(); err == nil && before != nil {
			fmt.Fprintf(&b, "Since %s:\n\n", code(lower.String()))
			changes := registry.Compare(before, m).Changes
			if len(changes) == 0 {
				b.WriteString("The interface is the same.\n\n")
			}
			listSome(&b, changes, func(c registry.Change) string { return "- " + plain(c.String()) })
		}
	}
	fmt.Fprintf(&b, "```yaml\nmodule: %s/%s@%s\n```\n\n", p.reg.Name, v.Module(), v)
	b.WriteString("| | |\n| --- | --- |\n")
	fmt.Fprintf(&b, "| version digest | %s |\n", code(string(m.Digest)))
	if m.Snapshot != nil && m.Snapshot.Digest != "" {
		fmt.Fprintf(&b, "| snapshot | %s |\n", code(string(m.Snapshot.Digest)))
	}
	if row.Ref != "" {
		fmt.Fprintf(&b, "| image | %s |\n", code(row.Ref+"@"+string(row.Digest)))
	}
	return cut(b.String()), nil
}
