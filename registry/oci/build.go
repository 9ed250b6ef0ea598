package oci

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// Labels of an image; those that are also annotations of its manifest say so.
const (
	LabelModule   = "dev.modyard.module"   // NAME; annotation
	LabelVersion  = "dev.modyard.version"  // its number; annotation
	LabelDigest   = "dev.modyard.digest"   // the version digest; annotation
	LabelSnapshot = "dev.modyard.snapshot" // the snapshot's digest; annotation
	LabelManifest = "dev.modyard.manifest" // the version's file
)

// Version is what an image is built of.
type Version struct {
	Manifest *schema.ModuleVersion
	File     []byte // the version's file as git stores it
	Source   string // the address of the repository, or ""
	// Files are the version's, nil for none. Their digest is compared with
	// the manifest's.
	Files *snapshot.Tree
	// Packages gives the Python packages that the version requires, for the
	// interpreter and the processor of a base image. Default: none.
	Packages func(ctx context.Context, python, arch string) (*snapshot.Tree, error)
}

// Image is a built image, one or several platforms.
type Image struct {
	image v1.Image
	index v1.ImageIndex
	// Digest is that of the manifest or index.
	Digest schema.Digest
	// Size is the bytes of the layers that are not the base's.
	Size   int64
	about  map[string]string // annotations
	layers []*layer
}

// Module and version that the image is of.
func (i *Image) name() (module, version string) { return i.about[LabelModule], i.about[LabelVersion] }

func (i *Image) taggable() remote.Taggable {
	if i.index != nil {
		return i.index
	}
	return i.image
}

// Build makes a version's image. Its layers are files below the scratch folder.
func (c *Client) Build(ctx context.Context, v Version) (*Image, error) {
	m := v.Manifest
	created, err := time.Parse(time.RFC3339, m.Created.Value)
	if err != nil {
		return nil, &ProblemError{Message: fmt.Sprintf("%s@%s does not say when it was created", m.Module.Value, m.Version.Value), Hint: "modyard check --fix sets it"}
	}
	b := &builder{c: c, v: v, created: created.UTC(), out: &Image{about: v.annotations()}}
	if v.Files != nil {
		l, err := pack(ctx, c.opt.Scratch, v.Files.WriteTar)
		if err != nil {
			return nil, err
		}
		if l.diffID != m.Snapshot.Digest {
			_ = os.Remove(l.file)
			return nil, &ProblemError{
				Message: fmt.Sprintf("the files of %s@%s have the digest %s, not %s", m.Module.Value, m.Version.Value, l.diffID, m.Snapshot.Digest),
				Hint:    "the version was reviewed with other files: check it out as it was merged",
			}
		}
		b.files = l
		b.add(l)
	}
	if base := b.base(); base != "" {
		err = b.onBase(ctx, base)
	} else {
		b.out.image, err = b.image(ctx, empty.Image, nil, nil)
	}
	if err != nil {
		b.out.Remove()
		return nil, err
	}
	d, err := b.out.taggable().(interface{ Digest() (v1.Hash, error) }).Digest()
	b.out.Digest = digestOf(d)
	return b.out, err
}

// annotations tell what an image is of.
func (v Version) annotations() map[string]string {
	m := v.Manifest
	a := map[string]string{
		LabelModule: m.Module.Value, LabelVersion: m.Version.Value, LabelDigest: string(m.Digest),
		"org.opencontainers.image.created": m.Created.Value,
		"org.opencontainers.image.title":   m.Module.Value,
		"org.opencontainers.image.version": m.Version.Value,
	}
	if m.Snapshot != nil && !m.Snapshot.IsEnvironment() {
		a[LabelSnapshot] = string(m.Snapshot.Digest)
	}
	if m.Description != "" {
		a["org.opencontainers.image.description"] = strings.TrimSpace(m.Description)
	}
	if v.Source != "" {
		a["org.opencontainers.image.source"] = v.Source
	}
	return a
}

type builder struct {
	c       *Client
	v       Version
	created time.Time
	out     *Image
	files   *layer            // the snapshot's, or nil
	laid    map[string]*layer // of packages, by interpreter and processor
}

func (b *builder) add(l *layer) {
	b.out.layers = append(b.out.layers, l)
	b.out.Size += l.size
}

// packagesAt is where an image has Python packages.
const packagesAt = "modyard/python/"

// packages is the layer with the Python packages that the version requires on
// this base, or nil. What changes seldom is below what changes often.
func (b *builder) packages(ctx context.Context, cfg *v1.ConfigFile) (*layer, error) {
	if b.v.Packages == nil {
		return nil, nil
	}
	python, path := "", "/"+strings.TrimSuffix(packagesAt, "/")
	for i, e := range cfg.Config.Env {
		switch name, value, _ := strings.Cut(e, "="); name {
		case "PYTHON_VERSION":
			python = value
		case "PYTHONPATH":
			path += ":" + value
			cfg.Config.Env[i] = ""
		}
	}
	cfg.Config.Env = append(slices.DeleteFunc(cfg.Config.Env, func(e string) bool { return e == "" }), "PYTHONPATH="+path)
	key := python + " " + cfg.Architecture
	if l, ok := b.laid[key]; ok {
		return l, nil
	}
	tree, err := b.v.Packages(ctx, python, cfg.Architecture)
	if err != nil {
		return nil, err
	}
	l, err := pack(ctx, b.c.opt.Scratch, func(ctx context.Context, w io.Writer) error { return tree.WriteTarUnder(ctx, w, packagesAt) })
	if err != nil {
		return nil, err
	}
	if b.laid == nil {
		b.laid = map[string]*layer{}
	}
	b.laid[key] = l
	b.add(l)
	return l, nil
}

// base is the image that the version's stands on, by digest.
func (b *builder) base() string {
	m := b.v.Manifest
	if m.Snapshot.IsEnvironment() {
		return m.Snapshot.Image.Name.Value
	}
	if m.Run == nil {
		return ""
	}
	return m.Run.Environment.Image.Value
}

func (b *builder) onBase(ctx context.Context, base string) error {
	ref, err := parse(base)
	if err != nil {
		return err
	}
	desc, err := b.c.puller.Get(ctx, ref)
	if err != nil {
		return fmt.Errorf("cannot read the image %s: %w", base, err)
	}
	b.out.about["org.opencontainers.image.base.name"] = ref.Context().Name()
	b.out.about["org.opencontainers.image.base.digest"] = ref.Identifier()
	if !desc.MediaType.IsIndex() {
		img, err := desc.Image()
		if err != nil {
			return fmt.Errorf("cannot read the image %s: %w", base, err)
		}
		b.out.image, err = b.image(ctx, img, ref, nil)
		return err
	}
	idx, err := desc.ImageIndex()
	if err != nil {
		return fmt.Errorf("cannot read the image %s: %w", base, err)
	}
	return b.onIndex(ctx, idx, ref)
}

// onIndex builds an image for each platform of the base.
func (b *builder) onIndex(ctx context.Context, idx v1.ImageIndex, ref name.Reference) error {
	list, err := idx.IndexManifest()
	if err != nil {
		return fmt.Errorf("cannot read the image %s: %w", ref, err)
	}
	out, platforms := mutate.IndexMediaType(empty.Index, types.OCIImageIndex), 0
	for _, d := range list.Manifests {
		if !d.MediaType.IsImage() || d.Platform == nil || d.Platform.OS == "unknown" {
			continue // attestations and the like
		}
		img, err := idx.Image(d.Digest)
		if err != nil {
			return fmt.Errorf("cannot read the image %s: %w", ref, err)
		}
		built, err := b.image(ctx, img, ref, d.Platform)
		if err != nil {
			return err
		}
		platforms++
		out = mutate.AppendManifests(out, mutate.IndexAddendum{Add: built, Descriptor: v1.Descriptor{Platform: d.Platform}})
	}
	if platforms == 0 {
		return &ProblemError{Message: fmt.Sprintf("the image %s has no platforms to build for", ref)}
	}
	b.out.index = mutate.Annotations(out, b.out.about).(v1.ImageIndex)
	return nil
}

// image puts the version's layers on one base image.
func (b *builder) image(ctx context.Context, base v1.Image, ref name.Reference, platform *v1.Platform) (v1.Image, error) {
	from, err := configFile(base)
	if err != nil {
		return nil, fmt.Errorf("cannot read the image %s: %w", ref, err)
	}
	cfg := from.DeepCopy()
	layers, err := base.Layers()
	if err != nil {
		return nil, fmt.Errorf("cannot read the image %s: %w", ref, err)
	}
	var add []mutate.Addendum
	for _, l := range layers {
		add = append(add, mutate.Addendum{Layer: &remote.MountableLayer{Layer: ociLayer{l}, Reference: ref}})
	}
	b.configure(cfg, platform)
	ours := func(what string, l *layer) {
		add = append(add, mutate.Addendum{Layer: l})
		cfg.History = append(cfg.History, v1.History{Created: v1.Time{Time: b.created}, CreatedBy: "modyard: " + what + " " + string(l.diffID)})
	}
	packages, err := b.packages(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if packages != nil {
		ours("packages", packages)
	}
	if b.files != nil {
		ours("snapshot", b.files)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if img, err = mutate.Append(img, add...); err != nil {
		return nil, err
	}
	got, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cfg.RootFS = got.RootFS
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		return nil, err
	}
	return mutate.Annotations(img, b.out.about).(v1.Image), nil
}

func (b *builder) configure(cfg *v1.ConfigFile, platform *v1.Platform) {
	m := b.v.Manifest
	if platform != nil {
		cfg.OS, cfg.Architecture, cfg.Variant = platform.OS, platform.Architecture, platform.Variant
	}
	cfg.OS, cfg.Architecture = cmp.Or(cfg.OS, "linux"), cmp.Or(cfg.Architecture, "amd64")
	cfg.Created, cfg.Author, cfg.Container = v1.Time{Time: b.created}, "", ""
	labels := map[string]string{}
	maps.Copy(labels, cfg.Config.Labels)
	maps.DeleteFunc(labels, func(k, _ string) bool { return strings.HasPrefix(k, "dev.modyard.") }) // of a base that is a module too
	maps.Copy(labels, b.out.about)
	labels[LabelManifest] = string(b.v.File)
	cfg.Config.Labels = labels
	if b.files != nil {
		cfg.Config.WorkingDir = "/" + strings.TrimSuffix(snapshot.Prefix, "/")
	}
	if argv := m.DefaultCommand(); len(argv) > 0 {
		cfg.Config.Entrypoint, cfg.Config.Cmd = nil, argv
	}
	if m.Run != nil {
		for _, e := range m.Run.Env {
			if !strings.Contains(e.Value.Value, "${{") {
				cfg.Config.Env = append(cfg.Config.Env, e.Name+"="+e.Value.Value)
			}
		}
	}
}

// ociLayer is a base image's layer under OCI's name of its type; the bytes are
// the same.
type ociLayer struct{ v1.Layer }

func (l ociLayer) MediaType() (types.MediaType, error) {
	t, err := l.Layer.MediaType()
	switch t {
	case types.DockerLayer:
		t = types.OCILayer
	case types.DockerUncompressedLayer:
		t = types.OCIUncompressedLayer
	}
	return t, err
}

func (l ociLayer) Descriptor() (*v1.Descriptor, error) {
	d, err := partial.Descriptor(l.Layer)
	if err != nil {
		return nil, err
	}
	out := *d
	out.MediaType, err = l.MediaType()
	return &out, err
}

// Remove removes what the image was built in; it cannot be sent any more.
func (i *Image) Remove() {
	for _, l := range i.layers {
		_ = os.Remove(l.file)
	}
}

// ManifestJSON is the image's manifest or index, as it is published.
func (i *Image) ManifestJSON() (json.RawMessage, error) {
	return i.taggable().RawManifest()
}
