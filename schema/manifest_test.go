package schema

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the goldens anew")

// manifests lists the cases of a folder of testdata/manifest.
func manifests(t testing.TB, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "testdata", "manifest", folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", folder, err)
	}
	return files
}

// parseCase reads a case as the kind that its name begins with, as a registry
// does whose layout tells what a file must be; "any" goes by the text's kind.
func parseCase(file string, data []byte) (any, Diagnostics) {
	base := filepath.Base(file)
	kind, _, _ := strings.Cut(strings.TrimSuffix(base, ".yaml"), "-")
	switch kind {
	case "registry":
		return some(ParseRegistry(base, data))
	case "module":
		return some(ParseModule(base, data))
	case "version":
		return some(ParseModuleVersion(base, data))
	case "pipeline":
		return some(ParsePipeline(base, data))
	case "lock":
		return some(ParseLock(base, data))
	case "any":
		return Parse(base, data)
	}
	panic("a case begins with registry, module, version, pipeline, lock or any: " + base)
}

func TestBadManifests(t *testing.T) {
	for _, file := range manifests(t, "err") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, diags := parseCase(file, data)
			if len(diags) == 0 {
				t.Fatal("no diagnostics")
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".out", listing(diags))
		})
	}
}

func TestGoodManifests(t *testing.T) {
	for _, file := range manifests(t, "ok") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			m, diags := parseCase(file, data)
			if m == nil || len(diags) > 0 {
				t.Fatalf("%T with\n%s", m, listing(diags))
			}
			if other, diags := Parse(filepath.Base(file), data); JSON(other) != JSON(m) || len(diags) > 0 {
				t.Errorf("Parse gives\n%s\nnot\n%s\n%s", JSON(other), JSON(m), listing(diags))
			}
		})
	}
}

func listing(diags Diagnostics) string {
	var b strings.Builder
	for _, d := range diags {
		fmt.Fprintln(&b, d)
		if d.Hint != "" {
			fmt.Fprintln(&b, "  hint:", d.Hint)
		}
	}
	return b.String()
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
