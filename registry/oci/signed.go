package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/modyard/modyard/registry/attest"
	"github.com/modyard/modyard/schema"
)

// Sign adds to an artifact what somebody says of its config: a statement of the
// predicate's type, about the config's digest, in a bundle beside the blobs.
func (a *Artifact) Sign(ctx context.Context, signer attest.Signer, subject, predicateType string, predicate map[string]any) error {
	statement, err := json.Marshal(attest.Statement{
		Type: attest.StatementType, PredicateType: predicateType,
		Subject:   []attest.Subject{{Name: subject, Digest: map[string]string{"sha256": a.Config.Digest.Hex()}}},
		Predicate: predicate,
	})
	if err != nil {
		return err
	}
	bundle, err := signer.Sign(ctx, statement)
	if err != nil {
		return err
	}
	a.Blobs = append(a.Blobs, NewBlob(attest.BundleType, bundle))
	return nil
}

// Signature is who has signed an artifact's config. The error is an
// [attest.ErrUntrusted] when nobody has who may.
func (c *Client) Signature(ctx context.Context, repository string, a *Artifact, by *attest.Verifier, predicateType string) (*attest.Verified, error) {
	for _, b := range a.Blobs {
		if b.Type != attest.BundleType {
			continue
		}
		data, err := c.ReadBlob(ctx, repository, b, maxAttachment)
		if err != nil {
			return nil, err
		}
		v, err := by.Verify(data, a.Config.Digest)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", attest.ErrUntrusted, err)
		}
		if v.Statement.PredicateType != predicateType {
			return nil, fmt.Errorf("%w as %s", attest.ErrUntrusted, predicateType)
		}
		return v, nil
	}
	return nil, attest.ErrUntrusted
}

// ReadBlob reads a blob of at most limit bytes, which agrees with its digest;
// one that came with the manifest takes no request.
func (c *Client) ReadBlob(ctx context.Context, repository string, b Blob, limit int64) ([]byte, error) {
	data := b.Data
	if data == nil && b.Size > 0 {
		if b.Size > limit {
			return nil, &ProblemError{Message: fmt.Sprintf("%s in %s is too long", b.Digest.Short(), repository)}
		}
		rc, err := c.OpenBlob(ctx, repository, b.Digest)
		if err != nil {
			return nil, err
		}
		defer rc.Close()
		if data, err = io.ReadAll(io.LimitReader(rc, limit)); err != nil {
			return nil, fmt.Errorf("cannot read from %s: %w", repository, err)
		}
	}
	if schema.DigestBytes(data) != b.Digest {
		return nil, &ProblemError{Message: fmt.Sprintf("%s in %s is not what its digest says", b.Digest.Short(), repository)}
	}
	return data, nil
}
