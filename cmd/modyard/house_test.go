package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/modyard/modyard/"

// house says which packages of ours each package may import; what is not
// listed may import none.
var house = map[string][]string{
	"cmd/modyard":       {"schema", "registry", "registry/attest", "registry/git", "registry/github", "registry/oci", "registry/snapshot", "registry/wheels", "runner", "runner/local", "runner/store"},
	"registry":          {"schema", "registry/git", "registry/snapshot"},
	"registry/snapshot": {"schema", "registry/git"},
	"registry/git":      {},
	"registry/wheels":   {"registry/snapshot"},
	"registry/github":   {"registry/git", "registry/snapshot"},
	// A fake server for tests.
	"registry/github/githubtest": {},
	"registry/attest":            {"schema"},
	"registry/oci":               {"schema", "registry/attest", "registry/snapshot"},
	"runner":                     {"schema", "registry/snapshot", "runner/store"},
	"runner/store":               {"schema", "registry/snapshot"},
	"runner/local":               {"schema", "registry/snapshot", "runner", "runner/store"},
	"runner/conformance":         {"schema", "registry/snapshot", "runner", "runner/store"},
	"schema":                     {},
}

// owners are the only packages that import a library that carries weight.
var owners = map[string][]string{
	"gopkg.in/yaml.v3":                         {"schema", "runner/conformance"}, // the latter reads cases of tests
	"github.com/santhosh-tekuri/jsonschema/v5": {"schema"},
	"github.com/sethvargo/go-githubactions":    {"cmd/modyard"},
	"github.com/spf13/cobra":                   {"cmd/modyard"},
	"golang.org/x/term":                        {"cmd/modyard"},
	"github.com/google/go-containerregistry":   {"registry/oci"},
	"github.com/sigstore/sigstore-go":          {"registry/attest"},
	"github.com/klauspost/pgzip":               {"registry/oci"},
	"github.com/google/go-github/v60":          {"registry/github"},
	"github.com/getkin/kin-openapi":            {"registry/github/githubtest"},
	"github.com/bmatcuk/doublestar/v4":         {"registry/snapshot"},
	"github.com/agnivade/levenshtein":          {"schema"},
}

// violations lists what a package imports against the rules of the house.
func violations(pkg string, imports []string) []string {
	var out []string
	allowed, known := house[pkg]
	if !known {
		out = append(out, pkg+" has no place in the house")
	}
	for _, imp := range imports {
		if ours, ok := strings.CutPrefix(imp, module); ok && !slices.Contains(allowed, ours) {
			out = append(out, fmt.Sprintf("%s imports %s", pkg, ours))
		}
		for lib, who := range owners {
			if (imp == lib || strings.HasPrefix(imp, lib+"/")) && !slices.Contains(who, pkg) {
				out = append(out, fmt.Sprintf("%s imports %s, which belongs to %v", pkg, lib, who))
			}
		}
	}
	return out
}

func TestHouse(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && p != root) {
			return fs.SkipDir
		}
		if filepath.Ext(p) != ".go" || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		seen++
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(p))
		if err != nil {
			return err
		}
		var imports []string
		for _, i := range f.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, path)
		}
		for _, v := range violations(filepath.ToSlash(rel), imports) {
			t.Errorf("%s: %s", p, v)
		}
		return nil
	})
	if err != nil || seen == 0 {
		t.Fatalf("read %d files: %v", seen, err)
	}
}

// The rules are worth something only if they fire.
func TestHouseFires(t *testing.T) {
	for _, c := range []struct{ pkg, imp string }{
		{"schema", module + "registry"},
		{"registry", module + "runner"},
		{"runner", module + "registry"},
		{"runner/store", module + "runner"},
		{"runner", "gopkg.in/yaml.v3"},
		{"registry", "github.com/google/go-containerregistry/pkg/v1"},
		{"util", "fmt"},
	} {
		if len(violations(c.pkg, []string{c.imp})) == 0 {
			t.Errorf("%s may import %s", c.pkg, c.imp)
		}
	}
	if v := violations("registry", []string{"fmt", module + "schema"}); len(v) > 0 {
		t.Errorf("unexpected: %v", v)
	}
}

// Nothing but the fixed entries stands at the top.
func TestTopLevel(t *testing.T) {
	fixed := []string{".ci", ".git", ".gitattributes", ".github", ".gitignore", ".golangci.yml", "LICENSE", "README.md", "action.yml", "cmd", "go.mod", "go.sum", "registry", "runner", "schema", "testdata"}
	entries, err := os.ReadDir(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		ignored := e.Name() == ".modyard" || e.Name() == "modyard" // by .gitignore
		if !slices.Contains(fixed, e.Name()) && !ignored {
			t.Errorf("%q has no place at the top level", e.Name())
		}
	}
}
