package githubtest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Pull is a pull request as it was when it was asked for.
type Pull struct {
	Number              int
	Title, Body, Author string
	State               string // open or closed
	Draft, Merged       bool
	HeadRepo            string // "owner/name"
	Head, Base          string // branches
	HeadSHA, BaseSHA    string
	Labels              []string
	CreatedAt           time.Time
	UpdatedAt           time.Time
	ClosedAt            time.Time // zero while it is open

	id       int
	repo     *Repo
	maintain bool
	events   []event
}

// event is of the timeline: labeled or unlabeled.
type event struct {
	id                int
	what, label, user string
	at                time.Time
}

// Pull returns a pull request, nil when there is none. It follows its head's
// branch; closes when that is gone; and is merged as soon as the base has it.
func (r *Repo) Pull(number int) *Pull {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	p := r.pull(number)
	if p == nil {
		return nil
	}
	return p.clone()
}

// Pulls returns all pull requests, the first opened first.
func (r *Repo) Pulls() []*Pull {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.sync()
	var list []*Pull
	for _, p := range r.pulls {
		list = append(list, p.clone())
	}
	return list
}

func (p *Pull) clone() *Pull {
	q := *p
	q.Labels = slices.Clone(p.Labels)
	return &q
}

// OpenPull opens a pull request from head, a branch or "owner:branch" of a
// fork. The test fails when GitHub would not have it.
func (r *Repo) OpenPull(head, base, title, author string) *Pull {
	r.s.tb.Helper()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	p, a := r.open(pullRequest{Head: head, Base: base, Title: title}, author)
	if a != nil {
		r.s.tb.Fatalf("githubtest: open a pull request from %s: %v", head, a.body)
	}
	return p.clone()
}

// Label has actor add a label at a time.
func (p *Pull) Label(name, actor string, at time.Time) { p.label("labeled", name, actor, at) }

// Unlabel has actor take a label away.
func (p *Pull) Unlabel(name, actor string, at time.Time) { p.label("unlabeled", name, actor, at) }

func (p *Pull) label(what, name, actor string, at time.Time) {
	s := p.repo.s
	s.mu.Lock()
	defer s.mu.Unlock()
	q := p.repo.pull(p.Number)
	q.Labels = slices.DeleteFunc(q.Labels, func(l string) bool { return l == name })
	if what == "labeled" {
		q.Labels = append(q.Labels, name)
	}
	s.userID(actor)
	q.events = append(q.events, event{s.id(), what, name, actor, at.UTC().Truncate(time.Second)})
	p.Labels = slices.Clone(q.Labels)
}

func (r *Repo) pull(number int) *Pull {
	r.sync()
	for _, p := range r.pulls {
		if p.Number == number {
			return p
		}
	}
	return nil
}

// sync has HEAD name the default branch, and the pull requests follow what
// was pushed.
func (r *Repo) sync() {
	if r.head != r.DefaultBranch {
		r.try1("symbolic-ref", "HEAD", "refs/heads/"+r.DefaultBranch)
		r.head = r.DefaultBranch
	}
	for _, p := range r.pulls {
		if p.State == "open" {
			p.sync()
		}
	}
}

func (p *Pull) sync() {
	head, base := p.headRepo().ref("refs/heads/"+p.Head), p.repo.ref("refs/heads/"+p.Base)
	if head == p.HeadSHA && base == p.BaseSHA {
		return
	}
	grown := base != p.BaseSHA
	p.UpdatedAt = now()
	if base != "" {
		p.BaseSHA = base
	}
	if head == "" || base == "" {
		p.close()
		return
	}
	p.HeadSHA = head
	p.repo.try1("update-ref", p.gitRef(), head)
	if p.repo.ancestor(head, base) {
		p.close()
		p.Merged = grown
	}
}

func (p *Pull) close() { p.State, p.ClosedAt = "closed", now() }

func (p *Pull) gitRef() string { return fmt.Sprintf("refs/pull/%d/head", p.Number) }

func (p *Pull) headRepo() *Repo {
	owner, name, _ := strings.Cut(p.HeadRepo, "/")
	return p.repo.s.repo(owner, name)
}
