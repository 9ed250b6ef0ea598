package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"golang.org/x/sync/errgroup"

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
	owners  bool // CODEOWNERS changed
	// repoDiff is diff with all of the repository, from its root.
	repoDiff map[string]bool
}

// readBase compares the working tree with a revision, by default the last
// commit.
func readBase(ctx context.Context, dir, rev string) (*base, error) {
	b := &base{files: map[string]bool{}, diff: map[string]bool{}, repoDiff: map[string]bool{}}
	repo, err := git.Open(ctx, dir)
	if err != nil {
		switch {
		case rev != "":
			return nil, fmt.Errorf("cannot compare with %q: %w", rev, err)
		case errors.Is(err, git.ErrNotTrusted):
			return nil, err
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

// ownersPlaces is where GitHub looks for CODEOWNERS, from the repository's
// root; the first that is there counts.
var ownersPlaces = []string{".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"}

func (b *base) read(ctx context.Context) error {
	scope := []string{"--", ":(top,literal)" + b.prefix}
	for _, p := range slices.Concat(ownersPlaces, workflows) {
		scope = append(scope, ":(top,literal)"+strings.TrimSuffix(p, "/"))
	}
	if b.prefix == "" {
		scope = []string{"--", ":/"}
	}
	ask := [][]string{
		{"ls-tree", "-r", "-z", "--full-tree", "--name-only", b.commit, "--", cmp.Or(b.prefix, ".")},
		append([]string{"diff", "--name-status", "-z", "--no-renames", "--no-ext-diff", b.commit}, scope...),
		append([]string{"ls-files", "-z", "--others", "--exclude-standard", "--full-name"}, scope...),
	}
	said := make([][]string, len(ask))
	g, asking := errgroup.WithContext(ctx)
	for i, args := range ask {
		g.Go(func() error {
			out, err := b.repo.Output(asking, args...)
			said[i] = strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	tree, diff, others := said[0], said[1], said[2]
	for _, p := range tree {
		if rel, ok := b.inside(p); ok {
			b.files[rel] = true
		}
	}
	for i := 0; i+1 < len(diff); i += 2 {
		b.change(diff[i+1])
		if rel, ok := b.inside(diff[i+1]); ok && diff[i] == "D" {
			b.deleted = append(b.deleted, rel)
		}
	}
	for _, p := range others {
		b.change(p)
	}
	return b.onlyDeleted(ctx)
}

// onlyDeleted keeps of the deleted files those that were there when the
// working tree parted from the base: what the base has gained since is not
// deleted, the working tree is behind.
func (b *base) onlyDeleted(ctx context.Context) error {
	if len(b.deleted) == 0 {
		return nil
	}
	fork, err := b.repo.Output(ctx, "merge-base", b.commit, "HEAD")
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return nil //nolint:nilerr // no common history: the base is all there is to go by
	}
	entries, err := b.repo.Tree(ctx, strings.TrimSpace(string(fork)), b.prefix)
	if err != nil {
		return err
	}
	had := make(map[string]bool, len(entries))
	for _, e := range entries {
		rel, _ := b.inside(e.Path)
		had[rel] = true
	}
	b.deleted = slices.DeleteFunc(b.deleted, func(p string) bool { return !had[p] })
	return nil
}

// change notes that a file of the repository differs from the base.
func (b *base) change(p string) {
	b.repoDiff[p] = true
	if slices.Contains(ownersPlaces, p) {
		b.owners = true
	}
	if rel, ok := b.inside(p); ok {
		b.diff[rel] = true
	}
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

// submodule reports whether a folder that git names as one thing is another
// repository: a submodule, or one that git does not know yet.
func (b *base) submodule(ctx context.Context, p string) bool {
	full := path.Join(b.prefix, p)
	out, err := b.repo.Output(ctx, "ls-files", "-s", "-z", "--", ":(top,literal)"+full)
	if err != nil || strings.HasSuffix(p, "/") {
		return true
	}
	for line := range strings.SplitSeq(string(out), "\x00") {
		if meta, name, _ := strings.Cut(line, "\t"); name == full && strings.HasPrefix(meta, "160000 ") {
			return true
		}
	}
	return false
}

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
	commit, err := snapshot.Added(ctx, b.repo, "HEAD", path.Join(b.prefix, versionFile))
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

// isNumber reports whether s may be the number of a version.
func isNumber(s string) bool {
	v, err := semver.StrictNewVersion(s)
	return err == nil && v.Metadata() == ""
}
