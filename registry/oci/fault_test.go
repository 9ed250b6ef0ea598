package oci_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modyard/modyard/registry/attest"
	"github.com/modyard/modyard/registry/oci"
	"github.com/modyard/modyard/schema"
)

// TestPublishOrder: at the moment the tag is written, what is attached is
// there; publishing again makes three requests at most and sends nothing.
func TestPublishOrder(t *testing.T) {
	for _, referrers := range []bool{true, false} {
		h := newHostOf(t, referrers, nil)
		c := newClient(t, oci.Options{})
		p := plan(h, version(t, "1.0.0", "", small))
		p.Attest = func(_ context.Context, d schema.Digest) ([]oci.Attachment, error) {
			return []oci.Attachment{{Type: "application/test", Data: []byte("about " + d)}}, nil
		}
		var attached int
		h.fail(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/1.0.0") {
				attached = h.count("PUT /v2/acme/greet/manifests/")
			}
			return false
		})
		publish(t, c, p)
		want := 4 // the image, the attachment, the list that stands in for referrers, the tag
		if attached != want {
			t.Errorf("referrers %v: %d manifests stood when the tag was written, want %d", referrers, attached, want)
		}
		e := lookup(t, c, p.Ref)
		list, err := c.Attached(t.Context(), e.Ref, "application/test")
		if err != nil || len(list) != 1 || string(list[0].Data) != "about "+string(e.Digest) {
			t.Errorf("attached: %v, %v", list, err)
		}
		h.forget()
		again, err := newClient(t, oci.Options{}).Published(t.Context(), p)
		if err != nil || again == nil || !again.Already || h.count("") > 3 {
			t.Errorf("again: %+v, %v, %d requests", again, err, h.count(""))
		}
	}
}

// TestLikeGHCR: hosts that answer for referrers as ghcr.io does lose nothing.
func TestLikeGHCR(t *testing.T) {
	for name, end := range map[string]func(w http.ResponseWriter){
		"not found": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"a page": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>")
		},
		"too many requests": func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) },
	} {
		t.Run(name, func(t *testing.T) {
			var followed atomic.Bool
			h := newHost(t, func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case strings.Contains(r.URL.Path, "/referrers/"):
					w.Header().Set("Location", "/elsewhere")
					w.WriteHeader(http.StatusSeeOther)
				case r.URL.Path == "/elsewhere":
					followed.Store(true)
					end(w)
				default:
					return false
				}
				return true
			})
			c := newClient(t, oci.Options{})
			p := plan(h, version(t, "1.0.0", "", small))
			p.Attest = func(context.Context, schema.Digest) ([]oci.Attachment, error) {
				return []oci.Attachment{{Type: "application/test", Data: []byte("x")}, {Type: "application/test", Data: []byte("y")}}, nil
			}
			publish(t, c, p)
			list, err := c.Attached(t.Context(), lookup(t, c, p.Ref).Ref, "application/test")
			if err != nil || len(list) != 2 || followed.Load() {
				t.Errorf("%d attached, followed %v: %v", len(list), followed.Load(), err)
			}
		})
	}
}

// TestCutOff: a server that breaks an upload off leaves no tag, and publishing
// again ends right.
func TestCutOff(t *testing.T) {
	for n := range 4 {
		var left atomic.Int32
		left.Store(int32(1 + n))
		h := newHost(t, func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPatch && r.Method != http.MethodPut || left.Add(-1) < 0 {
				return false
			}
			_, _ = r.Body.Read(make([]byte, 1+n*37))
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
			return true
		})
		p := plan(h, version(t, "1.0.0", "", small))
		c := newClient(t, oci.Options{})
		if _, err := c.Publish(t.Context(), p, build(t, c, p.About)); err != nil && h.manifest("acme/greet", "1.0.0") != nil {
			t.Errorf("cut off %d: it failed, but the tag is there: %v", n, err)
		}
		left.Store(0)
		c = newClient(t, oci.Options{})
		if was, err := c.Published(t.Context(), p); err != nil {
			t.Fatal(err)
		} else if was == nil {
			publish(t, c, p)
		}
		unpack(t, &oci.Images{Client: c, Prefixes: []string{h.prefix()}}, p.About.Manifest)
	}
}

// TestBusy: 429 and 503 are waited for as long as they say.
func TestBusy(t *testing.T) {
	for _, after := range []string{"", "0", time.Now().UTC().Format(http.TimeFormat)} {
		var n atomic.Int32
		h := newHost(t, func(w http.ResponseWriter, _ *http.Request) bool {
			if n.Add(1)%3 != 0 {
				return false
			}
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			w.WriteHeader([]int{http.StatusTooManyRequests, http.StatusServiceUnavailable}[n.Load()%2])
			return true
		})
		publish(t, newClient(t, oci.Options{Patience: 10 * time.Second}), plan(h, version(t, "1.0.0", "", small)))
	}
	h := newHost(t, func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	promptly(t, 5*time.Second, func() {
		_, err := newClient(t, oci.Options{}).Lookup(t.Context(), h.prefix()+"/greet:1.0.0")
		if err == nil || !oci.Unreachable(err) {
			t.Errorf("a storm without end: %v", err)
		}
	})
}

// TestPlainHTTP: no request goes without TLS to another machine.
func TestPlainHTTP(t *testing.T) {
	h := newHost(t, nil)
	transport, refused := mapped(t, map[string]string{"192.168.0.9:80": h.addr})
	_, err := newClient(t, oci.Options{Transport: transport}).Lookup(t.Context(), "192.168.0.9/acme/greet:1.0.0")
	contains(t, err, "is not spoken to without TLS")
	if h.count("") > 0 || len(refused()) > 1 { // TLS is tried
		t.Errorf("%d requests, %q", h.count(""), refused())
	}
	if _, err := newClient(t, oci.Options{Transport: transport, PlainHTTP: []string{"192.168.0.9"}}).Lookup(t.Context(), "192.168.0.9/acme/greet:1.0.0"); err != nil {
		t.Errorf("where it is allowed: %v", err)
	}
}

// TestMirrors: another copy is asked when the network fails, and only then.
func TestMirrors(t *testing.T) {
	v := version(t, "1.0.0", "", small)
	good := newHost(t, nil)
	c := newClient(t, oci.Options{Patience: 300 * time.Millisecond})
	publish(t, c, plan(good, v))
	answer := func(status int) *host {
		return newHost(t, func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				return false
			}
			w.WriteHeader(status)
			return true
		})
	}
	moved := newHost(t, nil)
	other := version(t, "1.0.0", "", map[string]string{"greet.py": "print('bye')\n"})
	publish(t, c, plan(moved, other))
	gone := newHost(t, nil)
	gone.close()
	for _, x := range []struct {
		name  string
		first *host
		good  bool
	}{
		{"refused connections", gone, true}, {"a broken server", answer(http.StatusBadGateway), true},
		{"not there", answer(http.StatusNotFound), false}, {"not allowed", answer(http.StatusForbidden), false}, {"a moved tag", moved, false},
	} {
		good.forget()
		_, content, err := tryUnpack(t, &oci.Images{Client: c, Prefixes: []string{x.first.prefix(), good.prefix()}}, v.Manifest)
		if (err == nil) != x.good || x.good && content.Digest != v.Manifest.Snapshot.Digest || !x.good && good.count("") > 0 {
			t.Errorf("%s: %v, %d requests to the mirror", x.name, err, good.count(""))
		}
	}
}

// TestLies: what a registry sends is not what it says; none of it is used.
func TestLies(t *testing.T) {
	v := version(t, "1.0.0", "", small)
	for name, lie := range map[string]func(w http.ResponseWriter){
		"other bytes": func(w http.ResponseWriter) { fmt.Fprint(w, "other") },
		"no bytes":    func(http.ResponseWriter) {},
		"no end": func(w http.ResponseWriter) {
			for block := make([]byte, 1<<20); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		},
	} {
		h := newHost(t, nil)
		c := newClient(t, oci.Options{Patience: 300 * time.Millisecond})
		publish(t, c, plan(h, v))
		h.fail(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
				lie(w)
				return true
			}
			return false
		})
		promptly(t, 20*time.Second, func() {
			if _, _, err := tryUnpack(t, &oci.Images{Client: c, Prefixes: []string{h.prefix()}}, v.Manifest); err == nil {
				t.Errorf("%s: it was taken", name)
			}
		})
	}
}

// TestProvenance: who has signed what is told from everything else.
func TestProvenance(t *testing.T) {
	pair := func() (attest.Signer, []byte) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		private, errA := x509.MarshalPKCS8PrivateKey(key)
		public, errB := x509.MarshalPKIXPublicKey(key.Public())
		signer, errC := attest.Key(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), "")
		if err := errors.Join(errA, errB, errC); err != nil {
			t.Fatal(err)
		}
		return signer, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	}
	signer, public := pair()
	_, stranger := pair()
	v := version(t, "1.0.0", "", small)
	for _, x := range []struct {
		name     string
		change   func(*attest.Provenance)
		damage   bool
		unsigned bool
		key      []byte
		want     string // "" for good
	}{
		{name: "good", key: public},
		{name: "another key", key: stranger, want: "no provenance that is good"},
		{name: "none", key: public, unsigned: true, want: "which the registry's policy requires"},
		{name: "another image", key: public, change: func(p *attest.Provenance) { p.Digest = schema.DigestBytes(nil) }, want: "no provenance that is good"},
		{name: "another version", key: public, change: func(p *attest.Provenance) { p.Manifest = schema.DigestBytes(nil) }, want: "names another version"},
		{name: "damaged", key: public, damage: true, want: "no provenance that is good"},
	} {
		t.Run(x.name, func(t *testing.T) {
			h := newHost(t, nil)
			c := newClient(t, oci.Options{})
			p := plan(h, v)
			if !x.unsigned {
				p.Attest = func(ctx context.Context, d schema.Digest) ([]oci.Attachment, error) {
					pr := attest.Provenance{Digest: d, Manifest: v.Manifest.Digest, Commit: strings.Repeat("1", 40), Made: time.Now()}
					if x.change != nil {
						x.change(&pr)
					}
					statement, err := pr.Statement()
					if err != nil {
						return nil, err
					}
					bundle, err := signer.Sign(ctx, statement)
					if x.damage {
						bundle = []byte(strings.Replace(string(bundle), `"sig":"`, `"sig":"AAAA`, 1))
					}
					return []oci.Attachment{{Type: attest.BundleType, Data: bundle}}, err
				}
			}
			publish(t, c, p)
			who, err := attest.NewVerifier(attest.VerifierOptions{Keys: [][]byte{x.key}})
			if err != nil {
				t.Fatal(err)
			}
			images := &oci.Images{Client: c, Prefixes: []string{h.prefix()}, Verifier: who, Required: true}
			_, _, err = tryUnpack(t, images, v.Manifest)
			if x.want == "" {
				by, perr := images.Provenance(t.Context(), lookup(t, c, p.Ref))
				if err != nil || perr != nil || by.Statement.Commit() != strings.Repeat("1", 40) {
					t.Errorf("%v, %v, %+v", err, perr, by)
				}
				return
			}
			contains(t, err, x.want)
		})
	}
}

// TestArtifacts: small blobs come with their manifest, others by themselves.
func TestArtifacts(t *testing.T) {
	h := newHost(t, nil)
	c := newClient(t, oci.Options{})
	large := []byte(strings.Repeat("large ", 2000))
	a := oci.Artifact{Type: "application/test", Config: oci.NewBlob("application/config", []byte("{}")), Blobs: []oci.Blob{oci.NewBlob("a/b", []byte("small")), oci.NewBlob("a/b", large)}}
	if err := c.PutArtifact(t.Context(), h.prefix()+"/results", "tag", a); err != nil {
		t.Fatal(err)
	}
	h.forget()
	got, err := c.GetArtifact(t.Context(), h.prefix()+"/results", "tag")
	if err != nil || got.Type != a.Type || string(got.Config.Data) != "{}" || string(got.Blobs[0].Data) != "small" || got.Blobs[1].Data != nil || h.count("GET /v2/acme/results/blobs") > 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if none, err := c.GetArtifact(t.Context(), h.prefix()+"/results", "other"); none != nil || err != nil {
		t.Errorf("none: %v, %v", none, err)
	}
	// A blob in the manifest that is not what its digest says is not used.
	d := h.putBlob(t, "acme/results", []byte("{}"))
	h.putManifest(t, "acme/results", "lie", "application/vnd.oci.image.manifest.v1+json", fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/test","config":{"mediaType":"a/b","size":2,"digest":"%s","data":"W10="},"layers":[]}`, d))
	if _, err := c.GetArtifact(t.Context(), h.prefix()+"/results", "lie"); err == nil {
		t.Error("a config that is not its digest's was taken")
	}
}
