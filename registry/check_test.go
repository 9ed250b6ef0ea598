package registry_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const (
	registryYAML = "apiVersion: modyard.dev/v1\nkind: Registry\nname: test\n"
	owned        = "owners: [octocat, acme/ml]\n"
)

func moduleYAML(name, more string) string {
	return "apiVersion: modyard.dev/v1\nkind: Module\nname: " + name + "\ndescription: Does it.\n" + more
}

// srcDigest is the digest of a folder of one file, main.py.
func srcDigest(t testing.TB, content string) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "main.py", content)
	return folderDigest(t, dir)
}

func folderDigest(t testing.TB, dir string) string {
	t.Helper()
	tree, err := snapshot.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	d, err := tree.Digest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(d)
}

// newRegistry makes a registry of one module with the version 1.0.0, all of it
// published, in a folder of a new repository.
func newRegistry(t testing.TB, prefix string) (root, dir string) {
	t.Helper()
	root = t.TempDir()
	dir = filepath.Join(root, filepath.FromSlash(prefix))
	put(t, dir, "registry.yaml", registryYAML)
	put(t, dir, "modules/a/module.yaml", moduleYAML("a", owned))
	put(t, dir, "modules/a/src/main.py", "one\n")
	put(t, dir, "modules/a/versions/1.0.0.yaml", version("a", "1.0.0", "2026-01-01T00:00:00Z", "  digest: "+srcDigest(t, "one\n")+"\n"))
	at := prefix
	if at != "" {
		at += "/"
	}
	put(t, root, ".github/CODEOWNERS", "# modyard: owners of the modules, kept by `modyard check --fix`\n/"+strings.ReplaceAll(at, " ", `\ `)+"modules/a/ @octocat @acme/ml\n# modyard: end\n")
	gitInit(t, root)
	commit(t, root, "1.0.0")
	return root, dir
}

func check(t testing.TB, dir string, opt registry.CheckOptions) *registry.Checked {
	t.Helper()
	if opt.Now.IsZero() {
		opt.Now = now
	}
	if opt.Display == "" {
		opt.Display = "."
	}
	res, err := registry.Check(t.Context(), dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// edit replaces a text in a file that has it.
func edit(t testing.TB, dir, name, from, to string) {
	t.Helper()
	text := get(t, dir, name)
	if !strings.Contains(text, from) {
		t.Fatalf("%s has no %q:\n%s", name, from, text)
	}
	put(t, dir, name, strings.ReplaceAll(text, from, to))
}

// show gives the diagnostics without their messages: "FILE:LINE rule".
func show(ds schema.Diagnostics) []string {
	out := []string{}
	for _, d := range ds {
		at := d.File
		if d.Line > 0 {
			at += fmt.Sprintf(":%d", d.Line)
		}
		out = append(out, at+" "+string(d.Rule))
	}
	return out
}

func TestGoodRegistry(t *testing.T) {
	for _, dir := range []string{"../testdata/registry"} {
		res, err := registry.Check(t.Context(), dir, registry.CheckOptions{})
		if err != nil || len(res.Diagnostics) > 0 || res.Modules == 0 || res.Versions == 0 {
			t.Errorf("%s: %v, %+v", dir, err, res)
		}
	}
	for _, prefix := range []string{"", "a/b c"} {
		_, dir := newRegistry(t, prefix)
		put(t, dir, "modules/a/src/main.py", "two\n")
		put(t, dir, "modules/a/versions/1.1.0.yaml", version("a", "1.1.0", "2026-02-01T00:00:00Z", "  digest: "+srcDigest(t, "two\n")+"\n"))
		for _, opt := range []registry.CheckOptions{{}, {Deep: true}, {Base: "HEAD"}, {Base: "main", Deep: true}} {
			res := check(t, dir, opt)
			if len(res.Diagnostics) > 0 {
				t.Errorf("in %q with %+v: %v", prefix, opt, res.Diagnostics)
			}
			want := 2
			if opt.Base != "" {
				if !opt.Deep {
					want = 1
				}
				if len(res.Added) != 1 || res.Added[0].Version != "1.1.0" || res.Added[0].From != "1.0.0" || res.Added[0].Chosen != registry.Minor {
					t.Errorf("in %q with %+v added: %+v", prefix, opt, res.Added)
				}
			}
			if res.Modules != 1 || res.Versions != want {
				t.Errorf("in %q with %+v: %d modules, %d versions", prefix, opt, res.Modules, res.Versions)
			}
		}
	}
}

// TestCheckRules breaks one rule at a time; it and no other must fire.
func TestCheckRules(t *testing.T) {
	const (
		module = "modules/a/module.yaml"
		v1     = "modules/a/versions/1.0.0.yaml"
		v2     = "modules/a/versions/1.1.0.yaml"
	)
	base := registry.CheckOptions{Base: "main"}
	// add adds version NUMBER on the source as it is.
	add := func(t *testing.T, dir, number, created, more string) {
		put(t, dir, "modules/a/versions/"+number+".yaml", version("a", number, created, "  digest: "+folderDigest(t, filepath.Join(dir, "modules/a/src"))+"\n"+more))
	}
	const later = "2026-02-01T00:00:00Z"
	optional := "inputs: {i: {type: file, optional: true}}\n"
	_, good := newRegistry(t, "")
	for _, c := range []struct {
		name  string
		opt   registry.CheckOptions
		spoil func(t *testing.T, dir string)
		want  []string
	}{
		{"layout: a file among the modules", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, "modules/b", "")
		}, []string{"modules/b layout"}},
		{"layout: a name", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, "modules/B/module.yaml", moduleYAML("B", ""))
		}, []string{"modules/B layout", "modules/B/module.yaml:3 schema"}},
		{"layout: no module.yaml", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, "modules/b/src/x", "")
		}, []string{"modules/b/module.yaml layout"}},
		{"layout: another name within", registry.CheckOptions{}, func(t *testing.T, dir string) {
			edit(t, dir, module, "name: a\n", "name: b\n")
		}, []string{module + ":3 layout"}},
		{"layout: a version's file name", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, "modules/a/versions/v2.yaml", "")
			put(t, dir, "modules/a/versions/1.0.yaml", "")
			put(t, dir, "modules/a/versions/1.0.1.yml", "")
			put(t, dir, "modules/a/versions/1.0.1+x.yaml", "")
			put(t, dir, "modules/a/versions/.hidden", "")
		}, []string{"modules/a/versions/1.0.1+x.yaml layout", "modules/a/versions/1.0.1.yml layout", "modules/a/versions/1.0.yaml layout", "modules/a/versions/v2.yaml layout"}},
		{"layout: another number within", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", later, "")
			edit(t, dir, v2, "version: 1.1.0", "version: 1.2.0")
		}, []string{v2 + ":4 layout"}},
		{"layout: another module within", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", later, "")
			edit(t, dir, v2, "module: a", "module: b")
		}, []string{v2 + ":3 layout"}},
		{"names", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, "modules/b-c/module.yaml", moduleYAML("b-c", ""))
			put(t, dir, "modules/b_c/module.yaml", moduleYAML("b_c", ""))
		}, []string{"modules/b_c layout", "modules/b_c names", "modules/b_c/module.yaml:3 schema"}},

		{"default does not exist", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, module, moduleYAML("a", owned+"default: 1.0.1\n"))
		}, []string{module + ":6 default"}},
		{"default is disabled", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, module, moduleYAML("a", owned+"default: 1.0.0\nversions: {1.0.0: {state: disabled, reason: r}}\n"))
		}, []string{module + ":6 default"}},
		{"state of a version that is not there", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, module, moduleYAML("a", owned+"versions:\n  1.0.1: {state: disabled, reason: r}\n"))
		}, []string{module + ":7 state"}},
		{"state: the replacement is not there", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, module, moduleYAML("a", owned+"versions:\n  1.0.0: {state: deprecated, reason: r, use: 2.0.0}\n"))
		}, []string{module + ":7 state"}},
		{"state: the replacement is disabled", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", later, "")
			put(t, dir, module, moduleYAML("a", owned+"versions:\n  1.0.0: {state: deprecated, reason: r, use: 1.1.0}\n  1.1.0: {state: disabled, reason: r}\n"))
		}, []string{module + ":7 state"}},

		{"digest is not the folder's", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", later, "")
			put(t, dir, "modules/a/src/main.py", "two\n")
		}, []string{v2 + ":8 digest"}},
		{"digest is not the folder's, not the newest", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", later, "")
			put(t, dir, "modules/a/src/main.py", "two\n")
			add(t, dir, "1.2.0", later, "")
		}, []string{v2 + ":8 digest"}},
		{"digest is not the folder's, with a base", base, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", later, "")
			put(t, dir, "modules/a/src/main.py", "two\n")
		}, []string{v2 + ":8 digest"}},
		{"no digest", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, v2, version("a", "1.1.0", later, ""))
		}, []string{v2 + ":8 digest"}},
		{"digest of a source that is lost", registry.CheckOptions{Deep: true}, func(t *testing.T, dir string) {
			put(t, dir, v2, version("a", "1.1.0", later, "  digest: "+srcDigest(t, "never\n")+"\n"))
			commit(t, dir, "lost")
		}, []string{v2 + ":8 digest"}},

		{"no created", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", later, "")
			edit(t, dir, v2, "created: "+later+"\n", "")
		}, []string{v2 + ":4 created"}},
		{"created in the future", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", "2026-06-01T12:02:00Z", "")
		}, []string{v2 + ":5 created"}},
		{"created is no date", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", "2026-02-31T00:00:00Z", "")
		}, []string{v2 + ":5 created"}},
		{"created before what is published", base, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", "2026-01-01T00:00:00Z", "")
		}, []string{v2 + ":5 created"}},

		{"immutable", base, func(t *testing.T, dir string) {
			edit(t, dir, v1, "kind:", "kind: ")
		}, []string{v1 + ":1 immutable"}},
		{"immutable, deleted", base, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", later, "")
			if err := os.Remove(filepath.Join(dir, v1)); err != nil {
				t.Fatal(err)
			}
		}, []string{v1 + " immutable"}},
		{"immutable, deleted with its module and committed", base, func(t *testing.T, dir string) {
			runGit(t, dir, "switch", "-q", "-c", "work")
			if err := os.RemoveAll(filepath.Join(dir, "modules")); err != nil {
				t.Fatal(err)
			}
			put(t, dir, ".github/CODEOWNERS", "")
			commit(t, dir, "gone")
		}, []string{v1 + " immutable"}},

		{"bump", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.0.1", later, optional)
		}, []string{"modules/a/versions/1.0.1.yaml:4 bump"}},
		{"bump to a major", base, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", later, "inputs: {i: {type: file}}\n")
		}, []string{v2 + ":4 bump"}},
		{"bump from the nearest lower, not the newest", base, func(t *testing.T, dir string) {
			add(t, dir, "2.0.0", later, "inputs: {i: {type: file}}\n")
			commit(t, dir, "2.0.0")
			add(t, dir, "1.0.1", "2026-03-01T00:00:00Z", "inputs: {i: {type: file}}\n")
		}, []string{"modules/a/versions/1.0.1.yaml:4 bump"}},
		{"bump to the nearest higher within the major", base, func(t *testing.T, dir string) {
			add(t, dir, "1.2.0", later, "")
			commit(t, dir, "1.2.0")
			add(t, dir, "1.1.0", "2026-03-01T00:00:00Z", optional)
		}, []string{v2 + ":4 bump"}},
		{"no bump to the nearest higher beyond the major", base, func(t *testing.T, dir string) {
			add(t, dir, "2.0.0", later, "")
			commit(t, dir, "2.0.0")
			add(t, dir, "1.1.0", "2026-03-01T00:00:00Z", optional)
		}, nil},
		{"bump of a pre-release", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0-rc.1", later, "inputs: {i: {type: file}}\n")
		}, []string{"modules/a/versions/1.1.0-rc.1.yaml:4 bump"}},
		{"no bump among pre-releases", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "2.0.0-rc.1", later, "inputs: {i: {type: file}}\n")
			add(t, dir, "2.0.0-rc.2", later, "inputs: {j: {type: file}}\n")
			add(t, dir, "2.0.0", later, "inputs: {k: {type: file}}\n")
		}, nil},

		{"codeowners", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, module, moduleYAML("a", "owners: [hubot]\n"))
		}, []string{".github/CODEOWNERS codeowners"}},
		{"codeowners, with a base", base, func(t *testing.T, dir string) {
			put(t, dir, ".github/CODEOWNERS", "* @hubot\n")
		}, []string{".github/CODEOWNERS codeowners"}},
		{"codeowners of a module that is gone", base, func(t *testing.T, dir string) {
			put(t, dir, "modules/b/module.yaml", moduleYAML("b", owned))
			check(t, dir, registry.CheckOptions{Fix: true})
			commit(t, dir, "b")
			if err := os.RemoveAll(filepath.Join(dir, "modules/b")); err != nil {
				t.Fatal(err)
			}
		}, []string{".github/CODEOWNERS codeowners"}},
		{"codeowners, no owners left", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, module, moduleYAML("a", ""))
		}, []string{".github/CODEOWNERS codeowners"}},

		{"requirements", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, "modules/a/src/requirements.txt", "numpy\n")
			add(t, dir, "1.1.0", later, "")
			edit(t, dir, v2, "run: {command: [python, main.py]}", "run: {command: [python, main.py], environment: {python: {requirements: requirements.txt}}}")
		}, []string{v2 + ":6 requirements"}},
		{"requirements are not there", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", later, "")
			edit(t, dir, v2, "run: {command: [python, main.py]}", "run: {command: [python, main.py], environment: {python: {requirements: requirements.txt}}}")
		}, []string{v2 + ":6 requirements"}},
		{"reserved", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, "modules/a/src/inputs/x", "")
			add(t, dir, "1.1.0", later, "")
		}, []string{v2 + ":8 reserved"}},
		{"reserved deeper is free", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, "modules/a/src/x/inputs/x", "")
			add(t, dir, "1.1.0", later, "")
		}, nil},

		{"path", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", later, "")
			edit(t, dir, v2, "folder: ../src", "folder: ../../../../elsewhere")
		}, []string{v2 + ":8 path"}},
		{"snapshot: no folder", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", later, "")
			edit(t, dir, v2, "folder: ../src", "folder: ../source")
		}, []string{v2 + ":8 snapshot"}},
		{"snapshot: a file in its place", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", later, "")
			edit(t, dir, v2, "folder: ../src", "folder: ../module.yaml")
		}, []string{v2 + ":8 snapshot"}},
		{"snapshot: problems, all of them", registry.CheckOptions{}, func(t *testing.T, dir string) {
			add(t, dir, "1.1.0", later, "")
			if err := os.Symlink("../versions", filepath.Join(dir, "modules/a/src/out")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("nothing", filepath.Join(dir, "modules/a/src/dangling")); err != nil {
				t.Fatal(err)
			}
		}, []string{v2 + ":8 snapshot", v2 + ":8 snapshot"}},

		{"nested: not exact, and no digest", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, "modules/p/module.yaml", moduleYAML("p", ""))
			put(t, dir, "modules/p/versions/1.0.0.yaml", pipeline("1.0.0", "a@1", ""))
			put(t, dir, "modules/p/versions/1.0.1.yaml", pipeline("1.0.1", "a@1.0.0", ""))
		}, []string{"modules/p/versions/1.0.0.yaml:8 nested", "modules/p/versions/1.0.1.yaml:8 nested"}},
		{"nested: another digest", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, "modules/p/module.yaml", moduleYAML("p", ""))
			put(t, dir, "modules/p/versions/1.0.0.yaml", pipeline("1.0.0", "a@1.0.0", "sha256:"+strings.Repeat("0", 64)))
		}, []string{"modules/p/versions/1.0.0.yaml:9 nested"}},
		{"resolve: no such version", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, "modules/p/module.yaml", moduleYAML("p", ""))
			put(t, dir, "modules/p/versions/1.0.0.yaml", pipeline("1.0.0", "a@1.0.1", "sha256:"+strings.Repeat("0", 64)))
		}, []string{"modules/p/versions/1.0.0.yaml:8 resolve"}},
		{"resolve: no such module", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, "modules/p/module.yaml", moduleYAML("p", ""))
			put(t, dir, "modules/p/versions/1.0.0.yaml", pipeline("1.0.0", "aa@1.0.0", "sha256:"+strings.Repeat("0", 64)))
		}, []string{"modules/p/versions/1.0.0.yaml:8 resolve"}},
		{"resolve: no such registry", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, "modules/p/module.yaml", moduleYAML("p", ""))
			put(t, dir, "modules/p/versions/1.0.0.yaml", pipeline("1.0.0", "r/a@1.0.0", "sha256:"+strings.Repeat("0", 64)))
		}, []string{"modules/p/versions/1.0.0.yaml:8 resolve"}},
		{"nested in a disabled version is as good as it was", registry.CheckOptions{}, func(t *testing.T, dir string) {
			put(t, dir, module, moduleYAML("a", owned+"versions: {1.0.0: {state: disabled, reason: r}}\n"))
			put(t, dir, "modules/p/module.yaml", moduleYAML("p", ""))
			put(t, dir, "modules/p/versions/1.0.0.yaml", pipeline("1.0.0", "a@1.0.0", string(schema.VersionDigest([]byte(get(t, dir, v1))))))
		}, nil},

		{"yaml", base, func(t *testing.T, dir string) {
			put(t, dir, v2, "a: b: c\n")
		}, []string{v2 + ":1 yaml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, dir)
			res := check(t, dir, c.opt)
			if got := show(res.Diagnostics); !slices.Equal(got, append([]string{}, c.want...)) {
				t.Errorf("got %q\nwant %q\n%v", got, c.want, res.Diagnostics)
			}
		})
	}
}

// pipeline is the text of a version that is a pipeline of one step.
func pipeline(number, module, digest string) string {
	if digest != "" {
		digest = "    digest: " + digest + "\n"
	}
	return fmt.Sprintf(`apiVersion: modyard.dev/v1
kind: ModuleVersion
module: p
version: %s
created: 2026-01-02T00:00:00Z
steps:
  s:
    module: %s
%s`, number, module, digest)
}

// TestCheckBaseReadsLittle: what did not change since the base is not looked at.
func TestCheckBaseReadsLittle(t *testing.T) {
	root, dir := newRegistry(t, "reg")
	put(t, dir, "modules/b/module.yaml", "not: a module\n")
	put(t, dir, "modules/a/versions/1.0.1.yaml", "not: a version\n")
	commit(t, root, "bad, and published")
	put(t, root, "elsewhere/modules/c/module.yaml", "no: matter\n")
	put(t, dir, "modules/a/versions/1.1.0.yaml", version("a", "1.1.0", "2026-02-01T00:00:00Z", "  digest: "+srcDigest(t, "one\n")+"\n"))
	res := check(t, dir, registry.CheckOptions{Base: "HEAD"})
	if len(res.Diagnostics) > 0 || res.Modules != 1 || res.Versions != 1 {
		t.Errorf("%d modules, %d versions, %v", res.Modules, res.Versions, res.Diagnostics)
	}
	if res = check(t, dir, registry.CheckOptions{}); len(res.Diagnostics) == 0 || res.Modules != 2 || res.Versions != 3 {
		t.Errorf("without a base: %d modules, %d versions, %v", res.Modules, res.Versions, res.Diagnostics)
	}
}

// TestCheckBehind: what the base has gained since is not deleted.
func TestCheckBehind(t *testing.T) {
	root, dir := newRegistry(t, "reg")
	runGit(t, root, "branch", "work")
	put(t, dir, "modules/a/versions/1.0.1.yaml", version("a", "1.0.1", "2026-02-01T00:00:00Z", "  digest: "+srcDigest(t, "one\n")+"\n"))
	commit(t, root, "1.0.1 on main")
	runGit(t, root, "switch", "-q", "work")
	if res := check(t, dir, registry.CheckOptions{Base: "main"}); len(res.Diagnostics) > 0 {
		t.Error(res.Diagnostics)
	}
	if err := os.Remove(filepath.Join(dir, "modules/a/versions/1.0.0.yaml")); err != nil {
		t.Fatal(err)
	}
	res := check(t, dir, registry.CheckOptions{Base: "main"})
	if got := show(res.Diagnostics); !slices.Equal(got, []string{"modules/a/versions/1.0.0.yaml immutable"}) {
		t.Error(got)
	}
}

// TestCheckReadsOn: a file that cannot be read keeps nothing else from being
// checked.
func TestCheckReadsOn(t *testing.T) {
	_, dir := newRegistry(t, "")
	if err := os.Symlink("nowhere", filepath.Join(dir, "modules/a/versions/0.9.0.yaml")); err != nil {
		t.Skipf("skipped: this system makes no links: %v", err)
	}
	put(t, dir, "modules/b/module.yaml", moduleYAML("c", owned))
	res := check(t, dir, registry.CheckOptions{})
	got := show(res.Diagnostics)
	want := []string{"modules/a/versions/0.9.0.yaml layout", "modules/b/module.yaml:3 layout"}
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
			t.Errorf("no %q in %q", w, got)
		}
	}
}

func TestCheckErrors(t *testing.T) {
	_, dir := newRegistry(t, "")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		dir  string
		base string
		want error
	}{
		{"no registry", t.Context(), t.TempDir(), "", registry.ErrNoRegistry},
		{"no such base", t.Context(), dir, "nowhere", git.ErrNoRevision},
		{"a base that looks like an option", t.Context(), dir, "--output=x", git.ErrNoRevision},
		{"interrupted", cancelled, dir, "main", context.Canceled},
	} {
		if _, err := registry.Check(c.ctx, c.dir, registry.CheckOptions{Base: c.base}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	alone := t.TempDir()
	put(t, alone, "registry.yaml", registryYAML)
	if _, err := registry.Check(t.Context(), alone, registry.CheckOptions{Base: "main"}); !errors.Is(err, git.ErrNoRepository) {
		t.Errorf("no repository: %v", err)
	}
}

// TestCheckIgnored: a file that git ignores would be missing for everybody else.
func TestCheckIgnored(t *testing.T) {
	for _, prefix := range []string{"", "reg"} {
		root, dir := newRegistry(t, prefix)
		put(t, root, ".gitignore", "*.bin\nout/\n")
		put(t, dir, "modules/a/src/kept.bin", "x")
		runGit(t, dir, "add", "--force", "modules/a/src/kept.bin")
		put(t, dir, "modules/a/src/model.bin", "x")
		put(t, dir, "modules/a/src/out/deep", "x")
		put(t, dir, "modules/a/src/__pycache__/main.pyc", "x")
		put(t, dir, "modules/a/versions/1.0.1.yaml", version("a", "1.0.1", "2026-01-02T00:00:00Z", ""))
		res := check(t, dir, registry.CheckOptions{Fix: true})
		var got []string
		for _, d := range res.Diagnostics {
			got = append(got, d.Message+"; "+d.Hint)
		}
		at := strings.TrimPrefix(prefix+"/", "/")
		want := []string{
			`"model.bin" in the folder "../src" is ignored by git: it would be missing where the version is checked and run; git add --force ` + at + `modules/a/src/model.bin, or keep it out of the folder`,
			`"out/deep" in the folder "../src" is ignored by git: it would be missing where the version is checked and run; git add --force ` + at + `modules/a/src/out/deep, or keep it out of the folder`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q", prefix, got)
		}
		if res := check(t, dir, registry.CheckOptions{Ignored: true}); len(res.Diagnostics) > 0 {
			t.Errorf("%v", res.Diagnostics)
		}
		commit(t, root, "1.0.1, without them")
		if res := check(t, dir, registry.CheckOptions{}); len(res.Diagnostics) > 0 {
			t.Errorf("a published version: %v", res.Diagnostics)
		}
	}
}

// all reads every file below dir but those of git.
func all(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && d.Name() == ".git" {
				return filepath.SkipDir
			}
			return err
		}
		rel, err := filepath.Rel(dir, p)
		files[filepath.ToSlash(rel)] = get(t, dir, filepath.ToSlash(rel))
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	return files
}

func TestFix(t *testing.T) {
	for _, prefix := range []string{"", "deep/reg"} {
		for _, base := range []string{"", "main"} {
			t.Run(prefix+" "+base, func(t *testing.T) {
				root, dir := newRegistry(t, prefix)
				published := get(t, dir, "modules/a/versions/1.0.0.yaml")
				put(t, root, ".github/CODEOWNERS", "* @hubot") // without an end of line
				put(t, dir, "modules/a/src/main.py", "two\n")
				commented := "# first\n" + strings.Replace(version("a", "1.1.0", "2026-02-01T00:00:00Z", "  # last\n"), "created: 2026-02-01T00:00:00Z\n", "# no date yet\n\n", 1)
				put(t, dir, "modules/a/versions/1.1.0.yaml", commented)
				// p stands on q, q on a: each pin holds the digest of a file that is mended first.
				put(t, dir, "modules/m/module.yaml", moduleYAML("m", ""))
				put(t, dir, "modules/m/versions/1.0.0.yaml", strings.Replace(pipeline("1.0.0", "q", ""), "module: p", "module: m", 1))
				put(t, dir, "modules/q/module.yaml", moduleYAML("q", "owners: [zoe]\n"))
				put(t, dir, "modules/q/versions/1.0.0.yaml", strings.Replace(pipeline("1.0.0", "a@^1 # the newest", "sha256:"+strings.Repeat("0", 64)), "module: p", "module: q", 1))

				res := check(t, dir, registry.CheckOptions{Fix: true, Base: base})
				if len(res.Diagnostics) > 0 {
					t.Error(res.Diagnostics)
				}
				up := strings.Repeat("../", len(strings.FieldsFunc(prefix, func(r rune) bool { return r == '/' })))
				want := []string{up + ".github/CODEOWNERS", "modules/a/versions/1.1.0.yaml", "modules/m/versions/1.0.0.yaml", "modules/q/versions/1.0.0.yaml"}
				if !slices.Equal(res.Fixed, want) {
					t.Errorf("fixed %q, want %q", res.Fixed, want)
				}
				if get(t, dir, "modules/a/versions/1.0.0.yaml") != published {
					t.Error("the published version was touched")
				}
				v2 := get(t, dir, "modules/a/versions/1.1.0.yaml")
				for _, s := range []string{"# first\n", "# no date yet\n", "  # last\n", "digest: " + srcDigest(t, "two\n") + "\n", "created: 2026-06-01T12:00:00Z\n"} {
					if !strings.Contains(v2, s) {
						t.Errorf("%q is not in\n%s", s, v2)
					}
				}
				q := get(t, dir, "modules/q/versions/1.0.0.yaml")
				if !strings.Contains(q, "module: a@1.1.0 # the newest\n") || !strings.Contains(q, string(schema.VersionDigest([]byte(v2)))) {
					t.Errorf("q is not pinned:\n%s", q)
				}
				if m := get(t, dir, "modules/m/versions/1.0.0.yaml"); !strings.Contains(m, "module: q@1.0.0\n") || !strings.Contains(m, string(schema.VersionDigest([]byte(q)))) {
					t.Errorf("m is not pinned:\n%s", m)
				}
				at := "/"
				if prefix != "" {
					at += prefix + "/"
				}
				if got, want := get(t, root, ".github/CODEOWNERS"), "* @hubot\n# modyard: owners of the modules, kept by `modyard check --fix`\n"+at+"modules/a/ @octocat @acme/ml\n"+at+"modules/q/ @zoe\n# modyard: end\n"; got != want {
					t.Errorf("CODEOWNERS:\n%s", got)
				}

				before := all(t, root)
				again := check(t, dir, registry.CheckOptions{Fix: true, Base: base, Now: now.Add(time.Hour)})
				if len(again.Fixed) > 0 || !maps.Equal(before, all(t, root)) {
					t.Errorf("the second time it fixed %q", again.Fixed)
				}
				commit(t, root, "fixed")
				if res := check(t, dir, registry.CheckOptions{Deep: true}); len(res.Diagnostics) > 0 {
					t.Error(res.Diagnostics)
				}
			})
		}
	}
}

// TestFixCreated: later than what is published, even where clocks differ.
func TestFixCreated(t *testing.T) {
	_, dir := newRegistry(t, "")
	put(t, dir, "modules/a/versions/1.1.0.yaml", version("a", "1.1.0", "2020-01-01T00:00:00Z", "  digest: "+srcDigest(t, "one\n")+"\n"))
	early := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	res := check(t, dir, registry.CheckOptions{Fix: true, Base: "main", Now: early})
	if v2 := get(t, dir, "modules/a/versions/1.1.0.yaml"); !strings.Contains(v2, "2026-01-01T00:00:01Z") {
		t.Errorf("%v\n%s", res.Diagnostics, v2)
	}
}

// TestFixLeavesWhatItCannotRead: the check says what is wrong.
func TestFixLeavesWhatItCannotRead(t *testing.T) {
	for _, text := range []string{"", "- a list\n", "a: b: c\n", "text", "kind: ModuleVersion\n"} {
		_, dir := newRegistry(t, "")
		put(t, dir, "modules/a/versions/1.1.0.yaml", text)
		if res := check(t, dir, registry.CheckOptions{Fix: true}); res.Diagnostics.Err() == nil || len(res.Fixed) > 0 {
			t.Errorf("%q: %q %v", text, res.Fixed, res.Diagnostics)
		}
		if got := get(t, dir, "modules/a/versions/1.1.0.yaml"); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// TestFixCircle: modules that contain each other cannot be pinned, and end.
func TestFixCircle(t *testing.T) {
	_, dir := newRegistry(t, "")
	for _, m := range [][2]string{{"p", "q"}, {"q", "p"}} {
		put(t, dir, "modules/"+m[0]+"/module.yaml", moduleYAML(m[0], ""))
		put(t, dir, "modules/"+m[0]+"/versions/1.0.0.yaml", strings.Replace(pipeline("1.0.0", m[1]+"@1.0.0", ""), "module: p", "module: "+m[0], 1))
	}
	res := check(t, dir, registry.CheckOptions{Fix: true})
	if res.Diagnostics.Err() == nil || res.Versions < 2 {
		t.Errorf("%v", res.Diagnostics)
	}
}

// TestWithoutRepository: nothing is published, and of older versions nobody
// knows the source.
func TestWithoutRepository(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "registry.yaml", registryYAML)
	put(t, dir, "modules/a/module.yaml", moduleYAML("a", ""))
	put(t, dir, "modules/a/src/main.py", "two\n")
	one := version("a", "1.0.0", "2026-01-01T00:00:00Z", "  digest: "+srcDigest(t, "one\n")+"\n")
	put(t, dir, "modules/a/versions/1.0.0.yaml", one)
	put(t, dir, "modules/a/versions/1.1.0.yaml", version("a", "1.1.0", "2026-01-02T00:00:00Z", ""))
	if res := check(t, dir, registry.CheckOptions{Fix: true}); len(res.Diagnostics) > 0 || !slices.Equal(res.Fixed, []string{"modules/a/versions/1.1.0.yaml"}) {
		t.Errorf("fixed %q: %v", res.Fixed, res.Diagnostics)
	}
	if get(t, dir, "modules/a/versions/1.0.0.yaml") != one {
		t.Error("the digest of a source that is gone was replaced")
	}
}

func TestLineEnds(t *testing.T) {
	root, dir := newRegistry(t, "")
	pinned := pipeline("1.0.0", "a@1.0.0", string(schema.VersionDigest([]byte(get(t, dir, "modules/a/versions/1.0.0.yaml")))))
	put(t, dir, "modules/p/module.yaml", moduleYAML("p", ""))
	put(t, dir, "modules/p/versions/1.0.0.yaml", pinned)
	put(t, root, ".gitattributes", "*.py -text\n")
	commit(t, root, "p")
	other := filepath.Join(t.TempDir(), "windows")
	runGit(t, root, "clone", "-q", "-c", "core.autocrlf=true", root, other)
	if !strings.Contains(get(t, other, "modules/p/versions/1.0.0.yaml"), "\r\n") {
		t.Fatal("the checkout has no CRLF")
	}
	if res := check(t, other, registry.CheckOptions{Deep: true}); len(res.Diagnostics) > 0 {
		t.Error(res.Diagnostics)
	}
	if res := check(t, other, registry.CheckOptions{Base: "HEAD", Fix: true}); len(res.Diagnostics) > 0 || len(res.Fixed) > 0 {
		t.Errorf("fixed %q: %v", res.Fixed, res.Diagnostics)
	}
	for _, d := range []string{dir, other} {
		m, _, err := pick(t, d, "p").Manifest()
		if err != nil || m.Digest != schema.VersionDigest([]byte(pinned)) {
			t.Errorf("in %s: %v %v", d, m.Digest, err)
		}
	}
}

// pick opens the registry in dir and picks a version.
func pick(t *testing.T, dir, selector string) *registry.Version {
	t.Helper()
	r, diags, err := registry.Open(os.DirFS(dir), dir)
	if err != nil || len(diags) > 0 {
		t.Fatal(err, diags)
	}
	r.Dir = dir
	name, number, _ := strings.Cut(selector, "@")
	p, err := r.Pick(name, number, registry.PickOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p.Version
}

func TestSource(t *testing.T) {
	content := func(t *testing.T, v *registry.Version) string {
		t.Helper()
		tree, err := v.Source(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		out := t.TempDir()
		d, err := tree.Unpack(t.Context(), out)
		if m, _, _ := v.Manifest(); err != nil || d.Digest != m.Snapshot.Digest {
			t.Fatalf("%s: %v", d.Digest, err)
		}
		return get(t, out, "main.py")
	}
	for _, prefix := range []string{"", "deep/reg"} {
		t.Run("in "+prefix, func(t *testing.T) {
			root, dir := newRegistry(t, prefix)
			if got := content(t, pick(t, dir, "a@1.0.0")); got != "one\n" {
				t.Errorf("as it is: %q", got)
			}
			// 1.1.0 is made in two commits of a branch, and comes by a merge.
			runGit(t, root, "switch", "-q", "-c", "work")
			put(t, dir, "modules/a/versions/1.1.0.yaml", version("a", "1.1.0", "2026-02-01T00:00:00Z", ""))
			commit(t, root, "not yet")
			put(t, dir, "modules/a/src/main.py", "two\n")
			check(t, dir, registry.CheckOptions{Fix: true, Base: "main"})
			commit(t, root, "now")
			runGit(t, root, "switch", "-q", "main")
			put(t, root, "other", "x")
			commit(t, root, "main goes on")
			runGit(t, root, "merge", "-q", "--no-ff", "-m", "merge", "work")
			put(t, dir, "modules/a/src/main.py", "three\n")
			commit(t, root, "the folder moves on")
			for number, want := range map[string]string{"1.0.0": "one\n", "1.1.0": "two\n"} {
				if got := content(t, pick(t, dir, "a@"+number)); got != want {
					t.Errorf("%s: %q", number, got)
				}
			}
			if res := check(t, dir, registry.CheckOptions{Deep: true}); len(res.Diagnostics) > 0 {
				t.Error(res.Diagnostics)
			}
			if err := os.RemoveAll(filepath.Join(dir, "modules/a/src")); err != nil {
				t.Fatal(err)
			}
			if got := content(t, pick(t, dir, "a@1.1.0")); got != "two\n" {
				t.Errorf("without the folder: %q", got)
			}
			if res := check(t, dir, registry.CheckOptions{Deep: true}); len(res.Diagnostics) > 0 {
				t.Error(res.Diagnostics)
			}
		})
	}
}

func TestSourceLost(t *testing.T) {
	lost := func(t *testing.T, dir, selector string, says ...string) {
		t.Helper()
		_, err := pick(t, dir, selector).Source(t.Context(), nil)
		if err == nil {
			t.Fatal("it was found")
		}
		for _, s := range append(says, selector, filepath.Join(dir, "modules/a/src")) {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%q is not in %q", s, err)
			}
		}
	}
	root, dir := newRegistry(t, "")
	put(t, dir, "modules/a/versions/1.1.0.yaml", version("a", "1.1.0", "2026-02-01T00:00:00Z", "  digest: "+srcDigest(t, "never\n")+"\n"))
	has := folderDigest(t, filepath.Join(dir, "modules/a/src"))[:19]
	lost(t, dir, "a@1.1.0", "history", has)
	lost(t, dir, "a@1.1.0", "history", srcDigest(t, "never\n")[:19])
	hash := commit(t, root, "it never had that digest")
	lost(t, dir, "a@1.1.0", hash[:12], has)

	alone := t.TempDir()
	put(t, alone, "registry.yaml", registryYAML)
	put(t, alone, "modules/a/module.yaml", moduleYAML("a", ""))
	put(t, alone, "modules/a/versions/1.0.0.yaml", get(t, dir, "modules/a/versions/1.0.0.yaml"))
	lost(t, alone, "a@1.0.0")
	if _, err := pick(t, alone, "a@1.0.0").Source(t.Context(), nil); !errors.Is(err, git.ErrNoRepository) {
		t.Errorf("without a repository: %v", err)
	}
	if v := inMemory(t, "", "1.0.0"); v != nil {
		p, err := v.Pick("train", "", registry.PickOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Source(t.Context(), nil); err == nil || p.Folder() != "" {
			t.Errorf("in memory: %v", err)
		}
	}
}

func TestUnpinnedRequirements(t *testing.T) {
	const hash = " --hash=sha256:abc"
	for _, c := range []struct {
		text string
		want []string // what the complaints begin with
	}{
		{"", nil},
		{"# nothing\n\n", nil},
		{"numpy==1.26.4" + hash + "\n", nil},
		{"numpy==1.26.4 \\\n    --hash=sha256:abc \\\n    --hash=sha256:def\n# via x\nscipy==1" + hash, nil},
		{"Foo[bar,baz]==1.0 ; python_version < '3.12'" + hash + " # why\r\n", nil},
		{"--require-hashes\n--only-binary=:all:\nnumpy===1" + hash + "\n", nil},
		{"numpy\n", []string{"line 1"}},
		{"numpy==1.26.4\n", []string{"line 1"}},
		{"numpy>=1" + hash + "\nscipy==1.*" + hash + "\n", []string{"line 1", "line 2"}},
		{"numpy==1 --hash=md5:abc\n", []string{"line 1"}},
		{"-r more.txt\n-e .\n--index-url https://example.com\n", []string{"line 1", "line 2", "line 3"}},
		{"./wheel.whl\ngit+https://example.com/x" + hash + "\n", []string{"line 1", "line 2"}},
		{"numpy==1" + hash + "\nscipy \\", []string{"line 3"}},
		{"# " + strings.Repeat("x", 9<<20), []string{"line "}},
		{strings.Repeat("# x\n", 3<<20) + "numpy\n", []string{"line "}},
	} {
		got := registry.UnpinnedRequirements(strings.NewReader(c.text))
		if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
			t.Errorf("%.100q: %q", c.text, got)
		}
	}
}
