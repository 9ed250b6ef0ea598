package snapshot_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// web is some servers on loopback and what they were asked for, in order.
type web struct {
	mu    sync.Mutex
	asked []string
	roots *x509.CertPool
}

// serve starts a server of https, or of http when plain.
func (w *web) serve(tb testing.TB, name string, plain bool, h http.HandlerFunc) *httptest.Server {
	tb.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		what := name + " " + r.URL.Path
		if q := r.URL.Query(); len(q) > 0 {
			text, _ := url.QueryUnescape(q.Encode())
			what += "?" + text
		}
		if user, password, ok := r.BasicAuth(); ok {
			what += " as " + user + ":" + password
		} else if r.Header.Get("Authorization") != "" {
			what += " as someone"
		}
		w.mu.Lock()
		w.asked = append(w.asked, what)
		w.mu.Unlock()
		h(out, r)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	if plain {
		srv.Start()
	} else {
		srv.StartTLS()
		if w.roots == nil {
			w.roots = x509.NewCertPool()
		}
		w.roots.AddCert(srv.Certificate())
	}
	tb.Cleanup(srv.Close)
	return srv
}

func (w *web) log() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked)
}

// fetcher trusts the servers.
func (w *web) fetcher(tb testing.TB) *snapshot.Fetcher {
	tb.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}}
	tb.Cleanup(transport.CloseIdleConnections)
	return &snapshot.Fetcher{Scratch: tb.TempDir(), HTTP: &http.Client{Transport: transport}}
}

// origin fetches, and fails when it hangs.
func origin(tb testing.TB, f *snapshot.Fetcher, s *schema.Snapshot) (*snapshot.Tree, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	tree, err := f.Origin(ctx, s)
	if ctx.Err() != nil {
		tb.Fatalf("it hangs: %v", err)
	}
	if (tree == nil) != (err != nil) {
		tb.Fatalf("got %v and %v", tree, err)
	}
	return tree, err
}

func archiveAt(address string) *schema.Snapshot {
	return &schema.Snapshot{Origin: "archive", Archive: &schema.ArchiveOrigin{URL: schema.Text{Value: address}}}
}

func send(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.Write(data) }
}

func answer(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

// TestFetchArchives: over https an archive has the digest of its folder.
func TestFetchArchives(t *testing.T) {
	dir, all := sample(t)
	const top = "top-1.0"
	for _, kind := range kinds {
		var w web
		data := kind.pack(t, under(top, all))
		srv := w.serve(t, "a", false, send(data))
		for _, c := range []struct {
			name, path string
			strip      int
			want       string // in dir
		}{
			{"stripped", "", 1, "."},
			{"its folder", top, 0, "."},
			{"a folder below", "d", 1, "d"},
		} {
			t.Run(kind.name+"/"+c.name, func(t *testing.T) {
				f := w.fetcher(t)
				s := archiveAt(srv.URL + "/a")
				s.Archive.Strip, s.Archive.Path.Value = c.strip, c.path
				tree, err := origin(t, f, s)
				if err != nil {
					t.Fatal(err)
				}
				want := digest(t, folder(t, filepath.Join(dir, c.want)))
				if got := digest(t, tree); got != want {
					t.Errorf("%q is %s, not %s", tree.Files(), got, want)
				}
			})
		}
	}
	// As a client of one server has it.
	var w web
	srv := w.serve(t, "a", false, send(gzipped(t, tarred(t, all))))
	f := &snapshot.Fetcher{Scratch: t.TempDir(), HTTP: srv.Client()}
	if tree, err := origin(t, f, archiveAt(srv.URL)); err != nil || digest(t, tree) != digest(t, folder(t, dir)) {
		t.Errorf("with the server's own client: %v", err)
	}
	if _, err := origin(t, &snapshot.Fetcher{Scratch: t.TempDir()}, archiveAt(srv.URL)); err == nil {
		t.Error("a server that is not trusted")
	}
}

// TestFetchedOnce: what was fetched is not fetched again; a failure is.
func TestFetchedOnce(t *testing.T) {
	var w web
	var good atomic.Bool
	data := zipped(t, names("a", "b/c"))
	srv := w.serve(t, "a", false, func(out http.ResponseWriter, r *http.Request) {
		if !good.Load() {
			http.Error(out, "later", http.StatusServiceUnavailable)
			return
		}
		out.Write(data)
	})
	f := w.fetcher(t)
	if _, err := origin(t, f, archiveAt(srv.URL+"/one")); err == nil {
		t.Fatal("no error")
	}
	good.Store(true)
	trees := make([]*snapshot.Tree, 8)
	errs := make([]error, len(trees))
	var wg sync.WaitGroup
	for i := range trees {
		wg.Go(func() { trees[i], errs[i] = f.Origin(t.Context(), archiveAt(srv.URL+"/one")) })
	}
	wg.Wait()
	for i, tree := range trees {
		if errs[i] != nil || tree != trees[0] {
			t.Errorf("%d: another tree: %v", i, errs[i])
		}
	}
	if _, err := origin(t, f, archiveAt(srv.URL+"/two")); err != nil {
		t.Error(err)
	}
	if got, want := w.log(), []string{"a /one", "a /one", "a /two"}; !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
}

// TestFetchRedirects: they are followed to https, ten of them.
func TestFetchRedirects(t *testing.T) {
	var w web
	data := zipped(t, names("a"))
	b := w.serve(t, "b", false, send(data))
	plain := w.serve(t, "plain", true, send(data))
	to := map[string]string{
		"/b":     b.URL + "/b?sig=secret",
		"/here":  "/file",
		"/plain": plain.URL + "/?sig=secret",
		"/disk":  "file:///etc/hostname",
		"/odd":   "gopher://127.0.0.1/?sig=secret",
	}
	a := w.serve(t, "a", false, func(out http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		switch next := to[r.URL.Path]; {
		case next != "":
			http.Redirect(out, r, next, http.StatusFound)
		case err == nil && n > 0:
			http.Redirect(out, r, "/"+strconv.Itoa(n-1)+"?sig=secret", http.StatusTemporaryRedirect)
		default:
			out.Write(data)
		}
	})
	to["/back"] = a.URL + "/b"
	for _, c := range []struct {
		path, user string
		asked      int
		last       string
		bad        string // in the error
	}{
		{path: "/here", asked: 2, last: "a /file"},
		{path: "/b", asked: 2, last: "b /b?sig=secret"},
		{path: "/b", user: "me:secret", asked: 2, last: "b /b?sig=secret"},
		{path: "/back", user: "me:secret", asked: 3, last: "b /b?sig=secret"},
		{path: "/10", asked: 11, last: "a /0?sig=secret"},
		{path: "/11", asked: 11, last: "a /1?sig=secret", bad: "more than 10 times"},
		{path: "/plain", asked: 1, last: "a /plain", bad: "from https to http"},
		{path: "/disk", asked: 1, last: "a /disk", bad: "from https to file"},
		{path: "/odd", asked: 1, last: "a /odd", bad: "from https to gopher"},
	} {
		t.Run(c.path[1:], func(t *testing.T) {
			before := len(w.log())
			address := a.URL + c.path
			if c.user != "" {
				address = strings.Replace(address, "https://", "https://"+c.user+"@", 1)
			}
			tree, err := origin(t, w.fetcher(t), archiveAt(address))
			switch {
			case c.bad == "" && err != nil:
				t.Error(err)
			case c.bad == "" && !slices.Equal(tree.Files(), []string{"a"}):
				t.Errorf("got %q", tree.Files())
			case c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad) || strings.Contains(err.Error(), "secret")):
				t.Errorf("got %v, want %q and no signature", err, c.bad)
			}
			asked := w.log()[before:]
			if len(asked) != c.asked || asked[len(asked)-1] != c.last {
				t.Errorf("asked for %q, want %d, the last %q", asked, c.asked, c.last)
			}
			if c.user != "" && !strings.HasSuffix(asked[0], " as "+c.user) {
				t.Errorf("the first is %q", asked[0])
			}
		})
	}
}

// TestFetchStatus: an answer that is no file is an error that holds no query.
func TestFetchStatus(t *testing.T) {
	for _, code := range []int{201, 203, 204, 304, 400, 401, 403, 404, 410, 429, 500, 503} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			var w web
			srv := w.serve(t, "a", false, func(out http.ResponseWriter, r *http.Request) { out.WriteHeader(code) })
			from := w.serve(t, "b", false, func(out http.ResponseWriter, r *http.Request) {
				http.Redirect(out, r, srv.URL+"/x?sig=secret", http.StatusFound)
			})
			for _, address := range []string{
				srv.URL + "/x/y.zip?sig=secret",
				strings.Replace(srv.URL, "https://", "https://me:secret@", 1) + "/x/y.zip",
				from.URL + "/x/y.zip",
			} {
				_, err := origin(t, w.fetcher(t), archiveAt(address))
				status, ok := errors.AsType[*snapshot.StatusError](err)
				if !ok || status.Code != code {
					t.Fatalf("%s: %v", address, err)
				}
				text := status.Error()
				if strings.Contains(text, "?") || strings.Contains(text, "secret") || !strings.Contains(text, "/x/y.zip answered "+strconv.Itoa(code)) {
					t.Errorf("got %s", text)
				}
			}
		})
	}
}

// TestFetchCutOff: an archive that does not end as announced is refused.
func TestFetchCutOff(t *testing.T) {
	data := gzipped(t, tarred(t, append(names("a"), entry{name: "noise", body: noise(300_000)})))
	for name, h := range map[string]http.HandlerFunc{
		"with a length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			w.Write(data[:len(data)/2])
		},
		"without a length": func(w http.ResponseWriter, _ *http.Request) {
			w.Write(data[:len(data)/2])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"before the head": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"in the archive":  send(data[:len(data)/2]),
		"of no bytes":     send(nil),
		"a page":          send([]byte("<!doctype html><title>Hello</title>")),
	} {
		t.Run(name, func(t *testing.T) {
			var w web
			srv := w.serve(t, "a", false, h)
			if tree, err := origin(t, w.fetcher(t), archiveAt(srv.URL)); err == nil {
				t.Errorf("got %q", tree.Files())
			}
		})
	}
}

// TestFetchInterrupted: whatever a server does, a cancelled context ends it.
func TestFetchInterrupted(t *testing.T) {
	for name, h := range map[string]func(w http.ResponseWriter, r *http.Request){
		"an endless body": func(w http.ResponseWriter, r *http.Request) {
			for chunk := []byte(noise(32 << 10)); r.Context().Err() == nil; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		},
		"a body that stops": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "PK\x03\x04")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"no answer": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			var w web
			started := make(chan struct{})
			srv := w.serve(t, "a", false, func(out http.ResponseWriter, r *http.Request) {
				close(started)
				h(out, r)
			})
			why := errors.New("enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				<-started
				time.Sleep(50 * time.Millisecond) // some of the body is read
				cancel(why)
			}()
			done := make(chan error, 1)
			go func() {
				_, err := w.fetcher(t).Origin(ctx, archiveAt(srv.URL))
				done <- err
			}()
			select {
			case err := <-done:
				if !errors.Is(err, why) {
					t.Errorf("got %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("it hangs")
			}
		})
	}
}

// TestFetchOffline: what is on this disk is had, all else is not asked for.
func TestFetchOffline(t *testing.T) {
	dir, all := sample(t)
	want := digest(t, folder(t, dir))
	var w web
	srv := w.serve(t, "a", false, answer(http.StatusTeapot, ""))
	put(t, dir+"-archives", "an archive.zip", string(zipped(t, all)))
	repo := newRepo(t)
	for _, e := range all {
		put(t, repo.Root, e.name, e.body)
	}
	commit := repo.commit(t)
	gitAt := func(address string) *schema.Snapshot {
		return &schema.Snapshot{Origin: "git", Git: &schema.GitOrigin{URL: schema.Text{Value: address}, Commit: commit}}
	}
	disk := func(path string) string { return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String() }
	for _, c := range []struct {
		name    string
		s       *schema.Snapshot
		offline bool // it is had
	}{
		{"archive", archiveAt(srv.URL), false},
		{"git", gitAt(srv.URL), false},
		{"Azure DevOps", artifact(""), false},
		{"image", &schema.Snapshot{Origin: "image", Image: &schema.ImageOrigin{Name: schema.Text{Value: "a@sha256:0"}, Path: schema.Text{Value: "x"}}}, false},
		{"archive on this disk", archiveAt(disk(filepath.Join(dir+"-archives", "an archive.zip"))), true},
		{"git on this disk", gitAt(disk(repo.Root)), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := w.fetcher(t)
			f.Offline, f.AzureURL = true, srv.URL
			f.Image = func(context.Context, string, string, string) (*snapshot.Tree, error) {
				return nil, errors.New("it was asked for")
			}
			tree, err := origin(t, f, c.s)
			switch {
			case !c.offline && !errors.Is(err, snapshot.ErrOffline):
				t.Errorf("got %v", err)
			case c.offline && err != nil:
				t.Error(err)
			case c.offline && digest(t, tree) != want:
				t.Errorf("got %q", tree.Files())
			}
		})
	}
	_, err := origin(t, &snapshot.Fetcher{Scratch: t.TempDir(), Offline: true}, archiveAt(disk(filepath.Join(dir, "nothing"))))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
	if asked := w.log(); len(asked) > 0 {
		t.Errorf("asked for %q", asked)
	}
}

// artifact is the artifact "drop" of a run at Azure DevOps.
func artifact(path string) *schema.Snapshot {
	return &schema.Snapshot{Origin: "azureDevOps", AzureDevOps: &schema.AzureDevOpsOrigin{
		Organization: "org", Project: "a project", Pipeline: 7, Run: 42, Artifact: "drop", Path: schema.Text{Value: path},
	}}
}

// What is asked of Azure DevOps, and how it says where the artifact is.
const (
	pipelines     = "/org/a project/_apis/pipelines/7/runs/42/artifacts"
	builds        = "/org/a project/_apis/build/builds/42/artifacts"
	askPipelines  = "api " + pipelines + "?$expand=signedContent&api-version=7.1&artifactName=drop"
	askBuilds     = "api " + builds + "?api-version=7.1&artifactName=drop"
	signedContent = `{"name":"drop","url":"https://other.invalid/","signedContent":{"url":%q,"signatureExpires":"2030-01-01T00:00:00Z"}}`
	resource      = `{"id":1,"name":"drop","resource":{"type":"PipelineArtifact","url":"https://other.invalid/","downloadUrl":%q}}`
)

// azure is a stand-in for Azure DevOps, and another host that has its files.
type azure struct {
	web
	api, cdn *httptest.Server
}

// newAzure answers by path. In a text {api}, {cdn} and {plain} are addresses.
func newAzure(tb testing.TB, zip []byte, answers map[string]string) *azure {
	tb.Helper()
	a := &azure{}
	a.cdn = a.serve(tb, "cdn", false, send(zip))
	plain := a.serve(tb, "plain", true, send(zip))
	a.api = a.serve(tb, "api", false, func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.URL.Path]
		if !ok && r.URL.Path == "/zip" {
			w.Write(zip)
			return
		}
		text = strings.NewReplacer("{api}", a.api.URL, "{cdn}", a.cdn.URL, "{plain}", plain.URL).Replace(text)
		code, body, found := strings.Cut(text, " ")
		status, err := strconv.Atoi(code)
		switch {
		case !ok:
			http.NotFound(w, r)
		case err == nil && status == http.StatusFound:
			http.Redirect(w, r, body, status)
		case err == nil && found:
			answer(status, body)(w, r)
		default:
			io.WriteString(w, text)
		}
	})
	return a
}

func TestAzure(t *testing.T) {
	dir, all := sample(t)
	zip := zipped(t, under("drop", all))
	signed := func(address string) string { return fmt.Sprintf(signedContent, address) }
	built := func(address string) string { return fmt.Sprintf(resource, address) }
	const as = " as :token"
	for _, c := range []struct {
		name, token, path string
		answers           map[string]string
		asked             []string
	}{
		{"on another host", "token", "", map[string]string{pipelines: signed("{cdn}/zip?sig=x")},
			[]string{askPipelines + as, "cdn /zip?sig=x"}},
		{"without a token", "", "", map[string]string{pipelines: signed("{cdn}/zip?sig=x")},
			[]string{askPipelines, "cdn /zip?sig=x"}},
		{"on its own host", "token", "", map[string]string{pipelines: signed("{api}/zip")},
			[]string{askPipelines + as, "api /zip" + as}},
		{"on its own host without a token", "", "", map[string]string{pipelines: signed("{api}/zip")},
			[]string{askPipelines, "api /zip"}},
		{"redirected from its own host", "token", "", map[string]string{pipelines: signed("{api}/go"), "/go": "302 {cdn}/zip?sig=x"},
			[]string{askPipelines + as, "api /go" + as, "cdn /zip?sig=x"}},
		{"of the Build API", "token", "", map[string]string{builds: built("{api}/zip?format=zip")},
			[]string{askPipelines + as, askBuilds + as, "api /zip?format=zip" + as}},
		{"of the Build API on another host", "token", "", map[string]string{builds: built("{cdn}/zip")},
			[]string{askPipelines + as, askBuilds + as, "cdn /zip"}},
		{"of the Build API, not signed", "token", "", map[string]string{pipelines: `{"name":"drop"}`, builds: built("{api}/zip")},
			[]string{askPipelines + as, askBuilds + as, "api /zip" + as}},
		{"of the Build API, signed with null", "token", "", map[string]string{pipelines: `{"signedContent":null}`, builds: built("{api}/zip")},
			[]string{askPipelines + as, askBuilds + as, "api /zip" + as}},
		{"an API that moved", "token", "", map[string]string{pipelines: "302 {cdn}/zip", builds: built("{api}/zip")}, nil},
		{"a folder of it", "token", "d", map[string]string{pipelines: signed("{cdn}/zip")},
			[]string{askPipelines + as, "cdn /zip"}},
		{"a deeper folder of it", "token", "d/e", map[string]string{builds: built("{api}/zip")},
			[]string{askPipelines + as, askBuilds + as, "api /zip" + as}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAzure(t, zip, c.answers)
			f := a.fetcher(t)
			f.AzureURL, f.AzureToken = a.api.URL, c.token
			tree, err := origin(t, f, artifact(c.path))
			if c.asked == nil { // an answer from elsewhere is none
				if asked := a.log(); err == nil || len(asked) != 2 || asked[1] != "cdn /zip" {
					t.Errorf("%v after %q", err, asked)
				}
				return
			}
			if asked := a.log(); !slices.Equal(asked, c.asked) {
				t.Errorf("asked for\n\t%s\nwant\n\t%s", strings.Join(asked, "\n\t"), strings.Join(c.asked, "\n\t"))
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, want := digest(t, tree), digest(t, folder(t, filepath.Join(dir, filepath.FromSlash(c.path)))); got != want {
				t.Errorf("%q is %s, not %s", tree.Files(), got, want)
			}
			before := len(a.log())
			if again, err := origin(t, f, artifact(c.path)); err != nil || again != tree || len(a.log()) != before {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// TestAzureBelowAPath: a server of one's own has its collections below a path.
func TestAzureBelowAPath(t *testing.T) {
	a := newAzure(t, zipped(t, names("drop/a")), map[string]string{"/tfs" + pipelines: fmt.Sprintf(signedContent, "{cdn}/zip")})
	for _, below := range []string{"/tfs", "/tfs/"} {
		f := a.fetcher(t)
		f.AzureURL = a.api.URL + below
		if tree, err := origin(t, f, artifact("")); err != nil || !slices.Equal(tree.Files(), []string{"a"}) {
			t.Errorf("%s: %v", below, err)
		}
	}
}

// TestAzureRefused: an error says what to do about the token when it is that.
func TestAzureRefused(t *testing.T) {
	const signIn = "<!DOCTYPE html>\n<html><head><title>Azure DevOps Services | Sign In</title>"
	signed := func(address string) string { return fmt.Sprintf(signedContent, address) }
	built := func(address string) string { return fmt.Sprintf(resource, address) }
	none := "no address to download"
	for _, c := range []struct {
		name    string
		answers map[string]string
		code    int    // of the StatusError, or 0 for none
		hint    bool   // about the token
		text    string // in the error
	}{
		{"a page to sign in", map[string]string{pipelines: signIn}, 401, true, ""},
		{"203 with a page", map[string]string{pipelines: "203 " + signIn}, 203, true, ""},
		{"401", map[string]string{pipelines: "401 "}, 401, true, ""},
		{"403", map[string]string{pipelines: "403 {}"}, 403, true, ""},
		{"sent to sign in", map[string]string{pipelines: "302 {api}/_signin", "/_signin": signIn}, 401, true, ""},
		{"builds: a page to sign in", map[string]string{builds: signIn}, 401, true, ""},
		{"builds: 203 with a page", map[string]string{builds: "203 " + signIn}, 203, true, ""},
		{"builds: 401", map[string]string{builds: "401 "}, 401, true, ""},
		{"download: 203", map[string]string{builds: built("{api}/x"), "/x": "203 " + signIn}, 203, true, ""},
		{"download: 401", map[string]string{pipelines: signed("{api}/x"), "/x": "401 "}, 401, true, ""},
		{"not there", nil, 404, false, ""},
		{"download: not there", map[string]string{pipelines: signed("{api}/x?sig=secret")}, 404, false, ""},
		{"500", map[string]string{pipelines: "500 {}", builds: built("{api}/zip")}, 500, false, ""},
		{"over http", map[string]string{pipelines: signed("{plain}/zip")}, 0, false, none},
		{"builds: over http", map[string]string{builds: built("{plain}/zip")}, 0, false, none},
		{"redirected to http", map[string]string{pipelines: signed("{api}/x"), "/x": "302 {plain}/zip"}, 0, false, "from https to http"},
		{"on this disk", map[string]string{pipelines: signed("file:///etc/hostname")}, 0, false, none},
		{"on a host's disk", map[string]string{pipelines: signed("file://localhost/etc/hostname")}, 0, false, none},
		{"below its own", map[string]string{pipelines: signed("/zip")}, 0, false, none},
		{"no address", map[string]string{builds: "{}"}, 0, false, none},
		{"null", map[string]string{pipelines: "null", builds: "null"}, 0, false, none},
		{"no such folder", map[string]string{pipelines: signed("{cdn}/zip")}, 0, false, ""},
	} {
		for _, token := range []string{"", "t0ken"} {
			t.Run(c.name+" "+token, func(t *testing.T) {
				a := newAzure(t, zipped(t, names("drop/a")), c.answers)
				f := a.fetcher(t)
				f.AzureURL, f.AzureToken = a.api.URL, token
				_, err := origin(t, f, artifact("nowhere"))
				if err == nil {
					t.Fatal("no error")
				}
				text := err.Error()
				status, ok := errors.AsType[*snapshot.StatusError](err)
				if ok != (c.code != 0) || ok && status.Code != c.code {
					t.Errorf("got %v, want the status %d", err, c.code)
				}
				asks, may := strings.Contains(text, "export AZURE_DEVOPS_TOKEN="), strings.Contains(text, "AZURE_DEVOPS_TOKEN may not read")
				if asks != (c.hint && token == "") || may != (c.hint && token != "") {
					t.Errorf("got %v", err)
				}
				if !strings.Contains(text, c.text) || strings.Contains(text, "secret") || strings.Contains(text, "t0ken") {
					t.Errorf("got %v", err)
				}
				for _, asked := range a.log() {
					if strings.HasPrefix(asked, "plain") || strings.HasPrefix(asked, "cdn") && strings.Contains(asked, " as ") {
						t.Errorf("asked for %q", asked)
					}
				}
			})
		}
	}
}
