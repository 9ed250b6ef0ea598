package registry

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// CheckOptions say how much is checked. The zero value checks a whole
// registry, without rehashing the sources of versions that git already has.
type CheckOptions struct {
	// Base is a git revision: what it has is published. Only what changed
	// since is read in depth. Default "": everything is read, and what the
	// last commit has counts as published.
	Base string
	// Deep rehashes the source of every version.
	Deep bool
	// Fix fills in what can be computed.
	Fix bool
	// Ignored says that what git ignores will be committed all the same, and has it
	// listed. Default: it will be missing, which is a problem for a source that has it.
	Ignored bool
	// Now is the time that nothing may have been created after. Default: the clock.
	Now time.Time
	// Display begins the names of files in diagnostics. Default: the folder.
	Display string
	// Fetcher brings the files of versions that are not in the registry's
	// folders. Default: nil, they are not looked at.
	Fetcher *snapshot.Fetcher
	// Wire plans a module that is a pipeline, as a run would: what is wrong
	// with it, and what its steps need, whatever registry their modules are of.
	// Default: nil, they are not looked into.
	Wire func(ctx context.Context, r *Registry, m *schema.ModuleVersion) (schema.Diagnostics, []Needs, error)
}

// Checked is what a check found.
type Checked struct {
	Registry    *Registry
	Diagnostics schema.Diagnostics
	Modules     int        // modules read
	Versions    int        // versions read
	Added       []Addition // with a base: the versions that are new
	Restated    []Restated // with a base: the modules whose default or states differ
	Ignored     []string   // files of new sources that git ignores, from the repository's root, if the options say so
	Fixed       []string   // files written by Fix
	Tested      []string   // with a base: the modules whose tests differ from it
	Look        []Reason   // with a base: why a maintainer must look first
	Base        string     // the commit that was compared with, or ""
}

// Addition is a version that the base does not have.
type Addition struct {
	Module, Version string
	From            string // the nearest lower version, or ""
	Difference      Difference
	Least, Chosen   Bump
	Manifest        *schema.ModuleVersion
	Before          *schema.ModuleVersion // of From, or nil
}

// Check applies the rules to the registry in dir. The error tells of a failure
// to check; problems in the registry are diagnostics.
func Check(ctx context.Context, dir string, opt CheckOptions) (*Checked, error) {
	if opt.Now.IsZero() {
		opt.Now = time.Now()
	}
	if opt.Display == "" {
		opt.Display = filepath.ToSlash(dir)
	}
	if opt.Fix {
		fixed, err := fix(ctx, dir, opt)
		if err != nil {
			return nil, err
		}
		opt.Fix = false
		res, err := Check(ctx, dir, opt)
		if res != nil {
			res.Fixed = fixed
		}
		return res, err
	}
	c, err := newChecker(ctx, dir, opt)
	if err != nil {
		return nil, err
	}
	return c.run(ctx)
}

type checker struct {
	opt  CheckOptions
	reg  *Registry
	base *base // what is published
	res  *Checked

	mu     sync.Mutex
	owners map[string][]string // of the modules that were read
	nested []*schema.ModuleVersion
	wired  map[string][]Needs // of the steps of pipelines, by file
	hosts  map[string]bool    // of images: whether what is published has one from there
}

func newChecker(ctx context.Context, dir string, opt CheckOptions) (*checker, error) {
	r, diags, err := OpenFolder(dir, opt.Display)
	if err != nil {
		return nil, err
	}
	b, err := readBase(ctx, dir, opt.Base)
	if err != nil {
		return nil, err
	}
	return &checker{opt: opt, reg: r, base: b, owners: map[string][]string{}, hosts: map[string]bool{}, wired: map[string][]Needs{}, res: &Checked{Registry: r, Diagnostics: diags}}, nil
}

// run checks the modules, several at a time.
func (c *checker) run(ctx context.Context) (*Checked, error) {
	names := c.reg.Names()
	if c.opt.Base != "" {
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !c.base.touched(n) })
	}
	g, checking := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, n := range names {
		g.Go(func() error {
			if checking.Err() != nil {
				return context.Cause(checking)
			}
			return c.module(checking, n)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	c.gone()
	c.policy()
	c.links(ctx)
	if err := c.codeowners(); err != nil {
		return nil, err
	}
	res := c.res
	// The versions of one module were added in order.
	slices.SortStableFunc(res.Added, func(a, b Addition) int { return cmp.Compare(a.Module, b.Module) })
	if err := c.wire(ctx); err != nil {
		return nil, err
	}
	if err := c.review(ctx); err != nil {
		return nil, err
	}
	if c.opt.Base != "" {
		res.Base = c.base.commit
	}
	slices.Sort(res.Ignored)
	res.Ignored = slices.Compact(res.Ignored) // versions may share a folder
	res.Diagnostics.Sort()
	return res, nil
}

// wire plans the modules that are pipelines. On top of other problems it would
// say little.
func (c *checker) wire(ctx context.Context) error {
	if c.opt.Wire == nil || c.res.Diagnostics.Errors() > 0 {
		return nil
	}
	slices.SortFunc(c.nested, func(a, b *schema.ModuleVersion) int { return cmp.Compare(a.File, b.File) })
	for _, m := range c.nested {
		diags, needs, err := c.opt.Wire(ctx, c.reg, m)
		if err != nil {
			return err
		}
		c.res.Diagnostics = append(c.res.Diagnostics, diags...)
		c.wired[m.File] = needs
	}
	return nil
}

// policy checks that the keys of those who may sign are there.
func (c *checker) policy() {
	for _, k := range c.reg.Policy.Keys {
		file := c.reg.file(ManifestFile)
		data, err := c.reg.ReadFile(k.Value)
		switch {
		case errors.Is(err, os.ErrNotExist):
			c.res.Diagnostics.Add(file, k.Pos, schema.RulePolicy, "", "the key %q is not there", k.Value)
		case err != nil:
			c.res.Diagnostics.Add(file, k.Pos, schema.RulePolicy, "", "the key %q cannot be read: %v", k.Value, err)
		case !isPublicKey(data):
			c.res.Diagnostics.Add(file, k.Pos, schema.RulePolicy, "openssl pkey -in KEY.pem -pubout writes it", "%q is no public key in PEM", k.Value)
		}
	}
}

func isPublicKey(data []byte) bool {
	block, _ := pem.Decode(data)
	if block == nil {
		return false
	}
	_, err := x509.ParsePKIXPublicKey(block.Bytes)
	return err == nil
}

// gone reports published files that are no longer there.
func (c *checker) gone() {
	if c.opt.Base == "" {
		return
	}
	for _, p := range c.base.deleted {
		if isVersionFile(p) {
			c.res.Diagnostics.Add(c.reg.file(p), schema.Pos{}, schema.RuleImmutable,
				"git checkout "+c.opt.Base+" -- "+path.Join(c.base.prefix, p)+", and disable it: modyard disable MODULE@VERSION --reason …",
				"the published version was deleted")
		}
	}
}

func isVersionFile(p string) bool {
	ok, _ := path.Match(modulesDir+"/*/"+versionsDir+"/*.yaml", p)
	return ok
}

// unreadable reports a file that is there and cannot be read; the rest is
// checked all the same.
func (c *checker) unreadable(file string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.res.Diagnostics.Add(file, schema.Pos{}, schema.RuleLayout, "a registry holds plain files that everybody may read", "%v", err)
}

// moduleCheck is the check of one module.
type moduleCheck struct {
	*checker
	m       *Module
	diags   schema.Diagnostics
	ignored []string // of sources, from the repository's root
}

func (c *checker) module(ctx context.Context, name string) error {
	m, diags, err := c.reg.Module(name)
	if err != nil {
		c.unreadable(c.reg.file(modulesDir, name), err)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.owners[name] = nil // not read again
		return nil
	}
	mc := &moduleCheck{checker: c, m: m, diags: slices.Clone(diags)}
	mc.lifecycle()
	var read int
	var added []Addition
	var nested []*schema.ModuleVersion
	for _, v := range m.Versions {
		published := c.base.has(v.path)
		if c.opt.Base != "" && published && !c.base.changed(v.path) && !c.opt.Deep {
			continue
		}
		read++
		mc.immutable(v)
		manifest, vdiags, err := v.Manifest()
		if err != nil {
			c.unreadable(v.File(), err)
			continue
		}
		mc.diags = append(mc.diags, vdiags...)
		if manifest == nil || vdiags.Err() != nil {
			continue
		}
		mc.created(v, manifest)
		if err := mc.nested(manifest); err != nil {
			return err
		}
		if len(manifest.Steps) > 0 {
			nested = append(nested, manifest)
		}
		a := mc.bump(v, manifest)
		if c.opt.Base != "" && !published {
			added = append(added, a)
		}
		if err := mc.source(ctx, v, manifest); err != nil {
			return err
		}
	}
	_, tdiags, err := m.Tests()
	if err != nil {
		c.unreadable(c.reg.file(modulesDir, name, testsDir), err)
	}
	mc.diags = append(mc.diags, tdiags...)
	// What was read may be let go: a registry can be larger than what a check
	// should hold. A module that another one nests is read again.
	c.reg.forget(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owners[name] = m.Owners
	c.res.Diagnostics = append(c.res.Diagnostics, mc.diags...)
	c.res.Modules++
	c.res.Versions += read
	c.res.Added = append(c.res.Added, added...)
	c.res.Ignored = append(c.res.Ignored, mc.ignored...)
	c.nested = append(c.nested, nested...)
	return nil
}

// lifecycle checks what module.yaml says of versions.
func (c *moduleCheck) lifecycle() {
	m := c.m
	usable := func(pos schema.Pos, number, what string) {
		v, ok := m.Version(number)
		switch {
		case !ok:
			c.diags.Add(m.File, pos, schema.RuleState, schema.DidYouMean(number, m.numbers()), "%s names version %s, which does not exist", what, number)
		case v.State == schema.Disabled:
			c.diags.Add(m.File, pos, schema.RuleState, "", "%s names version %s, which is disabled", what, number)
		}
	}
	if d := m.Default; d.Value != "" {
		v, ok := m.Version(d.Value)
		switch {
		case !ok:
			c.diags.Add(m.File, d.Pos, schema.RuleDefault, schema.DidYouMean(d.Value, m.numbers()), "the default of %q, version %s, does not exist", m.Name, d.Value)
		case v.State == schema.Disabled:
			c.diags.Add(m.File, d.Pos, schema.RuleDefault, "set another one: modyard default "+m.Name+"@VERSION", "the default of %q, version %s, is disabled", m.Name, d.Value)
		}
	}
	for _, e := range m.Module.Versions {
		if _, ok := m.Version(e.Name); !ok {
			c.diags.Add(m.File, e.Pos, schema.RuleState, schema.DidYouMean(e.Name, m.numbers()), "version %s does not exist", e.Name)
		}
		if e.Value.Use != "" && e.Value.Use != e.Name {
			usable(e.Value.UsePos, e.Value.Use, "the replacement of "+e.Name)
		}
	}
}

// immutable holds a published version's file against the base.
func (c *moduleCheck) immutable(v *Version) {
	if c.opt.Base == "" || !c.base.has(v.path) || !c.base.changed(v.path) {
		return
	}
	c.diags.Add(v.File(), schema.Pos{Line: 1, Col: 1}, schema.RuleImmutable,
		"undo it: git checkout "+c.opt.Base+" -- "+path.Join(c.base.prefix, v.path)+"; then modyard new version "+c.m.Name,
		"version %s of %q is published and was changed", v, c.m.Name)
}

func (c *moduleCheck) created(v *Version, m *schema.ModuleVersion) {
	const hint = "modyard check --fix sets it"
	pos := m.Created.Pos
	if m.Created.Value == "" {
		c.diags.Add(m.File, m.Version.Pos, schema.RuleCreated, hint, "version %s does not say when it was created", v)
		return
	}
	t := v.Created()
	switch {
	case t.IsZero():
		c.diags.Add(m.File, pos, schema.RuleCreated, hint, "created is no date: %q", m.Created.Value)
	case t.After(c.opt.Now.Add(time.Minute)):
		c.diags.Add(m.File, pos, schema.RuleCreated, hint, "created lies in the future")
	case c.opt.Base != "" && !c.base.has(v.path):
		for _, o := range c.m.Versions {
			if c.base.has(o.path) && !t.After(o.Created()) {
				c.diags.Add(m.File, pos, schema.RuleCreated, hint, "created is not later than that of version %s, which is published", o)
				return
			}
		}
	}
}

// bump compares a version with the nearest lower one and, within its major,
// the nearest higher.
func (c *moduleCheck) bump(v *Version, m *schema.ModuleVersion) Addition {
	a := Addition{Module: c.m.Name, Version: v.String(), Manifest: m}
	lower, higher := neighbours(c.m.Versions, v)
	if lower != nil {
		a.From = lower.String()
		// One that cannot be read is reported by itself.
		if lm, _, _ := lower.Manifest(); lm != nil {
			a.Before = lm
			a.Difference = Compare(lm, m)
			a.Least, a.Chosen = Least(lower.Number, a.Difference), Raised(lower.Number, v.Number)
			c.tooSmall(m, lower, v, a.Difference, "raise it: "+Next(lower.Number, a.Least).String()+" is the least")
		}
	}
	if higher != nil && c.opt.Base != "" && !c.base.has(v.path) {
		if hm, _, _ := higher.Manifest(); hm != nil {
			c.tooSmall(m, v, higher, Compare(m, hm), "choose a number from which the step to "+higher.String()+" is large enough")
		}
	}
	return a
}

// tooSmall reports when the step between two versions is less than their
// difference needs.
func (c *moduleCheck) tooSmall(m *schema.ModuleVersion, older, newer *Version, d Difference, hint string) {
	least, chosen := Least(older.Number, d), Raised(older.Number, newer.Number)
	if chosen >= least {
		return
	}
	worst := d.Of(d.Bump())
	more := ""
	if len(worst) > 1 {
		more = fmt.Sprintf(" and %d more", len(worst)-1)
	}
	c.diags.Add(m.File, m.Version.Pos, schema.RuleBump, hint,
		"from %s to %s the %s version must rise, since %s%s", older, newer, least, worst[0], more)
}

// Below is the highest stable version that is lower, or nil.
func (m *Module) Below(v *Version) *Version {
	lower, _ := neighbours(m.Versions, v)
	return lower
}

// neighbours finds the nearest lower version and, within the major, the
// nearest higher. Pre-releases promise nothing and are passed over.
func neighbours(versions []*Version, v *Version) (lower, higher *Version) {
	for _, o := range versions {
		switch {
		case !o.Stable():
		case o.Number.LessThan(v.Number):
			lower = o
		case o.Number.GreaterThan(v.Number) && higher == nil && o.Number.Major() == v.Number.Major() && v.Stable():
			higher = o
		}
	}
	return lower, higher
}

// nested checks that the steps of a module that is a pipeline are pinned.
func (c *moduleCheck) nested(m *schema.ModuleVersion) error {
	for _, s := range m.Steps {
		st := s.Value
		ref, err := schema.ParseModuleRef(st.Module.Value)
		if err != nil || st.Transfer {
			continue
		}
		const hint = "modyard check --fix pins it"
		if !isNumber(ref.Selector) {
			c.diags.Add(m.File, st.Module.Pos, schema.RuleNested, hint, "step %q does not name an exact version: %q", s.Name, ref)
			continue
		}
		if st.Digest.Value == "" {
			c.diags.Add(m.File, st.Module.Pos, schema.RuleNested, hint, "step %q has no version digest", s.Name)
		}
		if ref.Registry != "" {
			if _, ok := m.Registries.Get(ref.Registry); !ok {
				c.diags.Add(m.File, st.Module.Pos, schema.RuleResolve, schema.DidYouMean(ref.Registry, m.Registries.Names()), "step %q names the registry %q, which is not under registries", s.Name, ref.Registry)
			}
			continue
		}
		p, err := c.reg.Pick(ref.Name, ref.Selector, PickOptions{AllowDisabled: true})
		if nf, ok := AsNotFound(err); ok {
			c.diags.Add(m.File, st.Module.Pos, schema.RuleResolve, nf.Hint, "step %q: %s", s.Name, nf.Message)
			continue
		}
		if _, ok := errors.AsType[*schema.ProblemsError](err); ok {
			continue // reported with the module itself
		}
		if err != nil {
			return err
		}
		pm, _, err := p.Manifest()
		if err != nil {
			return err
		}
		if pm != nil && st.Digest.Value != "" && string(pm.Digest) != st.Digest.Value {
			c.diags.Add(m.File, st.Digest.Pos, schema.RuleNested, hint, "the version digest of %s is %s, not %s", ref, pm.Digest.Short(), schema.Digest(st.Digest.Value).Short())
		}
	}
	return nil
}
