//go:build unix

package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKeyless: a workflow without a key signs by Sigstore's own programs, its
// certificate authority, its log and its clock, and who verifies knows the
// workflow.
func TestKeyless(t *testing.T) {
	need(t, "fulcio", "rekor-server", "timestamp-server", "cosign")
	t.Parallel()
	w := newWorld(t)
	w.host = imageHost(t)
	workflow := "acme/modules/.github/workflows/publish.yml@refs/heads/main"
	hub := newIssuer(t, map[string]any{
		"sub": "repo:acme/modules:ref:refs/heads/main", "job_workflow_ref": workflow, "workflow_ref": workflow,
		"job_workflow_sha": noCommit, "workflow_sha": noCommit, "sha": noCommit, "event_name": "push", "repository": "acme/modules", "workflow": "publish",
		"ref": "refs/heads/main", "repository_id": "1", "repository_owner": "acme", "repository_owner_id": "1", "repository_visibility": "public",
		"run_id": "1", "run_attempt": "1", "runner_environment": "github-hosted",
	})
	w.sigstore(t, hub)
	settings := func(subject string) {
		text := "apiVersion: modyard.dev/v1\nkind: Registry\nname: acme\nimages: " + w.host + "/acme\npolicy:\n  signatures: required\n  identities: [{issuer: '" + hub + "', subject: '" + subject + "'}]\n"
		write(t, filepath.Join(w.reg, "registry.yaml"), text)
	}
	settings("https://github.com/acme/modules/.*")
	w.run(t, w.reg, "git", "add", "-A")
	w.run(t, w.reg, "git", "commit", "-q", "-m", "first")
	if out := w.fails(t, w.reg, "modyard", "publish", "word-count@1.0.0"); !strings.Contains(out, "the registry's policy requires it") {
		t.Errorf("without an identity: %s", out)
	}
	plain := w.env
	w.env = append(w.env, "ACTIONS_ID_TOKEN_REQUEST_URL="+hub+"/token?api-version=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN=bearer")
	if out := w.run(t, w.reg, "modyard", "publish", "word-count@1.0.0"); !strings.Contains(out, "published") {
		t.Fatalf("publish: %s", out)
	}
	w.env = plain
	if out := w.run(t, w.reg, "modyard", "verify", "word-count@1.0.0"); !strings.Contains(out, "https://github.com/"+workflow) {
		t.Errorf("verify: %s", out)
	}
	w.run(t, w.reg, "modyard", "pull", "word-count@1.0.0")
	settings("https://github.com/acme/modules-.*")
	if out := w.fails(t, w.reg, "modyard", "verify", "word-count@1.0.0"); !strings.Contains(out, "it is signed by none of those who may sign") {
		t.Errorf("another subject: %s", out)
	}
	// Sigstore's own client says the same.
	args := []string{"verify-attestation", "--new-bundle-format", "--allow-insecure-registry", "--insecure-ignore-sct", "--use-signed-timestamps", "--trusted-root", filepath.Join(w.dir, "trusted.json"),
		"--type", "slsaprovenance1", "--certificate-oidc-issuer", hub, "--certificate-identity"}
	w.run(t, w.dir, "cosign", append(args, "https://github.com/"+workflow, w.image())...)
	w.fails(t, w.dir, "cosign", append(args, "https://github.com/acme/other", w.image())...)
}

// newIssuer vouches for a workflow as GitHub does: it answers at /token, and
// tells its key to who checks.
func newIssuer(t *testing.T, claims map[string]any) (address string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	answer := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v)
		}
	}
	mux.HandleFunc("/.well-known/openid-configuration", answer(map[string]any{
		"issuer": s.URL, "jwks_uri": s.URL + "/keys", "response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
	}))
	mux.HandleFunc("/keys", answer(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
	}}}))
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer bearer" || r.FormValue("api-version") != "2" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		now := time.Now()
		all := map[string]any{"iss": s.URL, "aud": r.FormValue("audience"), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
		maps.Copy(all, claims)
		token := text(map[string]any{"alg": "RS256", "typ": "JWT", "kid": "1"}) + "." + text(all)
		sum := sha256.Sum256([]byte(token))
		sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Error(err)
		}
		answer(map[string]any{"value": token + "." + base64.RawURLEncoding.EncodeToString(sig)})(w, r)
	})
	return s.URL
}

// sigstore starts Sigstore's programs for an issuer of identities, and names
// them in the environment.
func (w *world) sigstore(t *testing.T, issuer string) {
	t.Helper()
	config, err := json.Marshal(map[string]any{"OIDCIssuers": map[string]any{issuer: map[string]any{"IssuerURL": issuer, "ClientID": "sigstore", "Type": "github-workflow"}}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.dir, "fulcio.yaml"), string(config))
	port := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, p, _ := net.SplitHostPort(l.Addr().String())
		return p
	}
	ca, stamps, rekor := port(), port(), port()
	w.server(t, "http://127.0.0.1:"+ca+"/healthz", "fulcio", "serve", "--ca", "ephemeralca", "--ct-log-url", "", "--config-path", "fulcio.yaml", "--host", "127.0.0.1", "--port", ca, "--grpc-host", "127.0.0.1", "--grpc-port", port(), "--metrics-port", port(), "--legacy-unix-domain-socket", filepath.Join(w.dir, "fulcio.sock"))
	w.server(t, "http://127.0.0.1:"+stamps+"/ping", "timestamp-server", "serve", "--timestamp-signer", "memory", "--disable-ntp-monitoring", "--host", "127.0.0.1", "--port", stamps)
	w.server(t, "http://127.0.0.1:"+rekor+"/healthz", "rekor-server", "serve", "--storage-dir", "rekor", "--signer-filepath", "key.pem", "--hostname", "127.0.0.1", "--checkpoint-interval", "1s", "--http-port", rekor, "--grpc-port", port(), "--http-metrics-port", port())
	for name, address := range map[string]string{"fulcio.json": ca + "/api/v2/trustBundle", "stamps.pem": stamps + "/api/v1/timestamp/certchain"} {
		resp, err := http.Get("http://127.0.0.1:" + address) //nolint:noctx // a test's own server
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %v", address, resp.Status, err)
		}
		write(t, filepath.Join(w.dir, name), string(data))
	}
	var bundle struct {
		Chains []struct{ Certificates []string }
	}
	data, err := os.ReadFile(filepath.Join(w.dir, "fulcio.json"))
	if err == nil {
		err = json.Unmarshal(data, &bundle)
	}
	if err != nil || len(bundle.Chains) != 1 {
		t.Fatalf("%v: %s", err, data)
	}
	write(t, filepath.Join(w.dir, "fulcio.pem"), strings.Join(bundle.Chains[0].Certificates, "\n"))
	const since = "start-time=2020-01-01T00:00:00Z"
	from := func(port, path, rest string) string {
		return fmt.Sprintf("url=http://127.0.0.1:%s%s,%s,%s", port, path, since, rest)
	}
	w.run(t, w.dir, "cosign", "trusted-root", "create", "--out", "trusted.json", "--fulcio", from(ca, "", "certificate-chain=fulcio.pem"),
		"--rekor", from(rekor, "", "public-key=key.pub,origin=127.0.0.1"), "--tsa", from(stamps, "/api/v1/timestamp", "certificate-chain=stamps.pem"))
	w.run(t, w.dir, "cosign", "signing-config", "create", "--out", "signing.json", "--fulcio", from(ca, "", "api-version=1,operator=test"), "--rekor", from(rekor, "", "api-version=2,operator=test"), "--rekor-config", "ANY",
		"--tsa", from(stamps, "/api/v1/timestamp", "api-version=1,operator=test"), "--tsa-config", "ANY", "--oidc-provider", "url="+issuer+",api-version=1,operator=test,"+since)
	w.env = append(w.env, "SIGSTORE_SIGNING_CONFIG="+filepath.Join(w.dir, "signing.json"), "SIGSTORE_TRUSTED_ROOT="+filepath.Join(w.dir, "trusted.json"))
}

// server starts a program, which ends with the test, and waits until it
// answers.
func (w *world) server(t *testing.T, address, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = w.dir, w.env
	said, err := os.Create(filepath.Join(w.dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	start(t, cmd)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(address) //nolint:noctx // bounded by the deadline
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(said.Name())
			t.Fatalf("%s does not answer at %s: %v: %s", name, address, err, text)
		}
	}
}
