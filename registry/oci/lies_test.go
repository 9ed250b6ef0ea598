package oci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/modyard/modyard/registry/oci"
	"github.com/modyard/modyard/schema"
)

// lie answers instead of a registry, which would have said this.
type lie func(w http.ResponseWriter, truth []byte)

// lies makes a host lie about what is read below paths that end like this.
func (h *host) lies(end string, l lie) {
	h.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, end) {
			return false
		}
		truth := h.ask(http.MethodGet, r.URL.Path, nil, "")
		w.Header().Set("Content-Type", truth.Header().Get("Content-Type"))
		l(w, truth.Body.Bytes())
		return true
	})
}

// image is a published image's manifest, as the registry has it.
func (h *host) image(tb testing.TB, reference string) *v1.Manifest {
	tb.Helper()
	m, err := v1.ParseManifest(bytes.NewReader(h.manifest("acme/greet", reference)))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// tag writes a manifest or index under the tag of greet@1.0.0, past our code.
func (h *host) tag(tb testing.TB, kind types.MediaType, m any) {
	tb.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	h.putManifest(tb, "acme/greet", "1.0.0", string(kind), data)
}

// soon bounds what ends at once, on a machine that is busy too.
const soon = 30 * time.Second

// refused demands that a version's files are not taken, soon and with a reason.
func refused(tb testing.TB, images *oci.Images, m *schema.ModuleVersion, words ...string) {
	tb.Helper()
	promptly(tb, soon, func() {
		_, _, err := tryUnpack(tb, images, m)
		contains(tb, err, words...)
	})
}

// TestBlobLies: the config or the layer is not what the manifest says.
func TestBlobLies(t *testing.T) {
	t.Parallel()
	long := func(n int, l lie) lie {
		return func(w http.ResponseWriter, truth []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(truth)+n))
			l(w, truth)
		}
	}
	send := func(change func(b []byte) []byte) lie {
		return func(w http.ResponseWriter, truth []byte) {
			w.(http.Flusher).Flush() // so that no length is sent
			_, _ = w.Write(change(bytes.Clone(truth)))
		}
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	for _, x := range []struct {
		name string
		lie  lie
	}{
		{"a length that is too long", long(1, func(w http.ResponseWriter, truth []byte) { _, _ = w.Write(truth) })},
		{"a length that is too short", long(-1, func(w http.ResponseWriter, truth []byte) { _, _ = w.Write(truth[:len(truth)-1]) })},
		{"cut off", long(0, func(w http.ResponseWriter, truth []byte) { _, _ = w.Write(half(truth)) })},
		{"half, without a length", send(half)},
		{"one byte less", send(func(b []byte) []byte { return b[:len(b)-1] })},
		{"another first byte", send(func(b []byte) []byte { b[0] ^= 1; return b })},
		{"another byte in the middle", send(func(b []byte) []byte { b[len(b)/2] ^= 1; return b })},
		{"another last byte", send(func(b []byte) []byte { b[len(b)-1] ^= 1; return b })},
		{"a page", long(0, func(w http.ResponseWriter, truth []byte) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write(bytes.Repeat([]byte("<p>"), len(truth))[:len(truth)])
		})},
		{"a part", func(w http.ResponseWriter, truth []byte) {
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(half(truth))
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			v := version(t, "1.0.0", "", small)
			h := newHost(t, nil)
			publish(t, newClient(t, oci.Options{}), plan(h, v))
			m := h.image(t, "1.0.0")
			for _, d := range []v1.Descriptor{m.Config, m.Layers[0]} {
				c := newClient(t, oci.Options{Patience: 100 * time.Millisecond})
				h.lies("/blobs/"+d.Digest.String(), x.lie)
				images := &oci.Images{Client: c, Prefixes: []string{h.prefix()}}
				if d.Digest != m.Config.Digest {
					refused(t, images, v.Manifest, "cannot read")
					continue
				}
				refused(t, images, v.Manifest, h.addr)
				_, err := lookup(t, c, plan(h, v).Ref).Manifest()
				contains(t, err, "cannot read "+h.addr)
			}
		})
	}
}

// TestManifestLies: a manifest is what its bytes say, and never what a header
// says, or who asked for it.
func TestManifestLies(t *testing.T) {
	t.Parallel()
	v, later := version(t, "1.0.0", "", small), version(t, "1.1.0", "", map[string]string{"greet.py": "print('bye')\n"})
	h, c := newHost(t, nil), newClient(t, oci.Options{Patience: 100 * time.Millisecond})
	done, other := publish(t, c, plan(h, v)), publish(t, c, plan(h, later))
	foreign := h.manifest("acme/greet", "1.1.0")
	images := &oci.Images{Client: c, Prefixes: []string{h.prefix()}}
	tag := plan(h, v).Ref
	byDigest := h.prefix() + "/greet@" + string(done.Digest)

	for _, claim := range []string{string(other.Digest), "garbage", "sha256:", ""} {
		h.lies("/manifests/1.0.0", func(w http.ResponseWriter, truth []byte) {
			w.Header().Set("Docker-Content-Digest", claim)
			_, _ = w.Write(truth)
		})
		if e := lookup(t, c, tag); e.Digest != done.Digest || !strings.HasSuffix(e.Ref, string(done.Digest)) {
			t.Errorf("the header %q makes it %s, %s", claim, e.Digest, e.Ref)
		}
	}
	for name, x := range map[string]struct {
		lie  lie
		tag  []string // what the error says when the tag is read
		hash []string // … when the digest is
	}{
		"another version's": {
			func(w http.ResponseWriter, _ []byte) { _, _ = w.Write(foreign) },
			[]string{"is of the version digest", string(later.Manifest.Digest)}, []string{"does not match"},
		},
		"another version's under this one's digest": {
			func(w http.ResponseWriter, _ []byte) {
				w.Header().Set("Docker-Content-Digest", string(done.Digest))
				_, _ = w.Write(foreign)
			},
			[]string{"is of the version digest"}, []string{"does not match"},
		},
		"half": {
			func(w http.ResponseWriter, truth []byte) { _, _ = w.Write(truth[:len(truth)/2]) },
			[]string{"cannot be read"}, []string{"does not match"},
		},
		"cut off": {
			func(w http.ResponseWriter, truth []byte) {
				w.Header().Set("Content-Length", strconv.Itoa(len(truth)))
				_, _ = w.Write(truth[:len(truth)/2])
			},
			[]string{"unexpected EOF"}, []string{"unexpected EOF"},
		},
		"nothing": {func(http.ResponseWriter, []byte) {}, []string{"cannot be read"}, []string{"does not match"}},
		"null": {
			func(w http.ResponseWriter, _ []byte) { fmt.Fprint(w, "null") },
			[]string{"is of the version digest"}, []string{"does not match"},
		},
		"annotations alone": {
			func(w http.ResponseWriter, _ []byte) {
				fmt.Fprintf(w, `{"schemaVersion":2,"annotations":{%q:%q}}`, oci.LabelDigest, v.Manifest.Digest)
			},
			nil, []string{"does not match"},
		},
		"a page": {
			func(w http.ResponseWriter, _ []byte) {
				w.Header().Set("Content-Type", "text/html")
				fmt.Fprint(w, "<html>")
			},
			[]string{"cannot be read"}, []string{"does not match"},
		},
		"an older kind of manifest": {
			func(w http.ResponseWriter, truth []byte) {
				w.Header().Set("Content-Type", string(types.DockerManifestSchema1Signed))
				_, _ = w.Write(truth)
			},
			[]string{"cannot read"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h.lies("/manifests/1.0.0", x.lie)
			refused(t, images, v.Manifest, append(x.tag, h.addr)...)
			if x.hash == nil {
				return
			}
			h.lies("/manifests/"+string(done.Digest), x.lie)
			promptly(t, soon, func() {
				_, err := c.Lookup(t.Context(), byDigest)
				contains(t, err, append(x.hash, h.addr)...)
			})
		})
	}
}

// TestEndlessManifest: a manifest without an end is not read for ever.
func TestEndlessManifest(t *testing.T) {
	v := version(t, "1.0.0", "", small)
	h, c := newHost(t, nil), newClient(t, oci.Options{})
	publish(t, c, plan(h, v))
	var sent atomic.Int64
	h.lies("/manifests/1.0.0", func(w http.ResponseWriter, _ []byte) {
		for block := bytes.Repeat([]byte("["), 1<<20); ; {
			n, err := w.Write(block)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	promptly(t, time.Minute, func() {
		_, _, err := tryUnpack(t, &oci.Images{Client: c, Prefixes: []string{h.prefix()}}, v.Manifest)
		contains(t, err, h.addr, "too long")
	})
	if n := sent.Load() >> 20; n > 200 {
		t.Errorf("%d MiB were read", n)
	}
}

// TestTampered: what a tag shows agrees with itself, but is not what was
// reviewed.
func TestTampered(t *testing.T) {
	t.Parallel()
	bye := map[string]string{"greet.py": "print('bye')\n"}
	for _, x := range []struct {
		name   string
		change func(t *testing.T, h *host, m *v1.Manifest)
		files  []string // what the error about the files says; nil where only their digest tells
		about  []string // … about the version's file; nil where it is right
	}{
		{"the version's file in the config", func(t *testing.T, h *host, m *v1.Manifest) {
			m.Config = reconfigured(t, h, m, func(cfg *v1.ConfigFile) {
				cfg.Config.Labels[oci.LabelManifest] = strings.Replace(cfg.Config.Labels[oci.LabelManifest], "--times", "--steal", 1)
			})
		}, []string{}, []string{"says that it has the version digest", "carries a file with"}},
		{"no file in the config", func(t *testing.T, h *host, m *v1.Manifest) {
			m.Config = reconfigured(t, h, m, func(cfg *v1.ConfigFile) { delete(cfg.Config.Labels, oci.LabelManifest) })
		}, []string{}, []string{"carries no module version"}},
		{"another config's digest", func(t *testing.T, h *host, m *v1.Manifest) { m.Config = h.image(t, "1.1.0").Config }, []string{"has no layer with the snapshot"}, []string{"carries a file with"}},
		{"another layer", func(t *testing.T, h *host, m *v1.Manifest) { m.Layers = h.image(t, "1.1.0").Layers }, nil, nil},
		{"no layer", func(_ *testing.T, _ *host, m *v1.Manifest) { m.Layers = nil }, []string{"acme/greet"}, nil},
		{"another snapshot", func(t *testing.T, h *host, m *v1.Manifest) {
			b := h.image(t, "1.1.0")
			m.Config, m.Layers = b.Config, b.Layers
		}, []string{"has no layer with the snapshot"}, []string{"carries a file with"}},
		{"a config that is no JSON", func(t *testing.T, h *host, m *v1.Manifest) {
			d := h.putBlob(t, "acme/greet", []byte("{"))
			m.Config.Digest, m.Config.Size = v1.Hash{Algorithm: "sha256", Hex: d.Hex()}, 1
		}, []string{"acme/greet"}, []string{"cannot read"}},
		{"a layer that is no archive", func(t *testing.T, h *host, m *v1.Manifest) {
			d := h.putBlob(t, "acme/greet", []byte("garbage"))
			m.Layers[0].Digest, m.Layers[0].Size = v1.Hash{Algorithm: "sha256", Hex: d.Hex()}, 7
		}, []string{"cannot read"}, nil},
		{"the annotation", func(_ *testing.T, _ *host, m *v1.Manifest) {
			m.Annotations[oci.LabelDigest] = string(schema.DigestBytes(nil))
		}, []string{"is of the version digest"}, []string{"carries a file with"}},
		{"no annotations", func(_ *testing.T, _ *host, m *v1.Manifest) { m.Annotations = nil }, []string{"is of the version digest"}, []string{"carries a file with"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			h, c := newHost(t, nil), newClient(t, oci.Options{})
			v := version(t, "1.0.0", "", small)
			publish(t, c, plan(h, v))
			publish(t, c, plan(h, version(t, "1.1.0", "", bye)))
			m := h.image(t, "1.0.0")
			x.change(t, h, m)
			h.tag(t, types.OCIManifestSchema1, m)
			images := &oci.Images{Client: newClient(t, oci.Options{}), Prefixes: []string{h.prefix()}}
			switch {
			case x.files == nil:
				if _, content, err := tryUnpack(t, images, v.Manifest); err == nil && content.Digest == v.Manifest.Snapshot.Digest {
					t.Errorf("other files have the digest %s", content.Digest)
				}
			case len(x.files) == 0:
				unpack(t, images, v.Manifest)
			default:
				refused(t, images, v.Manifest, x.files...)
			}
			file, err := lookup(t, images.Client, plan(h, v).Ref).Manifest()
			switch {
			case x.about != nil:
				contains(t, err, x.about...)
			case err != nil || !bytes.Equal(file, v.File):
				t.Errorf("%q, %v", file, err)
			}
		})
	}
}

// reconfigured stores another config for an image and describes it.
func reconfigured(tb testing.TB, h *host, m *v1.Manifest, change func(cfg *v1.ConfigFile)) v1.Descriptor {
	tb.Helper()
	cfg, err := v1.ParseConfigFile(h.ask(http.MethodGet, "/v2/acme/greet/blobs/"+m.Config.Digest.String(), nil, "").Body)
	if err != nil {
		tb.Fatal(err)
	}
	change(cfg)
	data, err := json.Marshal(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	d := m.Config
	d.Digest, d.Size = v1.Hash{Algorithm: "sha256", Hex: h.putBlob(tb, "acme/greet", data).Hex()}, int64(len(data))
	return d
}

// TestTamperedIndex: an image of several platforms leads elsewhere.
func TestTamperedIndex(t *testing.T) {
	t.Parallel()
	type index = v1.IndexManifest
	for _, x := range []struct {
		name   string
		change func(t *testing.T, h *host, m, other *index)
		words  []string
	}{
		{"another version's images", func(_ *testing.T, _ *host, m, other *index) { m.Manifests = other.Manifests }, []string{"has no layer with the snapshot"}},
		{"another version's first image", func(_ *testing.T, _ *host, m, other *index) { m.Manifests[0] = other.Manifests[0] }, []string{"has no layer with the snapshot"}},
		{"another version's index", func(_ *testing.T, _ *host, m, other *index) { *m = *other }, []string{"is of the version digest"}},
		{"no images", func(_ *testing.T, _ *host, m, _ *index) { m.Manifests = []v1.Descriptor{} }, []string{"has no images"}},
		{"an index below", func(_ *testing.T, h *host, m, _ *index) {
			below := schema.DigestBytes(h.manifest("acme/greet", "1.1.0"))
			m.Manifests = []v1.Descriptor{{MediaType: types.OCIImageIndex, Size: 2, Digest: v1.Hash{Algorithm: "sha256", Hex: below.Hex()}}}
		}, []string{"has no images"}},
		{"an image that is gone", func(_ *testing.T, h *host, m, _ *index) {
			h.lies("/manifests/"+m.Manifests[0].Digest.String(), func(w http.ResponseWriter, _ []byte) { w.WriteHeader(http.StatusNotFound) })
		}, []string{"cannot read"}},
		{"an image's other bytes", func(_ *testing.T, h *host, m, _ *index) {
			h.lies("/manifests/"+m.Manifests[0].Digest.String(), func(w http.ResponseWriter, truth []byte) {
				_, _ = w.Write(append(truth, '\n'))
			})
		}, []string{"does not match"}},
		{"an image's bytes are another's", func(_ *testing.T, h *host, m, other *index) {
			h.lies("/manifests/"+m.Manifests[0].Digest.String(), func(w http.ResponseWriter, _ []byte) {
				_, _ = w.Write(h.manifest("acme/greet", other.Manifests[0].Digest.String()))
			})
		}, []string{"does not match"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			h, c := newHost(t, nil), newClient(t, oci.Options{})
			environment := "{image: '" + push(t, h.addr+"/python", baseIndex(t, types.OCIImageIndex, types.OCIManifestSchema1)) + "'}"
			v := version(t, "1.0.0", environment, small)
			publish(t, c, plan(h, v))
			publish(t, c, plan(h, version(t, "1.1.0", environment, map[string]string{"greet.py": "print('bye')\n"})))
			var both [2]index
			for i, tag := range []string{"1.0.0", "1.1.0"} {
				if err := json.Unmarshal(h.manifest("acme/greet", tag), &both[i]); err != nil || len(both[i].Manifests) != 2 {
					t.Fatalf("%s: %+v, %v", tag, both[i], err)
				}
			}
			x.change(t, h, &both[0], &both[1])
			h.tag(t, types.OCIImageIndex, both[0])
			c = newClient(t, oci.Options{Patience: 100 * time.Millisecond})
			refused(t, &oci.Images{Client: c, Prefixes: []string{h.prefix()}}, v.Manifest, append(x.words, h.addr)...)
		})
	}
}

// TestMovedTag: a tag that shows another version's image is seen by who pulls
// and by who publishes.
func TestMovedTag(t *testing.T) {
	t.Parallel()
	h, c := newHost(t, nil), newClient(t, oci.Options{})
	v, later := version(t, "1.0.0", "", small), version(t, "1.1.0", "", small)
	publish(t, c, plan(h, v))
	publish(t, c, plan(h, later))
	h.tag(t, types.OCIManifestSchema1, h.image(t, "1.1.0"))
	moved := h.manifest("acme/greet", "1.0.0")
	c = newClient(t, oci.Options{})
	images := &oci.Images{Client: c, Prefixes: []string{h.prefix()}}
	refused(t, images, v.Manifest, "is of the version digest", string(later.Manifest.Digest), string(v.Manifest.Digest))
	_, _, err := tryUnpack(t, images, v.Manifest)
	if p, ok := errors.AsType[*oci.ProblemError](err); !ok || !strings.Contains(p.Hint, "the tag was moved") {
		t.Errorf("%v gives no advice", err)
	}
	_, err = c.Published(t.Context(), plan(h, v))
	_, again := c.Publish(t.Context(), plan(h, v), build(t, c, v))
	for _, err := range []error{err, again} {
		if e, ok := errors.AsType[*oci.ConflictError](err); !ok || len(e.Parts) != 2 {
			t.Errorf("%v; want a conflict of version and version digest", err)
		}
	}
	if !bytes.Equal(h.manifest("acme/greet", "1.0.0"), moved) {
		t.Error("publishing has overwritten the tag")
	}
}

// sent is what a server was asked with.
type sent struct {
	mu      sync.Mutex
	headers []string // Authorization
}

func (s *sent) note(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headers = append(s.headers, r.Header.Get("Authorization"))
}

func (s *sent) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.headers
}

// guard is a registry as ghcr.io: who reads needs credentials, and blobs are
// elsewhere, at a place and their path: those whose path has such a part.
func guard(h *host, scheme, part, place string, seen *sent) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const basic = "Basic eC1hY2Nlc3MtdG9rZW46c2VjcmV0" // x-access-token:secret
		want := basic
		if scheme == "Bearer" {
			want = "Bearer short-lived"
		}
		seen.note(r)
		switch got := r.Header.Get("Authorization"); {
		case r.URL.Path == "/token" && got == basic:
			fmt.Fprint(w, `{"token":"short-lived"}`)
		case got != want:
			w.Header().Set("WWW-Authenticate", scheme+` realm="https://ghcr.io/token",service="ghcr.io"`)
			w.WriteHeader(http.StatusUnauthorized)
		case strings.Contains(r.URL.Path, part):
			w.Header().Set("Location", place+r.URL.Path)
			w.WriteHeader(http.StatusTemporaryRedirect)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// TestRedirect: blobs are read from another host without the registry's
// credentials, and are held against their digest.
func TestRedirect(t *testing.T) {
	t.Parallel()
	v := version(t, "1.0.0", "", small)
	h := newHost(t, nil)
	publish(t, newClient(t, oci.Options{}), plan(h, v))
	for _, scheme := range []string{"Basic", "Bearer"} {
		for _, place := range []string{"blobs.example", "blobs.ghcr.io", "ghcr.io:8443", "ghcr.io.example"} {
			t.Run(scheme+" "+place, func(t *testing.T) {
				t.Parallel()
				var here, there sent
				var lying atomic.Bool
				other := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					there.note(r)
					body := h.ask(http.MethodGet, r.URL.Path, nil, "").Body.Bytes()
					if lying.Load() {
						body[len(body)/2] ^= 1
					}
					_, _ = w.Write(body)
				}))
				at := place
				if !strings.Contains(at, ":") {
					at += ":443"
				}
				transport, _ := mapped(t, map[string]string{"ghcr.io:443": serveTLS(t, guard(h, scheme, "/blobs/", "https://"+place, &here)), at: other})
				images := func() *oci.Images {
					c := newClient(t, oci.Options{Transport: transport, GitHubToken: "secret", Patience: 100 * time.Millisecond})
					return &oci.Images{Client: c, Prefixes: []string{"ghcr.io/acme"}}
				}
				unpack(t, images(), v.Manifest)
				if got := there.all(); len(got) != 2 || strings.Join(got, "") != "" {
					t.Errorf("the other host saw the credentials %q", got)
				}
				if got := strings.Join(here.all(), " "); !strings.Contains(got, scheme) {
					t.Errorf("the registry saw %q", got)
				}
				lying.Store(true)
				refused(t, images(), v.Manifest, "ghcr.io/acme/greet")
			})
		}
	}
}

// TestRedirectRefused: a registry on another machine leads neither to what is
// not encrypted, nor into the network that this machine is in.
func TestRedirectRefused(t *testing.T) {
	t.Parallel()
	v := version(t, "1.0.0", "", small)
	h := newHost(t, nil)
	publish(t, newClient(t, oci.Options{}), plan(h, v))
	var asked atomic.Int32
	plain, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = w.Write(h.ask(http.MethodGet, r.URL.Path, nil, "").Body.Bytes())
	}))
	m := h.image(t, "1.0.0")
	for _, x := range []struct{ place, want string }{
		{"http://blobs.example", "blobs.example is not spoken to without TLS"},
		{"http://blobs.example:8080", "blobs.example:8080 is not spoken to without TLS"},
		{"ftp://blobs.example", "blobs.example is not spoken to without TLS"},
		{"file://", "is not spoken to without TLS"},
		{"http://169.254.169.254", `"169.254.169.254" denied`},
		{"https://10.0.0.1", `"10.0.0.1" denied`},
		{"http://" + plain, `"127.0.0.1" denied`},
	} {
		t.Run(x.place, func(t *testing.T) {
			t.Parallel()
			images := func(part string) *oci.Images {
				transport, _ := mapped(t, map[string]string{
					"ghcr.io:443": serveTLS(t, guard(h, "Basic", part, x.place, &sent{})), plain: plain,
					"blobs.example:80": plain, "blobs.example:8080": plain, "169.254.169.254:80": plain, "10.0.0.1:443": plain,
				})
				c := newClient(t, oci.Options{Transport: transport, GitHubToken: "secret", Patience: 100 * time.Millisecond})
				return &oci.Images{Client: c, Prefixes: []string{"ghcr.io/acme"}}
			}
			refused(t, images(m.Layers[0].Digest.Hex), v.Manifest, x.want, "ghcr.io/acme/greet")
			promptly(t, soon, func() {
				_, err := lookup(t, images(m.Config.Digest.Hex).Client, "ghcr.io/acme/greet:1.0.0").Manifest()
				contains(t, err, x.want, "ghcr.io/acme/greet")
			})
			if asked.Load() != 0 {
				t.Errorf("%s was asked", x.place)
			}
		})
	}
}

// TestCutOffMany: an upload that is cut off anywhere leaves no tag, and
// publishing again ends right.
func TestCutOffMany(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for n := range 50 {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			cutOff(t, rand.New(rand.NewPCG(seed, uint64(n))))
		})
	}
}

// cutOff publishes to a host that breaks one request off in its body: of those
// for the layer, the config, and the manifests of the image, of what is
// attached, of the list of that, and of the tag. After that the host is as
// before, or refuses everything, or whoever publishes has stopped.
func cutOff(t *testing.T, r *rand.Rand) {
	content := map[string]string{"greet.py": "print('hello')\n", "data": string(noise(r, 1+r.IntN(50_000)))}
	p := plan(newHost(t, nil), version(t, "1.0.0", "", content))
	p.Attest = func(context.Context, schema.Digest) ([]oci.Attachment, error) {
		return []oci.Attachment{{Type: "application/test", Data: []byte("x")}}, nil
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	which, part, after := int32(1+r.IntN(8)), r.Float64(), r.IntN(3)
	var bodies atomic.Int32
	var down atomic.Bool
	h := newHost(t, func(w http.ResponseWriter, r *http.Request) bool {
		if down.Load() {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		if r.ContentLength <= 0 || bodies.Add(1) != which {
			return false
		}
		_, _ = io.CopyN(io.Discard, r.Body, int64(part*float64(r.ContentLength+1)))
		down.Store(after == 1)
		if after == 2 {
			stop()
		}
		if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
			conn.Close()
		}
		return true
	})
	p.Ref = plan(h, p.About).Ref
	c := newClient(t, oci.Options{Patience: 50 * time.Millisecond})
	_, err := c.Publish(ctx, p, build(t, c, p.About))
	t.Logf("request %d, at %.3f, then %d: %v", which, part, after, err)
	if err != nil && h.manifest("acme/greet", "1.0.0") != nil {
		t.Errorf("it failed, but the tag is there: %v", err)
	}
	if err == nil && after > 0 && bodies.Load() >= which {
		t.Error("it did not fail")
	}
	down.Store(false)
	bodies.Store(100)
	c = newClient(t, oci.Options{})
	was, err := c.Published(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if was == nil {
		publish(t, c, p)
	}
	unpack(t, &oci.Images{Client: c, Prefixes: []string{h.prefix()}}, p.About.Manifest)
	if list, err := c.Attached(t.Context(), lookup(t, c, p.Ref).Ref, "application/test"); err != nil || len(list) != 1 {
		t.Errorf("attached: %v, %v", list, err)
	}
}

func noise(r *rand.Rand, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(r.Uint32())
	}
	return out
}
