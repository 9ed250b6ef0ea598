package githubtest

import (
	"cmp"
	"net/http"
	"slices"
	"time"
)

// Release is a release of a repository.
type Release struct {
	ID                     int
	Tag, Target            string
	Name, Body, Author     string
	Draft, Prerelease      bool
	CreatedAt, PublishedAt time.Time
}

// Releases returns the releases, oldest first, drafts too.
func (r *Repo) Releases() []Release {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	var list []Release
	for _, x := range r.releases {
		list = append(list, *x)
	}
	return list
}

func (r *Repo) releaseJSON(x *Release) object {
	self := r.api("/releases/%d", x.ID)
	o := object{
		"id": x.ID, "node_id": node("RE", x.ID), "tag_name": x.Tag, "target_commitish": x.Target, "name": orNull(x.Name), "body": orNull(x.Body),
		"draft": x.Draft, "prerelease": x.Prerelease, "immutable": false, "created_at": x.CreatedAt, "published_at": nil,
		"author": r.s.userJSON(x.Author), "assets": []any{}, "url": self, "assets_url": self + "/assets",
		"upload_url": self + "/assets{?name,label}", "html_url": r.html("/releases/tag/%s", x.Tag),
		"tarball_url": r.api("/tarball/%s", x.Tag), "zipball_url": r.api("/zipball/%s", x.Tag),
	}
	if !x.PublishedAt.IsZero() {
		o["published_at"] = x.PublishedAt
	}
	return o
}

// listReleases has drafts only for who may push.
func listReleases(c *call) *answer {
	list := slices.DeleteFunc(slices.Clone(c.repo.releases), func(x *Release) bool { return x.Draft && !c.who.pushes(c.repo) })
	slices.Reverse(list)
	return page(c, 30, list, each(c.repo.releaseJSON))
}

// getRelease does not find drafts.
func getRelease(c *call) *answer {
	for _, x := range c.repo.releases {
		if x.Tag == c.r.PathValue("tag") && !x.Draft {
			return ok(c.repo.releaseJSON(x))
		}
	}
	return notFound()
}

// releaseRequest is POST and PATCH releases.
type releaseRequest struct {
	Tag        string `json:"tag_name"`
	Target     string `json:"target_commitish"`
	Name, Body string
	Draft      bool
	Prerelease bool
}

func createRelease(c *call) *answer {
	x := &Release{ID: c.id(), Author: c.who.login, CreatedAt: now()}
	if a := c.release(x); a != nil {
		return a
	}
	c.repo.releases = append(c.repo.releases, x)
	return created(c.repo.releaseJSON(x))
}

func updateRelease(c *call) *answer {
	i := slices.IndexFunc(c.repo.releases, func(x *Release) bool { return x.ID == c.number("id") })
	if i < 0 {
		return notFound()
	}
	if a := c.release(c.repo.releases[i]); a != nil {
		return a
	}
	return ok(c.repo.releaseJSON(c.repo.releases[i]))
}

// release changes x as the request says, and makes the tag of what is no
// draft (any more).
func (c *call) release(x *Release) *answer {
	in := releaseRequest{x.Tag, cmp.Or(x.Target, c.repo.DefaultBranch), x.Name, x.Body, x.Draft, x.Prerelease}
	if a := c.decode(&in); a != nil {
		return a
	}
	if in.Tag == "" {
		return invalid("Release", "tag_name", "missing_field")
	}
	for _, other := range c.repo.releases {
		if other != x && other.Tag == in.Tag && !other.Draft && !in.Draft {
			return invalid("Release", "tag_name", "already_exists")
		}
	}
	if tag := "refs/tags/" + in.Tag; !in.Draft && c.repo.ref(tag) == "" {
		sha := c.repo.find(in.Target)
		if sha == "" {
			return invalid("Release", "target_commitish", "invalid")
		}
		if a := c.point(http.StatusOK, tag, sha, ""); a.status != http.StatusOK {
			return invalid("Release", "tag_name", "invalid")
		}
	}
	if !in.Draft && x.PublishedAt.IsZero() {
		x.PublishedAt = now()
	}
	x.Tag, x.Target, x.Name, x.Body, x.Draft, x.Prerelease = in.Tag, in.Target, in.Name, in.Body, in.Draft, in.Prerelease
	return nil
}
