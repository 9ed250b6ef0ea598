package git

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
)

// ErrUnreachable says that a repository's branches and tags do not lead to a
// commit: it may be a fork's, which some hosts serve under the same address.
var ErrUnreachable = errors.New("no branch and no tag of the repository leads to the commit")

// protocols are those that a repository may be fetched by; others run programs.
const protocols = "GIT_ALLOW_PROTOCOL=file:git:http:https:ssh"

// Fetch makes a bare repository in dir, which is empty, that has one commit of
// the repository at url and the folders of its tree. Files are fetched when
// [Repo.Prefetch] or a reader asks for them, where the host can (a partial
// clone), else at once. The commit, a full hash, must be reachable from a
// branch or tag there: else the error is [ErrUnreachable].
func Fetch(ctx context.Context, url, commit, dir string) (*Repo, error) {
	r := &Repo{Root: dir, partial: true}
	format := "sha1"
	if len(commit) == 64 {
		format = "sha256"
	}
	for _, args := range [][]string{
		{"init", "-q", "--bare", "--template=", "--object-format=" + format, "."},
		{"config", "remote.origin.url", url},
		{"config", "remote.origin.promisor", "true"},
		{"config", "remote.origin.partialclonefilter", "blob:none"},
		// The commits alone, which tell what is reachable.
		{"fetch", "-q", "--no-tags", "--filter=tree:0", "origin", "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"},
	} {
		if _, err := r.Output(ctx, args...); err != nil {
			return nil, fmt.Errorf("cannot fetch it: %w", err)
		}
	}
	refs, err := r.Output(ctx, "for-each-ref", "--count=1", "--contains", commit, "refs/heads", "refs/tags")
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil || len(strings.TrimSpace(string(refs))) == 0 {
		return nil, ErrUnreachable
	}
	if _, err := r.Output(ctx, "ls-tree", "-r", "--name-only", commit); err == nil {
		return r, nil // the host has sent all
	}
	if _, err := r.Output(ctx, "-c", "fetch.negotiationAlgorithm=noop", "fetch", "-q", "--no-tags", "--depth=1", "--filter=blob:none", "origin", commit); err != nil {
		return nil, fmt.Errorf("cannot fetch it: %w", err)
	}
	return r, nil
}

// Bring fetches a commit and its history from a repository, which need not be one
// that this was cloned from; without files if this has none of its own history.
func (r *Repo) Bring(ctx context.Context, from Remote, commit string) error {
	forget, err := r.authorize(from)
	if err != nil {
		return err
	}
	defer forget()
	args := []string{"-c", "core.hooksPath=" + os.DevNull, "fetch", "-q", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no"}
	// With a filter git makes a whole clone a partial one, for good.
	if out, err := r.Output(ctx, "config", "--get", "remote.origin.partialclonefilter"); err == nil && len(out) > 0 {
		args = append(args, "--filter=blob:none")
	}
	if _, err := r.Output(ctx, append(args, "--end-of-options", from.URL, commit)...); err != nil {
		return fmt.Errorf("cannot fetch it: %w", err)
	}
	return nil
}

// authorize has git hand the token of a remote to its host, until forget. It is
// in a file of this user's alone meanwhile: arguments and environments can be
// seen.
func (r *Repo) authorize(from Remote) (forget func(), err error) {
	u, err := url.Parse(from.URL)
	if from.Token == "" || err != nil || u.Scheme != "https" {
		return func() {}, nil //nolint:nilerr // git says what is wrong with an address
	}
	f, err := os.CreateTemp("", "modyard-git-")
	if err != nil {
		return nil, err
	}
	forget = func() {
		os.Remove(f.Name())
		r.credentials = ""
	}
	_, err = fmt.Fprintf(f, "https://%s@%s\n", url.UserPassword("x-access-token", from.Token), u.Host)
	if err := errors.Join(err, f.Close()); err != nil {
		forget()
		return nil, err
	}
	r.credentials = f.Name()
	return forget, nil
}

// Prefetch brings objects into what [Fetch] or [Checkout] made, in one request.
// Nothing else is fetched by reading.
func (r *Repo) Prefetch(ctx context.Context, objects []string) error {
	if len(objects) == 0 || !r.partial {
		return nil
	}
	cmd := r.command(ctx, "-c", "fetch.negotiationAlgorithm=noop", "fetch", "-q", "origin", "--no-tags",
		"--no-write-fetch-head", "--recurse-submodules=no", "--filter=blob:none", "--stdin")
	cmd.Stdin = strings.NewReader(strings.Join(objects, "\n") + "\n")
	err := cmd.Run()
	if _, refused := errors.AsType[*exec.ExitError](err); refused && ctx.Err() == nil {
		return nil // a host that serves no single objects has sent all already
	}
	return err
}

// Shallow reports whether the repository lacks the history of its commits.
func (r *Repo) Shallow(ctx context.Context) bool {
	out, err := r.Output(ctx, "rev-parse", "--is-shallow-repository")
	return err == nil && strings.TrimSpace(string(out)) == "true"
}
