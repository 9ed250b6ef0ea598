package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/modyard/modyard/schema"
)

// Test is a test of a module.
type Test struct {
	*schema.ModuleTest
	Name string // of its file, without .yaml
	Path string // of its file in the registry, with /
}

// For reports whether the test is for a version. A pre-release is tested as the
// version that it comes before, though no range picks it.
func (t *Test) For(v *Version) bool {
	if t.Versions.Value == "" || t.Versions.Value == v.String() {
		return true
	}
	c, err := Range(t.Versions.Value)
	stable, perr := v.Number.SetPrerelease("")
	return err == nil && perr == nil && c.Check(&stable)
}

// Tests reads the tests of a module; the diagnostics are those of their files.
func (m *Module) Tests() ([]*Test, schema.Diagnostics, error) {
	dir := path.Join(modulesDir, m.Name, testsDir)
	entries, err := fs.ReadDir(m.reg.fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot list the tests of %q: %w", m.Name, err)
	}
	var out []*Test
	var diags schema.Diagnostics
	for _, e := range entries {
		ext := path.Ext(e.Name())
		name := strings.TrimSuffix(e.Name(), ext)
		if ext != ".yaml" && ext != ".yml" || e.IsDir() || strings.HasPrefix(name, ".") {
			continue // data of the tests
		}
		p := path.Join(dir, e.Name())
		data, err := m.reg.read(p, schema.KindModuleTest)
		if err != nil {
			return nil, nil, err
		}
		if ext == ".yml" {
			if bytes.Contains(data, []byte(schema.KindModuleTest)) {
				diags.Add(m.reg.file(p), schema.Pos{}, schema.RuleLayout, "rename it to "+name+".yaml", "the test %q would not run: its file is not named .yaml", e.Name())
			}
			continue
		}
		t, ds := schema.ParseModuleTest(m.reg.file(p), data)
		diags = append(diags, ds...)
		if t == nil || ds.Err() != nil {
			continue
		}
		test := &Test{t, name, p}
		out = append(out, test)
		diags = append(diags, m.fitting(test)...)
	}
	return out, diags, nil
}

// fitting holds a test against the newest version that it is for.
func (m *Module) fitting(t *Test) schema.Diagnostics {
	var diags schema.Diagnostics
	var v *Version
	for _, one := range m.Versions {
		if t.For(one) {
			v = one
		}
	}
	if v == nil {
		diags.Warn(t.File, t.Versions.Pos, schema.RuleTest, "", "no version of %q fits %q", m.Name, t.Versions.Value)
		return diags
	}
	manifest, vd, err := v.Manifest()
	if err != nil || manifest == nil || vd.Err() != nil {
		return nil // reported with the version
	}
	i := manifest.Interface
	for _, in := range t.Inputs {
		if _, ok := i.Inputs.Get(in.Name); !ok {
			diags.Add(t.File, in.Pos, schema.RuleTest, schema.DidYouMean(in.Name, i.Inputs.Names()), "version %s has no input %q", v, in.Name)
			continue
		}
		if file := path.Join(path.Dir(t.Path), in.Value.Value); !m.there(file) {
			diags.Add(t.File, in.Value.Pos, schema.RuleTest, "the path is relative to the test's file", "there is no %q", in.Value.Value)
		}
	}
	for _, e := range i.Inputs {
		if _, ok := t.Inputs.Get(e.Name); !ok && !e.Value.Optional {
			diags.Add(t.File, schema.Pos{Line: 1, Col: 1}, schema.RuleTest, "give it under inputs", "the input %q of version %s is not given", e.Name, v)
		}
	}
	for _, p := range t.Params {
		if _, ok := i.Params.Get(p.Name); !ok {
			diags.Add(t.File, p.Pos, schema.RuleTest, schema.DidYouMean(p.Name, i.Params.Names()), "version %s has no param %q", v, p.Name)
		}
	}
	for _, e := range i.Params {
		if _, ok := t.Params.Get(e.Name); !ok && e.Value.Required() {
			diags.Add(t.File, schema.Pos{Line: 1, Col: 1}, schema.RuleTest, "give it under params", "the param %q of version %s is not given", e.Name, v)
		}
	}
	for _, o := range t.Outputs {
		if _, ok := i.Outputs.Get(o.Name); !ok {
			diags.Add(t.File, o.Pos, schema.RuleTest, schema.DidYouMean(o.Name, i.Outputs.Names()), "version %s has no output %q", v, o.Name)
			continue
		}
		for _, f := range []schema.Text{o.Value.File, o.Value.JSON} {
			if f.Value != "" && !m.there(path.Join(path.Dir(t.Path), f.Value)) {
				diags.Add(t.File, f.Pos, schema.RuleTest, "the path is relative to the test's file", "there is no %q", f.Value)
			}
		}
	}
	return diags
}

func (m *Module) there(file string) bool {
	_, err := fs.Stat(m.reg.fsys, file)
	return err == nil
}
