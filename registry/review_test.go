package registry_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/modyard/modyard/registry"
)

// TestReviewImages: an image is from a registry that a published version has an
// image from, or it is looked at; what a text says counts for nothing.
func TestReviewImages(t *testing.T) {
	const pin = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	_, dir := newRegistry(t, "reg")
	image := func(number, name string) {
		t.Helper()
		put(t, dir, "modules/a/versions/"+number+".yaml", strings.Replace(version("a", number, "2026-01-02T00:00:00Z", ""), "run: {", `run: {environment: {image: "`+name+pin+`"}, `, 1))
	}
	image("1.1.0", "ghcr.io/acme/tools")
	edit(t, dir, "modules/a/versions/1.1.0.yaml", "kind: ModuleVersion\n", "kind: ModuleVersion\ndescription: Better than image quay.io/acme/tools.\n")
	check(t, dir, registry.CheckOptions{Fix: true})
	base := commit(t, dir, "1.1.0")
	look := func(name, want string) {
		t.Helper()
		image("1.1.2", name)
		edit(t, dir, "modules/a/versions/1.1.2.yaml", "kind: ModuleVersion\n", "kind: ModuleVersion\ndescription: Like ghcr.io/acme/tools.\n")
		check(t, dir, registry.CheckOptions{Fix: true})
		res := check(t, dir, registry.CheckOptions{Base: base})
		if err := res.Diagnostics.Err(); err != nil {
			t.Fatal(name, err)
		}
		var got, wants []string
		for _, l := range res.Look {
			got = append(got, l.Text)
		}
		if want != "" {
			wants = []string{"a@1.1.2 has an image from " + want + ", which no published version has"}
		}
		if !slices.Equal(got, wants) {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, want := range map[string]string{
		"ghcr.io/evil/tools":    "",
		"GHCR.io/acme/other":    "",
		"hcr.io/acme/tools":     "hcr.io",
		"quay.io/acme/tools":    "quay.io",
		"python":                "docker.io",
		"evil/python":           "docker.io",
		"index.docker.io/x/y":   "docker.io",
		"localhost:5000/python": "localhost:5000",
		"EVIL/tools":            "evil",
	} {
		look(name, want)
	}
	remove(t, dir, "modules/a/versions/1.1.2.yaml")
	image("1.1.1", "python")
	check(t, dir, registry.CheckOptions{Fix: true})
	base = commit(t, dir, "1.1.1")
	look("docker.io/evil/python", "")
	look("quay.io/acme/tools", "quay.io")
}
