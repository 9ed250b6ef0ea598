package registry_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/schema"
)

// inMemory makes a registry with the module "train" in memory. A version is
// "1.0.0" or, with when it was created, "1.0.0 2026-01-01T00:00:00Z".
func inMemory(t *testing.T, module string, versions ...string) *registry.Registry {
	t.Helper()
	fsys := fstest.MapFS{"registry.yaml": {Data: []byte("apiVersion: modyard.dev/v1\nkind: Registry\nname: test\n")}}
	fsys["modules/train/module.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: modyard.dev/v1\nkind: Module\nname: train\ndescription: Trains.\n" + module)}
	fsys["modules/trim/module.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: modyard.dev/v1\nkind: Module\nname: trim\ndescription: Has no versions.\n")}
	for _, v := range versions {
		number, created, ok := strings.Cut(v, " ")
		if !ok {
			created = "2026-01-01T00:00:00Z"
		}
		fsys["modules/train/versions/"+number+".yaml"] = &fstest.MapFile{Data: []byte(version("train", number, created, ""))}
	}
	r, diags, err := registry.Open(fsys, "")
	if err != nil || diags.Err() != nil {
		t.Fatal(err, diags)
	}
	return r
}

// version is the text of a version; more is added at its end.
func version(module, number, created, more string) string {
	return fmt.Sprintf(`apiVersion: modyard.dev/v1
kind: ModuleVersion
module: %s
version: %s
created: %s
run: {command: [python, main.py]}
snapshot:
  folder: ../src
%s`, module, number, created, more)
}

func TestPick(t *testing.T) {
	three := []string{"1.0.0", "1.2.0", "2.0.0"}
	pre := []string{"1.0.0", "1.2.0", "2.0.0-rc.1", "2.0.0-rc.2"}
	dated := []string{"1.0.0 2026-03-01T00:00:00Z", "2.0.0 2026-02-01T00:00:00Z", "2.1.0-rc.1 2026-04-01T00:00:00Z"}
	lifecycle := func(lines ...string) string { return "versions:\n  " + strings.Join(lines, "\n  ") + "\n" }
	const (
		none = ""
		bad  = "state: disabled, reason: leaks"
		old  = "state: deprecated, reason: slow"
	)
	for _, c := range []struct {
		name, module string
		versions     []string
		selector     string
		allow        bool
		want         string   // the version; "" is an error
		says         []string // what the warnings, or the error and its hint, hold
	}{
		// Without a selector.
		{"no default", none, three, "", false, "2.0.0", nil},
		{"no default, a pre-release on top", none, pre, "", false, "1.2.0", nil},
		{"default", "default: 1.2.0\n", three, "", false, "1.2.0", nil},
		{"default is a pre-release", "default: 2.0.0-rc.1\n", pre, "", false, "2.0.0-rc.1", nil},
		{"default does not exist", "default: 1.3.0\n", three, "", false, "", []string{"1.3.0", "does not exist", "1.2.0"}},
		{"default is disabled", "default: 1.2.0\n" + lifecycle("1.2.0: {"+bad+", use: 2.0.0}"), three, "", false, "", []string{"default", "disabled: leaks", "use 2.0.0"}},
		{"default is disabled, allowed", "default: 1.2.0\n" + lifecycle("1.2.0: {"+bad+"}"), three, "", true, "1.2.0", []string{"disabled: leaks"}},
		{"default is deprecated", "default: 1.2.0\n" + lifecycle("1.2.0: {"+old+", use: 2.0.0}"), three, "", false, "1.2.0", []string{"deprecated: slow", "use 2.0.0"}},

		// Selectors with a name.
		{"latest", "default: 1.0.0\n", three, "latest", false, "2.0.0", nil},
		{"latest passes over pre-releases", none, pre, "latest", false, "1.2.0", nil},
		{"latest passes over the disabled", lifecycle("2.0.0: {" + bad + "}"), three, "latest", false, "1.2.0", nil},
		{"latest passes over the disabled, though allowed", lifecycle("2.0.0: {" + bad + "}"), three, "latest", true, "1.2.0", nil},
		{"latest passes over the deprecated", lifecycle("2.0.0: {" + old + "}"), three, "latest", false, "1.2.0", nil},
		{"latest, all deprecated", lifecycle("1.0.0: {"+old+"}", "1.2.0: {"+old+"}", "2.0.0: {"+old+", use: 1.2.0}"), three, "latest", false, "2.0.0", []string{"2.0.0", "deprecated: slow", "use 1.2.0"}},
		{"latest, all disabled", lifecycle("1.0.0: {"+bad+"}", "1.2.0: {"+bad+"}", "2.0.0: {"+bad+"}"), three, "latest", false, "", []string{"2.0.0 is disabled: leaks"}},
		{"latest, only pre-releases", none, pre[2:], "latest", false, "", []string{"pre-releases", "@2.0.0-rc.2"}},
		{"latest, the state active is said", lifecycle("2.0.0: {state: active}"), three, "latest", false, "2.0.0", nil},
		{"latest counts as numbers", none, []string{"1.9.0", "1.10.0"}, "latest", false, "1.10.0", nil},
		{"last-updated", none, dated, "last-updated", false, "1.0.0", nil},
		{"last-updated, a tie", none, three, "last-updated", false, "2.0.0", nil},
		{"last-updated passes over the disabled", lifecycle("1.0.0: {" + bad + "}"), dated, "last-updated", false, "2.0.0", nil},
		{"last-updated passes over the deprecated", lifecycle("1.0.0: {" + old + "}"), dated, "last-updated", false, "2.0.0", nil},
		{"work", none, three, "work", false, "2.0.0", nil},
		{"work, a pre-release", none, pre, "work", false, "2.0.0-rc.2", nil},
		{"work passes over the disabled", lifecycle("2.0.0: {" + bad + "}"), three, "work", false, "1.2.0", nil},
		{"work, all disabled", lifecycle("1.0.0: {" + bad + "}"), three[:1], "work", false, "", []string{"disabled"}},

		// Ranges.
		{"@2", none, append(three, "2.1.3"), "2", false, "2.1.3", nil},
		{"@1", none, three, "1", false, "1.2.0", nil},
		{"@1.0", none, append(three, "1.0.7"), "1.0", false, "1.0.7", nil},
		{"@^1", none, three, "^1", false, "1.2.0", nil},
		{"@^1.1", none, three, "^1.1", false, "1.2.0", nil},
		{"@~1.0", none, append(three, "1.0.7"), "~1.0", false, "1.0.7", nil},
		{"@>=1.2 <3", none, append(three, "3.0.0"), ">=1.2 <3", false, "2.0.0", nil},
		{"@>=1.2, <2", none, three, ">=1.2, <2", false, "1.2.0", nil},
		{"@1 || 3", none, three, "1 || 3", false, "1.2.0", nil},
		{"@1.x", none, three, "1.x", false, "1.2.0", nil},
		{"@*", none, pre, "*", false, "1.2.0", nil},
		{"@2 does not take a pre-release", none, pre, "2", false, "", []string{"@2", "1.2.0"}},
		{"a range does not ask for pre-releases", none, pre, ">=2.0.0-0", false, "", []string{"no version"}},
		{"@^0.2 stays in 0.2", none, []string{"0.2.1", "0.3.0"}, "^0.2", false, "0.2.1", nil},
		{"a range passes over the disabled", lifecycle("1.2.0: {" + bad + "}"), three, "1", false, "1.0.0", nil},
		{"a range passes over the disabled, though allowed", lifecycle("1.2.0: {" + bad + "}"), three, "1", true, "1.0.0", nil},
		{"a range prefers the active", lifecycle("1.2.0: {" + old + "}"), three, "1", false, "1.0.0", nil},
		{"a range with the deprecated alone", lifecycle("2.0.0: {" + old + "}"), three, "^2", false, "2.0.0", []string{"deprecated: slow"}},
		{"a range with the disabled alone", lifecycle("2.0.0: {" + bad + ", use: 1.2.0}"), three, "2", false, "", []string{"2.0.0 is disabled: leaks", "use 1.2.0"}},
		{"a range that nothing fits", none, three, "^3", false, "", []string{"@^3", "1.0.0, 1.2.0, 2.0.0"}},

		// One version.
		{"exact", "default: 2.0.0\n", three, "1.0.0", false, "1.0.0", nil},
		{"exact pre-release", none, pre, "2.0.0-rc.1", false, "2.0.0-rc.1", nil},
		{"exact and deprecated", lifecycle("1.0.0: {" + old + ", use: 2.0.0}"), three, "1.0.0", false, "1.0.0", []string{"deprecated: slow", "use 2.0.0"}},
		{"exact and disabled", lifecycle("1.0.0: {" + bad + ", use: 2.0.0}"), three, "1.0.0", false, "", []string{"1.0.0", "disabled: leaks", "use 2.0.0"}},
		{"exact and disabled, allowed", lifecycle("1.0.0: {" + bad + "}"), three, "1.0.0", true, "1.0.0", []string{"disabled: leaks"}},
		{"exact, does not exist", none, three, "1.2.1", false, "", []string{"1.2.1", "does not exist", "1.2.0"}},
		{"exact, nothing is near", none, three, "17.11.23-alpha", false, "", []string{"there is 1.0.0"}},

		// The whole module.
		{"module is deprecated", "state: deprecated\nreason: unloved\nuse: trim\n", three, "1.0.0", false, "1.0.0", []string{"module", "deprecated: unloved", "use trim"}},
		{"module is disabled", "state: disabled\nreason: unsafe\nuse: trim\n", three, "1.0.0", false, "", []string{"module", "disabled: unsafe", "use trim"}},
		{"module is disabled, allowed", "state: disabled\nreason: unsafe\n", three, "1.0.0", true, "1.0.0", []string{"disabled: unsafe"}},

		// No selectors.
		{"nonsense", none, three, "newest", false, "", []string{"@newest", "selector"}},
		{"a letter v", none, three, "v1.0.0", false, "", []string{"@v1.0.0"}},
		{"build metadata", none, three, "1.0.0+x", false, "", []string{"selector"}},
		{"an operator alone", none, three, ">", false, "", []string{"selector"}},
		{"a leading zero", none, three, "01.0.0", false, "", nil},
		{"very long", none, three, strings.Repeat("1", 200), false, "", []string{"selector"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := inMemory(t, c.module, c.versions...)
			r.Dir = "here"
			p, err := r.Pick("train", c.selector, registry.PickOptions{AllowDisabled: c.allow})
			var said string
			if c.want == "" {
				nf, ok := registry.AsNotFound(err)
				if !ok {
					t.Fatalf("got %v and %v, want a NotFoundError", p.Version, err)
				}
				said = nf.Error() + "\n" + nf.Hint
			} else {
				if err != nil {
					t.Fatal(err)
				}
				if got := p.String(); got != c.want {
					t.Errorf("picked %s, want %s", got, c.want)
				}
				if p.Work != (c.selector == registry.Work) {
					t.Errorf("Work is %v", p.Work)
				}
				said = strings.Join(p.Warnings, "\n")
				if len(c.says) == 0 && said != "" {
					t.Errorf("warns without need: %s", said)
				}
			}
			for _, s := range c.says {
				if !strings.Contains(said, s) {
					t.Errorf("%q is not in %q", s, said)
				}
			}
		})
	}
}

func TestPickUnknown(t *testing.T) {
	r := inMemory(t, "", "1.0.0")
	for _, c := range []struct{ name, module, selector, hint string }{
		{"module with a near name", "trian", "", "train"},
		{"module with no near name", "completely-different", "", ""},
		{"module without versions", "trim", "", "modyard new version trim"},
		{"work of a registry that is not on this disk", "train", "work", "clone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := r.Pick(c.module, c.selector, registry.PickOptions{})
			nf, ok := registry.AsNotFound(err)
			if !ok {
				t.Fatalf("%v is no NotFoundError", err)
			}
			if !strings.Contains(nf.Hint, c.hint) {
				t.Errorf("the hint is %q", nf.Hint)
			}
		})
	}
}

// TestPickBroken: a module whose manifest has problems is not picked from.
func TestPickBroken(t *testing.T) {
	r := inMemory(t, "default: newest\n", "1.0.0")
	_, err := r.Pick("train", "", registry.PickOptions{})
	if p, ok := errors.AsType[*schema.ProblemsError](err); !ok || len(p.Diagnostics) == 0 {
		t.Errorf("got %v", err)
	}
}

func TestOpen(t *testing.T) {
	if _, _, err := registry.Open(fstest.MapFS{}, "x"); !errors.Is(err, registry.ErrNoRegistry) {
		t.Errorf("an empty folder: %v", err)
	}
	good := []byte("apiVersion: modyard.dev/v1\nkind: Registry\nname: test\n")
	r, diags, err := registry.Open(fstest.MapFS{"registry.yaml": {Data: good}}, "x")
	if err != nil || len(diags) > 0 || len(r.Names()) > 0 {
		t.Errorf("a registry without modules: %v %v", err, diags)
	}
	r, diags, err = registry.Open(fstest.MapFS{"registry.yaml": {Data: []byte("- no\n")}}, "x")
	if err != nil || diags.Err() == nil || r == nil {
		t.Errorf("a bad manifest: %v %v", err, diags)
	}
	r, diags, err = registry.Open(fstest.MapFS{"registry.yaml/x": {Data: good}}, "x")
	if err != nil || diags.Err() == nil || r == nil {
		t.Errorf("a folder in its place: %v %v", err, diags)
	}
	big := slices.Concat(good, []byte("description: |\n"), []byte(strings.Repeat("  more\n", schema.MaxManifest/7+1)))
	_, diags, err = registry.Open(fstest.MapFS{"registry.yaml": {Data: big}}, "x")
	if err != nil || len(diags) != 1 || diags[0].Rule != schema.RuleYAML {
		t.Errorf("too long a manifest: %v %v", err, diags)
	}
	clash := fstest.MapFS{"registry.yaml": {Data: good}, "modules/a-b/x": {}, "modules/A_B/x": {}}
	_, diags, err = registry.Open(clash, "x")
	if err != nil || len(diags) != 1 || diags[0].Rule != schema.RuleNames || diags[0].File != "x/modules/a-b" {
		t.Errorf("modules that clash: %v %v", err, diags)
	}
}

func lockOf(t *testing.T, text string) *schema.Lock {
	t.Helper()
	l, diags := schema.ParseLock("p.lock.yaml", []byte("apiVersion: modyard.dev/v1\nkind: Lock\nsteps:\n"+text))
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	return l
}

func TestSetPick(t *testing.T) {
	three := []string{"1.0.0", "1.1.0", "2.0.0"}
	digest := func(number string) schema.Digest {
		return schema.VersionDigest([]byte(version("train", number, "2026-01-01T00:00:00Z", "")))
	}
	entry := func(step, module, number string) string {
		return fmt.Sprintf("  %s: {module: \"%s\", version: %s, digest: \"%s\"}\n", step, module, number, digest(number))
	}
	one := entry("train", "r/train@^1", "1.0.0")
	upgrade := func(step string) bool { return step == "train" }
	for _, c := range []struct {
		name, module, lock, ask string
		set                     registry.Set
		want                    string // the version; "" is an error
		fromLock, note          bool
		lockError, notFound     bool
	}{
		{name: "no lock", ask: "r/train@^1", want: "1.1.0"},
		{name: "no lock, locked", ask: "r/train@^1", set: registry.Set{Locked: true}, lockError: true},
		{name: "in the lock", lock: one, ask: "r/train@^1", want: "1.0.0", fromLock: true},
		{name: "in the lock, locked", lock: one, ask: "r/train@^1", set: registry.Set{Locked: true}, want: "1.0.0", fromLock: true},
		{name: "not in the lock", lock: entry("other", "r/train", "1.0.0"), ask: "r/train@^1", want: "1.1.0", note: true},
		{name: "not in the lock, locked", lock: entry("other", "r/train", "1.0.0"), ask: "r/train@^1", set: registry.Set{Locked: true}, lockError: true},
		{name: "another selector", lock: one, ask: "r/train@2", want: "2.0.0", note: true},
		{name: "another selector, locked", lock: one, ask: "r/train@2", set: registry.Set{Locked: true}, lockError: true},
		{name: "upgrade", lock: one, ask: "r/train@^1", set: registry.Set{Upgrade: upgrade}, want: "1.1.0"},
		{name: "upgrade of another step", lock: one + entry("two", "r/train@^1", "1.0.0"), ask: "r/train@^1", set: registry.Set{Upgrade: func(s string) bool { return s == "two" }}, want: "1.0.0", fromLock: true},
		{name: "disabled since", module: "versions:\n  1.0.0: {state: disabled, reason: leaks}\n", lock: one, ask: "r/train@^1", lockError: true},
		{name: "disabled since, allowed", module: "versions:\n  1.0.0: {state: disabled, reason: leaks}\n", lock: one, ask: "r/train@^1", set: registry.Set{PickOptions: registry.PickOptions{AllowDisabled: true}}, want: "1.0.0", fromLock: true},
		{name: "deprecated since", module: "versions:\n  1.0.0: {state: deprecated, reason: slow}\n", lock: one, ask: "r/train@^1", want: "1.0.0", fromLock: true},
		{name: "gone since", lock: "  train: {module: \"r/train@^1\", version: 1.0.9, digest: \"" + string(digest("1.0.9")) + "\"}\n", ask: "r/train@^1", lockError: true},
		{name: "changed since", lock: "  train: {module: \"r/train@^1\", version: 1.0.0, digest: \"" + string(digest("1.1.0")) + "\"}\n", ask: "r/train@^1", lockError: true},
		{name: "work", lock: one, ask: "r/train@work", want: "2.0.0"},
		{name: "work, locked", lock: one, ask: "r/train@work", set: registry.Set{Locked: true}, lockError: true},
		{name: "unknown registry", ask: "q/train", notFound: true},
		{name: "unknown module", ask: "r/trainer", notFound: true},
		{name: "unknown version", lock: one, ask: "r/train@7.0.0", notFound: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.set
			r := inMemory(t, c.module, three...)
			r.Dir = "here"
			s.Registries = map[string]*registry.Registry{"r": r}
			if c.lock != "" {
				s.Lock = lockOf(t, c.lock)
			}
			ref, err := schema.ParseModuleRef(c.ask)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Pick("train", ref)
			_, isLock := errors.AsType[*registry.LockError](err)
			_, isNotFound := registry.AsNotFound(err)
			if isLock != c.lockError || isNotFound != c.notFound || (err != nil) != (c.want == "") {
				t.Fatalf("the error is %v", err)
			}
			if c.want == "" {
				return
			}
			if got.String() != c.want || got.FromLock != c.fromLock || (got.Note != "") != c.note {
				t.Errorf("got %s, from the lock: %v, note: %q", got, got.FromLock, got.Note)
			}
			if got.Manifest == nil || got.Manifest.Digest != digest(c.want) {
				t.Error("the manifest is not that of the version")
			}
			if strings.Contains(c.module, "state") && len(got.Warnings) != 1 {
				t.Errorf("the warnings are %q", got.Warnings)
			}
		})
	}
}

// TestSetPickBroken: a version whose manifest has problems is not chosen.
func TestSetPickBroken(t *testing.T) {
	fsys := fstest.MapFS{
		"registry.yaml":                     {Data: []byte("apiVersion: modyard.dev/v1\nkind: Registry\nname: test\n")},
		"modules/train/module.yaml":         {Data: []byte("apiVersion: modyard.dev/v1\nkind: Module\nname: train\ndescription: Trains.\n")},
		"modules/train/versions/1.0.0.yaml": {Data: []byte("kind: ModuleVersion\n")},
	}
	r, _, err := registry.Open(fsys, "")
	if err != nil {
		t.Fatal(err)
	}
	s := registry.Set{Registries: map[string]*registry.Registry{"r": r}}
	_, err = s.Pick("train", schema.ModuleRef{Registry: "r", Name: "train"})
	if _, ok := errors.AsType[*schema.ProblemsError](err); !ok {
		t.Errorf("got %v", err)
	}
}
