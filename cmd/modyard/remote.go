package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/registry/github"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

// place is where a registry is that is not a folder on this disk.
type place struct {
	host, owner, name, folder string // on GitHub
	url                       string // any other git repository
	ref                       string // a branch, a tag or a commit; "" for the default branch
}

// parsePlace reads [https://]HOST/OWNER/REPO[/FOLDER][@REF] of a GitHub server, or
// another git URL with or without @REF. It is nil for a folder on this disk.
func (a *app) parsePlace(location string) (*place, error) {
	if rest, ok := strings.CutPrefix(location, "https://"); ok {
		if host, _, _ := strings.Cut(rest, "/"); a.isGitHub(host) {
			location = rest
		}
	}
	at := 0 // where the path begins
	if scheme, rest, ok := strings.Cut(location, "://"); ok {
		slash := strings.IndexByte(rest, '/')
		if slash < 0 {
			return nil, usagef("%q is no address of a repository", location)
		}
		at = len(scheme) + len("://") + slash
	} else if strings.HasPrefix(location, "git@") {
		at = len("git@")
	}
	address, ref, hasRef := strings.Cut(location[at:], "@")
	if hasRef && ref == "" {
		return nil, usagef("%q ends with @; name a branch, a tag or a commit", location)
	}
	if at > 0 {
		return &place{url: location[:at] + address, ref: ref}, nil
	}
	elem := strings.Split(strings.TrimSuffix(address, "/"), "/")
	if !a.isGitHub(elem[0]) {
		return nil, nil
	}
	if len(elem) < 3 || elem[1] == "" || elem[2] == "" {
		return nil, usagef("%q is no registry: write %s/OWNER/REPO@REF", location, elem[0])
	}
	p := &place{host: elem[0], owner: elem[1], name: strings.TrimSuffix(elem[2], ".git"), ref: ref}
	if rest := elem[3:]; len(rest) > 1 && rest[0] == "tree" { // as a browser has it
		return nil, usagef("%q is the address of a page: write %s@%s", location, path.Join(append(elem[:3:3], rest[2:]...)...), rest[1])
	}
	p.folder = strings.Join(elem[3:], "/")
	return p, nil
}

// address is that of the repository.
func (p *place) address() string {
	return cmpOr(p.url, "https://"+p.host+"/"+p.owner+"/"+p.name)
}

// placesOf are where a remote registry was opened.
func (a *app) placesOf(reg *registry.Registry) []*place {
	a.opening.Lock()
	defer a.opening.Unlock()
	var out []*place
	for _, o := range a.places {
		if o.reg == reg {
			out = append(out, o.place)
		}
	}
	return out
}

// originOf finds the repository on GitHub that a clone came from.
func (a *app) originOf(ctx context.Context, repo *git.Repo) (*place, error) {
	out, _ := repo.Output(ctx, "config", "--get", "remote.origin.url") // not get-url, which rewrites
	address := strings.TrimSpace(string(out))
	rest := address
	if _, after, ok := strings.Cut(rest, "://"); ok {
		rest = after
	} else {
		rest = strings.Replace(rest, ":", "/", 1) // git@github.com:owner/repo
	}
	if host, _, _ := strings.Cut(rest, "/"); strings.Contains(host, "@") {
		rest = rest[strings.LastIndexByte(host, '@')+1:]
	}
	p, err := a.parsePlace(rest)
	if err != nil {
		return nil, err
	}
	if p == nil || p.owner == "" {
		what := "names no origin"
		if address != "" {
			what = "came from elsewhere"
		}
		return nil, &hinted{fmt.Sprintf("the clone at %s %s: a pull request needs a repository on GitHub", repo.Root, what), "git remote add origin https://github.com/OWNER/REPO; GH_HOST names another GitHub server"}
	}
	return p, nil
}

// isGitHub reports whether a host is a GitHub server: github.com, or the one
// that gh or GitHub Actions name.
func (a *app) isGitHub(host string) bool {
	other, _ := a.lookup("GH_HOST")
	return host == "github.com" || other != "" && host == other || host == a.actionsHost()
}

// actionsHost is the server that a workflow of GitHub Actions runs for.
func (a *app) actionsHost() string {
	server, _ := a.lookup("GITHUB_SERVER_URL")
	if u, err := url.Parse(server); err == nil && u.Host != "" {
		return u.Host
	}
	return "github.com"
}

// github speaks to a GitHub server; it is made once.
func (a *app) github(ctx context.Context, host string) (*github.Client, error) {
	if c, ok := a.hubs[host]; ok {
		return c, nil
	}
	cache, err := a.remoteCache()
	if err != nil {
		return nil, err
	}
	opt := github.Options{Host: host, Cache: filepath.Join(cache, "github"), Offline: a.offline, Token: a.githubToken(ctx, host), UserAgent: "modyard/" + ourVersion(), Say: a.say}
	if host == a.actionsHost() {
		opt.API, _ = a.lookup("GITHUB_API_URL")
	}
	c, err := github.New(opt)
	if err != nil {
		return nil, err
	}
	if a.hubs == nil {
		a.hubs = map[string]*github.Client{}
	}
	a.hubs[host] = c
	return c, nil
}

// handedToken reads the token for GitHub from the file descriptor that
// MODYARD_TOKEN_FD names, and closes it: it is in no environment then, and nothing
// that is started has it.
func handedToken(lookup func(string) (string, bool)) string {
	text, _ := lookup("MODYARD_TOKEN_FD")
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return ""
	}
	f := os.NewFile(uintptr(fd), "the token")
	if f == nil {
		return ""
	}
	defer f.Close()
	const most = 4096
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// githubToken is what the environment or gh has for a host, in gh's order.
func (a *app) githubToken(ctx context.Context, host string) string {
	var names []string
	switch host {
	case a.actionsHost(): // else a server's token would go to github.com
		names = []string{"GH_TOKEN", "GITHUB_TOKEN"}
	case "github.com":
	default:
		names = []string{"GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"}
	}
	for _, n := range names {
		if t, _ := a.lookup(n); t != "" {
			return t
		}
	}
	if a.token != "" && host == a.actionsHost() {
		return a.token
	}
	if a.offline {
		return ""
	}
	out, err := exec.CommandContext(ctx, "gh", "auth", "token", "--hostname", host).Output()
	if err != nil {
		return "" // gh is not there, or knows nobody
	}
	return strings.TrimSpace(string(out))
}

// remoteCache is the folder for what is read of remote registries, beside the
// store.
func (a *app) remoteCache() (string, error) {
	dir, err := a.storeDir()
	return dir + "-registries", err
}

// checkout is a registry in a git repository that is not on GitHub.
type checkout struct{ *git.Working }

func (c *checkout) Folder(ctx context.Context, folder, commit string) (*snapshot.Tree, error) {
	return snapshot.Commit(ctx, c.Repo, cmpOr(commit, c.Commit), folder)
}

func (c *checkout) Added(ctx context.Context, file string) (string, error) {
	return snapshot.Added(ctx, c.Repo, c.Commit, file)
}

// opened is a remote registry that was opened.
type opened struct {
	place *place
	reg   *registry.Registry
	diags schema.Diagnostics
}

// openPlace opens a remote registry, at one commit for the whole command.
func (a *app) openPlace(ctx context.Context, p *place, location string) (*registry.Registry, schema.Diagnostics, error) {
	a.opening.Lock()
	defer a.opening.Unlock()
	key := location + " " + p.ref
	if o, ok := a.places[key]; ok {
		return o.reg, o.diags, nil
	}
	reg, diags, err := a.readPlace(a.ctx, p, location) // ctx may be of a part of the command
	if err == nil {
		if a.places == nil {
			a.places = map[string]opened{}
		}
		a.places[key] = opened{p, reg, diags}
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	problem := func(hint string) error {
		return &runner.ResolveError{Message: fmt.Sprintf("the registry %s: %v", location, err), Hint: hint}
	}
	pe, isGitHub := errors.AsType[*github.ProblemError](err)
	switch {
	case errors.Is(err, registry.ErrNoRegistry):
		return nil, nil, &runner.ResolveError{Message: fmt.Sprintf("there is no registry in %s", location), Hint: "a registry has registry.yaml at its root; name its folder: HOST/OWNER/REPO/FOLDER@REF"}
	case isGitHub && !pe.World:
		return nil, nil, problem(pe.Hint)
	case errors.Is(err, git.ErrNoRevision):
		return nil, nil, problem("")
	case err != nil:
		return nil, nil, fmt.Errorf("the registry %s: %w", location, err)
	}
	return reg, diags, nil
}

func (a *app) readPlace(ctx context.Context, p *place, location string) (*registry.Registry, schema.Diagnostics, error) {
	if p.url != "" {
		cache, err := a.remoteCache()
		if err != nil {
			return nil, nil, err
		}
		w, err := git.Checkout(ctx, git.Remote{URL: p.url}, p.ref, filepath.Join(cache, "git"), a.offline)
		if err != nil {
			return nil, nil, err
		}
		reg, diags, err := registry.OpenFolder(w.Dir, location)
		if reg != nil {
			reg.Dir, reg.Elsewhere, reg.Commit = "", &checkout{w}, w.Commit // the folder is the cache's
		}
		return reg, diags, err
	}
	c, err := a.github(ctx, p.host)
	if err != nil {
		return nil, nil, err
	}
	tree, err := c.At(ctx, github.Repo{Owner: p.owner, Name: p.name}, p.ref, p.folder)
	if err != nil {
		return nil, nil, err
	}
	reg, diags, err := registry.Open(tree, location)
	if reg != nil {
		reg.Elsewhere, reg.Commit = tree, tree.Commit
	}
	return reg, diags, err
}
