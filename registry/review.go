package registry

import (
	"context"
	"fmt"
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
	if old != nil && !slices.Equal(old.Owners, c.owners[name]) {
		look("owners", c.reg.file(p), "the owners of %q were %s and would be %s", name, orNone(old.Owners), orNone(c.owners[name]))
	}
	return nil
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// reviewVersion tells what a new version needs that the one before does not.
func (c *checker) reviewVersion(ctx context.Context, a Addition, look lookFunc) error {
	m := a.Manifest
	if m == nil || m.Run == nil {
		return nil
	}
	network, secrets := false, map[string]bool{}
	if a.Before != nil {
		network = a.Before.Run != nil && a.Before.Run.Network
		for _, s := range a.Before.Secrets {
			secrets[s.Name] = true
		}
	}
	if m.Run.Network && !network {
		look("network", m.File, "%s@%s needs the network", a.Module, a.Version)
	}
	for _, s := range m.Secrets {
		if !secrets[s.Name] {
			look("secret", m.File, "%s@%s needs the secret %q", a.Module, a.Version, s.Name)
		}
	}
	for _, image := range []string{m.Run.Environment.Image.Value, imageOf(m.Snapshot)} {
		host, _, ok := strings.Cut(image, "/")
		if !ok {
			continue
		}
		known, err := c.hostKnown(ctx, host)
		if err != nil {
			return err
		}
		if !known {
			look("image", m.File, "%s@%s has an image from %s, which no published version has", a.Module, a.Version, host)
		}
	}
	return nil
}

// maxHosts bounds how many hosts of images are looked for; a change that has
// more is to be looked at anyway.
const maxHosts = 20

// hostKnown reports whether what is published has an image from a host.
func (c *checker) hostKnown(ctx context.Context, host string) (bool, error) {
	known, asked := c.hosts[host]
	if asked || len(c.hosts) >= maxHosts {
		return known, nil
	}
	// One command of git reads all that is published.
	_, err := c.base.repo.Output(ctx, "grep", "-q", "-F", "-e", host+"/", c.base.commit, "--", ":(top,literal)"+path.Join(c.base.prefix, modulesDir))
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	c.hosts[host] = err == nil
	return err == nil, nil
}

func imageOf(s *schema.Snapshot) string {
	if s == nil || s.Image == nil {
		return ""
	}
	return s.Image.Name.Value
}

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
func (c *checker) links() {
	for _, p := range sortedKeys(c.base.diff) {
		info, err := os.Lstat(filepath.Join(c.reg.Dir, filepath.FromSlash(p)))
		if err != nil {
			continue // deleted
		}
		elem := strings.Split(p, "/")
		inSource := len(elem) > 3 && elem[0] == modulesDir && elem[2] != versionsDir && elem[2] != testsDir
		switch {
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
}

// maxCompared bounds the bytes of a file that is compared, and maxSource those
// of a whole source; larger ones are not compared.
const (
	maxCompared = 8 << 20
	maxSource   = 64 << 20
)

// SourceChanges lists the files that differ between two versions' sources; nil
// when one of them cannot be had here or is large.
func SourceChanges(ctx context.Context, from, to *Version, f *snapshot.Fetcher) []FileChange {
	a, errA := from.Source(ctx, f)
	b, errB := to.Source(ctx, f)
	if errA != nil || errB != nil || a.Size()+b.Size() > maxSource {
		return nil
	}
	had := map[string]bool{}
	for _, n := range a.Files() {
		had[n] = true
	}
	var out []FileChange
	for _, n := range b.Files() {
		if !had[n] {
			out = append(out, FileChange{n, "added"})
			continue
		}
		delete(had, n)
		x, errX := a.ReadFile(ctx, n, maxCompared)
		y, errY := b.ReadFile(ctx, n, maxCompared)
		if errX != nil || errY != nil || string(x) != string(y) {
			out = append(out, FileChange{n, "changed"})
		}
	}
	for _, n := range sortedKeys(had) {
		out = append(out, FileChange{n, "removed"})
	}
	return out
}
