package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/schema"
)

// Fetcher brings the files of origins that are elsewhere. What it fetches is
// as untrusted as where it comes from: compare the tree's digest before use.
type Fetcher struct {
	// Scratch is a folder for what is fetched, which must stay while the
	// trees are used.
	Scratch string
	// HTTP downloads archives. Default: http.DefaultClient. Its redirects are
	// followed to https alone, and credentials go to the first host alone.
	HTTP *http.Client
	// Image reads a folder out of an image by digest. Default: images are
	// refused.
	Image func(ctx context.Context, name, folder, scratch string) (*Tree, error)
	// AzureURL is the Azure DevOps server. Default: https://dev.azure.com.
	AzureURL string
	// AzureToken is a personal access token. Default: none.
	AzureToken string
	// Version gives the files of a version of another registry, at a location
	// as pipelines name it, relative to dir. Default: they are refused.
	Version func(ctx context.Context, location, dir, module, selector string) (*Tree, error)
	// Offline refuses whatever is not on this disk.
	Offline bool

	mu      sync.Mutex
	one     *semaphore.Weighted // fetches one at a time
	fetched map[string]*Tree    // by origin
}

// ErrOffline says that something would have to be fetched.
var ErrOffline = errors.New("it is not on this disk, and --offline was asked for")

// Origin is the tree of an origin that is neither a folder of the registry nor
// another version's.
func (f *Fetcher) Origin(ctx context.Context, s *schema.Snapshot) (*Tree, error) {
	if f.Offline && !strings.HasPrefix(originURL(s), "file://") {
		return nil, fmt.Errorf("%s: %w", Describe(s), ErrOffline)
	}
	key := schema.JSON(s)
	f.mu.Lock()
	if f.one == nil {
		f.one = semaphore.NewWeighted(1)
	}
	f.mu.Unlock()
	if err := f.one.Acquire(ctx, 1); err != nil { // two of the same are fetched once
		return nil, context.Cause(ctx)
	}
	defer f.one.Release(1)
	if t, ok := f.fetched[key]; ok {
		return t, nil
	}
	t, err := f.origin(ctx, s)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%s: %w", Describe(s), err)
	}
	if f.fetched == nil {
		f.fetched = map[string]*Tree{}
	}
	f.fetched[key] = t
	return t, nil
}

func originURL(s *schema.Snapshot) string {
	switch {
	case s.Archive != nil:
		return s.Archive.URL.Value
	case s.Git != nil:
		return s.Git.URL.Value
	}
	return ""
}

func (f *Fetcher) origin(ctx context.Context, s *schema.Snapshot) (*Tree, error) {
	switch {
	case s.Git != nil:
		dir, err := os.MkdirTemp(f.Scratch, "git-")
		if err != nil {
			return nil, err
		}
		repo, err := git.Fetch(ctx, s.Git.URL.Value, s.Git.Commit, dir)
		if err != nil {
			return nil, err
		}
		return Commit(ctx, repo, s.Git.Commit, s.Git.Path.Value)
	case s.Archive != nil:
		file, err := f.archive(ctx, s.Archive.URL.Value, nil)
		if err != nil {
			return nil, err
		}
		return Archive(ctx, file, f.Scratch, ArchiveOptions{Strip: s.Archive.Strip, Path: s.Archive.Path.Value})
	case s.AzureDevOps != nil:
		return f.azure(ctx, s.AzureDevOps)
	case s.Image != nil && f.Image != nil:
		return f.Image(ctx, s.Image.Name.Value, s.Image.Path.Value, f.Scratch)
	}
	return nil, fmt.Errorf("files cannot be had from %q here", s.Origin)
}

// Describe names an origin for people.
func Describe(s *schema.Snapshot) string {
	at := func(what, path string) string {
		if path != "" {
			what += ", folder " + path
		}
		return what
	}
	switch {
	case s.Git != nil:
		return at(fmt.Sprintf("git %s at %.12s", s.Git.URL.Value, s.Git.Commit), s.Git.Path.Value)
	case s.Archive != nil:
		return at("archive "+withoutSecrets(s.Archive.URL.Value), s.Archive.Path.Value)
	case s.Image != nil:
		return at("image "+s.Image.Name.Value, s.Image.Path.Value)
	case s.AzureDevOps != nil:
		a := s.AzureDevOps
		return at(fmt.Sprintf("Azure DevOps %s/%s, pipeline %d, run %d, artifact %s", a.Organization, a.Project, a.Pipeline, a.Run, a.Artifact), a.Path.Value)
	case s.Version.Value != "":
		return "version " + s.Version.Value
	}
	return "folder " + s.Folder.Value
}

// withoutSecrets is an address without what may sign it.
func withoutSecrets(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "at an address that cannot be read"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// archive brings an archive to this disk.
func (f *Fetcher) archive(ctx context.Context, address string, header http.Header) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("its address cannot be read")
	}
	if u.Scheme == "file" {
		return filepath.FromSlash(u.Path), nil
	}
	resp, err := f.get(ctx, u, header)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if header != nil && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		return "", &StatusError{http.StatusUnauthorized, withoutSecrets(address)} // Azure's page to sign in
	}
	out, err := os.CreateTemp(f.Scratch, "download-")
	if err != nil {
		return "", err
	}
	n, err := copyContext(ctx, out, io.LimitReader(resp.Body, MaxBytes+1))
	if err := errors.Join(err, out.Close()); err != nil {
		return "", err
	}
	if n > MaxBytes {
		return "", fmt.Errorf("it is longer than %d GiB", MaxBytes>>30)
	}
	return out.Name(), nil
}

// StatusError is an answer that is not what was asked for.
type StatusError struct {
	Code int
	URL  string // without a query, which may hold a signature
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered %d %s", e.URL, e.Code, http.StatusText(e.Code))
}

func (f *Fetcher) get(ctx context.Context, u *url.URL, header http.Header) (*http.Response, error) {
	client := http.Client{}
	if f.HTTP != nil {
		client = *f.HTTP
	}
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		switch {
		case len(via) > 10:
			return errors.New("it is redirected more than 10 times")
		case req.URL.Scheme != "https" && via[0].URL.Scheme == "https":
			return fmt.Errorf("it is redirected from https to %s", req.URL.Scheme)
		case req.URL.Host != via[0].URL.Host:
			req.Header.Del("Authorization")
		}
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	resp, err := client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // its text holds the address with its query
		}
		return nil, fmt.Errorf("cannot download from %s: %w", u.Host, err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, &StatusError{resp.StatusCode, withoutSecrets(u.String())}
	}
	return resp, nil
}

// azure takes an artifact of a pipeline run: first as the Pipelines API has
// it, then as the Build API does (version 7.1 of Azure DevOps' REST API).
func (f *Fetcher) azure(ctx context.Context, a *schema.AzureDevOpsOrigin) (*Tree, error) {
	base := f.AzureURL
	if base == "" {
		base = "https://dev.azure.com"
	}
	server, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("%q is no address of an Azure DevOps server", base)
	}
	for _, name := range []string{a.Organization, a.Project} {
		if name == "." || name == ".." {
			return nil, fmt.Errorf("%q is no name", name)
		}
	}
	root := server.JoinPath("/", url.PathEscape(a.Organization), url.PathEscape(a.Project), "_apis")
	query := url.Values{"artifactName": {a.Artifact}, "api-version": {"7.1"}}
	pipelines := root.JoinPath("pipelines", strconv.FormatInt(a.Pipeline, 10), "runs", strconv.FormatInt(a.Run, 10), "artifacts")
	query.Set("$expand", "signedContent")
	pipelines.RawQuery = query.Encode()
	var p struct{ SignedContent struct{ URL string } }
	err = f.json(ctx, pipelines, &p)
	download := p.SignedContent.URL
	if status, ok := errors.AsType[*StatusError](err); (ok && status.Code == http.StatusNotFound) || err == nil && download == "" {
		builds := root.JoinPath("build", "builds", strconv.FormatInt(a.Run, 10), "artifacts")
		query.Del("$expand")
		builds.RawQuery = query.Encode()
		var b struct{ Resource struct{ DownloadURL string } }
		err = f.json(ctx, builds, &b)
		download = b.Resource.DownloadURL
	}
	if err != nil {
		return nil, explainAzure(err, f.AzureToken != "")
	}
	u, err := url.Parse(download)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != server.Scheme {
		return nil, errors.New("the answer has no address to download the artifact from")
	}
	header := http.Header{}
	if u.Host == server.Host { // elsewhere the address itself is signed
		header = f.azureHeader()
	}
	file, err := f.archive(ctx, download, header)
	if err != nil {
		return nil, explainAzure(err, f.AzureToken != "")
	}
	// The zip has one folder, which has the artifact's name.
	return Archive(ctx, file, f.Scratch, ArchiveOptions{Strip: 1, Path: a.Path.Value})
}

func (f *Fetcher) azureHeader() http.Header {
	if f.AzureToken == "" {
		return http.Header{}
	}
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth("", f.AzureToken)
	return req.Header
}

// maxAnswer bounds an answer of an API, in bytes.
const maxAnswer = 4 << 20

func (f *Fetcher) json(ctx context.Context, u *url.URL, v any) error {
	resp, err := f.get(ctx, u, f.azureHeader())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	// Without a right token Azure answers 200 or 203 with a page to sign in.
	if err := json.Unmarshal(data, v); err != nil {
		return &StatusError{http.StatusUnauthorized, withoutSecrets(u.String())}
	}
	return nil
}

func explainAzure(err error, token bool) error {
	status, ok := errors.AsType[*StatusError](err)
	switch {
	case !ok || status.Code != http.StatusUnauthorized && status.Code != http.StatusForbidden && status.Code != http.StatusNonAuthoritativeInfo:
		return err
	case !token:
		return fmt.Errorf("%w; a personal access token is needed: export AZURE_DEVOPS_TOKEN=…", err)
	}
	return fmt.Errorf("%w; the token in AZURE_DEVOPS_TOKEN may not read build artifacts", err)
}
