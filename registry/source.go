package registry

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"

	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// folder is the path in the registry of the version's folder.
func (v *Version) folder(m *schema.ModuleVersion) (string, bool) {
	p := path.Join(path.Dir(v.path), m.Snapshot.Folder.Value)
	return p, p != ".." && !path.IsAbs(p) && (len(p) < 3 || p[:3] != "../")
}

// Folder is the folder of the version's snapshot on this disk, or "" when it
// has none.
func (v *Version) Folder() string {
	m, _, _ := v.Manifest()
	if m == nil || m.Snapshot == nil || m.Snapshot.Origin != "folder" || v.module.reg.Dir == "" {
		return ""
	}
	p, ok := v.folder(m)
	if !ok {
		return ""
	}
	return filepath.Join(v.module.reg.Dir, filepath.FromSlash(p))
}

// LostError says that a version's files are nowhere where they were looked for.
type LostError struct {
	Message, Hint string
	Err           error
}

func (e *LostError) Error() string { return e.Message + ": " + e.Err.Error() }
func (e *LostError) Unwrap() error { return e.Err }

// Elsewhere is the repository of a registry that is not on this disk. Paths are
// the registry's, with /.
type Elsewhere interface {
	// Folder is a folder as a commit has it; "" is the commit that the
	// registry is read at.
	Folder(ctx context.Context, folder, commit string) (*snapshot.Tree, error)
	// Added is the commit that brought a file to what it is.
	Added(ctx context.Context, file string) (string, error)
}

// maxBorrowed bounds how many versions stand between one and the files that it
// takes from another.
const maxBorrowed = 16

// Source gives the files of the version's snapshot: of a folder, as it is when
// its digest fits, else as the commit that added the version has it; else from
// where its origin says, by f. They are to be checked against the digest when
// they are used. The error, a [LostError], says where they were looked for.
func (v *Version) Source(ctx context.Context, f *snapshot.Fetcher) (*snapshot.Tree, error) {
	m, _, err := v.Manifest()
	if err != nil {
		return nil, err
	}
	if m == nil || m.Snapshot == nil || m.Snapshot.IsEnvironment() {
		return nil, fmt.Errorf("%s@%s has no files", v.Module(), v)
	}
	s := m.Snapshot
	var t *snapshot.Tree
	looked := snapshot.Describe(s)
	switch {
	case s.Origin == "folder":
		return v.fromFolder(ctx, m)
	case s.Version.Value != "":
		t, err = v.borrowed(ctx, f, m)
	default:
		t, err = f.Origin(ctx, s)
		looked = "its origin"
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, v.lost(m, looked, "", err)
	}
	return t, nil
}

// hops counts, in a context, the versions that borrow one from another.
type hops struct{}

// borrowed gives the files of another version, of this registry or of another
// one that the version's registries name.
func (v *Version) borrowed(ctx context.Context, f *snapshot.Fetcher, m *schema.ModuleVersion) (*snapshot.Tree, error) {
	n, _ := ctx.Value(hops{}).(int)
	if n == maxBorrowed {
		return nil, errors.New("the versions that it takes its files from lead in a circle")
	}
	ctx = context.WithValue(ctx, hops{}, n+1)
	ref, err := schema.ParseModuleRef(m.Snapshot.Version.Value)
	if err != nil {
		return nil, err
	}
	if location, ok := m.Registries.Get(ref.Registry); ok && ref.Registry != "" {
		if f.Version == nil {
			return nil, fmt.Errorf("%q is of another registry, which cannot be read here", ref)
		}
		dir := ""
		if d := v.module.reg.Dir; d != "" {
			dir = filepath.Join(d, filepath.FromSlash(path.Dir(v.path)))
		}
		return f.Version(ctx, location.Value, dir, ref.Name, ref.Selector)
	}
	if ref.Registry != "" && ref.Registry != v.module.reg.Name {
		return nil, fmt.Errorf("%q names the registry %q, which is not under registries", ref, ref.Registry)
	}
	p, err := v.module.reg.Pick(ref.Name, ref.Selector, PickOptions{AllowDisabled: true})
	if err != nil {
		return nil, err
	}
	return p.Source(ctx, f)
}

func (v *Version) fromFolder(ctx context.Context, m *schema.ModuleVersion) (*snapshot.Tree, error) {
	if v.module.reg.Elsewhere != nil {
		return v.fromElsewhere(ctx, m)
	}
	dir := v.Folder()
	if dir == "" {
		return nil, v.lost(m, "no folder", "", errors.New("the registry is not on this disk"))
	}
	looked := "the folder " + dir
	if t, err := snapshot.Folder(dir); err == nil {
		d, err := t.Digest(ctx)
		if err != nil {
			return nil, err
		}
		if d == m.Snapshot.Digest {
			return t, nil
		}
		looked += " (which has " + d.Short() + ")"
	}
	repo, err := git.Open(ctx, v.module.reg.Dir)
	if err != nil {
		return nil, v.lost(m, looked, "", err)
	}
	b := &base{repo: repo}
	if b.prefix, err = repo.Rel(v.module.reg.Dir); err != nil {
		return nil, err
	}
	hint := ""
	if repo.Shallow(ctx) {
		hint = "the clone has no history: git fetch --unshallow, or clone with --filter=blob:none instead of --depth"
	}
	folder, _ := v.folder(m)
	t, commit, err := b.tree(ctx, v.path, folder)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, v.lost(m, looked+" and in git's history", hint, err)
	}
	if d, err := t.Digest(ctx); err != nil || d != m.Snapshot.Digest {
		if err == nil {
			err = fmt.Errorf("it has %s there", d.Short())
		}
		return nil, v.lost(m, looked+fmt.Sprintf(" and in commit %.12s, which added the version", commit), hint, err)
	}
	return t, nil
}

// fromElsewhere looks in the commit that the registry is read at, which has the
// files of the newest versions, and then in the one that added the version.
func (v *Version) fromElsewhere(ctx context.Context, m *schema.ModuleVersion) (*snapshot.Tree, error) {
	folder, ok := v.folder(m)
	if !ok {
		return nil, v.lost(m, "no folder", "", fmt.Errorf("%q is outside the registry", m.Snapshot.Folder.Value))
	}
	commit := ""
	looked := "the folder " + folder
	for {
		t, err := v.module.reg.Elsewhere.Folder(ctx, folder, commit)
		if err == nil {
			var d schema.Digest
			if d, err = t.Digest(ctx); err == nil {
				if d == m.Snapshot.Digest {
					return t, nil
				}
				err = fmt.Errorf("it has %s there", d.Short())
			}
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if commit != "" {
			return nil, v.lost(m, looked+fmt.Sprintf(" and in commit %.12s, which added the version", commit), "", err)
		}
		if commit, err = v.module.reg.Elsewhere.Added(ctx, v.path); err != nil {
			return nil, v.lost(m, looked, "", err)
		}
	}
}

func (v *Version) lost(m *schema.ModuleVersion, looked, hint string, err error) error {
	what := fmt.Sprintf("the snapshot %s of %s@%s is not to be found", m.Snapshot.Digest.Short(), v.Module(), v)
	if m.Snapshot.Digest == "" {
		what = fmt.Sprintf("the files of %s@%s are not to be found", v.Module(), v)
	}
	return &LostError{
		Message: what + "; looked in " + looked,
		Hint:    hint, Err: err,
	}
}
