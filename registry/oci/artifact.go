package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/modyard/modyard/schema"
)

// Blob is content under its digest.
type Blob struct {
	Type   string // media type
	Title  string // the name of its file, for those who pull it; or ""
	Digest schema.Digest
	Size   int64
	// Write writes the content. Nil when Data holds it.
	Write func(ctx context.Context, w io.Writer) error
	Data  []byte
}

// NewBlob is a small blob.
func NewBlob(kind string, data []byte) Blob {
	return Blob{Type: kind, Digest: schema.DigestBytes(data), Size: int64(len(data)), Data: data}
}

// Artifact is something that is no image, under a tag.
type Artifact struct {
	Type   string // its artifact type
	Config Blob   // small
	Blobs  []Blob
}

// maxInline bounds a blob that also stands in the manifest, so that it takes no
// request of its own.
const maxInline = 4 << 10

// PutArtifact sends an artifact: its blobs, then the manifest under the tag.
func (c *Client) PutArtifact(ctx context.Context, repository, tag string, a Artifact) error {
	repo, err := name.NewRepository(repository, name.StrictValidation)
	if err != nil {
		return &ProblemError{Message: fmt.Sprintf("%q is no repository of images", repository), Hint: "write HOST/PATH"}
	}
	m := artifact{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: a.Type, Config: a.Config.descriptor(), Layers: []v1.Descriptor{}}
	for _, b := range a.Blobs {
		m.Layers = append(m.Layers, b.descriptor())
	}
	g, sending := errgroup.WithContext(ctx)
	for _, b := range append([]Blob{a.Config}, a.Blobs...) {
		g.Go(func() error { return c.pusher.Upload(sending, repo, &blobLayer{sending, b}) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("cannot send to %s: %w", repository, err)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	client, err := c.shared(ctx, repo, transport.PushScope)
	if err != nil {
		return fmt.Errorf("cannot send to %s: %w", repository, err)
	}
	if _, err := c.put(ctx, client, repo, tag, m.MediaType, text); err != nil {
		return fmt.Errorf("cannot send to %s: %w", repository, err)
	}
	return nil
}

func (b Blob) descriptor() v1.Descriptor {
	d := v1.Descriptor{MediaType: mediaType(b.Type), Size: b.Size, Digest: hashOf(b.Digest)}
	if len(b.Data) <= maxInline {
		d.Data = b.Data
	}
	if b.Title != "" {
		d.Annotations = map[string]string{"org.opencontainers.image.title": b.Title}
	}
	return d
}

// GetArtifact reads an artifact; nil when there is none under the tag. Config
// has its data, which agrees with its digest; of the blobs, the small ones may.
func (c *Client) GetArtifact(ctx context.Context, repository, tag string) (*Artifact, error) {
	r, err := parse(repository + ":" + tag)
	if err != nil {
		return nil, err
	}
	desc, err := c.get(ctx, r)
	if err != nil || desc == nil {
		return nil, err
	}
	var m artifact
	if err := json.Unmarshal(desc.Manifest, &m); err != nil {
		return nil, &ProblemError{Message: fmt.Sprintf("%s has a manifest that cannot be read", r)}
	}
	out := &Artifact{Type: m.ArtifactType, Config: Blob{Type: string(m.Config.MediaType), Digest: digestOf(m.Config.Digest), Size: m.Config.Size, Data: m.Config.Data}}
	if out.Config.Data, err = c.ReadBlob(ctx, repository, out.Config, maxAttachment); err != nil {
		return nil, err
	}
	for _, l := range m.Layers {
		b := Blob{Type: string(l.MediaType), Digest: digestOf(l.Digest), Size: l.Size}
		if l.Data != nil && schema.DigestBytes(l.Data) == b.Digest {
			b.Data = l.Data
		}
		out.Blobs = append(out.Blobs, b)
	}
	return out, nil
}

// OpenBlob begins to read a blob. What is read is to be compared with its
// digest.
func (c *Client) OpenBlob(ctx context.Context, repository string, d schema.Digest) (io.ReadCloser, error) {
	r, err := parse(repository + "@" + string(d))
	if err != nil {
		return nil, err
	}
	l, err := c.puller.Layer(ctx, r.(name.Digest))
	if err != nil {
		return nil, fmt.Errorf("cannot read from %s: %w", repository, err)
	}
	rc, err := l.Compressed()
	if err != nil {
		return nil, fmt.Errorf("cannot read from %s: %w", repository, err)
	}
	return &interrupted{ctx, rc}, nil
}

// blobLayer is a blob in the form that the library sends.
type blobLayer struct {
	ctx context.Context //nolint:containedctx // the library's layers take none
	Blob
}

func (l *blobLayer) Digest() (v1.Hash, error)            { return hashOf(l.Blob.Digest), nil }
func (l *blobLayer) DiffID() (v1.Hash, error)            { return hashOf(l.Blob.Digest), nil }
func (l *blobLayer) Size() (int64, error)                { return l.Blob.Size, nil }
func (l *blobLayer) MediaType() (types.MediaType, error) { return mediaType(l.Type), nil }
func (l *blobLayer) Uncompressed() (io.ReadCloser, error) {
	return l.Compressed()
}

func (l *blobLayer) Compressed() (io.ReadCloser, error) {
	if l.Write == nil {
		return io.NopCloser(bytes.NewReader(l.Data)), nil
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(l.Write(l.ctx, w)) }()
	return r, nil
}
