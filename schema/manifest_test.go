package schema

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

func readCase(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// caseKind is the kind that a case's name begins with, as a registry's layout
// tells what a file must be; none for "any", which goes by the text's own kind.
func caseKind(file string) string {
	first, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".yaml"), "-")
	switch first {
	case "registry":
		return KindRegistry
	case "module":
		return KindModule
	case "version":
		return KindModuleVersion
	case "pipeline":
		return KindPipeline
	case "lock":
		return KindLock
	case "test":
		return KindModuleTest
	case "any":
		return ""
	}
	panic("a case begins with registry, module, version, pipeline, lock, test or any: " + file)
}

func parseCase(file string, data []byte) (any, Diagnostics) {
	base := filepath.Base(file)
	switch caseKind(file) {
	case KindRegistry:
		return some(ParseRegistry(base, data))
	case KindModule:
		return some(ParseModule(base, data))
	case KindModuleVersion:
		return some(ParseModuleVersion(base, data))
	case KindPipeline:
		return some(ParsePipeline(base, data))
	case KindLock:
		return some(ParseLock(base, data))
	case KindModuleTest:
		return some(ParseModuleTest(base, data))
	}
	return Parse(base, data)
}

func TestManifestsErr(t *testing.T) {
	for _, file := range manifests(t, "err") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, diags := parseCase(file, readCase(t, file))
			if len(diags) == 0 {
				t.Fatal("no diagnostics")
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".out", listing(diags))
		})
	}
}

func TestManifestsOK(t *testing.T) {
	for _, file := range manifests(t, "ok") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data := readCase(t, file)
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

// TestVerdicts writes, for another validator to agree with, what the schema
// layer alone says of every case: to the file that MODYARD_VERDICTS names, as
// .ci/schemas asks for it.
func TestVerdicts(t *testing.T) {
	out := cmp.Or(os.Getenv("MODYARD_VERDICTS"), filepath.Join(t.TempDir(), "verdicts.json"))
	type verdict struct {
		Schema string `json:"schema"`
		YAML   bool   `json:"yaml"`  // the text is what the schema layer reads
		Valid  bool   `json:"valid"` // against the schema
	}
	verdicts := map[string]verdict{}
	for _, file := range slices.Concat(manifests(t, "err"), manifests(t, "ok")) {
		d := parseYAML(file, readCase(t, file), MaxPipeline)
		v := verdict{YAML: len(d.diags) == 0}
		kind := caseKind(file)
		if kind == "" && v.YAML {
			kind = d.kind()
		}
		if v.Schema = kindFiles[kind]; v.Schema == "" {
			continue // of no kind
		}
		if v.YAML {
			d.validate(kind)
			v.Valid = len(d.diags) == 0
		}
		verdicts[filepath.ToSlash(file)] = v
	}
	if err := os.WriteFile(out, []byte(JSON(verdicts)), 0o644); err != nil {
		t.Fatal(err)
	}
}
