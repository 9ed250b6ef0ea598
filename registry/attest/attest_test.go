package attest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/modyard/modyard/registry/attest"
	"github.com/modyard/modyard/schema"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func toPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(key any) []byte { return must(x509.MarshalPKCS8PrivateKey(key)) }

func publicPEM(key crypto.Signer) []byte {
	return toPEM("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(key.Public())))
}

func newEC(curve elliptic.Curve) *ecdsa.PrivateKey {
	return must(ecdsa.GenerateKey(curve, rand.Reader))
}

// image is what the statements of these tests are about.
var image = schema.DigestBytes([]byte("image"))

var provenance = attest.Provenance{
	Image: "example.com/acme/greet", Digest: image, Module: "greet", Version: "1.0.0",
	Manifest: schema.DigestBytes([]byte("manifest")), Snapshot: schema.DigestBytes([]byte("snapshot")),
	Repository: "https://example.com/acme/modules", Commit: strings.Repeat("1", 40), Tag: "greet/1.0.0",
	Builder: "https://example.com/builder", Invocation: "https://example.com/runs/1",
	Made: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
}

func statement(tb testing.TB) []byte {
	tb.Helper()
	data, err := provenance.Statement()
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func verifier(tb testing.TB, opt attest.VerifierOptions) *attest.Verifier {
	tb.Helper()
	v, err := attest.NewVerifier(opt)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// signed is the statement, signed with a key.
func signed(tb testing.TB, key []byte) []byte {
	tb.Helper()
	signer, err := attest.Key(key, "")
	if err != nil {
		tb.Fatal(err)
	}
	data, err := signer.Sign(tb.Context(), statement(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// edited is a bundle that somebody has changed.
func edited(tb testing.TB, data []byte, edit func(b *protobundle.Bundle)) []byte {
	tb.Helper()
	b := &protobundle.Bundle{}
	if err := protojson.Unmarshal(data, b); err != nil {
		tb.Fatal(err)
	}
	edit(b)
	return must(protojson.Marshal(b))
}

// TestKey: keys that can sign do, and what they sign is good.
func TestKey(t *testing.T) {
	t.Parallel()
	ec := newEC(elliptic.P256())
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	p384, p521 := newEC(elliptic.P384()), newEC(elliptic.P521())
	cosign := func(key any, password string) []byte {
		return toPEM("ENCRYPTED SIGSTORE PRIVATE KEY", must(encrypted.Encrypt(pkcs8(key), []byte(password))))
	}
	for _, x := range []struct {
		name     string
		key      []byte
		password string
		public   crypto.Signer
	}{
		{"PKCS #8", toPEM("PRIVATE KEY", pkcs8(ec)), "", ec},
		{"PKCS #8 with a password that it does not need", toPEM("PRIVATE KEY", pkcs8(ec)), "secret", ec},
		{"PKCS #8 after other text", append([]byte("a comment\n"), toPEM("PRIVATE KEY", pkcs8(ec))...), "", ec},
		{"SEC 1", toPEM("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ec))), "", ec},
		{"P-384", toPEM("PRIVATE KEY", pkcs8(p384)), "", p384},
		{"P-521", toPEM("PRIVATE KEY", pkcs8(p521)), "", p521},
		{"RSA", toPEM("PRIVATE KEY", pkcs8(rsaKey)), "", rsaKey},
		{"cosign", cosign(ec, "secret"), "secret", ec},
		{"cosign, no password", cosign(ec, ""), "", ec},
		{"cosign, the older name", bytes.ReplaceAll(cosign(ec, "secret"), []byte("SIGSTORE"), []byte("COSIGN")), "secret", ec},
	} {
		t.Run(x.name, func(t *testing.T) {
			signer, err := attest.Key(x.key, x.password)
			if err != nil {
				t.Fatal(err)
			}
			data, err := signer.Sign(t.Context(), statement(t))
			if err != nil {
				t.Fatal(err)
			}
			got, err := verifier(t, attest.VerifierOptions{Keys: [][]byte{publicPEM(x.public)}}).Verify(data, image)
			if err != nil || !strings.HasPrefix(got.By, "key ") {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// TestNoKey: what cannot sign is no key.
func TestNoKey(t *testing.T) {
	t.Parallel()
	ec := newEC(elliptic.P256())
	small := must(rsa.GenerateKey(rand.Reader, 1024))
	for name, data := range map[string][]byte{
		"nothing":                   nil,
		"text":                      []byte("secret"),
		"DER":                       pkcs8(ec),
		"a public key":              publicPEM(ec),
		"garbage":                   toPEM("PRIVATE KEY", []byte("garbage")),
		"garbage of SEC 1":          toPEM("EC PRIVATE KEY", []byte("garbage")),
		"SEC 1 that says PKCS #8":   toPEM("PRIVATE KEY", must(x509.MarshalECPrivateKey(ec))),
		"PKCS #1":                   toPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)),
		"RSA that is too short":     toPEM("PRIVATE KEY", pkcs8(small)),
		"P-224":                     toPEM("PRIVATE KEY", pkcs8(newEC(elliptic.P224()))),
		"X25519, which cannot sign": toPEM("PRIVATE KEY", pkcs8(must(ecdh.X25519().GenerateKey(rand.Reader)))),
		"garbage of cosign":         toPEM("ENCRYPTED SIGSTORE PRIVATE KEY", must(encrypted.Encrypt([]byte("garbage"), nil))),
		"cut off":                   toPEM("PRIVATE KEY", pkcs8(ec))[:60],
	} {
		if s, err := attest.Key(data, ""); !errors.Is(err, attest.ErrKey) || s != nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	locked := must(encrypted.Encrypt(pkcs8(ec), []byte("secret")))
	for name, x := range map[string]struct {
		data     []byte
		password string
	}{
		"another password": {locked, "Secret"}, "no password": {locked, ""}, "damaged": {locked[:len(locked)-9], "secret"}, "no box": {[]byte("{}"), "secret"},
	} {
		s, err := attest.Key(toPEM("ENCRYPTED SIGSTORE PRIVATE KEY", x.data), x.password)
		if s != nil || err == nil || !strings.Contains(err.Error(), "the password is wrong, or the file is damaged") {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

// TestStatement: what is signed is what is read.
func TestStatement(t *testing.T) {
	t.Parallel()
	key := newEC(elliptic.P256())
	v := verifier(t, attest.VerifierOptions{Keys: [][]byte{publicPEM(newEC(elliptic.P256())), publicPEM(key)}})
	got, err := v.Verify(signed(t, toPEM("PRIVATE KEY", pkcs8(key))), image)
	if err != nil {
		t.Fatal(err)
	}
	s := got.Statement
	subject := []attest.Subject{{Name: provenance.Image, Digest: map[string]string{"sha256": image.Hex()}}}
	if s.Type != attest.StatementType || s.PredicateType != attest.ProvenanceType || !reflect.DeepEqual(s.Subject, subject) {
		t.Errorf("%+v", s)
	}
	if s.Manifest() != provenance.Manifest || s.Commit() != provenance.Commit {
		t.Errorf("manifest %q, commit %q", s.Manifest(), s.Commit())
	}
	for _, empty := range []*attest.Statement{{}, {Predicate: map[string]any{"buildDefinition": 1}}, {Predicate: map[string]any{"buildDefinition": map[string]any{"resolvedDependencies": []any{nil, 1, map[string]any{"name": 1, "digest": 1}}}}}} {
		if empty.Manifest() != "" || empty.Commit() != "" {
			t.Errorf("%+v names %q and %q", empty, empty.Manifest(), empty.Commit())
		}
	}
}

// TestVerify: what is not signed, or signed by others, or about something else.
func TestVerify(t *testing.T) {
	t.Parallel()
	key := newEC(elliptic.P256())
	data := signed(t, toPEM("PRIVATE KEY", pkcs8(key)))
	public := publicPEM(key)
	pair := must(sign.NewEphemeralKeypair(nil))
	message := must(protojson.Marshal(must(sign.Bundle(&sign.PlainData{Data: []byte("image")}, pair, sign.BundleOptions{}))))
	envelope := func(edit func(e *protodsse.Envelope)) []byte {
		return edited(t, data, func(b *protobundle.Bundle) { edit(b.GetDsseEnvelope()) })
	}
	replaced := func(old, with string) []byte {
		return envelope(func(e *protodsse.Envelope) {
			if !bytes.Contains(e.Payload, []byte(old)) {
				t.Fatalf("the payload has no %q", old)
			}
			e.Payload = bytes.ReplaceAll(e.Payload, []byte(old), []byte(with))
		})
	}
	other := schema.DigestBytes([]byte("other"))
	for _, x := range []struct {
		name      string
		data      []byte
		key       []byte
		digest    schema.Digest
		untrusted bool
	}{
		{"another key", data, publicPEM(newEC(elliptic.P256())), image, true},
		{"no key", data, nil, image, true},
		{"another digest", data, public, other, true},
		{"no digest", data, public, "", true},
		{"a digest that is none", data, public, "sha256:xyz", false},
		{"another version in the payload", replaced("1.0.0", "1.0.1"), public, image, true},
		{"another digest in the payload", replaced(image.Hex(), other.Hex()), public, other, true},
		{"a longer payload", envelope(func(e *protodsse.Envelope) { e.Payload = append(e.Payload, ' ') }), public, image, true},
		{"no payload", envelope(func(e *protodsse.Envelope) { e.Payload = nil }), public, image, true},
		{"another type of payload", envelope(func(e *protodsse.Envelope) { e.PayloadType = "text/plain" }), public, image, true},
		{"another signature", envelope(func(e *protodsse.Envelope) { e.Signatures[0].Sig[9] ^= 1 }), public, image, true},
		{"a shorter signature", envelope(func(e *protodsse.Envelope) { e.Signatures[0].Sig = e.Signatures[0].Sig[1:] }), public, image, true},
		{"no signature", envelope(func(e *protodsse.Envelope) { e.Signatures = nil }), public, image, true},
		{"two signatures", envelope(func(e *protodsse.Envelope) { e.Signatures = append(e.Signatures, e.Signatures[0]) }), public, image, true},
		{"cut off", data[:len(data)-1], public, image, false},
		{"half", data[:len(data)/2], public, image, false},
		{"nothing", nil, public, image, false},
		{"text", []byte("signed"), public, image, false},
		{"an empty object", []byte("{}"), public, image, false},
		{"null", []byte("null"), public, image, false},
		{"a statement alone", statement(t), public, image, false},
		{"no key is named", edited(t, data, func(b *protobundle.Bundle) { b.VerificationMaterial = nil }), public, image, false},
		{"a version of bundles that nobody knows", edited(t, data, func(b *protobundle.Bundle) { b.MediaType = "application/vnd.dev.sigstore.bundle.v9.0+json" }), public, image, false},
		{"a signature of the image itself", message, []byte(must(pair.GetPublicKeyPem())), image, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			opt := attest.VerifierOptions{}
			if x.key != nil {
				opt.Keys = [][]byte{x.key}
			}
			got, err := verifier(t, opt).Verify(x.data, x.digest)
			if err == nil || got != nil || errors.Is(err, attest.ErrUntrusted) != x.untrusted {
				t.Errorf("%+v, %v; want untrusted %v", got, err, x.untrusted)
			}
		})
	}
}

// TestNewVerifier: who may sign is said in a form that can be used.
func TestNewVerifier(t *testing.T) {
	t.Parallel()
	private := toPEM("PRIVATE KEY", pkcs8(newEC(elliptic.P256())))
	for name, data := range map[string][]byte{
		"nothing": nil, "text": []byte("garbage"), "garbage": toPEM("PUBLIC KEY", []byte("garbage")), "a private key": private,
		"X25519": toPEM("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(must(ecdh.X25519().GenerateKey(rand.Reader)).PublicKey()))),
	} {
		if v, err := attest.NewVerifier(attest.VerifierOptions{Keys: [][]byte{data}}); !errors.Is(err, attest.ErrPublicKey) || v != nil {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	for name, id := range map[string]attest.Identity{
		"a subject that is no expression": {Issuer: "https://issuer.example", Subject: "("},
		"no issuer":                       {Subject: "a"},
	} {
		if v, err := attest.NewVerifier(attest.VerifierOptions{Identities: []attest.Identity{id}}); err == nil || v != nil {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	if verifier(t, attest.VerifierOptions{}).Any() || !verifier(t, attest.VerifierOptions{Identities: []attest.Identity{{Issuer: "a", Subject: "b"}}}).Any() {
		t.Error("Any is wrong")
	}
	if _, err := attest.TrustedRoot(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a root of trust that is not there was read")
	}
}

// sigstore is a Sigstore of our own: an authority, and a log that knows one
// entry at a time. (sigstore-go has one for tests, in pkg/testing/ca, but that
// brings modules along that nothing else needs.)
type sigstore struct {
	root.BaseTrustedMaterial
	authority, log *ecdsa.PrivateKey
	cert           *x509.Certificate
}

func newSigstore(tb testing.TB) *sigstore {
	tb.Helper()
	s := &sigstore{authority: newEC(elliptic.P256()), log: newEC(elliptic.P256())}
	now := time.Now()
	s.cert = certificate(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sigstore"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}, nil, s.authority, s.authority)
	return s
}

func certificate(template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) *x509.Certificate {
	if parent == nil {
		parent = template
	}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by))))
}

func (s *sigstore) FulcioCertificateAuthorities() []root.CertificateAuthority {
	return []root.CertificateAuthority{&root.FulcioCertificateAuthority{Root: s.cert, ValidityPeriodStart: s.cert.NotBefore}}
}

func (s *sigstore) RekorLogs() map[string]*root.TransparencyLog {
	id := s.logID()
	return map[string]*root.TransparencyLog{hex.EncodeToString(id): {
		BaseURL: "https://log.example", ID: id, ValidityPeriodStart: s.cert.NotBefore,
		HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256, PublicKey: s.log.Public(),
	}}
}

func (s *sigstore) logID() []byte { return hash(must(x509.MarshalPKIXPublicKey(s.log.Public()))) }

func hash(data []byte) []byte {
	sum := sha256.Sum256(data)
	return sum[:]
}

func signature(key *ecdsa.PrivateKey, data []byte) []byte {
	return must(ecdsa.SignASN1(rand.Reader, key, hash(data)))
}

// entry is the log's answer to a signature.
func (s *sigstore) entry(leaf *x509.Certificate, payload, sig []byte, at time.Time) *protorekor.TransparencyLogEntry {
	body := fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":{"algorithm":"sha256","value":"%x"},"payloadHash":{"algorithm":"sha256","value":"%x"},"signatures":[{"signature":"%s","verifier":"%s"}]}}`,
		hash(nil), hash(payload), b64(sig), b64(toPEM("CERTIFICATE", leaf.Raw)))
	promise := fmt.Appendf(nil, `{"body":"%s","integratedTime":%d,"logID":"%x","logIndex":0}`, b64(body), at.Unix(), s.logID())
	top := hash(append([]byte{0}, body...)) // RFC 6962: of a tree with one leaf
	note := fmt.Sprintf("log.example - 1\n1\n%s\n", b64(top))
	return &protorekor.TransparencyLogEntry{
		LogId:             &protocommon.LogId{KeyId: s.logID()},
		KindVersion:       &protorekor.KindVersion{Kind: "dsse", Version: "0.0.1"},
		IntegratedTime:    at.Unix(),
		CanonicalizedBody: body,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: signature(s.log, promise)},
		InclusionProof: &protorekor.InclusionProof{TreeSize: 1, RootHash: top, Checkpoint: &protorekor.Checkpoint{
			Envelope: fmt.Sprintf("%s\n— log.example %s\n", note, b64(append(s.logID()[:4], signature(s.log, []byte(note))...))),
		}},
	}
}

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

const (
	subject = "https://github.com/acme/modules/.github/workflows/publish.yml@refs/heads/main"
	issuer  = "https://issuer.example"
)

// attest is the statement, signed by an identity with a certificate that is
// good for ten minutes from a time on, and logged at another.
func (s *sigstore) attest(tb testing.TB, from, logged time.Time) []byte {
	tb.Helper()
	const payloadType = "application/vnd.in-toto+json"
	key := newEC(elliptic.P256())
	leaf := certificate(&x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: from.Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		URIs:            []*url.URL{must(url.Parse(subject))},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(issuer)}},
	}, s.cert, key, s.authority)
	payload := statement(tb)
	sig := signature(key, dsse.PAE(payloadType, payload))
	return must(protojson.Marshal(&protobundle.Bundle{
		MediaType: attest.BundleType,
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content:     &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: leaf.Raw}},
			TlogEntries: []*protorekor.TransparencyLogEntry{s.entry(leaf, payload, sig, logged)},
		},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: payload, PayloadType: payloadType, Signatures: []*protodsse.Signature{{Sig: sig}},
		}},
	}))
}

// TestIdentity: who may sign without a key is told by issuer and subject.
func TestIdentity(t *testing.T) {
	t.Parallel()
	s, stranger := newSigstore(t), newSigstore(t)
	data := s.attest(t, time.Now(), time.Now().Add(time.Minute))
	exact := regexp.QuoteMeta(subject)
	for _, x := range []struct {
		name       string
		identities []attest.Identity
		trusted    root.TrustedMaterial
		good       bool
	}{
		{"the subject", []attest.Identity{{issuer, exact}}, s, true},
		{"an expression", []attest.Identity{{issuer, `https://github\.com/acme/.*`}}, s, true},
		{"an expression with a choice", []attest.Identity{{issuer, "nobody|" + exact}}, s, true},
		{"one of several", []attest.Identity{{issuer, "nobody"}, {"https://other.example", exact}, {issuer, exact}}, s, true},
		{"another subject", []attest.Identity{{issuer, `https://github\.com/other/.*`}}, s, false},
		{"a part at the end", []attest.Identity{{issuer, "refs/heads/main"}}, s, false},
		{"a part at the beginning", []attest.Identity{{issuer, `https://github\.com/acme/`}}, s, false},
		{"a choice of parts", []attest.Identity{{issuer, `https://github\.com/acme/|refs/heads/main`}}, s, false},
		{"a part with an end of its own", []attest.Identity{{issuer, "(?m)https://github$"}}, s, false},
		{"another case", []attest.Identity{{issuer, strings.ToUpper(subject)}}, s, false},
		{"no subject", []attest.Identity{{issuer, ""}}, s, false},
		{"another issuer", []attest.Identity{{"https://other.example", exact}}, s, false},
		{"a part of the issuer", []attest.Identity{{"https://issuer", exact}}, s, false},
		{"an expression for the issuer", []attest.Identity{{".*", exact}}, s, false},
		{"issuer and subject of two", []attest.Identity{{issuer, "nobody"}, {"https://other.example", subject}}, s, false},
		{"another root of trust", []attest.Identity{{issuer, exact}}, stranger, false},
		{"another log", []attest.Identity{{issuer, exact}}, &sigstore{authority: s.authority, cert: s.cert, log: stranger.log}, false},
		{"another authority", []attest.Identity{{issuer, exact}}, &sigstore{authority: stranger.authority, cert: stranger.cert, log: s.log}, false},
		{"no identity", nil, s, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			v := verifier(t, attest.VerifierOptions{Identities: x.identities, Trusted: x.trusted})
			got, err := v.Verify(data, image)
			if x.good {
				if err != nil || got.By != subject || got.Statement.Manifest() != provenance.Manifest {
					t.Errorf("%+v, %v", got, err)
				}
				return
			}
			if got != nil || !errors.Is(err, attest.ErrUntrusted) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// TestIdentityBundle: what was changed in a bundle of an identity, or is not in
// it, makes it one that nobody signed.
func TestIdentityBundle(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	data := s.attest(t, time.Now(), time.Now().Add(time.Minute))
	other := s.attest(t, time.Now(), time.Now().Add(time.Minute))
	theirs := &protobundle.Bundle{}
	if err := protojson.Unmarshal(other, theirs); err != nil {
		t.Fatal(err)
	}
	log := func(b *protobundle.Bundle) *protorekor.TransparencyLogEntry {
		return b.VerificationMaterial.TlogEntries[0]
	}
	options := attest.VerifierOptions{Identities: []attest.Identity{{issuer, subject}}, Trusted: s}
	for name, edit := range map[string]func(b *protobundle.Bundle){
		"payload":           func(b *protobundle.Bundle) { b.GetDsseEnvelope().Payload[20] ^= 1 },
		"signature":         func(b *protobundle.Bundle) { b.GetDsseEnvelope().Signatures[0].Sig[9] ^= 1 },
		"another's content": func(b *protobundle.Bundle) { b.Content = theirs.Content },
		"another's certificate": func(b *protobundle.Bundle) {
			b.VerificationMaterial.Content = theirs.VerificationMaterial.Content
		},
		"another's log": func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries = theirs.VerificationMaterial.TlogEntries
		},
		"no log":          func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries = nil },
		"another time":    func(b *protobundle.Bundle) { log(b).IntegratedTime++ },
		"no promise":      func(b *protobundle.Bundle) { log(b).InclusionPromise = nil },
		"promise":         func(b *protobundle.Bundle) { log(b).InclusionPromise.SignedEntryTimestamp[9] ^= 1 },
		"root of the log": func(b *protobundle.Bundle) { log(b).InclusionProof.RootHash[9] ^= 1 },
		"key instead of one": func(b *protobundle.Bundle) {
			b.VerificationMaterial.Content = &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: "a"}}
		},
	} {
		if got, err := verifier(t, options).Verify(edited(t, data, edit), image); got != nil || !errors.Is(err, attest.ErrUntrusted) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, x := range map[string]struct {
		change func(o *attest.VerifierOptions)
		digest schema.Digest
	}{
		"another digest":                    {func(*attest.VerifierOptions) {}, schema.DigestBytes(nil)},
		"a log of certificates is demanded": {func(o *attest.VerifierOptions) { o.Trusted = logged{o.Trusted} }, image},
		"a key is demanded": {func(o *attest.VerifierOptions) {
			*o = attest.VerifierOptions{Keys: [][]byte{publicPEM(newEC(elliptic.P256()))}}
		}, image},
	} {
		opt := options
		x.change(&opt)
		if got, err := verifier(t, opt).Verify(data, x.digest); got != nil || !errors.Is(err, attest.ErrUntrusted) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestClock: whether a certificate was good is told by the log's time, and not
// by this machine's.
func TestClock(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	v := verifier(t, attest.VerifierOptions{Identities: []attest.Identity{{issuer, subject}}, Trusted: s})
	for _, x := range []struct {
		name         string
		from, logged time.Duration // from now; a certificate is good for ten minutes
		good         bool
	}{
		{"now", -time.Minute, 0, true},
		{"expired by now", -30 * time.Minute, -25 * time.Minute, true},
		{"expired by now, logged at its end", -30 * time.Minute, -21 * time.Minute, true},
		{"not yet good", 20 * time.Minute, 25 * time.Minute, true},
		{"logged before", -10 * time.Minute, -15 * time.Minute, false},
		{"logged after", -30 * time.Minute, -15 * time.Minute, false},
		{"good now, logged after", 0, 11 * time.Minute, false},
		{"good now, logged before", 0, -time.Minute, false},
		{"expired by now, logged now", -30 * time.Minute, 0, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			now := time.Now()
			got, err := v.Verify(s.attest(t, now.Add(x.from), now.Add(x.logged)), image)
			if x.good && (err != nil || got.By != subject) || !x.good && (got != nil || !errors.Is(err, attest.ErrUntrusted)) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// logged is a Sigstore with a log of certificates.
type logged struct{ root.TrustedMaterial }

func (logged) CTLogs() map[string]*root.TransparencyLog {
	return map[string]*root.TransparencyLog{"ab": {ID: []byte{0xab}}}
}
