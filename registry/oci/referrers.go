package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/modyard/modyard/schema"
)

type mediaType = types.MediaType

// Bounds of what refers to an image.
const (
	maxReferrers  = 1000
	maxAttachment = 4 << 20 // bytes
)

// emptyConfig is the config of an artifact, which has none.
var emptyConfig = []byte("{}")

// artifact is the manifest of something that is no image. The library's has no
// artifactType.
type artifact struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     mediaType         `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        v1.Descriptor     `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Subject       *v1.Descriptor    `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// raw is a manifest that is sent as it is.
type raw struct {
	data []byte
	kind mediaType
}

func (r raw) RawManifest() ([]byte, error)  { return r.data, nil }
func (r raw) MediaType() (mediaType, error) { return r.kind, nil }

// attach sends a document that refers to an image. Registries that know
// referrers say so in the answer; for others the tag that stands in for it is
// written.
func (c *Client) attach(ctx context.Context, subject name.Digest, img *Image, a Attachment) error {
	desc, err := img.descriptor()
	if err != nil {
		return err
	}
	data, config := static.NewLayer(a.Data, mediaType(a.Type)), static.NewLayer(emptyConfig, types.OCIEmptyJSON)
	m := artifact{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: a.Type, Subject: desc, Annotations: a.Annotations}
	if m.Config, err = describe(config); err != nil {
		return err
	}
	m.Config.Data = emptyConfig
	layer, err := describe(data)
	if err != nil {
		return err
	}
	m.Layers = []v1.Descriptor{layer}
	for _, l := range []v1.Layer{config, data} {
		if err := c.pusher.Upload(ctx, subject.Context(), l); err != nil {
			return err
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return c.refer(ctx, subject, text, v1.Descriptor{
		MediaType: m.MediaType, Size: int64(len(text)), Digest: hashOf(schema.DigestBytes(text)),
		ArtifactType: a.Type, Annotations: a.Annotations,
	})
}

func describe(l v1.Layer) (v1.Descriptor, error) {
	t, err := l.MediaType()
	if err != nil {
		return v1.Descriptor{}, err
	}
	size, err := l.Size()
	if err != nil {
		return v1.Descriptor{}, err
	}
	digest, err := l.Digest()
	return v1.Descriptor{MediaType: t, Size: size, Digest: digest}, err
}

// refer sends a manifest with a subject. The library would ask whether the
// registry knows referrers, follow redirects, and take any page for a yes, which
// on ghcr.io loses the reference; the answer to the manifest itself tells.
func (c *Client) refer(ctx context.Context, subject name.Digest, text []byte, d v1.Descriptor) error {
	client, err := c.shared(ctx, subject.Context(), transport.PushScope)
	if err != nil {
		return err
	}
	known, err := c.put(ctx, client, subject.Context(), d.Digest.String(), d.MediaType, text)
	if err != nil || known == subject.DigestStr() {
		return err
	}
	return c.fallback(ctx, client, subject, d)
}

// raw is an HTTP client with credentials that follows no redirect.
func (c *Client) raw(ctx context.Context, repo name.Repository, scope string) (*http.Client, error) {
	auth, err := authn.Resolve(ctx, c.keys, repo)
	if err != nil {
		return nil, err
	}
	t, err := transport.NewWithContext(ctx, repo.Registry, auth, c.http, []string{repo.Scope(scope)})
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// shared is raw, once for a repository and scope.
func (c *Client) shared(ctx context.Context, repo name.Repository, scope string) (*http.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := repo.Name() + " " + scope
	if client, ok := c.clients[key]; ok {
		return client, nil
	}
	client, err := c.raw(ctx, repo, scope)
	if err != nil {
		return nil, err
	}
	if c.clients == nil {
		c.clients = map[string]*http.Client{}
	}
	c.clients[key] = client
	return client, nil
}

func manifestURL(repo name.Repository, reference string) string {
	return (&url.URL{Scheme: repo.Scheme(), Host: repo.RegistryStr(), Path: "/v2/" + repo.RepositoryStr() + "/manifests/" + reference}).String()
}

// put sends a manifest. It returns the subject that the registry knows it to
// have, "" where it knows no subjects.
func (c *Client) put(ctx context.Context, client *http.Client, repo name.Repository, reference string, kind mediaType, text []byte) (subject string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, manifestURL(repo, reference), bytes.NewReader(text))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", string(kind))
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return resp.Header.Get("OCI-Subject"), transport.CheckError(resp, http.StatusOK, http.StatusCreated, http.StatusAccepted)
}

// fallbackTag is the tag under which an image's referrers are listed where a
// registry does not list them itself (OCI's distribution specification,
// "Referrers Tag Schema").
func fallbackTag(subject name.Digest) name.Tag {
	return subject.Context().Tag(strings.Replace(subject.DigestStr(), ":", "-", 1))
}

// oneAtATime keeps two writers of this process from losing each other's entry.
var oneAtATime sync.Mutex

// fallback adds a descriptor to the list under the fallback tag. The tag has no
// lock of its own; an entry that somebody else overwrote is added again.
func (c *Client) fallback(ctx context.Context, client *http.Client, subject name.Digest, d v1.Descriptor) error {
	oneAtATime.Lock()
	defer oneAtATime.Unlock()
	for range 5 {
		list, err := c.fallbackList(ctx, subject)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list.Manifests, func(m v1.Descriptor) bool { return m.Digest == d.Digest }) {
			return nil
		}
		list.Manifests = append(list.Manifests, d)
		text, err := json.Marshal(list)
		if err != nil {
			return err
		}
		if _, err := c.put(ctx, client, subject.Context(), fallbackTag(subject).TagStr(), types.OCIImageIndex, text); err != nil {
			return fmt.Errorf("cannot list it: %w", err)
		}
	}
	return errors.New("cannot list it: others keep overwriting the list")
}

func (c *Client) fallbackList(ctx context.Context, subject name.Digest) (*v1.IndexManifest, error) {
	list := &v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	desc, err := c.get(ctx, fallbackTag(subject))
	if err != nil {
		return nil, err
	}
	if desc == nil {
		return list, nil
	}
	if err := json.Unmarshal(desc.Manifest, list); err != nil || desc.MediaType != types.OCIImageIndex {
		return nil, &ProblemError{Message: fmt.Sprintf("%s is no list of what refers to the image", fallbackTag(subject))}
	}
	return list, nil
}

// Attached reads what of a type refers to an image, by the registry's list and
// by the fallback tag. ref names the image by digest.
func (c *Client) Attached(ctx context.Context, ref, kind string) ([]Attachment, error) {
	r, err := parse(ref)
	if err != nil {
		return nil, err
	}
	subject, ok := r.(name.Digest)
	if !ok {
		return nil, &ProblemError{Message: fmt.Sprintf("%q does not name an image by its digest", ref)}
	}
	found, err := c.referrers(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("cannot list what refers to %s: %w", ref, err)
	}
	var out []Attachment
	for _, d := range found {
		if d.ArtifactType != "" && d.ArtifactType != kind && d.ArtifactType != string(types.OCIEmptyJSON) {
			continue
		}
		a, err := c.attachment(ctx, subject, d, kind)
		if err != nil {
			return nil, fmt.Errorf("cannot read what refers to %s: %w", ref, err)
		}
		if a != nil {
			out = append(out, *a)
		}
	}
	return out, nil
}

func (c *Client) referrers(ctx context.Context, subject name.Digest) ([]v1.Descriptor, error) {
	client, err := c.shared(ctx, subject.Context(), transport.PullScope)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: subject.Scheme(), Host: subject.RegistryStr(), Path: "/v2/" + subject.RepositoryStr() + "/referrers/" + subject.DigestStr()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", string(types.OCIImageIndex))
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	byDigest := map[v1.Hash]v1.Descriptor{}
	take := func(list *v1.IndexManifest) error {
		if len(list.Manifests) > maxReferrers {
			return &ProblemError{Message: fmt.Sprintf("more than %d documents refer to %s", maxReferrers, subject)}
		}
		for _, d := range list.Manifests {
			byDigest[d.Digest] = d
		}
		return nil
	}
	// A page that is no index, or a redirect to one, is no answer.
	if resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), string(types.OCIImageIndex)) {
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxAttachment))
		if err != nil {
			return nil, err
		}
		list := &v1.IndexManifest{}
		if err := json.Unmarshal(data, list); err != nil {
			return nil, &ProblemError{Message: fmt.Sprintf("%s answers with a list of referrers that cannot be read", subject.RegistryStr())}
		}
		if err := take(list); err != nil {
			return nil, err
		}
	}
	list, err := c.fallbackList(ctx, subject)
	if err != nil {
		return nil, err
	}
	if err := take(list); err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(byDigest), func(a, b v1.Descriptor) int {
		return strings.Compare(a.Digest.Hex, b.Digest.Hex)
	}), nil
}

// attachment reads one; nil when it is of another type, or of another image.
func (c *Client) attachment(ctx context.Context, subject name.Digest, d v1.Descriptor, kind string) (*Attachment, error) {
	desc, err := c.get(ctx, subject.Context().Digest(d.Digest.String()))
	if err != nil || desc == nil {
		return nil, err
	}
	var m artifact
	if json.Unmarshal(desc.Manifest, &m) != nil || m.Subject == nil || m.Subject.Digest.String() != subject.DigestStr() {
		return nil, nil
	}
	if m.ArtifactType != kind && string(m.Config.MediaType) != kind || len(m.Layers) != 1 || m.Layers[0].Size > maxAttachment {
		return nil, nil
	}
	l, err := c.puller.Layer(ctx, subject.Context().Digest(m.Layers[0].Digest.String()))
	if err != nil {
		return nil, err
	}
	rc, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	data, err := io.ReadAll(io.LimitReader(rc, maxAttachment+1))
	if err != nil {
		return nil, err
	}
	if hashOf(schema.DigestBytes(data)) != m.Layers[0].Digest {
		return nil, &ProblemError{Message: "it is not what its digest says"}
	}
	return &Attachment{Type: kind, Data: data, Annotations: m.Annotations}, nil
}

var _ remote.Taggable = raw{}
