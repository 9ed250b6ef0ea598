package attest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/protobuf/encoding/protojson"
)

// Signer signs statements.
type Signer interface {
	// Sign returns a Sigstore bundle as JSON.
	Sign(ctx context.Context, statement []byte) ([]byte, error)
}

// ErrKey says that a key cannot be used.
var ErrKey = errors.New("it is no private key that can sign: a PEM file of PKCS #8 or of cosign is needed")

// Key signs with a private key: PEM of PKCS #8, or cosign's, which password
// opens.
func Key(data []byte, password string) (Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, ErrKey
	}
	der := block.Bytes
	switch block.Type {
	case "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY":
		var err error
		if der, err = encrypted.Decrypt(der, []byte(password)); err != nil {
			return nil, fmt.Errorf("cannot open the key: the password is wrong, or the file is damaged: %w", err)
		}
	case "EC PRIVATE KEY":
		key, err := x509.ParseECPrivateKey(der)
		if err != nil {
			return nil, ErrKey
		}
		return newKeypair(key)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, ErrKey
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, ErrKey
	}
	return newKeypair(signer)
}

// keypair is a key of one's own in the library's form.
type keypair struct {
	key     crypto.Signer
	signer  signature.Signer
	details signature.AlgorithmDetails
	hint    []byte
}

func newKeypair(key crypto.Signer) (Signer, error) {
	which, err := signature.GetDefaultPublicKeyDetails(key.Public())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	details, err := signature.GetAlgorithmDetails(which)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	signer, err := signature.LoadSignerFromAlgorithmDetails(key, details)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	hint, err := fingerprint(key.Public())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return keySigner{&keypair{key, signer, details, []byte(hint)}}, nil
}

func (k *keypair) GetHashAlgorithm() protocommon.HashAlgorithm { return k.details.GetProtoHashType() }
func (k *keypair) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	return k.details.GetSignatureAlgorithm()
}
func (k *keypair) GetHint() []byte                { return k.hint }
func (k *keypair) GetPublicKey() crypto.PublicKey { return k.key.Public() }
func (k *keypair) GetKeyAlgorithm() string        { return fmt.Sprint(k.details.GetKeyType()) }
func (k *keypair) GetPublicKeyPem() (string, error) {
	data, err := cryptoutils.MarshalPublicKeyToPEM(k.key.Public())
	return string(data), err
}

func (k *keypair) SignData(_ context.Context, data []byte) (sig, digest []byte, err error) {
	if hash := k.details.GetHashType(); hash.Available() { // Ed25519 has none
		h := hash.New()
		h.Write(data)
		digest = h.Sum(nil)
	}
	sig, err = k.signer.SignMessage(bytes.NewReader(data))
	return sig, digest, err
}

type keySigner struct{ pair *keypair }

func (s keySigner) Sign(ctx context.Context, statement []byte) ([]byte, error) {
	return signed(ctx, statement, s.pair, sign.BundleOptions{})
}

// Keyless signs with a key that is made for one signature, and with an identity
// that Sigstore vouches for.
type Keyless struct {
	// Token gives an OIDC token for the audience "sigstore".
	Token func(ctx context.Context) (string, error)
	// Services tells where Sigstore is. Default: the public one, as its TUF
	// repository has it.
	Services *root.SigningConfig
}

// SigningConfig reads from a file where the services of a Sigstore are, in its
// own format.
func SigningConfig(file string) (*root.SigningConfig, error) {
	sc, err := root.NewSigningConfigFromPath(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the signing configuration %s: %w", file, err)
	}
	return sc, nil
}

// timeout bounds one request to Sigstore.
const timeout = 30 * time.Second

// Sign makes three or more requests to Sigstore.
func (k Keyless) Sign(ctx context.Context, statement []byte) ([]byte, error) {
	sc := k.Services
	var err error
	if sc == nil {
		if sc, err = root.FetchSigningConfig(); err != nil {
			return nil, fmt.Errorf("cannot find Sigstore: %w", err)
		}
	}
	token, err := k.Token(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	fulcio, err := root.SelectService(sc.FulcioCertificateAuthorityURLs(), []uint32{1}, now)
	if err != nil {
		return nil, fmt.Errorf("cannot find Sigstore: %w", err)
	}
	opt := sign.BundleOptions{
		CertificateProvider:        sign.NewFulcio(&sign.FulcioOptions{BaseURL: fulcio.URL, Timeout: timeout, Retries: 2}),
		CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: token},
	}
	if urls := sc.TimestampAuthorityURLs(); len(urls) > 0 {
		chosen, err := root.SelectServices(urls, sc.TimestampAuthorityURLsConfig(), []uint32{1}, now)
		if err != nil {
			return nil, fmt.Errorf("cannot find Sigstore: %w", err)
		}
		for _, s := range chosen {
			opt.TimestampAuthorities = append(opt.TimestampAuthorities, sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: s.URL, Timeout: timeout, Retries: 2}))
		}
	}
	logs, err := root.SelectServices(sc.RekorLogURLs(), sc.RekorLogURLsConfig(), []uint32{1, 2}, now)
	if err != nil {
		return nil, fmt.Errorf("cannot find Sigstore: %w", err)
	}
	for _, s := range logs {
		opt.TransparencyLogs = append(opt.TransparencyLogs, sign.NewRekor(&sign.RekorOptions{BaseURL: s.URL, Timeout: timeout, Retries: 2, Version: s.MajorAPIVersion}))
	}
	pair, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, err
	}
	return signed(ctx, statement, pair, opt)
}

func signed(ctx context.Context, statement []byte, pair sign.Keypair, opt sign.BundleOptions) ([]byte, error) {
	opt.Context = ctx
	b, err := sign.Bundle(&sign.DSSEData{Data: statement, PayloadType: payloadType}, pair, opt)
	if err != nil {
		return nil, fmt.Errorf("cannot sign: %w", err)
	}
	data, err := protojson.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("cannot sign: %w", err)
	}
	return data, nil
}
