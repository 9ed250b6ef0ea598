package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// Entry is what is published under a reference.
type Entry struct {
	// Ref names it by digest: HOST/PATH@sha256:…
	Ref    string
	Digest schema.Digest     // of the manifest or index
	About  map[string]string // annotations

	ref  name.Reference
	desc *remote.Descriptor
}

func newEntry(r name.Reference, desc *remote.Descriptor) (*Entry, error) {
	var m struct{ Annotations map[string]string }
	if err := json.Unmarshal(desc.Manifest, &m); err != nil {
		return nil, &ProblemError{Message: fmt.Sprintf("%s has a manifest that cannot be read", r), Err: err}
	}
	// The library takes a registry's word for the digest of old types.
	if schema.DigestBytes(desc.Manifest) != digestOf(desc.Digest) {
		return nil, &ProblemError{Message: fmt.Sprintf("%s has a manifest that is not %s", r, desc.Digest)}
	}
	if want, ok := r.(name.Digest); ok && want.DigestStr() != desc.Digest.String() {
		return nil, &ProblemError{Message: fmt.Sprintf("%s answers with the digest %s", r, desc.Digest)}
	}
	return &Entry{
		Ref: r.Context().Digest(desc.Digest.String()).Name(), Digest: digestOf(desc.Digest), About: m.Annotations,
		ref: r, desc: desc,
	}, nil
}

// images lists the images of an entry, one a platform.
func (e *Entry) images() ([]v1.Image, error) {
	if !e.desc.MediaType.IsIndex() {
		img, err := e.desc.Image()
		return []v1.Image{img}, err
	}
	idx, err := e.desc.ImageIndex()
	if err != nil {
		return nil, err
	}
	list, err := idx.IndexManifest()
	if err != nil {
		return nil, err
	}
	var out []v1.Image
	for _, d := range list.Manifests {
		if !d.MediaType.IsImage() || d.Platform != nil && d.Platform.OS == "unknown" {
			continue
		}
		img, err := idx.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		out = append(out, img)
	}
	if len(out) == 0 {
		return nil, &ProblemError{Message: fmt.Sprintf("%s has no images", e.Ref)}
	}
	return out, nil
}

// Manifest is the version's file that the image carries, unverified but for
// agreeing with what the image says of itself.
func (e *Entry) Manifest() (file []byte, err error) {
	images, err := e.images()
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", e.Ref, err)
	}
	cfg, err := configFile(images[0])
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", e.Ref, err)
	}
	text := cfg.Config.Labels[LabelManifest]
	if text == "" {
		return nil, &ProblemError{Message: e.Ref + " carries no module version", Hint: "modyard publish makes images that do"}
	}
	if d := schema.VersionDigest([]byte(text)); string(d) != e.About[LabelDigest] {
		return nil, &ProblemError{Message: fmt.Sprintf("%s says that it has the version digest %s, but carries a file with %s", e.Ref, e.About[LabelDigest], d)}
	}
	return []byte(text), nil
}

// Snapshot gives the layer of an entry whose content has the digest. The
// content is to be compared with it when it is used.
func (e *Entry) Snapshot(want schema.Digest) (snapshot.Unpacker, error) {
	images, err := e.images()
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", e.Ref, err)
	}
	if _, err := configFile(images[0]); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", e.Ref, err)
	}
	l, err := images[0].LayerByDiffID(hashOf(want))
	if err != nil {
		return nil, &ProblemError{Message: fmt.Sprintf("%s has no layer with the snapshot %s", e.Ref, want)}
	}
	return snapshot.Packed{Open: func(ctx context.Context) (io.ReadCloser, error) {
		rc, err := gunzip(l.Compressed())
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", e.Ref, err)
		}
		return &interrupted{ctx, rc}, nil
	}}, nil
}

// maxConfig bounds the config of an image, in bytes; it holds a version's file.
const maxConfig = 8 << 20

// configFile is an image's config, bounded.
func configFile(img v1.Image) (*v1.ConfigFile, error) {
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	if m.Config.Size > maxConfig {
		return nil, &ProblemError{Message: fmt.Sprintf("the config has %d bytes, which is too many", m.Config.Size)}
	}
	return img.ConfigFile()
}

// interrupted is a reader that ends with its context, which the library's do
// not.
type interrupted struct {
	ctx context.Context //nolint:containedctx // a reader has no other way to have one
	io.ReadCloser
}

func (i *interrupted) Read(p []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	return i.ReadCloser.Read(p)
}

// Folder is the tree of a folder out of an image by digest, of its first
// platform. The files are unpacked below scratch.
func (c *Client) Folder(ctx context.Context, ref, folder, scratch string) (*snapshot.Tree, error) {
	e, err := c.Lookup(ctx, ref)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, &ProblemError{Message: ref + " is not there"}
	}
	images, err := e.images()
	if err != nil {
		return nil, err
	}
	rc := mutate.Extract(images[0])
	t, err := snapshot.Tar(ctx, rc, scratch, snapshot.ArchiveOptions{Path: folder})
	return t, errors.Join(err, rc.Close())
}
