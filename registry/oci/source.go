package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/modyard/modyard/registry/attest"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// Images is where the images of a registry's versions are, and what is
// demanded of them.
type Images struct {
	Client *Client
	// Prefixes are HOST/PREFIX, the registry's own first, then its mirrors,
	// which are asked when the network fails and never otherwise.
	Prefixes []string
	// Verifier tells who may sign. Default: nobody is asked for.
	Verifier *attest.Verifier
	// Required refuses an image without a good provenance.
	Required bool
}

// Ref is the reference of a version below a prefix.
func Ref(prefix, module, version string) string { return prefix + "/" + module + ":" + version }

// attempts is how often one copy is read when its connection breaks.
const attempts = 3

// Snapshot gives the files of a version out of its image. They are compared
// with the manifest's digest when they are used.
func (i *Images) Snapshot(m *schema.ModuleVersion) snapshot.Unpacker { return &imageSource{i, m} }

type imageSource struct {
	images   *Images
	manifest *schema.ModuleVersion
}

// Unpack reads the image, and another copy when the network fails.
func (s *imageSource) Unpack(ctx context.Context, dir string) (snapshot.Content, error) {
	var failures []error
	for _, prefix := range s.images.Prefixes {
		for range attempts {
			c, err := s.unpack(ctx, prefix, dir)
			if err == nil {
				return c, nil
			}
			if ctx.Err() != nil {
				return snapshot.Content{}, context.Cause(ctx)
			}
			if !Unreachable(err) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return snapshot.Content{}, err
			}
			failures = append(failures, err)
			if err := emptyDir(dir); err != nil {
				return snapshot.Content{}, err
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				break // the client was patient already
			}
		}
	}
	return snapshot.Content{}, errors.Join(failures...)
}

func (s *imageSource) unpack(ctx context.Context, prefix, dir string) (snapshot.Content, error) {
	m := s.manifest
	ref := Ref(prefix, m.Module.Value, m.Version.Value)
	e, err := s.images.Client.Lookup(ctx, ref)
	if err != nil {
		return snapshot.Content{}, err
	}
	if e == nil {
		return snapshot.Content{}, &ProblemError{Message: ref + " is not published"}
	}
	if err := s.images.Check(ctx, e, m.Digest); err != nil {
		return snapshot.Content{}, err
	}
	files, err := e.Snapshot(m.Snapshot.Digest)
	if err != nil {
		return snapshot.Content{}, err
	}
	return files.Unpack(ctx, dir)
}

// Check holds an entry against the version digest that git has, and against
// the policy.
func (i *Images) Check(ctx context.Context, e *Entry, version schema.Digest) error {
	if got := e.About[LabelDigest]; got != string(version) {
		return &ProblemError{
			Message: fmt.Sprintf("%s is of the version digest %q, not %s", e.ref, got, version),
			Hint:    "the tag was moved, or the image was built from another file; the image is not used",
		}
	}
	_, err := i.Provenance(ctx, e)
	return err
}

// Provenance gives the first good provenance of an entry; nil when there is
// none and none is required.
func (i *Images) Provenance(ctx context.Context, e *Entry) (*attest.Verified, error) {
	if i.Verifier == nil || !i.Verifier.Any() {
		return nil, nil
	}
	list, err := i.Client.Attached(ctx, e.Ref, attest.BundleType)
	if err != nil {
		return nil, err
	}
	var reasons []error
	for _, a := range list {
		v, err := i.Verifier.Verify(a.Data, e.Digest)
		switch {
		case err != nil:
			reasons = append(reasons, err)
		case v.Statement.PredicateType != attest.ProvenanceType:
		case string(v.Statement.Manifest()) != e.About[LabelDigest]:
			reasons = append(reasons, errors.New("a provenance names another version"))
		default:
			return v, nil
		}
	}
	const hint = "the registry's policy says who may sign; modyard verify tells more"
	switch {
	case len(reasons) > 0:
		return nil, &ProblemError{Message: e.ref.Name() + " has no provenance that is good", Hint: hint, Err: errors.Join(reasons...)}
	case i.Required:
		return nil, &ProblemError{Message: e.ref.Name() + " has no provenance, which the registry's policy requires", Hint: hint}
	}
	return nil, nil
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
