package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// base is what a git revision has of a registry. Without a repository it has
// nothing.
type base struct {
	repo    *git.Repo
	prefix  string // of the registry in the repository: "" or "a/b"
	commit  string // "" when there is none yet
	files   map[string]bool
	diff    map[string]bool // changed, added or deleted since, in the registry
	deleted []string
}

// readBase compares the working tree with a revision, by default the last
// commit.
func readBase(ctx context.Context, dir, rev string) (*base, error) {
	b := &base{files: map[string]bool{}, diff: map[string]bool{}}
	repo, err := git.Open(ctx, dir)
	if err != nil {
		if rev != "" {
			return nil, fmt.Errorf("cannot compare with %q: %w", rev, err)
		}
		return b, nil
	}
	b.repo = repo
	if b.prefix, err = repo.Rel(dir); err != nil {
		return nil, err
	}
	if b.prefix == "." {
		b.prefix = ""
	}
	b.commit, err = repo.Commit(ctx, cmp.Or(rev, "HEAD"))
	if err != nil {
		if rev == "" && errors.Is(err, git.ErrNoRevision) {
			return b, nil
		}
		return nil, fmt.Errorf("cannot compare with %q: %w", rev, err)
	}
	return b, b.read(ctx)
}

func (b *base) read(ctx context.Context) error {
	scope := ":(top,literal)" + b.prefix
	if b.prefix == "" {
		scope = ":/"
	}
	out, err := b.repo.Output(ctx, "ls-tree", "-r", "-z", "--full-tree", "--name-only", b.commit, "--", cmp.Or(b.prefix, "."))
	if err != nil {
		return err
	}
	for p := range strings.SplitSeq(string(out), "\x00") {
		if rel, ok := b.inside(p); ok {
			b.files[rel] = true
		}
	}
	out, err = b.repo.Output(ctx, "diff", "--name-status", "-z", "--no-renames", "--no-ext-diff", b.commit, "--", scope)
	if err != nil {
		return err
	}
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		rel, ok := b.inside(fields[i+1])
		if !ok {
			continue
		}
		b.diff[rel] = true
		if fields[i] == "D" {
			b.deleted = append(b.deleted, rel)
		}
	}
	out, err = b.repo.Output(ctx, "ls-files", "-z", "--others", "--exclude-standard", "--full-name", "--", scope)
	if err != nil {
		return err
	}
	for p := range strings.SplitSeq(string(out), "\x00") {
		if rel, ok := b.inside(p); ok {
			b.diff[rel] = true
		}
	}
	return nil
}

// inside makes a path of the repository one of the registry.
func (b *base) inside(p string) (string, bool) {
	if p == "" {
		return "", false
	}
	if b.prefix == "" {
		return p, true
	}
	return strings.CutPrefix(p, b.prefix+"/")
}

// has reports whether the base has the file.
func (b *base) has(p string) bool { return b.files[p] }

// changed reports whether the file differs from the base.
func (b *base) changed(p string) bool { return b.diff[p] }

// touched reports whether anything of the module differs from the base.
func (b *base) touched(module string) bool {
	prefix := path.Join(modulesDir, module) + "/"
	for p := range b.diff {
		if strings.HasPrefix(p, prefix) {
			return true
		}
	}
	return false
}

// tree finds the folder of a version in the commit that added it.
func (b *base) tree(ctx context.Context, versionFile, folder string) (*snapshot.Tree, string, error) {
	if b.repo == nil {
		return nil, "", git.ErrNoRepository
	}
	commit, err := snapshot.Added(ctx, b.repo, path.Join(b.prefix, versionFile))
	if err != nil {
		return nil, "", err
	}
	t, err := snapshot.Commit(ctx, b.repo, commit, path.Join(b.prefix, folder))
	return t, commit, err
}

func (b *base) historic(ctx context.Context, versionFile, folder string) (schema.Digest, error) {
	t, _, err := b.tree(ctx, versionFile, folder)
	if err != nil {
		return "", err
	}
	return t.Digest(ctx)
}

func strictVersion(s string) (*semver.Version, error) {
	v, err := semver.StrictNewVersion(s)
	if err == nil && v.Metadata() != "" {
		err = errors.New("build metadata is not allowed")
	}
	return v, err
}

func cmpStrings(pairs ...string) int {
	for i := 0; i+1 < len(pairs); i += 2 {
		if c := cmp.Compare(pairs[i], pairs[i+1]); c != 0 {
			return c
		}
	}
	return 0
}
