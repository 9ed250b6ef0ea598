package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/modyard/modyard/registry/attest"
	"github.com/modyard/modyard/registry/oci"
	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

// Media types of shared results.
const (
	resultType = "application/vnd.modyard.result.v1+json"
	fileType   = "application/octet-stream"
	folderType = "application/vnd.modyard.folder.v1.tar"

	resultPredicate = "https://modyard.dev/result/v1"
)

// ociStore shares results in a repository of an OCI registry: a result is an
// artifact under its key as tag. Its config is the result, signed in a bundle
// beside the blobs of its outputs.
type ociStore struct {
	client     *oci.Client
	repository string
	signer     attest.Signer
	verifier   *attest.Verifier
	unsigned   bool // accept results that nobody has signed

	mu     sync.Mutex
	inline map[schema.Digest][]byte // small blobs that came with their result
}

// sharing reads the address of a store: oci://HOST/REPO, with its policy.
func (a *app) sharing(address string) (*store.Sharing, error) {
	rest, _ := strings.CutPrefix(address, "oci://")
	repository, query, _ := strings.Cut(rest, "?")
	q, err := url.ParseQuery(query)
	if err != nil {
		return nil, usagef("the store %q has a query that cannot be read", address)
	}
	known := []string{"accept", "identity", "sign", "unsigned", "host", "read-only", "local"}
	for k := range q {
		if !slices.Contains(known, k) {
			return nil, &usageError{fmt.Errorf("the store %q has the unknown setting %q", address, k), cmpOr(schema.DidYouMean(k, known), "modyard run --help")}
		}
	}
	yes := func(k string) bool { return q.Get(k) == "yes" }
	s := &ociStore{repository: repository, unsigned: yes("unsigned"), inline: map[schema.Digest][]byte{}}
	if s.client, err = a.client(); err != nil {
		return nil, err
	}
	var identities []attest.Identity
	for _, id := range q["identity"] {
		issuer, subject, ok := strings.Cut(id, "=")
		if !ok {
			return nil, usagef("the store %q: identity %q is not ISSUER=SUBJECT", address, id)
		}
		identities = append(identities, attest.Identity{Issuer: issuer, Subject: subject})
	}
	if s.verifier, err = a.verifier(nil, q["accept"], identities...); err != nil {
		return nil, err
	}
	if s.signer, err = a.signer(q.Get("sign")); err != nil {
		return nil, err
	}
	if !s.verifier.Any() && !s.unsigned {
		return nil, &hinted{fmt.Sprintf("the store %q does not say whose results are accepted", address), "add ?accept=KEY.pub or ?identity=ISSUER=SUBJECT; or ?unsigned=yes to trust whoever may write there"}
	}
	sh := &store.Sharing{Remote: s, Host: yes("host"), ReadOnly: yes("read-only"), Warn: func(err error) {
		a.say("warning: results are no longer shared: %v", err)
	}}
	return sh, nil
}

func tagOf(key schema.Digest) string { return key.Hex() }

// Find reads a result and checks who made it.
func (s *ociStore) Find(ctx context.Context, key schema.Digest) (*store.Result, error) {
	art, err := s.client.GetArtifact(ctx, s.repository, tagOf(key))
	if err != nil || art == nil || art.Type != resultType {
		return nil, err
	}
	if ok, err := s.accepted(ctx, art); err != nil || !ok {
		return nil, err
	}
	r := &store.Result{}
	if err := json.Unmarshal(art.Config.Data, r); err != nil || r.Key != key {
		return nil, nil // not a result of this key: there is none
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range art.Blobs {
		if b.Data != nil {
			s.inline[b.Digest] = b.Data
		}
	}
	return r, nil
}

// accepted reports whether somebody who may has signed the result.
func (s *ociStore) accepted(ctx context.Context, art *oci.Artifact) (bool, error) {
	if !s.verifier.Any() {
		return s.unsigned, nil
	}
	_, err := s.client.Signature(ctx, s.repository, art, s.verifier, resultPredicate)
	if err != nil && !errors.Is(err, attest.ErrUntrusted) {
		return false, err
	}
	return err == nil || s.unsigned, nil
}

// Open begins to read an output.
func (s *ociStore) Open(ctx context.Context, o store.Object) (io.ReadCloser, error) {
	s.mu.Lock()
	data, ok := s.inline[o.Digest]
	delete(s.inline, o.Digest)
	s.mu.Unlock()
	if ok {
		return io.NopCloser(bytes.NewReader(data)), nil
	}
	return s.client.OpenBlob(ctx, s.repository, o.Digest)
}

// Share sends a result that nobody was faster with.
func (s *ociStore) Share(ctx context.Context, r *store.Result, content func(context.Context, store.Object, io.Writer) error) error {
	first, err := s.client.GetArtifact(ctx, s.repository, tagOf(r.Key))
	if err != nil {
		return err
	}
	if first != nil {
		if ok, err := s.accepted(ctx, first); err != nil || ok {
			return err
		}
	}
	config, err := json.Marshal(r)
	if err != nil {
		return err
	}
	art := oci.Artifact{Type: resultType, Config: oci.NewBlob(resultType, config)}
	if s.signer != nil {
		if err := art.Sign(ctx, s.signer, r.Key.Hex(), resultPredicate, map[string]any{"key": r.Key}); err != nil {
			return err
		}
	}
	for _, o := range r.Outputs {
		if o.Object == nil || slices.ContainsFunc(art.Blobs, func(b oci.Blob) bool { return b.Digest == o.Digest }) {
			continue
		}
		b, err := s.blob(ctx, *o.Object, content)
		if err != nil {
			return err
		}
		art.Blobs = append(art.Blobs, b)
	}
	return s.client.PutArtifact(ctx, s.repository, tagOf(r.Key), art)
}

// smallOutput bounds an output that is sent with its result, in bytes.
const smallOutput = 4 << 10

func (s *ociStore) blob(ctx context.Context, o store.Object, content func(context.Context, store.Object, io.Writer) error) (oci.Blob, error) {
	write := func(ctx context.Context, w io.Writer) error { return content(ctx, o, w) }
	b := oci.Blob{Type: fileType, Digest: o.Digest, Size: o.Size, Write: write}
	if o.Folder {
		var size countingWriter
		if err := write(ctx, &size); err != nil {
			return b, err
		}
		b.Type, b.Size = folderType, int64(size)
	}
	if b.Size <= smallOutput {
		var data bytes.Buffer
		if err := write(ctx, &data); err != nil {
			return b, err
		}
		b.Data, b.Write = data.Bytes(), nil
		if b.Data == nil {
			b.Data = []byte{}
		}
	}
	return b, nil
}

type countingWriter int64

func (c *countingWriter) Write(p []byte) (int, error) {
	*c += countingWriter(len(p))
	return len(p), nil
}
