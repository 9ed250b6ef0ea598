package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Options say how registries are spoken to. The zero value works.
type Options struct {
	// GitHubToken is used for ghcr.io where docker's configuration has no
	// other credentials. Default: none.
	GitHubToken string
	// PlainHTTP lists hosts, as HOST or HOST:PORT, that may be spoken to
	// without TLS. Default: only loopback.
	PlainHTTP []string
	// Transport is what requests go through. Default: http.DefaultTransport.
	Transport http.RoundTripper
	// Progress is told of bytes that were sent or received. It may be called
	// by several goroutines. Default: nobody is.
	Progress func(n int64)
	// UserAgent names the program. Default: modyard.
	UserAgent string
	// Patience bounds the time that one request is tried again for. Default:
	// two minutes.
	Patience time.Duration
	// Scratch is a folder for what is on its way. Default: the system's.
	Scratch string
}

// Client speaks to OCI registries. It may be used by several goroutines.
type Client struct {
	opt    Options
	pusher *remote.Pusher
	puller *remote.Puller
	http   http.RoundTripper
	keys   authn.Keychain

	mu      sync.Mutex
	clients map[string]*http.Client // by repository and scope
}

// New makes a client.
func New(opt Options) (*Client, error) {
	if opt.Transport == nil {
		opt.Transport = http.DefaultTransport
	}
	if opt.Patience == 0 {
		opt.Patience = 2 * time.Minute
	}
	if opt.UserAgent == "" {
		opt.UserAgent = "modyard"
	}
	c := &Client{opt: opt}
	c.http = &patient{inner: &guarded{inner: &counting{opt.Transport, opt.Progress}, plain: opt.PlainHTTP}, patience: opt.Patience}
	c.keys = authn.NewMultiKeychain(authn.DefaultKeychain, gitHub(opt.GitHubToken))
	options := []remote.Option{
		remote.WithTransport(c.http), remote.WithAuthFromKeychain(c.keys), remote.WithUserAgent(opt.UserAgent),
		// An upload that was cut off begins again; whole requests are
		// repeated by patient alone.
		remote.WithRetryBackoff(remote.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 6}),
		remote.WithRetryStatusCodes(),
	}
	var err error
	if c.pusher, err = remote.NewPusher(options...); err != nil {
		return nil, err
	}
	if c.puller, err = remote.NewPuller(options...); err != nil {
		return nil, err
	}
	return c, nil
}

// gitHub is a keychain with GitHub's token for its registry.
type gitHub string

func (t gitHub) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if t == "" || r.RegistryStr() != "ghcr.io" {
		return authn.Anonymous, nil
	}
	return authn.FromConfig(authn.AuthConfig{Username: "x-access-token", Password: string(t)}), nil
}

// ProblemError says what is wrong with an image or a reference, with advice.
type ProblemError struct {
	Message, Hint string
	Err           error
}

func (p *ProblemError) Error() string {
	if p.Err != nil {
		return p.Message + ": " + p.Err.Error()
	}
	return p.Message
}

func (p *ProblemError) Unwrap() error { return p.Err }

// parse reads a reference: HOST/PATH:TAG, HOST/PATH@DIGEST, or both.
func parse(ref string) (name.Reference, error) {
	r, err := name.ParseReference(ref, name.StrictValidation)
	if err != nil {
		return nil, &ProblemError{Message: fmt.Sprintf("%q is no reference of an image", ref), Hint: "write HOST/PATH:TAG or HOST/PATH@sha256:…"}
	}
	return r, nil
}

// NotFound reports whether a registry has said that something is not there.
// ghcr.io answers 403 for a repository that is not there to somebody unknown.
func NotFound(err error) bool {
	te, ok := errors.AsType[*transport.Error](err)
	return ok && te.StatusCode == http.StatusNotFound
}

// Denied reports whether a registry refuses without other credentials.
func Denied(err error) bool {
	te, ok := errors.AsType[*transport.Error](err)
	return ok && (te.StatusCode == http.StatusUnauthorized || te.StatusCode == http.StatusForbidden)
}

// Unreachable reports whether the network, and not what the registry says, is
// the cause: another copy may be asked for the same then.
func Unreachable(err error) bool {
	if te, ok := errors.AsType[*transport.Error](err); ok {
		return te.StatusCode >= 500 || te.StatusCode == http.StatusTooManyRequests
	}
	if _, ok := errors.AsType[*refusedError](err); ok {
		return false
	}
	_, isURL := errors.AsType[*url.Error](err)
	_, isNet := errors.AsType[net.Error](err)
	return (isURL || isNet) && !errors.Is(err, context.Canceled)
}

// guarded refuses what is not encrypted, but to loopback and where it is
// allowed.
type guarded struct {
	inner http.RoundTripper
	plain []string
}

// refusedError says that a request was not made.
type refusedError struct{ why string }

func (e *refusedError) Error() string { return e.why }

func (g *guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !loopback(r.URL.Hostname()) && !slices.Contains(g.plain, r.URL.Host) && !slices.Contains(g.plain, r.URL.Hostname()) {
		return nil, &refusedError{r.URL.Host + " is not spoken to without TLS"}
	}
	hops := 0
	for via := r.Response; via != nil && via.Request != nil; via = via.Request.Response {
		if hops++; hops > maxHops {
			return nil, &refusedError{r.URL.Host + " redirects too often"}
		}
	}
	resp, err := g.inner.RoundTrip(r)
	if err == nil && !strings.Contains(r.URL.Path, "/blobs/") && r.Response == nil {
		// Blobs are bounded by the size that their manifest says.
		resp.Body = &bounded{resp.Body, maxAnswer}
	}
	return resp, err
}

// Bounds of what a registry answers.
const (
	maxHops   = 10
	maxAnswer = 16 << 20 // bytes of what is no blob
)

type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errors.New("the answer is too long")
	}
	return n, err
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
