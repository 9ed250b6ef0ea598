package registry

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// Reason is why a maintainer must look at a change before anything of it runs.
type Reason struct {
	What string `json:"what"` // "new module", "owners", "policy", "workflow", "tests", "image", "network", "secret"
	File string `json:"file"` // for people
	Text string `json:"text"`
}

// workflows are where a repository keeps what GitHub executes.
var workflows = []string{".github/workflows/", ".github/actions/", "action.yml", "action.yaml"}

// testsDir is where a module's tests are.
const testsDir = "tests"

// review collects the reasons: what changed since the base that decides what
// may happen, as opposed to what a version does.
func (c *checker) review(ctx context.Context) error {
	if c.opt.Base == "" {
		return nil
	}
	look := func(what, file, format string, args ...any) {
		c.res.Look = append(c.res.Look, Reason{what, file, fmt.Sprintf(format, args...)})
	}
	for _, p := range sortedKeys(c.base.repoDiff) {
		if slices.ContainsFunc(workflows, func(w string) bool { return strings.HasPrefix(p, w) }) {
			look("workflow", p, "a file that GitHub executes was changed")
		}
	}
	if c.base.owners {
		look("owners", c.ownersName(), "who must review was changed")
	}
	for _, p := range sortedKeys(c.base.diff) {
		elem := strings.Split(p, "/")
		switch {
		case p == ManifestFile && c.base.has(p):
			look("policy", c.reg.file(p), "the registry's own settings were changed")
		case len(elem) == 3 && elem[0] == modulesDir && elem[2] == ModuleFile:
			if err := c.reviewModule(ctx, p, elem[1], look); err != nil {
				return err
			}
		case len(elem) > 3 && elem[0] == modulesDir && elem[2] == testsDir:
			if schema.ValidName(elem[1]) && !slices.Contains(c.res.Tested, elem[1]) && slices.Contains(c.reg.Names(), elem[1]) {
				c.res.Tested = append(c.res.Tested, elem[1])
			}
			if !c.base.has(p) {
				continue
			}
			look("tests", c.reg.file(p), "what a published module is tested for was changed")
		case slices.ContainsFunc(c.reg.Policy.Keys, func(k schema.Text) bool { return path.Clean(k.Value) == p }):
			look("policy", c.reg.file(p), "a key of those who may sign was changed")
		}
	}
	for _, a := range c.res.Added {
		if err := c.reviewVersion(ctx, a, look); err != nil {
			return err
		}
	}
	return nil
}

type lookFunc func(what, file, format string, args ...any)

func (c *checker) reviewModule(ctx context.Context, p, name string, look lookFunc) error {
	if !c.base.has(p) {
		look("new module", c.reg.file(p), "the module %q is new", name)
		return nil
	}
	data, err := c.base.repo.Output(ctx, "show", c.base.commit+":"+path.Join(c.base.prefix, p))
	if err != nil {
		return err
	}
	old, _ := schema.ParseModule(p, data)
	if old == nil {
		return nil
	}
	if !slices.Equal(old.Owners, c.owners[name]) {
		look("owners", c.reg.file(p), "the owners of %q were %s and would be %s", name, orNone(old.Owners), orNone(c.owners[name]))
	}
	m, _, err := c.reg.Module(name)
	if err != nil {
		return nil //nolint:nilerr // reported with the module itself
	}
	if r := c.restated(m, old); len(r.Changes) > 0 {
		c.res.Restated = append(c.res.Restated, r)
	}
	return nil
}

// Restated is a module whose default version, or whose state or that of its
// versions, the base has otherwise.
type Restated struct {
	Module  string
	Changes []Restatement
	Before  *Module // as the base has it
}

// Restatement is one such change.
type Restatement struct {
	What   string `json:"what"` // "default", "module", "version 1.0.0"
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// String is one line.
func (r Restatement) String() string {
	return r.What + ": " + cmp.Or(r.After, "none") + " (was " + cmp.Or(r.Before, "none") + ")"
}

// restated compares a module with what its manifest was, of the base's versions.
func (c *checker) restated(m *Module, old *schema.Module) Restated {
	r := Restated{Module: m.Name, Before: m.as(old)}
	r.Before.Versions = slices.DeleteFunc(r.Before.Versions, func(v *Version) bool { return !c.base.has(v.path) })
	compare := func(what, before, after string) {
		if before != after {
			r.Changes = append(r.Changes, Restatement{what, before, after})
		}
	}
	compare("default", old.Default.Value, m.Default.Value)
	compare("module", stateText(old.Lifecycle), stateText(m.Lifecycle))
	for _, was := range r.Before.Versions {
		if v, ok := m.Version(was.String()); ok {
			compare("version "+v.String(), stateText(was.Lifecycle), stateText(v.Lifecycle))
		}
	}
	return r
}

func stateText(l schema.Lifecycle) string {
	s := string(cmp.Or(l.State, schema.Active))
	if l.Reason != "" {
		s += ": " + l.Reason
	}
	return withUse(s, l.Use)
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// Needs is what a version, or a step of one, needs of where it runs. The
// secrets of a step are among those of the version around it.
type Needs struct {
	Network bool
	Secrets []string
	Images  []string
}

// NeedsOf is what a run with a snapshot needs; either may be nil.
func NeedsOf(run *schema.Run, s *schema.Snapshot) Needs {
	var n Needs
	if run != nil {
		n.Network = run.Network
		n.add(run.Environment.Image.Value)
	}
	if s != nil && s.Image != nil {
		n.add(s.Image.Name.Value)
	}
	return n
}

func (n *Needs) add(image string) {
	if image != "" {
		n.Images = append(n.Images, image)
	}
}

// needs is what a version needs, with the steps of one that is a pipeline.
func (c *checker) needs(ctx context.Context, m *schema.ModuleVersion) (Needs, error) {
	if m == nil {
		return Needs{}, nil
	}
	n := NeedsOf(m.Run, m.Snapshot)
	n.Secrets = m.Secrets.Names()
	if len(m.Steps) == 0 {
		return n, nil
	}
	steps, known := c.wired[m.File]
	if !known && c.opt.Wire != nil && c.res.Diagnostics.Errors() == 0 {
		var err error
		if _, steps, err = c.opt.Wire(ctx, c.reg, m); err != nil {
			return n, err
		}
	}
	for _, s := range steps {
		n.Network = n.Network || s.Network
		n.Images = append(n.Images, s.Images...)
	}
	return n, nil
}

// reviewVersion tells what a new version needs that the one before does not.
func (c *checker) reviewVersion(ctx context.Context, a Addition, look lookFunc) error {
	m := a.Manifest
	if m == nil {
		return nil
	}
	now, err := c.needs(ctx, m)
	if err != nil {
		return err
	}
	before, err := c.needs(ctx, a.Before)
	if err != nil {
		return err
	}
	if now.Network && !before.Network {
		look("network", m.File, "%s@%s needs the network", a.Module, a.Version)
	}
	said := map[string]bool{}
	for _, s := range now.Secrets {
		if !said[s] && !slices.Contains(before.Secrets, s) {
			look("secret", m.File, "%s@%s needs the secret %q", a.Module, a.Version, s)
		}
		said[s] = true
	}
	said = map[string]bool{}
	for _, image := range now.Images {
		host := imageHost(image)
		if said[host] {
			continue
		}
		said[host] = true
		known := slices.ContainsFunc(before.Images, func(i string) bool { return imageHost(i) == host })
		if !known {
			if known, err = c.hostKnown(ctx, host); err != nil {
				return err
			}
		}
		if !known {
			look("image", m.File, "%s@%s has an image from %s, which no published version has", a.Module, a.Version, host)
		}
	}
	return nil
}

// dockerHub is where an image is from that names no registry.
const dockerHub = "docker.io"

// imageHost is the registry that an image is from: the first part of its name,
// if it is a host (as github.com/distribution/reference has it).
func imageHost(image string) string {
	host, _, ok := strings.Cut(image, "/")
	lower := strings.ToLower(host)
	if !ok || host != "localhost" && !strings.ContainsAny(host, ".:") && lower == host {
		return dockerHub
	}
	host = lower
	if strings.HasSuffix(host, "."+dockerHub) { // index.docker.io, registry-1.docker.io
		return dockerHub
	}
	return host
}

// maxHosts bounds how many hosts of images are looked for; a change that has
// more is to be looked at anyway.
const maxHosts = 20

// hostKnown reports whether a published version has an image from a host.
func (c *checker) hostKnown(ctx context.Context, host string) (bool, error) {
	known, asked := c.hosts[host]
	if asked || len(c.hosts) >= maxHosts {
		return known, nil
	}
	// git finds the files that may have one; reading them tells.
	text := host
	if host == dockerHub {
		text = "image"
	}
	out, err := c.base.repo.Output(ctx, "grep", "-l", "-z", "-i", "-F", "-e", text, c.base.commit, "--", ":(top,literal)"+path.Join(c.base.prefix, modulesDir))
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	var objects []string // COMMIT:PATH
	for object := range strings.SplitSeq(string(out), "\x00") {
		_, p, _ := strings.Cut(object, ":")
		if rel, ok := c.base.inside(p); err == nil && ok && isVersionFile(rel) && !strings.Contains(rel, "\n") {
			objects = append(objects, object)
		}
	}
	err = c.base.repo.Blobs(ctx, objects, func(i int, _ int64, content io.Reader) error {
		data, err := io.ReadAll(io.LimitReader(content, schema.MaxManifest))
		if err != nil {
			return err
		}
		m, _ := schema.ParseModuleVersion(objects[i], data)
		if m == nil {
			return nil
		}
		has := NeedsOf(m.Run, m.Snapshot)
		for _, s := range m.Steps {
			has.Images = append(has.Images, NeedsOf(s.Value.Run, s.Value.Snapshot).Images...)
		}
		if slices.ContainsFunc(has.Images, func(i string) bool { return imageHost(i) == host }) {
			return errFound
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return false, err
	}
	c.hosts[host] = err != nil
	return err != nil, nil
}

// errFound ends a search.
var errFound = errors.New("found")

func sortedKeys(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// links reports what git could bring in the place of a plain file or folder:
// a link may lead out of the registry, a submodule holds nothing.
func (c *checker) links(ctx context.Context) {
	for _, p := range sortedKeys(c.base.diff) {
		info, err := os.Lstat(filepath.Join(c.reg.Dir, filepath.FromSlash(p)))
		if err != nil {
			continue // deleted
		}
		elem := strings.Split(p, "/")
		inSource := len(elem) > 3 && elem[0] == modulesDir && elem[2] != versionsDir && elem[2] != testsDir
		switch {
		case info.IsDir() && !c.base.submodule(ctx, p):
			// A folder is where a file was.
		case info.IsDir():
			c.res.Diagnostics.Add(c.reg.file(p), schema.Pos{}, schema.RuleLayout, "copy its files into the repository", "%q is a git submodule", p)
		case info.Mode()&os.ModeSymlink != 0 && !inSource && (elem[0] == modulesDir || p == ManifestFile):
			c.res.Diagnostics.Add(c.reg.file(p), schema.Pos{}, schema.RuleLayout, "put the file itself there", "%q is a link", p)
		}
	}
}

// FileChange is one file of a version's source that differs from the version
// before.
type FileChange struct {
	Name string `json:"name"`
	How  string `json:"how"` // added, removed, changed
	// Lines are those of a file of requirements that came, +, or went, -.
	Lines []string `json:"lines,omitempty"`
}

// maxCompared bounds the bytes of a file that is compared, and maxSource those
// of a whole source; larger ones are not compared. maxLines bounds the lines that
// are told of a file.
const (
	maxCompared = 8 << 20
	maxSource   = 64 << 20
	maxLines    = 50
)

// SourceChanges lists the files that differ between two versions' sources; nil
// when one of them cannot be had here or is large.
func SourceChanges(ctx context.Context, from, to *Version, f *snapshot.Fetcher) []FileChange {
	a, errA := from.Source(ctx, f)
	b, errB := to.Source(ctx, f)
	if errA != nil || errB != nil || a.Size()+b.Size() > maxSource {
		return nil
	}
	had, has, names := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, n := range a.Files() {
		had[n], names[n] = true, true
	}
	for _, n := range b.Files() {
		has[n], names[n] = true, true
	}
	required := []string{requirements(from), requirements(to)}
	var out []FileChange
	for _, n := range sortedKeys(names) {
		c := FileChange{Name: n, How: "changed"}
		switch {
		case !had[n]:
			c.How = "added"
		case !has[n]:
			c.How = "removed"
		}
		told := slices.Contains(required, n)
		if c.How != "changed" && !told {
			out = append(out, c)
			continue
		}
		var x, y []byte
		var errX, errY error
		if had[n] {
			x, errX = a.ReadFile(ctx, n, maxCompared)
		}
		if has[n] {
			y, errY = b.ReadFile(ctx, n, maxCompared)
		}
		known := errX == nil && errY == nil
		if c.How == "changed" && known && bytes.Equal(x, y) {
			continue
		}
		if known && told {
			c.Lines = lineChanges(string(x), string(y))
		}
		out = append(out, c)
	}
	return out
}

// requirements is the file of a version's source that says what it requires of
// Python packages, or "".
func requirements(v *Version) string {
	m, _, _ := v.Manifest()
	if m == nil || m.Run == nil || m.Run.Environment.Python == nil {
		return ""
	}
	return path.Clean(m.Run.Environment.Python.Requirements.Value)
}

// lineChanges lists the requirements that one text has and the other has not,
// without their hashes, whatever their order.
func lineChanges(before, after string) []string {
	had, has := map[string]bool{}, map[string]bool{}
	read := func(text string, lines map[string]bool) {
		for line := range strings.Lines(text) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "--hash=")
			if line = strings.TrimRight(line, " \t\\"); line != "" && !strings.HasPrefix(line, "#") {
				lines[line] = true
			}
		}
	}
	read(before, had)
	read(after, has)
	var out []string
	for _, line := range sortedKeys(had) {
		if !has[line] {
			out = append(out, "-"+line)
		}
	}
	for _, line := range sortedKeys(has) {
		if !had[line] {
			out = append(out, "+"+line)
		}
	}
	switch {
	case len(out) == 0:
		out = []string{"the same packages; hashes, their order or comments differ"}
	case len(out) > maxLines:
		out = append(out[:maxLines], "…")
	}
	return out
}
