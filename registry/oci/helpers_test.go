package oci_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/modyard/modyard/registry/oci"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// TestMain hides the credentials of the machine.
func TestMain(m *testing.M) {
	empty, err := os.MkdirTemp("", "docker-")
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"DOCKER_CONFIG", "HOME", "XDG_RUNTIME_DIR"} {
		os.Setenv(name, empty)
	}
	os.Unsetenv("REGISTRY_AUTH_FILE")
	code := m.Run()
	os.RemoveAll(empty)
	os.Exit(code)
}

// host is a registry on loopback that keeps a log and can be made to fail.
type host struct {
	addr  string // HOST:PORT
	close func()

	mu    sync.Mutex
	log   []string // METHOD PATH?QUERY
	fault func(w http.ResponseWriter, r *http.Request) bool
	inner http.Handler
}

// newHost starts a registry. Its fault may answer a request instead of it.
func newHost(tb testing.TB, fault func(w http.ResponseWriter, r *http.Request) bool) *host {
	return newHostOf(tb, false, fault)
}

func newHostOf(tb testing.TB, referrers bool, fault func(w http.ResponseWriter, r *http.Request) bool) *host {
	h := &host{fault: fault, inner: registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(referrers))}
	h.addr, h.close = serve(tb, h)
	return h
}

// serve starts a server that is quiet about connections that break.
func serve(tb testing.TB, h http.Handler) (addr string, stop func()) {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	stop = func() { s.CloseClientConnections(); s.Close() }
	tb.Cleanup(stop)
	return s.Listener.Addr().String(), stop
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.log = append(h.log, r.Method+" "+r.URL.RequestURI())
	f := h.fault
	h.mu.Unlock()
	if f == nil || !f(w, r) {
		h.inner.ServeHTTP(w, r)
	}
}

// fail sets what answers instead of the registry from now on.
func (h *host) fail(f func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
}

// count tells how many requests have begun like this, and forgets none.
func (h *host) count(begin string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, line := range h.log {
		if strings.HasPrefix(line, begin) {
			n++
		}
	}
	return n
}

func (h *host) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log = nil
}

func (h *host) prefix() string { return h.addr + "/acme" }

// ask speaks to the registry itself, without its faults and its log.
func (h *host) ask(method, path string, body []byte, contentType string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	h.inner.ServeHTTP(w, r)
	return w
}

// manifest is what is under a tag or digest, or nil.
func (h *host) manifest(repo, reference string) []byte {
	resp := h.ask(http.MethodGet, "/v2/"+repo+"/manifests/"+reference, nil, "")
	if resp.Code != http.StatusOK {
		return nil
	}
	return resp.Body.Bytes()
}

// putManifest writes a manifest past all faults.
func (h *host) putManifest(tb testing.TB, repo, reference, kind string, data []byte) {
	tb.Helper()
	if resp := h.ask(http.MethodPut, "/v2/"+repo+"/manifests/"+reference, data, kind); resp.Code != http.StatusCreated {
		tb.Fatalf("PUT %s: %d", reference, resp.Code)
	}
}

// putBlob writes a blob past all faults.
func (h *host) putBlob(tb testing.TB, repo string, data []byte) schema.Digest {
	tb.Helper()
	d := schema.DigestBytes(data)
	if resp := h.ask(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+string(d), data, ""); resp.Code != http.StatusCreated {
		tb.Fatalf("POST %s: %d", d, resp.Code)
	}
	return d
}

func newClient(tb testing.TB, opt oci.Options) *oci.Client {
	tb.Helper()
	if opt.Transport == nil {
		t := &http.Transport{}
		tb.Cleanup(t.CloseIdleConnections)
		opt.Transport = t
	}
	if opt.Scratch == "" {
		opt.Scratch = tb.TempDir()
	}
	if opt.Patience == 0 {
		opt.Patience = time.Second
	}
	c, err := oci.New(opt)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// mapped is a transport that reaches hosts which the machine has never heard
// of: each HOST:PORT at a server on loopback. Others are refused and noted.
func mapped(tb testing.TB, to map[string]string) (t *http.Transport, refused func() []string) {
	var mu sync.Mutex
	var others []string
	t = &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if to[addr] == "" {
				mu.Lock()
				defer mu.Unlock()
				others = append(others, addr)
				return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("no route to %s", addr)}
			}
			return (&net.Dialer{}).DialContext(ctx, network, to[addr])
		},
	}
	tb.Cleanup(t.CloseIdleConnections)
	return t, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return others
	}
}

// serveTLS is serve with TLS.
func serveTLS(tb testing.TB, h http.Handler) (addr string) {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	tb.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.Listener.Addr().String()
}

// parsed is a version's manifest, as a registry has it.
func parsed(tb testing.TB, text string) (*schema.ModuleVersion, []byte) {
	tb.Helper()
	m, diags := schema.ParseModuleVersion("modules/greet/versions/1.0.0.yaml", []byte(text))
	if err := diags.Err(); err != nil {
		tb.Fatal(err)
	}
	return m, []byte(text)
}

// files writes files, NAME to content, and gives their tree.
func files(tb testing.TB, content map[string]string) *snapshot.Tree {
	tb.Helper()
	dir := tb.TempDir()
	for name, text := range content {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	t, err := snapshot.Folder(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// small is the files of a small version.
var small = map[string]string{"greet.py": "print('hello')\n", "lib/words.txt": "hello\nworld\n"}

// version is greet@NUMBER with the files, and more in its environment.
func version(tb testing.TB, number, environment string, content map[string]string) oci.Version {
	tb.Helper()
	tree := files(tb, content)
	d, err := tree.Digest(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	if environment != "" {
		environment = "\n  environment: " + environment
	}
	m, text := parsed(tb, fmt.Sprintf(`apiVersion: modyard.dev/v1
kind: ModuleVersion
module: greet
version: %s
description: |
  Says hello.
created: 2026-11-23T10:00:00Z
params:
  times: {type: integer, default: 3}
  name: {type: string, optional: true}
secrets:
  token: {optional: true}
run:
  command:
    - python
    - greet.py
    - --times=${{ params.times }}
    - [--name, "${{ params.name }}"]
  env: {GREETING: hello, TOKEN: "${{ secrets.token }}"}%s
snapshot:
  folder: ../src
  digest: %s
`, number, environment, d))
	return oci.Version{Manifest: m, File: text, Source: "https://example.com/acme/modules", Files: tree}
}

func build(tb testing.TB, c *oci.Client, v oci.Version) *oci.Image {
	tb.Helper()
	img, err := c.Build(tb.Context(), v)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(img.Remove)
	return img
}

// plan is how a version is published below a host's prefix.
func plan(h *host, v oci.Version) oci.Plan {
	return oci.Plan{Ref: oci.Ref(h.prefix(), v.Manifest.Module.Value, v.Manifest.Version.Value), About: v}
}

func publish(tb testing.TB, c *oci.Client, p oci.Plan) *oci.Published {
	tb.Helper()
	done, err := c.Publish(tb.Context(), p, build(tb, c, p.About))
	if err != nil {
		tb.Fatal(err)
	}
	return done
}

func lookup(tb testing.TB, c *oci.Client, ref string) *oci.Entry {
	tb.Helper()
	e, err := c.Lookup(tb.Context(), ref)
	if err != nil || e == nil {
		tb.Fatalf("lookup %s: %v, %v", ref, e, err)
	}
	return e
}

// pull reads a reference with the library alone.
func pull(tb testing.TB, ref string) *remote.Descriptor {
	tb.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		tb.Fatal(err)
	}
	desc, err := remote.Get(r)
	if err != nil {
		tb.Fatal(err)
	}
	return desc
}

func configOf(tb testing.TB, img v1.Image, err error) (*v1.ConfigFile, []v1.Layer) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		tb.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		tb.Fatal(err)
	}
	return cfg, layers
}

// contains reports on an error that does not say what it should.
func contains(tb testing.TB, err error, words ...string) {
	tb.Helper()
	if err == nil {
		tb.Errorf("no error; want one about %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			tb.Errorf("error %q does not say %q", err, w)
		}
	}
}

// promptly fails when f takes longer than limit.
func promptly(tb testing.TB, limit time.Duration, f func()) {
	tb.Helper()
	begin := time.Now()
	f()
	if took := time.Since(begin); took > limit {
		tb.Errorf("took %s, want at most %s", took.Round(time.Millisecond), limit)
	}
}

// valid holds all of an image against its digests, sizes and types, as the
// library's validate does, which needs a module that we do not have.
func valid(img v1.Image) error {
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	cfg, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	parsed, err := img.ConfigFile()
	if err != nil {
		return err
	}
	if string(schema.DigestBytes(cfg)) != m.Config.Digest.String() || int64(len(cfg)) != m.Config.Size {
		return fmt.Errorf("the config is not %s", m.Config.Digest)
	}
	if len(layers) != len(m.Layers) || len(layers) != len(parsed.RootFS.DiffIDs) {
		return fmt.Errorf("%d layers, %d in the manifest, %d in the config", len(layers), len(m.Layers), len(parsed.RootFS.DiffIDs))
	}
	sum := func(rc io.ReadCloser, err error) (v1.Hash, int64, error) {
		if err != nil {
			return v1.Hash{}, 0, err
		}
		defer rc.Close()
		return v1.SHA256(rc)
	}
	for i, l := range layers {
		digest, size, err := sum(l.Compressed())
		if err != nil || digest != m.Layers[i].Digest || size != m.Layers[i].Size {
			return fmt.Errorf("layer %d is %s of %d bytes, not %v: %w", i, digest, size, m.Layers[i], err)
		}
		diff, _, err := sum(l.Uncompressed())
		if err != nil || diff != parsed.RootFS.DiffIDs[i] {
			return fmt.Errorf("layer %d holds %s, not %s: %w", i, diff, parsed.RootFS.DiffIDs[i], err)
		}
	}
	return nil
}

func validIndex(idx v1.ImageIndex) error {
	m, err := idx.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range m.Manifests {
		if d.MediaType.IsIndex() {
			inner, err := idx.ImageIndex(d.Digest)
			if err == nil {
				err = validIndex(inner)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", d.Digest, err)
			}
			continue
		}
		img, err := idx.Image(d.Digest)
		if err == nil {
			err = valid(img)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d.Digest, err)
		}
	}
	return nil
}
