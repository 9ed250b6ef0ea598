package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/attest"
	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/registry/oci"
	"github.com/modyard/modyard/schema"
)

// mustAttest says why a version may not be published without a provenance: the
// policy, or that the one before has one.
func (p *publishing) mustAttest(ctx context.Context, v *registry.Version) (string, error) {
	if p.reg.Policy.Signatures == "required" {
		return "the registry's policy requires it", nil
	}
	repository := p.to + "/" + v.Module()
	tags, err := p.client.Tags(ctx, repository)
	if err != nil {
		return "", err
	}
	var before *semver.Version
	for _, t := range tags {
		n, err := semver.StrictNewVersion(t)
		if err == nil && n.LessThan(v.Number) && (before == nil || n.GreaterThan(before)) {
			before = n
		}
	}
	if before == nil {
		return "", nil
	}
	e, err := p.client.Lookup(ctx, repository+":"+before.Original())
	if err != nil || e == nil {
		return "", err
	}
	list, err := p.client.Attached(ctx, e.Ref, attest.BundleType)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return fmt.Sprintf("version %s has one", before), nil
}

// attest makes the signed provenance of an image.
func (p *publishing) attest(ctx context.Context, m *schema.ModuleVersion, ref string, digest schema.Digest) ([]oci.Attachment, error) {
	image := ref[:strings.LastIndex(ref, ":")]
	pr := attest.Provenance{
		Image: image, Digest: digest, Module: m.Module.Value, Version: m.Version.Value, Manifest: m.Digest,
		Repository: cmpOr(p.source.repository, p.reg.Source), Commit: p.source.commit, Tag: p.source.tag,
		Builder: p.source.builder, Invocation: p.source.invocation, Made: time.Now(),
	}
	if m.Snapshot != nil {
		pr.Snapshot = m.Snapshot.Digest
	}
	statement, err := pr.Statement()
	if err != nil {
		return nil, err
	}
	bundle, err := p.signer.Sign(ctx, statement)
	if err != nil {
		return nil, err
	}
	return []oci.Attachment{{Type: attest.BundleType, Data: bundle, Annotations: map[string]string{
		"dev.sigstore.bundle.content":       "dsse-envelope",
		"dev.sigstore.bundle.predicateType": attest.ProvenanceType,
		"org.opencontainers.image.created":  pr.Made.UTC().Format(time.RFC3339),
	}}}, nil
}

// provenanceSource is where what is published comes from.
type provenanceSource struct {
	repo                    *git.Repo // nil: no repository
	prefix                  string    // of the registry in it
	commit, tag, repository string
	builder, invocation     string
}

func (a *app) provenanceSource(ctx context.Context, reg *registry.Registry) (provenanceSource, error) {
	s := provenanceSource{builder: "https://github.com/modyard/modyard@" + ourVersion()}
	repo, err := git.Open(ctx, reg.Dir)
	switch {
	case errors.Is(err, git.ErrNoRepository) || errors.Is(err, git.ErrNoGit):
		return s, nil
	case err != nil:
		return s, err
	}
	s.repo = repo
	if s.prefix, err = repo.Rel(reg.Dir); err != nil {
		return s, err
	}
	if s.commit, err = repo.Commit(ctx, "HEAD"); err != nil && !errors.Is(err, git.ErrNoRevision) {
		return s, err
	}
	// In GitHub Actions its variables tell who publishes.
	if run, _ := a.lookup("GITHUB_RUN_ID"); run != "" {
		server, _ := a.lookup("GITHUB_SERVER_URL")
		name, _ := a.lookup("GITHUB_REPOSITORY")
		attempt, _ := a.lookup("GITHUB_RUN_ATTEMPT")
		workflow, _ := a.lookup("GITHUB_WORKFLOW_REF")
		s.repository = server + "/" + name
		s.invocation = server + "/" + name + "/actions/runs/" + run + "/attempts/" + attempt
		s.builder = server + "/" + workflow
		if ref, _ := a.lookup("GITHUB_REF"); strings.HasPrefix(ref, "refs/tags/") {
			s.tag = strings.TrimPrefix(ref, "refs/tags/")
		}
	}
	return s, nil
}

// committed refuses a version whose file is not in the last commit as it is.
func (s provenanceSource) committed(ctx context.Context, v *registry.Version, text []byte) error {
	if s.repo == nil {
		return nil
	}
	hint := "commit it: what is published is what git has"
	if s.commit == "" {
		return &hinted{"there is no commit yet", hint}
	}
	have, err := s.repo.Output(ctx, "show", s.commit+":"+path.Join(s.prefix, v.Path()))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil || !bytes.Equal(bytes.ReplaceAll(have, []byte("\r\n"), []byte("\n")), text) {
		return &hinted{"its file is not in the last commit as it is", hint}
	}
	return nil
}
