package registry

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// fix fills in what can be computed of versions that are not published:
// snapshot digests, created, the pins of nested steps; and CODEOWNERS. It
// returns the files that it wrote.
func fix(ctx context.Context, dir string, opt CheckOptions) ([]string, error) {
	c, err := newChecker(ctx, dir, opt)
	if err != nil {
		return nil, err
	}
	var fixed []string
	// A pin holds the digest of another version's file, which may itself be
	// about to change: the order is that of dependence.
	f := &fixer{checker: c, done: map[string]bool{}}
	for _, n := range c.reg.Names() {
		if opt.Base != "" && !c.base.touched(n) {
			continue
		}
		m, _, err := c.reg.Module(n)
		if err != nil {
			return nil, err
		}
		for _, v := range m.Versions {
			if err := f.version(ctx, v); err != nil {
				return nil, err
			}
		}
	}
	fixed = f.fixed
	name, err := c.fixOwners()
	if err != nil {
		return nil, err
	}
	if name != "" {
		fixed = append(fixed, name)
	}
	slices.Sort(fixed)
	return fixed, nil
}

type fixer struct {
	*checker
	done  map[string]bool // by path; also stops a circle
	fixed []string
}

func (f *fixer) version(ctx context.Context, v *Version) error {
	if f.done[v.path] || (f.base.has(v.path) && (f.opt.Base != "" || !f.base.changed(v.path))) {
		return nil
	}
	f.done[v.path] = true
	file := filepath.Join(f.reg.Dir, filepath.FromSlash(v.path))
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	m, _ := schema.ParseModuleVersion(v.File(), data)
	if m == nil || m.Module.Value == "" {
		return nil // no manifest that could be mended; the check says so
	}
	e := schema.NewEdit(data)
	if err := f.digest(ctx, e, v, m); err != nil {
		return err
	}
	if err := f.created(e, v, m); err != nil {
		return err
	}
	if err := f.pins(ctx, e, m); err != nil {
		return err
	}
	if bytes.Equal(e.Bytes(), data) {
		return nil
	}
	if err := os.WriteFile(file, e.Bytes(), 0o644); err != nil {
		return fmt.Errorf("cannot fix %s: %w", v.File(), err)
	}
	f.fixed = append(f.fixed, v.File())
	return nil
}

func (f *fixer) digest(ctx context.Context, e *schema.Edit, v *Version, m *schema.ModuleVersion) error {
	s := m.Snapshot
	if s == nil || s.IsEnvironment() || s.Digest != "" && !f.pending(v) {
		return nil
	}
	var t *snapshot.Tree
	var err error
	switch folder, inside := v.folder(m); {
	case s.Origin != "folder" && f.opt.Fetcher == nil || s.Origin == "folder" && !inside:
		return nil
	case s.Origin == "folder":
		t, err = snapshot.Folder(filepath.Join(f.reg.Dir, filepath.FromSlash(folder)))
	default:
		t, err = v.Source(ctx, f.opt.Fetcher)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return nil //nolint:nilerr // the check that follows says so, with a place
	}
	d, err := t.Digest(ctx)
	if err != nil {
		return err
	}
	if d == s.Digest {
		return nil
	}
	return e.Set(string(d), "snapshot", "digest")
}

func (f *fixer) created(e *schema.Edit, v *Version, m *schema.ModuleVersion) error {
	t, err := time.Parse(time.RFC3339, m.Created.Value)
	late := time.Time{}
	for _, o := range v.module.Versions {
		if o != v && f.base.has(o.path) && o.Created().After(late) {
			late = o.Created()
		}
	}
	if err == nil && t.After(late) && !t.After(f.opt.Now.Add(time.Minute)) {
		return nil
	}
	now := f.opt.Now.UTC().Truncate(time.Second)
	if !now.After(late) {
		now = late.Add(time.Second)
	}
	return e.Set(now.Format(time.RFC3339), "created")
}

// pins gives every step of a module that is a pipeline its exact version and
// version digest.
func (f *fixer) pins(ctx context.Context, e *schema.Edit, m *schema.ModuleVersion) error {
	for _, s := range m.Steps {
		ref, err := schema.ParseModuleRef(s.Value.Module.Value)
		if err != nil || ref.Registry != "" {
			continue
		}
		p, err := f.reg.Pick(ref.Name, ref.Selector, PickOptions{})
		if err != nil || p.Work {
			continue // the check says so
		}
		if err := f.version(ctx, p.Version); err != nil {
			return err
		}
		data, err := os.ReadFile(filepath.Join(f.reg.Dir, filepath.FromSlash(p.path)))
		if err != nil {
			return err
		}
		ref.Selector = p.String()
		digest := schema.VersionDigest(data)
		if ref.String() != s.Value.Module.Value {
			if err := e.Set(ref.String(), "steps", s.Name, "module"); err != nil {
				return err
			}
		}
		if string(digest) != s.Value.Digest.Value {
			if err := e.Set(string(digest), "steps", s.Name, "digest"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) fixOwners() (string, error) {
	want, err := c.ownersBlock()
	if err != nil {
		return "", err
	}
	file := c.ownersFile()
	have, err := readOwners(file)
	if err != nil {
		return "", err
	}
	before, got, after := splitOwners(have)
	if string(got) == want {
		return "", nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	if len(before) > 0 && !bytes.HasSuffix(before, []byte("\n")) {
		want = "\n" + want
	}
	text := string(before) + want + string(after)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("cannot fix CODEOWNERS: %w", err)
	}
	return c.ownersName(), nil
}
