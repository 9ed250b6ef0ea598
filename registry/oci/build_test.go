package oci_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/modyard/modyard/registry/oci"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// TestGolden: the image of a small version is this one, everywhere. It changes
// with the compressor: then every version's image does, and what is published
// already is no longer what would be built.
func TestGolden(t *testing.T) {
	t.Parallel()
	h := newHost(t, nil)
	addr := serveTLS(t, h)
	transport, _ := mapped(t, map[string]string{"registry.example:443": addr})
	c := newClient(t, oci.Options{Transport: transport})
	on := func(what remote.Taggable) string {
		ref := push(t, "registry.example/python:1", what, remote.WithTransport(transport))
		return "{image: '" + ref + "'}"
	}
	for _, x := range []struct{ name, environment, want string }{
		{"alone", "", "sha256:eaaafec42d82956204d39b8269f5d1eb09cdc22c0c08180c08993cbf282d9a58"},
		{"on a base", on(base(t, types.DockerManifestSchema2, "linux", "amd64")), "sha256:2233c4cb470d1f42c6fc4e228f4628b0081474b9e6b7b7db8e8263c63323460c"},
		{"on an index", on(baseIndex(t, types.OCIImageIndex, types.OCIManifestSchema1)), "sha256:90ac8d578127ae5d0e383140399130ebef1b235f1ab15aea974aca70d0ea6822"},
	} {
		if got := build(t, c, version(t, "1.0.0", x.environment, small)).Digest; string(got) != x.want {
			t.Errorf("%s: digest %s, want %s", x.name, got, x.want)
		}
	}
}

// TestSame: nothing of the machine is in an image. It changes the process, so
// it runs before the tests that run side by side.
func TestSame(t *testing.T) {
	zone, procs := time.Local, runtime.GOMAXPROCS(0)
	t.Cleanup(func() { time.Local = zone; runtime.GOMAXPROCS(procs) })
	noise := rand.New(rand.NewPCG(1, 2))
	var big strings.Builder // several blocks of the compressor
	for big.Len() < 3<<20 {
		fmt.Fprintln(&big, noise.IntN(1000))
	}
	content := maps.Clone(small)
	content["big.txt"] = big.String()
	var first schema.Digest
	for i, c := range []struct {
		zone  *time.Location
		procs int
		mask  int
		mode  os.FileMode
	}{
		{time.UTC, 1, 0o022, 0o644},
		{time.FixedZone("x", 5*3600+1800), 2, 0o077, 0o700},
		{time.FixedZone("y", -11*3600), 4, 0o000, 0o444},
	} {
		time.Local = c.zone
		runtime.GOMAXPROCS(c.procs)
		restore := umask(c.mask)
		v := version(t, "1.0.0", "", content)
		dir := t.TempDir()
		for name, text := range content {
			file := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o777), os.WriteFile(file, []byte(text), c.mode),
				os.Chtimes(file, time.Time{}, time.Unix(int64(i)*1e6, 0))); err != nil {
				t.Fatal(err)
			}
		}
		tree, err := snapshot.Folder(dir)
		if err != nil {
			t.Fatal(err)
		}
		v.Files = tree
		got := build(t, newClient(t, oci.Options{}), v).Digest
		restore()
		if first = cmp.Or(first, got); got != first {
			t.Errorf("%v: digest %s, want %s", c, got, first)
		}
	}
}

// TestConfig: what an image says of its version.
func TestConfig(t *testing.T) {
	t.Parallel()
	h, c := newHost(t, nil), newClient(t, oci.Options{})
	v := version(t, "1.0.0", "", small)
	done := publish(t, c, plan(h, v))
	desc := pull(t, done.Ref)
	if desc.MediaType != types.OCIManifestSchema1 || desc.Digest.String() != string(done.Digest) {
		t.Errorf("%s %s, want an OCI manifest %s", desc.MediaType, desc.Digest, done.Digest)
	}
	img, err := desc.Image()
	cfg, layers := configOf(t, img, err)
	if err := valid(img); err != nil {
		t.Error(err)
	}
	if len(layers) != 1 || len(cfg.RootFS.DiffIDs) != 1 || cfg.RootFS.DiffIDs[0].String() != string(v.Manifest.Snapshot.Digest) {
		t.Errorf("layers %v, want the snapshot %s alone", cfg.RootFS.DiffIDs, v.Manifest.Snapshot.Digest)
	}
	about := map[string]string{
		"dev.modyard.module": "greet", "dev.modyard.version": "1.0.0",
		"dev.modyard.digest":                   string(schema.VersionDigest(v.File)),
		"dev.modyard.snapshot":                 string(v.Manifest.Snapshot.Digest),
		"org.opencontainers.image.created":     "2026-11-23T10:00:00Z",
		"org.opencontainers.image.title":       "greet",
		"org.opencontainers.image.version":     "1.0.0",
		"org.opencontainers.image.description": "Says hello.",
		"org.opencontainers.image.source":      "https://example.com/acme/modules",
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(m.Annotations, about) {
		t.Errorf("annotations %q\nwant %q", m.Annotations, about)
	}
	about["dev.modyard.manifest"] = string(v.File)
	if !maps.Equal(cfg.Config.Labels, about) {
		t.Errorf("labels %q\nwant %q", cfg.Config.Labels, about)
	}
	got := fmt.Sprintf("%s/%s %s %q %q %q %s %d", cfg.OS, cfg.Architecture, cfg.Config.WorkingDir, cfg.Config.Entrypoint, cfg.Config.Cmd, cfg.Config.Env, cfg.Created.UTC().Format(time.RFC3339), len(cfg.History))
	if want := `linux/amd64 /modyard/snapshot [] ["python" "greet.py" "--times=3"] ["GREETING=hello"] 2026-11-23T10:00:00Z 1`; got != want {
		t.Errorf("config %s\nwant   %s", got, want)
	}
	e := lookup(t, c, done.Ref)
	file, err := e.Manifest()
	if err != nil || string(file) != string(v.File) {
		t.Errorf("the image explains itself by %q, %v", file, err)
	}
	if raw, err := build(t, c, v).ManifestJSON(); err != nil || schema.DigestBytes(raw) != done.Digest {
		t.Errorf("ManifestJSON: %v", err)
	}
}

// TestBuildRefuses: what no image is made of.
func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	c := newClient(t, oci.Options{})
	good := version(t, "1.0.0", "", small)
	other := version(t, "1.0.0", "", map[string]string{"greet.py": "print('bye')\n"})
	undated := *good.Manifest
	undated.Created = schema.Text{}
	lost := newClient(t, oci.Options{Scratch: filepath.Join(t.TempDir(), "nothing")})
	for _, x := range []struct {
		name string
		c    *oci.Client
		v    oci.Version
		says []string
	}{
		{"other files", c, oci.Version{Manifest: good.Manifest, File: good.File, Files: other.Files},
			[]string{string(good.Manifest.Snapshot.Digest), string(other.Manifest.Snapshot.Digest)}},
		{"no time", c, oci.Version{Manifest: &undated, File: good.File, Files: good.Files}, []string{"greet@1.0.0", "created"}},
		{"no scratch folder", lost, good, []string{"cannot make a layer"}},
		{"no base", c, version(t, "1.0.0", "{image: '127.0.0.1:1/x@sha256:"+strings.Repeat("0", 64)+"'}", small), []string{"127.0.0.1:1/x@sha256:000"}},
	} {
		img, err := x.c.Build(t.Context(), x.v)
		if contains(t, err, x.says...); img != nil {
			t.Errorf("%s: an image", x.name)
		}
	}
}

// base is an image that is the same in every run.
func base(tb testing.TB, kind types.MediaType, os, arch string) v1.Image {
	tb.Helper()
	layerKind, configKind := types.DockerLayer, types.DockerConfigJSON
	if kind == types.OCIManifestSchema1 {
		layerKind, configKind = types.OCILayer, types.OCIConfigJSON
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, kind), configKind)
	cfg, err := img.ConfigFile()
	if err != nil {
		tb.Fatal(err)
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture = os, arch
	cfg.Config.Env = []string{"PATH=/usr/bin"}
	cfg.Config.Entrypoint = []string{"/bin/sh"}
	cfg.Config.Cmd = []string{"-c", "true"}
	cfg.Config.User = "1000"
	cfg.Config.Labels = map[string]string{"of": "the base"}
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		tb.Fatal(err)
	}
	if img, err = mutate.Append(img, mutate.Addendum{Layer: static.NewLayer([]byte("a layer of "+os+"/"+arch), layerKind)}); err != nil {
		tb.Fatal(err)
	}
	return img
}

// baseIndex has two platforms and what docker adds: an attestation.
func baseIndex(tb testing.TB, kind, images types.MediaType) v1.ImageIndex {
	tb.Helper()
	idx := mutate.IndexMediaType(empty.Index, kind)
	for _, p := range []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64", Variant: "v8"}, {OS: "unknown", Architecture: "unknown"}} {
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: base(tb, images, p.OS, p.Architecture), Descriptor: v1.Descriptor{Platform: &p}})
	}
	return idx
}

// push sends an image past our code and gives its reference by digest.
func push(tb testing.TB, ref string, what remote.Taggable, options ...remote.Option) string {
	tb.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		tb.Fatal(err)
	}
	if err := remote.Push(r, what, options...); err != nil {
		tb.Fatal(err)
	}
	d, err := what.(interface{ Digest() (v1.Hash, error) }).Digest()
	if err != nil {
		tb.Fatal(err)
	}
	return r.Context().Digest(d.String()).Name()
}

// TestOnBase: a version on a base image, of either family of media types, one
// platform or several, is a good OCI image of the base's platforms.
func TestOnBase(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name      string
		base      remote.Taggable
		platforms []string
	}{
		{"docker", base(t, types.DockerManifestSchema2, "linux", "arm64"), []string{"linux/arm64"}},
		{"oci", base(t, types.OCIManifestSchema1, "linux", "s390x"), []string{"linux/s390x"}},
		{"docker list", baseIndex(t, types.DockerManifestList, types.DockerManifestSchema2), []string{"linux/amd64", "linux/arm64/v8"}},
		{"oci index", baseIndex(t, types.OCIImageIndex, types.OCIManifestSchema1), []string{"linux/amd64", "linux/arm64/v8"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			h, c := newHost(t, nil), newClient(t, oci.Options{})
			ref := push(t, h.addr+"/python", x.base)
			v := version(t, "1.0.0", "{image: '"+ref+"'}", small)
			done := publish(t, c, plan(h, v))
			desc := pull(t, done.Ref)
			var images []v1.Image
			var platforms []string
			if desc.MediaType.IsIndex() {
				if desc.MediaType != types.OCIImageIndex {
					t.Errorf("an index of type %s", desc.MediaType)
				}
				idx, err := desc.ImageIndex()
				if err != nil {
					t.Fatal(err)
				}
				if err := validIndex(idx); err != nil {
					t.Error(err)
				}
				m, err := idx.IndexManifest()
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range m.Manifests {
					img, err := idx.Image(d.Digest)
					if err != nil {
						t.Fatal(err)
					}
					images, platforms = append(images, img), append(platforms, d.Platform.String())
				}
			} else {
				img, err := desc.Image()
				cfg, _ := configOf(t, img, err)
				images, platforms = append(images, img), append(platforms, cfg.Platform().String())
			}
			if !slices.Equal(platforms, x.platforms) {
				t.Errorf("platforms %q, want %q", platforms, x.platforms)
			}
			for _, img := range images {
				checkOnBase(t, img, v, ref)
			}
			var about struct{ Annotations map[string]string }
			if err := json.Unmarshal(desc.Manifest, &about); err != nil || about.Annotations["org.opencontainers.image.base.digest"] != ref[strings.Index(ref, "@")+1:] {
				t.Errorf("annotations %q, %v", about.Annotations, err)
			}
			images2 := &oci.Images{Client: c, Prefixes: []string{h.prefix()}}
			if got := unpack(t, images2, v.Manifest); !maps.Equal(got, small) {
				t.Errorf("files %q", got)
			}
			if again := build(t, newClient(t, oci.Options{}), v); again.Digest != done.Digest {
				t.Errorf("again: digest %s, want %s", again.Digest, done.Digest)
			}
		})
	}
}

func checkOnBase(t *testing.T, img v1.Image, v oci.Version, ref string) {
	t.Helper()
	if err := valid(img); err != nil {
		t.Error(err)
	}
	cfg, layers := configOf(t, img, nil)
	if got := fmt.Sprintf("%d %q %q %q %s %s %s", len(layers), cfg.Config.Entrypoint, cfg.Config.Cmd, cfg.Config.Env, cfg.Config.User, cfg.Config.WorkingDir, cfg.Config.Labels["of"]); got !=
		`2 [] ["python" "greet.py" "--times=3"] ["PATH=/usr/bin" "GREETING=hello"] 1000 /modyard/snapshot the base` {
		t.Errorf("config %s", got)
	}
	if len(cfg.RootFS.DiffIDs) != 2 || cfg.RootFS.DiffIDs[1].String() != string(v.Manifest.Snapshot.Digest) || len(cfg.History) != 2 {
		t.Errorf("layers %v, history %v", cfg.RootFS.DiffIDs, cfg.History)
	}
	for _, l := range layers {
		if k, err := l.MediaType(); err != nil || k != types.OCILayer {
			t.Errorf("a layer of type %s, %v", k, err)
		}
	}
	if cfg.Config.Labels["org.opencontainers.image.base.name"]+"@"+cfg.Config.Labels["org.opencontainers.image.base.digest"] != ref {
		t.Errorf("labels %q", cfg.Config.Labels)
	}
}

// TestWithoutFiles: an image is the environment, or a version is a pipeline.
func TestWithoutFiles(t *testing.T) {
	t.Parallel()
	h, c := newHost(t, nil), newClient(t, oci.Options{})
	ref := push(t, h.addr+"/tool", base(t, types.DockerManifestSchema2, "linux", "amd64"))
	const head = "apiVersion: modyard.dev/v1\nkind: ModuleVersion\nmodule: greet\nversion: %s\ncreated: 2026-11-23T10:00:00Z\n"
	for _, x := range []struct{ name, text, want string }{
		{"environment", fmt.Sprintf(head, "1.0.0") + "run: {command: [tool, --fast]}\nsnapshot: {image: {name: '" + ref + "'}}\n", `1 [] ["tool" "--fast"] 1`},
		{"pipeline", fmt.Sprintf(head, "1.0.1") + "steps:\n  a: {module: other@1.0.0, digest: 'sha256:" + strings.Repeat("a", 64) + "'}\n", `0 [] [] 0`},
	} {
		t.Run(x.name, func(t *testing.T) {
			m, text := parsed(t, x.text)
			v := oci.Version{Manifest: m, File: text}
			done := publish(t, c, plan(h, v))
			img, err := pull(t, done.Ref).Image()
			cfg, layers := configOf(t, img, err)
			if err := valid(img); err != nil {
				t.Error(err)
			}
			if got := fmt.Sprintf("%d %q %q %d", len(layers), cfg.Config.Entrypoint, cfg.Config.Cmd, len(cfg.History)); got != x.want {
				t.Errorf("%s, want %s", got, x.want)
			}
			if _, has := cfg.Config.Labels[oci.LabelSnapshot]; has || cfg.Config.WorkingDir == "/modyard/snapshot" {
				t.Errorf("config %+v", cfg.Config)
			}
			if file, err := lookup(t, c, done.Ref).Manifest(); err != nil || string(file) != x.text {
				t.Errorf("manifest %q, %v", file, err)
			}
		})
	}
}

// TestOnOurs: the base is itself an image that modyard made; of what it says of
// its own version nothing is left.
func TestOnOurs(t *testing.T) {
	t.Parallel()
	h, c := newHost(t, nil), newClient(t, oci.Options{})
	below := publish(t, c, plan(h, version(t, "1.0.0", "", map[string]string{"a": "a"})))
	ref := h.prefix() + "/greet@" + string(below.Digest)
	v := version(t, "2.0.0", "{image: '"+ref+"'}", small)
	done := publish(t, c, plan(h, v))
	file, err := lookup(t, c, done.Ref).Manifest()
	if err != nil || string(file) != string(v.File) {
		t.Errorf("manifest %.40q, %v", file, err)
	}
	m, text := parsed(t, "apiVersion: modyard.dev/v1\nkind: ModuleVersion\nmodule: greet\nversion: 3.0.0\ncreated: 2026-11-23T10:00:00Z\nrun: {command: [a]}\nsnapshot: {image: {name: '"+ref+"'}}\n")
	done = publish(t, c, plan(h, oci.Version{Manifest: m, File: text}))
	img, err := pull(t, done.Ref).Image()
	cfg, _ := configOf(t, img, err)
	if s := cfg.Config.Labels[oci.LabelSnapshot]; s != "" {
		t.Errorf("the image has no snapshot of its own, but the label %s", s)
	}
}

// TestBaseWithoutPlatforms: an index with nothing to stand on is refused.
func TestBaseWithoutPlatforms(t *testing.T) {
	t.Parallel()
	h, c := newHost(t, nil), newClient(t, oci.Options{})
	idx := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: base(t, types.OCIManifestSchema1, "unknown", "unknown"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}},
	})
	ref := push(t, h.addr+"/python", idx)
	_, err := c.Build(t.Context(), version(t, "1.0.0", "{image: '"+ref+"'}", small))
	contains(t, err, ref)
}

// TestLayout: versions written into one layout, twice, are all there, once.
func TestLayout(t *testing.T) {
	t.Parallel()
	h, c := newHost(t, nil), newClient(t, oci.Options{})
	dir := filepath.Join(t.TempDir(), "layout")
	img, err := random.Image(2000, 3)
	if err != nil {
		t.Fatal(err)
	}
	idx := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	versions := map[string]oci.Version{
		"greet-1.0.0": version(t, "1.0.0", "", small),
		"greet-1.1.0": version(t, "1.1.0", "{image: '"+push(t, h.addr+"/a", img)+"'}", small),
		"greet-1.2.0": version(t, "1.2.0", "{image: '"+push(t, h.addr+"/b", idx)+"'}", small),
	}
	want := map[string]string{}
	for range 2 {
		for name, v := range versions {
			built := build(t, c, v)
			got, err := built.WriteLayout(dir)
			if err != nil || got != name {
				t.Fatalf("%q, %v; want %q", got, err, name)
			}
			want[name] = string(built.Digest)
		}
	}
	all, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validIndex(all); err != nil {
		t.Error(err)
	}
	m, err := all.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, d := range m.Manifests {
		got[d.Annotations["org.opencontainers.image.ref.name"]] = d.Digest.String()
	}
	if len(m.Manifests) != len(want) || !maps.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = build(t, c, versions["greet-1.0.0"]).WriteLayout(file)
	contains(t, err, file)
}

// TestRemove: what an image was built in is gone.
func TestRemove(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := newClient(t, oci.Options{Scratch: dir})
	img := build(t, c, version(t, "1.0.0", "", small))
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 1 {
		t.Errorf("scratch has %q", names)
	}
	img.Remove()
	bad := version(t, "1.0.0", "", small)
	bad.Files = version(t, "1.0.0", "", map[string]string{"x": "y"}).Files
	if _, err := c.Build(t.Context(), bad); err == nil {
		t.Error("other files are no error")
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 0 {
		t.Errorf("scratch has %q", names)
	}
}
