package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// source checks where a version's files come from: their digest and what is in
// them.
func (c *moduleCheck) source(ctx context.Context, v *Version, m *schema.ModuleVersion) error {
	s := m.Snapshot
	if s == nil || s.IsEnvironment() {
		return nil
	}
	if s.Digest == "" {
		c.diags.Add(m.File, s.Pos, schema.RuleDigest, "modyard check --fix computes it", "version %s has no snapshot digest", v)
	}
	old := !c.pending(v)
	if old && !c.opt.Deep {
		return nil
	}
	if s.Origin != "folder" {
		return c.elsewhere(ctx, v, m)
	}
	folder, ok := v.folder(m)
	if !ok {
		c.diags.Add(m.File, s.Folder.Pos, schema.RulePath, "give a folder of this repository", "the folder %q is outside the registry", s.Folder.Value)
		return nil
	}
	dir := filepath.Join(c.reg.Dir, filepath.FromSlash(folder))
	tree, err := snapshot.Folder(dir)
	if err != nil {
		if old && errors.Is(err, os.ErrNotExist) {
			return c.history(ctx, v, m, folder)
		}
		for _, p := range problems(err) {
			c.diags.Add(m.File, s.Folder.Pos, schema.RuleSnapshot, p.Hint, "%q in the folder %q %s", p.Path, s.Folder.Value, p.Message)
		}
		if errors.Is(err, os.ErrNotExist) {
			c.diags.Add(m.File, s.Folder.Pos, schema.RuleSnapshot, "", "the folder %q does not exist", s.Folder.Value)
		} else if len(problems(err)) == 0 {
			c.diags.Add(m.File, s.Folder.Pos, schema.RuleSnapshot, "", "the folder %q cannot be read: %v", s.Folder.Value, err)
		}
		return nil
	}
	if !old {
		if err := c.ignores(ctx, m, folder, tree); err != nil {
			return err
		}
	}
	digest, err := tree.Digest(ctx)
	if err != nil {
		return fmt.Errorf("cannot hash %s: %w", dir, err)
	}
	if s.Digest != "" && digest != s.Digest {
		if old {
			return c.history(ctx, v, m, folder)
		}
		c.diags.Add(m.File, s.Pos, schema.RuleDigest, "modyard check --fix computes it", "the digest of %q is %s, not %s", s.Folder.Value, digest.Short(), s.Digest.Short())
	}
	return c.contents(ctx, m, tree)
}

// maxIgnored bounds how many files of a source are named that git ignores.
const maxIgnored = 10

// ignores looks for the files of a source that git ignores, and does not have all
// the same.
func (c *moduleCheck) ignores(ctx context.Context, m *schema.ModuleVersion, folder string, tree *snapshot.Tree) error {
	if c.base.repo == nil {
		return nil
	}
	at := path.Join(c.base.prefix, folder)
	list, err := c.base.repo.Ignored(ctx, at)
	if err != nil || len(list) == 0 {
		return err
	}
	ignored := map[string]bool{}
	for _, p := range list {
		ignored[p] = true
	}
	named := 0
	for _, name := range tree.Files() {
		p := path.Join(at, name)
		switch {
		case !ignored[p]:
		case c.opt.Ignored:
			c.ignored = append(c.ignored, p)
		case named < maxIgnored:
			named++
			c.diags.Add(m.File, m.Snapshot.Folder.Pos, schema.RuleSnapshot, "git add --force "+p+", or keep it out of the folder", "%q in the folder %q is ignored by git: it would be missing where the version is checked and run", name, m.Snapshot.Folder.Value)
		}
	}
	return nil
}

// elsewhere fetches the files of an origin outside the registry's folders.
func (c *moduleCheck) elsewhere(ctx context.Context, v *Version, m *schema.ModuleVersion) error {
	if c.opt.Fetcher == nil {
		return nil
	}
	s := m.Snapshot
	tree, err := v.Source(ctx, c.opt.Fetcher)
	var digest schema.Digest
	if err == nil {
		digest, err = tree.Digest(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case len(problems(err)) > 0:
		for _, p := range problems(err) {
			c.diags.Add(m.File, s.Pos, schema.RuleSnapshot, p.Hint, "%q in the %s %s", p.Path, snapshot.Describe(s), p.Message)
		}
		return nil
	case err != nil:
		c.diags.Add(m.File, s.Pos, schema.RuleSnapshot, "", "its files cannot be had: %v", err)
		return nil
	case s.Digest != "" && digest != s.Digest:
		c.diags.Add(m.File, s.Pos, schema.RuleDigest, "modyard check --fix computes it", "the digest of the %s is %s, not %s", snapshot.Describe(s), digest.Short(), s.Digest.Short())
	}
	return c.contents(ctx, m, tree)
}

// pending reports whether the folder as it is now must be the version's. Where
// no commit tells what is published, only the newest version's is known to be.
func (c *checker) pending(v *Version) bool {
	if c.base.commit == "" {
		return v == v.module.Versions[len(v.module.Versions)-1]
	}
	return !c.base.has(v.path) || c.base.changed(v.path)
}

// history rehashes the source of a published version where git has it.
func (c *moduleCheck) history(ctx context.Context, v *Version, m *schema.ModuleVersion, folder string) error {
	digest, err := c.base.historic(ctx, v.path, folder)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		c.diags.Add(m.File, m.Snapshot.Pos, schema.RuleDigest, "its source is lost: disable the version", "the source of version %s is neither in the folder nor in git: %v", v, err)
	case digest != m.Snapshot.Digest:
		c.diags.Add(m.File, m.Snapshot.Pos, schema.RuleDigest, "its source is lost: disable the version", "the digest of the commit that added version %s is %s, not %s", v, digest.Short(), m.Snapshot.Digest.Short())
	}
	return nil
}

func problems(err error) []*snapshot.ProblemError {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []*snapshot.ProblemError
		for _, e := range joined.Unwrap() {
			out = append(out, problems(e)...)
		}
		return out
	}
	if p, ok := errors.AsType[*snapshot.ProblemError](err); ok {
		return []*snapshot.ProblemError{p}
	}
	return nil
}
