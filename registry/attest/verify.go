package attest

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/modyard/modyard/schema"
)

// Verifier tells whose bundles are good.
type Verifier struct {
	keys       []trustedKey
	identities []verify.PolicyOption
	trusted    func() (root.TrustedMaterial, error)
}

// trustedKey is a key that may sign.
type trustedKey struct {
	root.TimeConstrainedVerifier
	hint string // its fingerprint
}

// Identity is who may sign without a key: who vouches, and a regular expression
// that the whole subject must match.
type Identity struct{ Issuer, Subject string }

// VerifierOptions say who may sign.
type VerifierOptions struct {
	Keys       [][]byte // public keys, PEM
	Identities []Identity
	// Trusted is the root of trust of Sigstore. Default: the public one, as
	// its TUF repository has it, fetched when an identity is to be checked.
	// Where it has a log of certificates, a certificate must be in it.
	Trusted root.TrustedMaterial
}

// NewVerifier makes a verifier.
func NewVerifier(opt VerifierOptions) (*Verifier, error) {
	v := &Verifier{trusted: sync.OnceValues(func() (root.TrustedMaterial, error) {
		t, err := root.FetchTrustedRoot()
		if err == nil && len(t.CTLogs()) == 0 {
			err = errors.New("it has no log of certificates")
		}
		if err != nil {
			return nil, fmt.Errorf("cannot fetch Sigstore's root of trust: %w", err)
		}
		return t, nil
	})}
	if opt.Trusted != nil {
		v.trusted = func() (root.TrustedMaterial, error) { return opt.Trusted, nil }
	}
	for _, data := range opt.Keys {
		key, err := publicKey(data)
		if err != nil {
			return nil, err
		}
		v.keys = append(v.keys, key)
	}
	for _, id := range opt.Identities {
		c, err := verify.NewShortCertificateIdentity(id.Issuer, "", "", "^(?:"+id.Subject+")$")
		if err != nil {
			return nil, fmt.Errorf("the identity %q of %q cannot be used: %w", id.Subject, id.Issuer, err)
		}
		v.identities = append(v.identities, verify.WithCertificateIdentity(c))
	}
	return v, nil
}

// TrustedRoot reads a root of trust of Sigstore from a file.
func TrustedRoot(file string) (root.TrustedMaterial, error) {
	t, err := root.NewTrustedRootFromPath(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the root of trust %s: %w", file, err)
	}
	return t, nil
}

// ErrPublicKey says that a key cannot be used.
var ErrPublicKey = errors.New("it is no public key: a PEM file is needed")

func publicKey(data []byte) (trustedKey, error) {
	key, err := cryptoutils.UnmarshalPEMToPublicKey(data)
	if err != nil {
		return trustedKey{}, ErrPublicKey
	}
	v, err := defaultVerifier(key)
	var hint string
	if err == nil {
		hint, err = fingerprint(key)
	}
	if err != nil {
		return trustedKey{}, fmt.Errorf("%w: %w", ErrPublicKey, err)
	}
	return trustedKey{root.NewExpiringKey(v, time.Time{}, time.Time{}), hint}, nil
}

// fingerprint names a public key: the sha256 of its PKIX form, in base64.
func fingerprint(key crypto.PublicKey) (string, error) {
	public, err := x509.MarshalPKIXPublicKey(key)
	sum := sha256.Sum256(public)
	return base64.StdEncoding.EncodeToString(sum[:]), err
}

func defaultVerifier(key crypto.PublicKey) (signature.Verifier, error) {
	return signature.LoadDefaultVerifier(key)
}

// Any reports whether anybody at all may sign.
func (v *Verifier) Any() bool { return len(v.keys)+len(v.identities) > 0 }

// Verified is a statement that is good, and who signed it.
type Verified struct {
	Statement *Statement
	By        string // "key FINGERPRINT", or the subject of the certificate
}

// ErrUntrusted says that none of those who may sign has signed.
var ErrUntrusted = errors.New("it is signed by none of those who may sign")

// Verify checks a bundle, a JSON, and that it is about the image or other thing
// with this digest. The error is an [ErrUntrusted] when somebody else has
// signed, or when it is about something else.
func (v *Verifier) Verify(data []byte, digest schema.Digest) (*Verified, error) {
	b := &bundle.Bundle{}
	if err := b.UnmarshalJSON(data); err != nil {
		return nil, fmt.Errorf("it is no Sigstore bundle: %w", err)
	}
	sum, err := hex.DecodeString(digest.Hex())
	if err != nil {
		return nil, err
	}
	artifact := verify.WithArtifactDigest("sha256", sum)
	content, err := b.VerificationContent()
	if err != nil {
		return nil, fmt.Errorf("it is no Sigstore bundle: %w", err)
	}
	out := &Verified{}
	if content.Certificate() != nil {
		err = v.byIdentity(b, artifact, out)
	} else {
		err = v.byKey(b, artifact, out)
	}
	if err != nil {
		return nil, err
	}
	env, err := b.Envelope()
	if err != nil {
		return nil, err
	}
	payload, err := env.RawEnvelope().DecodeB64Payload()
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	if err := dec.Decode(&out.Statement); err != nil {
		return nil, fmt.Errorf("its statement cannot be read: %w", err)
	}
	return out, nil
}

func (v *Verifier) byKey(b *bundle.Bundle, artifact verify.ArtifactPolicyOption, out *Verified) error {
	var last error
	for _, key := range v.keys {
		// The hint in a bundle is not signed: it is not asked for.
		material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return key, nil })
		checker, err := verify.NewVerifier(material, verify.WithNoObserverTimestamps())
		if err != nil {
			return err
		}
		if _, last = checker.Verify(b, verify.NewPolicy(artifact, verify.WithKey())); last == nil {
			out.By = "key " + key.hint
			return nil
		}
	}
	if last == nil {
		return fmt.Errorf("%w: no key is known", ErrUntrusted)
	}
	return fmt.Errorf("%w: %w", ErrUntrusted, last)
}

func (v *Verifier) byIdentity(b *bundle.Bundle, artifact verify.ArtifactPolicyOption, out *Verified) error {
	if len(v.identities) == 0 {
		return fmt.Errorf("%w: no identity may", ErrUntrusted)
	}
	material, err := v.trusted()
	if err != nil {
		return err
	}
	opts := []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)}
	if len(material.CTLogs()) > 0 {
		opts = append(opts, verify.WithSignedCertificateTimestamps(1))
	}
	checker, err := verify.NewVerifier(material, opts...)
	if err != nil {
		return err
	}
	res, err := checker.Verify(b, verify.NewPolicy(artifact, v.identities...))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	out.By = res.Signature.Certificate.SubjectAlternativeName
	return nil
}
