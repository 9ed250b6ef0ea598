package oci

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/modyard/modyard/schema"
)

// Published is what became of an image.
type Published struct {
	Ref     string        // HOST/PATH:TAG
	Digest  schema.Digest // of the manifest or index
	Already bool          // it was there: nothing was sent
}

// Plan is an image that is to be published under a tag.
type Plan struct {
	Ref   string // HOST/PATH:TAG
	About Version
	// Attest gives the bundles that are attached to an image of this digest
	// before its tag is visible. Default: none.
	Attest func(ctx context.Context, digest schema.Digest) ([]Attachment, error)
	// MustAttest refuses to publish without one, with this reason.
	MustAttest string
}

// Attachment is a document that refers to an image.
type Attachment struct {
	Type        string // its media type, which is also its artifact type
	Data        []byte
	Annotations map[string]string
}

// Lookup reads what is published under a reference; nil when nothing is. It
// makes one request beside those that a registry needs to be spoken to.
func (c *Client) Lookup(ctx context.Context, ref string) (*Entry, error) {
	r, err := parse(ref)
	if err != nil {
		return nil, err
	}
	desc, err := c.get(ctx, r)
	if err != nil || desc == nil {
		return nil, err
	}
	return newEntry(r, desc)
}

// get reads a manifest; nil when there is none.
func (c *Client) get(ctx context.Context, r name.Reference) (*remote.Descriptor, error) {
	desc, err := c.puller.Get(ctx, r)
	if NotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", r, err)
	}
	return desc, nil
}

// ConflictError says that something else is published under a tag.
type ConflictError struct {
	Ref   string
	Parts []string // what differs, each with what is there and what is here
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s is published with other content: %s", e.Ref, strings.Join(e.Parts, "; "))
}

// differs compares what is published with the version that would be.
func (v Version) differs(e *Entry) []string {
	want := v.annotations()
	var parts []string
	for _, x := range []struct{ what, label string }{
		{"module", LabelModule}, {"version", LabelVersion}, {"version digest", LabelDigest}, {"snapshot", LabelSnapshot},
	} {
		there, here := e.About[x.label], want[x.label]
		if there == here {
			continue
		}
		if there == "" {
			there = "nothing that modyard published"
		}
		parts = append(parts, fmt.Sprintf("the %s there is %s, here %s", x.what, there, here))
	}
	return parts
}

// Published reports whether the version is published under the plan's tag. An
// error is a [ConflictError] when something else is.
func (c *Client) Published(ctx context.Context, p Plan) (*Published, error) {
	e, err := c.Lookup(ctx, p.Ref)
	if err != nil || e == nil {
		return nil, err
	}
	if parts := p.About.differs(e); len(parts) > 0 {
		return nil, &ConflictError{p.Ref, parts}
	}
	return &Published{Ref: p.Ref, Digest: e.Digest, Already: true}, nil
}

// Publish sends a built image: its blobs, then its manifest without a tag, then
// what is attached to it, then its tag. So nothing half is ever visible under
// the tag. Blobs that are there are not sent again.
func (c *Client) Publish(ctx context.Context, p Plan, img *Image) (*Published, error) {
	r, err := parse(p.Ref)
	if err != nil {
		return nil, err
	}
	tag, ok := r.(name.Tag)
	if !ok {
		return nil, &ProblemError{Message: fmt.Sprintf("%q has no tag to publish under", p.Ref)}
	}
	if p.Attest == nil && p.MustAttest != "" {
		return nil, &ProblemError{Message: fmt.Sprintf("%s must have a provenance: %s", p.Ref, p.MustAttest), Hint: "sign it: --key FILE, or publish from a workflow with id-token: write"}
	}
	g, sending := errgroup.WithContext(ctx)
	for _, l := range img.layers {
		g.Go(func() error { return c.pusher.Upload(sending, tag.Context(), l) })
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("cannot send %s: %w", p.Ref, err)
	}
	byDigest := tag.Context().Digest(string(img.Digest))
	if err := c.pusher.Push(ctx, byDigest, img.taggable()); err != nil {
		return nil, fmt.Errorf("cannot send %s: %w", p.Ref, err)
	}
	var attached []Attachment
	if p.Attest != nil {
		if attached, err = p.Attest(ctx, img.Digest); err != nil {
			return nil, fmt.Errorf("cannot attest %s: %w", p.Ref, err)
		}
	}
	for _, a := range attached {
		if err := c.attach(ctx, byDigest, img, a); err != nil {
			return nil, fmt.Errorf("cannot attach the provenance of %s: %w", p.Ref, err)
		}
	}
	// Somebody else may have been faster; the tag is not taken from them.
	if was, err := c.Published(ctx, p); err != nil || was != nil {
		return was, err
	}
	if err := c.pusher.Push(ctx, tag, img.taggable()); err != nil {
		return nil, fmt.Errorf("cannot tag %s: %w", p.Ref, err)
	}
	return &Published{Ref: p.Ref, Digest: img.Digest}, nil
}

// PrivateHint says, of an image on ghcr.io that nobody can read without a
// login, how that is changed; "" for others. New packages are private there.
func (c *Client) PrivateHint(ctx context.Context, ref string) string {
	r, err := parse(ref)
	if err != nil || r.Context().RegistryStr() != "ghcr.io" {
		return ""
	}
	_, err = remote.Head(r, remote.WithContext(ctx), remote.WithTransport(c.http))
	if !Denied(err) && !NotFound(err) {
		return ""
	}
	owner, pkg, _ := strings.Cut(r.Context().RepositoryStr(), "/")
	return fmt.Sprintf("%s can be read with a login only; to make it public: https://github.com/orgs/%s/packages/container/%s/settings (or users/%[2]s/… for a user's)", r.Context(), owner, url.PathEscape(pkg))
}

// Tags lists the tags of a repository, HOST/PATH; nil when it is not there.
func (c *Client) Tags(ctx context.Context, repository string) ([]string, error) {
	repo, err := name.NewRepository(repository, name.StrictValidation)
	if err != nil {
		return nil, &ProblemError{Message: fmt.Sprintf("%q is no repository of images", repository), Hint: "write HOST/PATH"}
	}
	tags, err := c.puller.List(ctx, repo)
	if NotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the tags of %s: %w", repository, err)
	}
	slices.Sort(tags)
	return tags, nil
}

func (i *Image) descriptor() (*v1.Descriptor, error) {
	raw, err := i.taggable().RawManifest()
	if err != nil {
		return nil, err
	}
	t, err := i.taggable().(interface {
		MediaType() (mediaType, error)
	}).MediaType()
	return &v1.Descriptor{MediaType: t, Size: int64(len(raw)), Digest: hashOf(i.Digest)}, err
}
