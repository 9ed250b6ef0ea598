package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/attest"
	"github.com/modyard/modyard/registry/oci"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

// client speaks to OCI registries.
func (a *app) client() (*oci.Client, error) {
	if a.oci != nil {
		return a.oci, nil
	}
	f, err := a.fetcher()
	if err != nil {
		return nil, err
	}
	opt := oci.Options{Scratch: f.Scratch, Progress: func(n int64) { a.bytes.Add(n) }, UserAgent: "modyard/" + ourVersion()}
	opt.GitHubToken, _ = a.lookup("GITHUB_TOKEN")
	if hosts, _ := a.lookup("MODYARD_PLAIN_HTTP"); hosts != "" {
		opt.PlainHTTP = strings.Split(hosts, ",")
	}
	a.oci, err = oci.New(opt)
	return a.oci, err
}

// imagesOf is where the images of a registry's versions are; nil when it says
// nothing of images.
func (a *app) imagesOf(r *registry.Registry) (*oci.Images, error) {
	var prefixes []string
	for _, p := range append([]string{r.Images}, r.Mirrors...) {
		if p != "" {
			prefixes = append(prefixes, p)
		}
	}
	if len(prefixes) == 0 {
		return nil, nil
	}
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	v, err := a.verifier(r, nil)
	if err != nil {
		return nil, err
	}
	return &oci.Images{Client: c, Prefixes: prefixes, Verifier: v, Required: r.Policy.Signatures == "required"}, nil
}

// verifier knows those who may sign for a registry, and the keys in files.
func (a *app) verifier(r *registry.Registry, keys []string, identities ...attest.Identity) (*attest.Verifier, error) {
	opt := attest.VerifierOptions{Identities: identities}
	for _, k := range keys {
		data, err := os.ReadFile(k)
		if err != nil {
			return nil, fmt.Errorf("cannot read the key %s: %w", k, unwrapPath(err))
		}
		opt.Keys = append(opt.Keys, data)
	}
	if r != nil {
		for _, k := range r.Policy.Keys {
			data, err := r.ReadFile(k.Value)
			if err != nil {
				return nil, err
			}
			opt.Keys = append(opt.Keys, data)
		}
		for _, id := range r.Policy.Identities {
			opt.Identities = append(opt.Identities, attest.Identity{Issuer: id.Issuer, Subject: id.Subject.Value})
		}
	}
	if file, _ := a.lookup("SIGSTORE_TRUSTED_ROOT"); file != "" {
		t, err := attest.TrustedRoot(file)
		if err != nil {
			return nil, err
		}
		opt.Trusted = t
	}
	return attest.NewVerifier(opt)
}

// files brings the files of a version that is not in the store: from its
// folder, git's history or its origin; else from its image.
func (a *app) files(ctx context.Context, v *registry.Version) (snapshot.Unpacker, error) {
	f, err := a.fetcher()
	if err != nil {
		return nil, err
	}
	t, lost := v.Source(ctx, f)
	if lost == nil {
		return t, nil
	}
	images, err := a.imagesOf(v.Registry())
	if err != nil || images == nil || a.offline || ctx.Err() != nil {
		return nil, lost
	}
	m, _, err := v.Manifest()
	if err != nil {
		return nil, err
	}
	return &fallback{images.Snapshot(m), lost}, nil
}

// fallback names what was tried before when the last source fails as well.
type fallback struct {
	snapshot.Unpacker
	before error
}

func (f *fallback) Unpack(ctx context.Context, dir string) (snapshot.Content, error) {
	c, err := f.Unpacker.Unpack(ctx, dir)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w; and in the image: %w", f.before, err)
	}
	return c, err
}

// signer signs with a key in a file, or as the workflow that runs; nil when
// there is neither.
func (a *app) signer(key string) (attest.Signer, error) {
	if key != "" {
		data, err := os.ReadFile(key)
		if err != nil {
			return nil, fmt.Errorf("cannot read the key %s: %w", key, unwrapPath(err))
		}
		password, _ := a.lookup("COSIGN_PASSWORD")
		s, err := attest.Key(data, password)
		if err != nil {
			return nil, &hinted{fmt.Sprintf("the key %s cannot sign: %v", key, err), "make one: openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt, or cosign generate-key-pair"}
		}
		return s, nil
	}
	address, _ := a.lookup("ACTIONS_ID_TOKEN_REQUEST_URL")
	bearer, _ := a.lookup("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	if address == "" || bearer == "" || a.offline {
		return nil, nil
	}
	s := attest.Keyless{Token: func(ctx context.Context) (string, error) { return workflowToken(ctx, address, bearer) }}
	if file, _ := a.lookup("SIGSTORE_SIGNING_CONFIG"); file != "" {
		var err error
		if s.Services, err = attest.SigningConfig(file); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// workflowToken asks GitHub Actions for an OIDC token for Sigstore.
func workflowToken(ctx context.Context, address, bearer string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("cannot ask for an identity: %w", err)
	}
	q := u.Query()
	q.Set("audience", "sigstore")
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("cannot ask for an identity: %w", err)
	}
	defer resp.Body.Close()
	var answer struct{ Value string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil || answer.Value == "" {
		return "", fmt.Errorf("cannot ask for an identity: GitHub answered %s; the workflow needs permissions: {id-token: write}", resp.Status)
	}
	return answer.Value, nil
}

// moduleImage reads the module version that an image by its digest carries.
func (a *app) moduleImage(ctx context.Context, ref string) (*schema.ModuleVersion, *runner.Snapshot, error) {
	e, m, err := a.imageVersion(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	if m.Snapshot == nil || m.Snapshot.IsEnvironment() {
		return m, &runner.Snapshot{Digest: runner.EmptyTree}, nil
	}
	return m, &runner.Snapshot{Digest: m.Snapshot.Digest, Open: func(context.Context) (snapshot.Unpacker, error) {
		return e.Snapshot(m.Snapshot.Digest)
	}}, nil
}

// imageVersion reads the version's file that an image carries.
func (a *app) imageVersion(ctx context.Context, ref string) (*oci.Entry, *schema.ModuleVersion, error) {
	if a.offline {
		return nil, nil, fmt.Errorf("cannot read oci://%s: %w", ref, snapshot.ErrOffline)
	}
	c, err := a.client()
	if err != nil {
		return nil, nil, err
	}
	e, err := c.Lookup(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	if e == nil {
		return nil, nil, &oci.ProblemError{Message: ref + " is not published"}
	}
	file, err := e.Manifest()
	if err != nil {
		return nil, nil, err
	}
	m, diags := schema.ParseModuleVersion("oci://"+e.Ref, file)
	return e, m, diags.Err()
}
