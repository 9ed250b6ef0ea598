package attest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/modyard/modyard/schema"
)

// Types of documents.
const (
	// BundleType is the media type of a Sigstore bundle, under which it is
	// attached to an image.
	BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	// ProvenanceType is the predicate type of a SLSA provenance.
	ProvenanceType = "https://slsa.dev/provenance/v1"

	// StatementType is the type of an in-toto statement, version 1.
	StatementType = "https://in-toto.io/Statement/v1"

	payloadType = "application/vnd.in-toto+json"
	buildType   = "https://modyard.dev/publish/v1"
)

// Provenance is what is said of an image: of which version it is, from which
// commit it was made, and by whom.
type Provenance struct {
	Image      string        // HOST/PATH, without a tag
	Digest     schema.Digest // of the image
	Module     string
	Version    string
	Manifest   schema.Digest // the version digest
	Snapshot   schema.Digest // or ""
	Repository string        // the address of the registry's repository, or ""
	Commit     string        // full hash, or ""
	Tag        string        // the git tag that it was published from, or ""
	Builder    string        // who made it: the address of a workflow run, or of modyard
	Invocation string        // the run that made it, or ""
	Made       time.Time
}

// Statement is a statement as it was signed.
type Statement struct {
	Type          string         `json:"_type"`
	Subject       []Subject      `json:"subject"`
	PredicateType string         `json:"predicateType"`
	Predicate     map[string]any `json:"predicate"`
}

// Subject is what a statement is about.
type Subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"` // by algorithm, hexadecimal
}

type object = map[string]any

// Statement is the provenance as an in-toto statement (v1) with a SLSA
// provenance (v1).
func (p Provenance) Statement() ([]byte, error) {
	external := object{"module": p.Module, "version": p.Version}
	if p.Tag != "" {
		external["tag"] = p.Tag
	}
	from := []object{{"name": "manifest", "digest": object{"sha256": p.Manifest.Hex()}}}
	if p.Snapshot != "" {
		from = append(from, object{"name": "snapshot", "digest": object{"sha256": p.Snapshot.Hex()}})
	}
	if p.Commit != "" {
		commit := object{"digest": object{"gitCommit": p.Commit}}
		if p.Repository != "" {
			commit["uri"] = "git+" + p.Repository
		}
		from = append(from, commit)
	}
	run := object{"builder": object{"id": p.Builder}, "metadata": object{"finishedOn": p.Made.UTC().Format(time.RFC3339)}}
	if p.Invocation != "" {
		run["metadata"].(object)["invocationId"] = p.Invocation
	}
	data, err := json.Marshal(Statement{
		Type: StatementType, PredicateType: ProvenanceType,
		Subject: []Subject{{Name: p.Image, Digest: map[string]string{"sha256": p.Digest.Hex()}}},
		Predicate: object{
			"buildDefinition": object{"buildType": buildType, "externalParameters": external, "resolvedDependencies": from},
			"runDetails":      run,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot write the provenance: %w", err)
	}
	return data, nil
}

// dependency finds a digest among what the image was made of.
func (s *Statement) dependency(name, algorithm string) string {
	def, _ := s.Predicate["buildDefinition"].(object)
	list, _ := def["resolvedDependencies"].([]any)
	for _, e := range list {
		d, _ := e.(object)
		if n, _ := d["name"].(string); n != name {
			continue
		}
		digest, _ := d["digest"].(object)
		if v, ok := digest[algorithm].(string); ok {
			return v
		}
	}
	return ""
}

// Manifest is the version digest that the statement names, or "".
func (s *Statement) Manifest() schema.Digest {
	if hex := s.dependency("manifest", "sha256"); hex != "" {
		return schema.Digest("sha256:" + hex)
	}
	return ""
}

// Commit is the commit that the statement names, or "".
func (s *Statement) Commit() string { return s.dependency("", "gitCommit") }
