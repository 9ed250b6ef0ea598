package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// ErrNotHere says that something would have to be fetched.
var ErrNotHere = errors.New("it is not on this disk, and --offline was asked for")

// Working is a commit of a repository elsewhere whose files are in a folder.
type Working struct {
	*Repo         // a bare one, with the history of commits
	Dir    string // has the files
	Commit string // its full hash
}

// Remote is a repository elsewhere.
type Remote struct {
	URL string
	// Token is handed to the URL's host if it asks for a password. Default:
	// git's own ways to get one.
	Token string
}

// Checkout brings the files of a repository at a branch, a tag or a
// full commit hash; "" is the default branch. They are kept below cache, with
// the history of commits, and with older files once they are asked for (a
// partial clone). Offline asks the host for nothing. Nothing of the repository
// is executed: there are no hooks.
func Checkout(ctx context.Context, from Remote, ref, cache string, offline bool) (*Working, error) {
	sum := sha256.Sum256([]byte(from.URL))
	home := filepath.Join(cache, hex.EncodeToString(sum[:16]))
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(home, "lock"))
	if _, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return nil, err
	}
	defer lock.Close()
	r := &Repo{Root: filepath.Join(home, "git"), partial: true}
	if !offline {
		forget, err := r.authorize(from)
		if err != nil {
			return nil, err
		}
		defer forget()
		if err := r.update(ctx, from.URL); err != nil {
			return nil, err
		}
	} else if _, err := os.Stat(r.Root); err != nil {
		return nil, ErrNotHere
	}
	commit, err := r.named(ctx, ref)
	if err != nil {
		return nil, err
	}
	w := &Working{Repo: r, Dir: filepath.Join(home, commit), Commit: commit}
	ready := w.Dir + ".ready"
	if _, err := os.Stat(ready); err == nil {
		return w, nil
	}
	if err := w.files(ctx); err != nil {
		return nil, fmt.Errorf("cannot take the files out of it: %w", err)
	}
	return w, os.WriteFile(ready, nil, 0o600)
}

// named finds the commit of a branch, a tag, or a hash.
func (r *Repo) named(ctx context.Context, ref string) (string, error) {
	names := []string{"refs/remotes/origin/" + ref, "refs/tags/" + ref}
	switch {
	case ref == "":
		names = []string{"refs/modyard/default"}
	case IsHash(ref):
		names = []string{ref}
	}
	for _, name := range names {
		commit, err := r.Commit(ctx, name)
		if err == nil || !errors.Is(err, ErrNoRevision) {
			return commit, err
		}
	}
	return "", fmt.Errorf("there is no branch, tag or commit %q: %w", ref, ErrNoRevision)
}

// files writes the commit's files into the folder.
func (w *Working) files(ctx context.Context) error {
	if err := os.RemoveAll(w.Dir); err != nil {
		return err
	}
	entries, err := w.Tree(ctx, w.Commit, "")
	if err != nil {
		return err
	}
	var objects []string
	for _, e := range entries {
		if e.Mode != "160000" {
			objects = append(objects, e.Object)
		}
	}
	if err := w.Prefetch(ctx, objects); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"worktree", "prune"},
		{"-c", "core.hooksPath=" + os.DevNull, "worktree", "add", "--quiet", "--force", "--detach", w.Dir, w.Commit},
	} {
		if _, err := w.Output(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// Copy puts the commit's files into another folder, which does not exist, to be
// changed there; Drop forgets it. Links are left out, since they could lead what
// is written anywhere: it returns their names, and git takes them for unchanged.
func (w *Working) Copy(ctx context.Context, dir string) (links []string, err error) {
	entries, err := w.Tree(ctx, w.Commit, "")
	if err != nil {
		return nil, err
	}
	if _, err := w.Output(ctx, "-c", "core.hooksPath="+os.DevNull, "worktree", "add", "--quiet", "--force", "--detach", dir, w.Commit); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Mode == "120000" {
			links = append(links, e.Path)
		}
	}
	if len(links) == 0 {
		return nil, nil
	}
	for _, name := range links {
		if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return nil, err
		}
	}
	copied := Repo{Root: dir}
	_, err = copied.feed(ctx, strings.NewReader(strings.Join(links, "\x00")), "update-index", "-z", "--skip-worktree", "--stdin")
	return links, err
}

// Drop removes a folder that Copy made.
func (w *Working) Drop(ctx context.Context, dir string) {
	_ = os.RemoveAll(dir)
	_, _ = w.Output(ctx, "worktree", "prune")
}

// IsBranch reports whether a name is that of a branch.
func (w *Working) IsBranch(ctx context.Context, name string) bool {
	_, err := w.Repo.Commit(ctx, "refs/remotes/origin/"+name)
	return err == nil
}

// Ignored lists the files of a folder, from the root, that git ignores and does
// not have all the same.
func (r *Repo) Ignored(ctx context.Context, folder string) ([]string, error) {
	if folder == "." {
		folder = ""
	}
	return r.names(ctx, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--full-name", "--", ":(top,literal)"+folder)
}

// Changed lists the files that differ from a commit, also those that git does
// not know yet and does not ignore.
func (r *Repo) Changed(ctx context.Context, commit string) ([]string, error) {
	differ, err := r.names(ctx, "diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", commit)
	if err != nil {
		return nil, err
	}
	others, err := r.names(ctx, "ls-files", "-z", "--others", "--exclude-standard")
	return append(differ, others...), err
}

// names runs git and splits what it lists.
func (r *Repo) names(ctx context.Context, args ...string) ([]string, error) {
	data, err := r.Output(ctx, args...)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00"), nil
}

// update brings the branches and tags.
func (r *Repo) update(ctx context.Context, url string) error {
	if _, err := os.Stat(filepath.Join(r.Root, "HEAD")); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(r.Root, 0o700); err != nil {
			return err
		}
		for _, args := range [][]string{
			{"init", "-q", "--bare", "--template=", "."},
			{"config", "remote.origin.url", url},
			{"config", "remote.origin.promisor", "true"},
			{"config", "remote.origin.partialclonefilter", "blob:none"},
		} {
			if _, err := r.Output(ctx, args...); err != nil {
				return err
			}
		}
	}
	_, err := r.Output(ctx, "fetch", "-q", "--no-tags", "--prune", "--force", "--filter=blob:none", "origin",
		"+HEAD:refs/modyard/default", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
	if err != nil {
		return fmt.Errorf("cannot fetch it: %w", err)
	}
	return nil
}

// IsHash reports whether a revision is the full hash of a commit.
func IsHash(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}
