package registry_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/schema"
)

// manifest reads a version whose middle part is given.
func manifest(t *testing.T, body string) *schema.ModuleVersion {
	t.Helper()
	text := "apiVersion: modyard.dev/v1\nkind: ModuleVersion\nmodule: m\nversion: 1.0.0\n" + body
	if !strings.Contains(body, "run:") && !strings.Contains(body, "steps:") {
		text += "run: {command: [python]}\nsnapshot: {folder: ../src}\n"
	}
	m, diags := schema.ParseModuleVersion("1.0.0.yaml", []byte(text))
	if diags.Err() != nil {
		t.Fatalf("%v\n%s", diags, text)
	}
	return m
}

func TestCompare(t *testing.T) {
	const none, patch, minor, major = "", "patch", "minor", "major"
	in := func(s string) string { return "inputs: {" + s + "}\n" }
	out := func(s string) string { return "outputs: {" + s + "}\n" }
	par := func(s string) string { return "params: {" + s + "}\n" }
	sec := func(s string) string { return "secrets: {" + s + "}\n" }
	run := func(s string) string { return "run: {" + s + "}\nsnapshot: {folder: ../src}\n" }
	nested := func(out, steps string) string {
		return "outputs: {o: {type: file, from: \"" + out + "\"}}\nsteps: {" + steps + "}\n"
	}
	for _, c := range []struct {
		name, older, newer string
		up, down           string // the bump from older to newer, and back
		where              string // of the change that decides, where there is one
	}{
		{"nothing", in("a: {type: file}"), in("a: {type: file}"), none, none, ""},
		{"the order of names", in("a: {type: file}, b: {type: file}"), in("b: {type: file}, a: {type: file}"), none, none, ""},

		{"input, optional", "", in("a: {type: file, optional: true}"), minor, major, "inputs.a"},
		{"input, required", "", in("a: {type: file}"), major, major, "inputs.a"},
		{"input renamed", in("a: {type: file}"), in("b: {type: file}"), major, major, "inputs.a"},
		{"input renamed by case", in("a: {type: file, optional: true}"), in("A: {type: file, optional: true}"), major, major, "inputs.a"},
		{"input made optional", in("a: {type: file}"), in("a: {type: file, optional: true}"), minor, major, "inputs.a"},
		{"input retyped", in("a: {type: file}"), in("a: {type: folder}"), major, major, "inputs.a"},
		{"input, format added", in("a: {type: file}"), in("a: {type: file, format: csv}"), major, major, "inputs.a"},
		{"input, format changed", in("a: {type: file, format: json}"), in("a: {type: file, format: csv}"), major, major, "inputs.a"},
		{"input described", in("a: {type: file}"), in("a: {type: file, description: d}"), patch, patch, "inputs.a"},

		{"output", "", out("a: {type: file}"), minor, major, "outputs.a"},
		{"output, optional", "", out("a: {type: file, optional: true}"), minor, major, "outputs.a"},
		{"output made optional", out("a: {type: file}"), out("a: {type: file, optional: true}"), major, minor, "outputs.a"},
		{"output retyped", out("a: {type: integer}"), out("a: {type: number}"), major, major, "outputs.a"},
		{"output, list retyped", out("a: {type: list, items: integer}"), out("a: {type: list}"), major, major, "outputs.a"},
		{"output, format changed", out("a: {type: file, format: json}"), out("a: {type: file, format: csv}"), major, major, "outputs.a"},
		{"output narrower by a bound", out("a: {type: number}"), out("a: {type: number, minimum: 0}"), minor, major, "outputs.a"},
		{"output narrower by an enum", out("a: {type: string}"), out("a: {type: string, enum: [x]}"), minor, major, "outputs.a"},
		{"output, enum grows", out("a: {type: string, enum: [x]}"), out("a: {type: string, enum: [x, y]}"), major, minor, "outputs.a"},
		{"output, pattern", out("a: {type: string}"), out("a: {type: string, pattern: x+}"), minor, major, "outputs.a"},
		{"output, another pattern", out("a: {type: string, pattern: x+}"), out("a: {type: string, pattern: x*}"), major, major, "outputs.a"},
		{"output described", out("a: {type: file}"), out("a: {type: file, description: d}"), patch, patch, "outputs.a"},

		{"param with a default", "", par("a: {type: integer, default: 1}"), minor, major, "params.a"},
		{"param, optional", "", par("a: {type: integer, optional: true}"), minor, major, "params.a"},
		{"param, required", "", par("a: {type: integer}"), major, major, "params.a"},
		{"param renamed by a hyphen", par("a_b: {type: integer, default: 1}"), par("a-b: {type: integer, default: 1}"), major, major, "params.a_b"},
		{"param retyped", par("a: {type: integer}"), par("a: {type: number}"), major, major, "params.a"},
		{"param, list retyped", par("a: {type: list, items: integer}"), par("a: {type: list, items: number}"), major, major, "params.a"},
		{"param, the default type of a list", par("a: {type: list}"), par("a: {type: list, items: string}"), none, none, ""},
		{"param, default changed", par("a: {type: integer, default: 1}"), par("a: {type: integer, default: 2}"), minor, minor, "params.a"},
		{"param, default 0", par("a: {type: integer, optional: true}"), par("a: {type: integer, default: 0}"), minor, minor, "params.a"},
		{"param, default dropped", par("a: {type: integer, default: 1}"), par("a: {type: integer}"), major, minor, "params.a"},
		{"param, default the same number", par("a: {type: number, default: 1}"), par("a: {type: number, default: 1.0}"), none, none, ""},
		{"param, default list", par("a: {type: list, default: [x]}"), par("a: {type: list, default: [x, y]}"), minor, minor, "params.a"},
		{"param made optional", par("a: {type: integer}"), par("a: {type: integer, optional: true}"), minor, major, "params.a"},
		{"param described", par("a: {type: integer}"), par("a: {type: integer, description: d}"), patch, patch, "params.a"},

		{"enum", par("a: {type: string}"), par("a: {type: string, enum: [x, y]}"), major, minor, "params.a"},
		{"enum grows", par("a: {type: string, enum: [x]}"), par("a: {type: string, enum: [y, x]}"), minor, major, "params.a"},
		{"enum in another order", par("a: {type: string, enum: [x, y]}"), par("a: {type: string, enum: [y, x]}"), none, none, ""},
		{"enum changes", par("a: {type: string, enum: [x, y]}"), par("a: {type: string, enum: [x, z]}"), major, major, "params.a"},
		{"minimum", par("a: {type: number}"), par("a: {type: number, minimum: 0}"), major, minor, "params.a"},
		{"minimum rises", par("a: {type: number, minimum: 0}"), par("a: {type: number, minimum: 0.5}"), major, minor, "params.a"},
		{"minimum excluded", par("a: {type: number, minimum: 0}"), par("a: {type: number, exclusiveMinimum: 0}"), major, minor, "params.a"},
		{"exclusive minimum rises", par("a: {type: number, exclusiveMinimum: 0}"), par("a: {type: number, exclusiveMinimum: 1}"), major, minor, "params.a"},
		{"exclusive minimum below a minimum", par("a: {type: number, minimum: 1}"), par("a: {type: number, exclusiveMinimum: 0.5}"), minor, major, "params.a"},
		{"both minima, the outer one says nothing", par("a: {type: number, minimum: 1}"), par("a: {type: number, minimum: 1, exclusiveMinimum: 0}"), none, none, ""},
		{"both minima at one place", par("a: {type: number, exclusiveMinimum: 1}"), par("a: {type: number, minimum: 1, exclusiveMinimum: 1}"), none, none, ""},
		{"maximum", par("a: {type: number}"), par("a: {type: number, maximum: 0}"), major, minor, "params.a"},
		{"maximum falls", par("a: {type: number, maximum: 1}"), par("a: {type: number, maximum: 0.5}"), major, minor, "params.a"},
		{"maximum excluded", par("a: {type: number, maximum: 1}"), par("a: {type: number, exclusiveMaximum: 1}"), major, minor, "params.a"},
		{"exclusive maximum falls", par("a: {type: number, exclusiveMaximum: 1}"), par("a: {type: number, exclusiveMaximum: 0}"), major, minor, "params.a"},
		{"both maxima, the outer one says nothing", par("a: {type: number, maximum: 1}"), par("a: {type: number, maximum: 1, exclusiveMaximum: 2}"), none, none, ""},
		{"a range moves", par("a: {type: number, minimum: 0, maximum: 1}"), par("a: {type: number, minimum: 1, maximum: 2}"), major, major, "params.a"},
		{"an integer's bounds, said otherwise", par("a: {type: integer, exclusiveMinimum: 0, maximum: 9}"), par("a: {type: integer, minimum: 1, exclusiveMaximum: 10}"), none, none, ""},
		{"an integer's bounds with a fraction", par("a: {type: integer, minimum: 0.5, maximum: 9.5}"), par("a: {type: integer, exclusiveMinimum: 0.5, exclusiveMaximum: 9.5}"), none, none, ""},
		{"an integer's bounds, narrower", par("a: {type: integer, exclusiveMinimum: 0}"), par("a: {type: integer, exclusiveMinimum: 0.5, maximum: 5}"), major, minor, "params.a"},
		{"bounds of a list of integers", par("a: {type: list, items: integer, exclusiveMinimum: 0}"), par("a: {type: list, items: integer, minimum: 1}"), none, none, ""},
		{"pattern", par("a: {type: string}"), par("a: {type: string, pattern: x+}"), major, minor, "params.a"},
		{"another pattern", par("a: {type: string, pattern: x+}"), par("a: {type: string, pattern: x*}"), major, major, "params.a"},

		{"secret, required", "", sec("a: {}"), major, major, "secrets.a"},
		{"secret, optional", "", sec("a: {optional: true}"), minor, major, "secrets.a"},
		{"secret made optional", sec("a: {}"), sec("a: {optional: true}"), minor, major, "secrets.a"},
		{"secret described", sec("a: {}"), sec("a: {description: d}"), patch, patch, "secrets.a"},

		{"description", "", "description: d\n", patch, patch, "description"},
		{"created", "", "created: 2026-01-01T00:00:00Z\n", none, none, ""},
		{"command", run("command: [python]"), run("command: [python, a.py]"), patch, patch, "command"},
		{"command, nested", run("command: [python, a]"), run("command: [python, [a]]"), patch, patch, "command"},
		{"command, where it stands", run("command: [python]"), "run:\n  command:\n  - python\nsnapshot: {folder: ../src}\n", none, none, ""},
		{"python", run("command: [python]"), run("command: [python], environment: {python: {version: '3.9'}}"), patch, patch, "environment"},
		{"python's version", run("command: [python], environment: {python: {version: '3.9'}}"), run("command: [python], environment: {python: {version: '3.10'}}"), patch, patch, "environment"},
		{"requirements", run("command: [python], environment: {python: {requirements: a.txt}}"), run("command: [python], environment: {python: {requirements: b.txt}}"), patch, patch, "environment"},
		{"environment, where it stands", run("command: [python], environment: {python: {requirements: a.txt}}"), run("command: [python],    environment: {python: {requirements: a.txt}}"), none, none, ""},
		{"image", run("command: [python]"), run("command: [python], environment: {image: 'x@sha256:" + strings.Repeat("0", 64) + "'}"), patch, patch, "environment"},
		{"env", run("command: [python], env: {A: '1'}"), run("command: [python], env: {A: '2'}"), patch, patch, "env"},
		{"env, a name", run("command: [python], env: {A: '1'}"), run("command: [python], env: {B: '1'}"), patch, patch, "env"},
		{"network", run("command: [python]"), run("command: [python], network: true"), patch, patch, "network"},
		{"resources", run("command: [python]"), run("command: [python], resources: {cpus: 2}"), patch, patch, "resources"},
		{"resources, where they stand", run("command: [python], resources: {cpus: 2}"), run("command: [python],  resources: {cpus: 2}"), none, none, ""},
		{"timeout", run("command: [python], timeout: 1m"), run("command: [python], timeout: 2m"), patch, patch, "timeout"},
		{"timeout, said otherwise", run("command: [python], timeout: 60s"), run("command: [python], timeout: 1m"), none, none, ""},
		{"deterministic", run("command: [python]"), run("command: [python], deterministic: false"), patch, patch, "deterministic"},
		{"source", "run: {command: [python]}\nsnapshot: {folder: ../src, digest: 'sha256:" + strings.Repeat("0", 64) + "'}\n", "run: {command: [python]}\nsnapshot: {folder: ../src, digest: 'sha256:" + strings.Repeat("1", 64) + "'}\n", patch, patch, "source"},
		{"a command becomes steps", "", "steps: {a: {module: b@1.0.0}}\n", patch, patch, "run"},
		{"steps", nested("${{ steps.a.outputs.o }}", "a: {module: b@1.0.0}"), nested("${{ steps.a.outputs.o }}", "a: {module: b@1.0.1}"), patch, patch, "steps"},
		{"where an output comes from", nested("${{ steps.a.outputs.o }}", "a: {module: b@1.0.0}"), nested("${{ steps.a.outputs.p }}", "a: {module: b@1.0.0}"), patch, patch, "outputs.o"},
		{"registries", "steps: {a: {module: r/b@1.0.0}}\nregistries: {r: ../x}\n", "steps: {a: {module: r/b@1.0.0}}\nregistries: {r: ../y}\n", patch, patch, "registries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := manifest(t, c.older), manifest(t, c.newer)
			for _, w := range []struct {
				d    registry.Difference
				want string
			}{{registry.Compare(a, b), c.up}, {registry.Compare(b, a), c.down}} {
				if w.want == none {
					if len(w.d.Changes) > 0 {
						t.Errorf("changes: %v", w.d.Changes)
					}
					continue
				}
				if len(w.d.Changes) == 0 || w.d.Bump().String() != w.want {
					t.Errorf("%s, want %s: %v", w.d.Bump(), w.want, w.d.Changes)
				}
			}
			if worst := registry.Compare(a, b).Of(registry.Compare(a, b).Bump()); c.where != "" && !slices.ContainsFunc(worst, func(x registry.Change) bool { return x.Where == c.where }) {
				t.Errorf("%v is not at %s", worst, c.where)
			}
		})
	}
}

func TestDifferenceTable(t *testing.T) {
	a := manifest(t, "params:\n  a: {type: integer, default: 1}\n  b: {type: integer, minimum: 2, default: 3}\n")
	b := manifest(t, "description: d\nparams:\n  a: {type: integer, default: 2}\n  b: {type: integer, minimum: 3, default: 3}\n")
	const want = "major  params.b: narrower (≥ 2 → ≥ 3)\nminor  params.a: default changed (1 → 2)\npatch  description: description changed\n"
	if got := registry.Compare(a, b).Table(); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := registry.Compare(a, a).Table(); got != "nothing changed\n" {
		t.Errorf("got\n%s", got)
	}
}

func TestBumps(t *testing.T) {
	difference := func(b registry.Bump) registry.Difference {
		return registry.Difference{Changes: []registry.Change{{Bump: registry.Patch}, {Bump: b}}}
	}
	for _, c := range []struct {
		older         string
		bump, least   registry.Bump
		next          string
		newer         string
		raised        registry.Bump
		isLargeEnough bool
	}{
		{"1.2.3", registry.Patch, registry.Patch, "1.2.4", "1.2.9", registry.Patch, true},
		{"1.2.3", registry.Minor, registry.Minor, "1.3.0", "1.3.1", registry.Minor, true},
		{"1.2.3", registry.Minor, registry.Minor, "1.3.0", "1.2.4", registry.Patch, false},
		{"1.2.3", registry.Minor, registry.Minor, "1.3.0", "2.0.0-rc.1", registry.Major, true},
		{"1.2.3", registry.Major, registry.Major, "2.0.0", "2.0.0", registry.Major, true},
		{"1.2.3", registry.Major, registry.Major, "2.0.0", "1.9.0", registry.Minor, false},
		{"0.2.3", registry.Major, registry.Minor, "0.3.0", "0.3.0", registry.Minor, true},
		{"0.2.3", registry.Major, registry.Minor, "0.3.0", "0.2.4", registry.Patch, false},
		{"0.2.3", registry.Minor, registry.Minor, "0.3.0", "1.0.0", registry.Major, true},
		{"0.2.3", registry.Patch, registry.Patch, "0.2.4", "0.2.4", registry.Patch, true},
	} {
		older, newer := semver.MustParse(c.older), semver.MustParse(c.newer)
		least := registry.Least(older, difference(c.bump))
		if least != c.least {
			t.Errorf("%s with a %s change needs %s", c.older, c.bump, least)
		}
		if next := registry.Next(older, least).String(); next != c.next {
			t.Errorf("the next %s of %s is %s", least, c.older, next)
		}
		raised := registry.Raised(older, newer)
		if raised != c.raised || (raised >= least) != c.isLargeEnough {
			t.Errorf("from %s to %s %s is raised", c.older, c.newer, raised)
		}
		if text, err := c.bump.MarshalText(); err != nil || string(text) != c.bump.String() {
			t.Errorf("%s is marshalled as %q: %v", c.bump, text, err)
		}
	}
}
