package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"
)

// Options say how GitHub is spoken to. The zero value reads what is public on
// github.com.
type Options struct {
	// API is the base of the REST API. Default: https://api.github.com, or
	// https://HOST/api/v3.
	API string
	// Host is the server. Default: github.com.
	Host string
	// Token is sent to the API and to nothing else. Default: none.
	Token string
	// Cache is a folder for what never changes and for what was read last.
	// Default: nothing is kept.
	Cache string
	// Offline uses nothing but the cache.
	Offline bool
	// Transport is what requests go through. Default: http.DefaultTransport.
	Transport http.RoundTripper
	// Patience bounds the wait for a limit of requests to pass. Default: two
	// minutes.
	Patience time.Duration
	// Say tells a person of a wait. Default: nobody is told.
	Say func(format string, args ...any)
	// UserAgent names the program. Default: modyard.
	UserAgent string
}

// Client speaks to one GitHub server. It may be used by several goroutines.
type Client struct {
	opt Options
	gh  *github.Client
}

// Bounds of answers, in bytes.
const (
	maxAnswer = 128 << 20
	timeout   = 5 * time.Minute
)

// New makes a client.
func New(opt Options) (*Client, error) {
	if opt.Host == "" {
		opt.Host = "github.com"
	}
	if opt.API == "" {
		opt.API = "https://api.github.com"
		if opt.Host != "github.com" {
			opt.API = "https://" + opt.Host + "/api/v3"
		}
	}
	if opt.Transport == nil {
		opt.Transport = http.DefaultTransport
	}
	if opt.Patience == 0 {
		opt.Patience = 2 * time.Minute
	}
	if opt.Say == nil {
		opt.Say = func(string, ...any) {}
	}
	if opt.UserAgent == "" {
		opt.UserAgent = "modyard"
	}
	base, err := url.Parse(strings.TrimSuffix(opt.API, "/") + "/")
	if err != nil || base.Host == "" || base.User != nil {
		return nil, &ProblemError{Message: fmt.Sprintf("%q is no address of an API", opt.API), Hint: "GITHUB_API_URL is such as https://api.github.com"}
	}
	if base.Scheme != "https" && !loopback(base.Hostname()) {
		return nil, &ProblemError{Message: fmt.Sprintf("the API %s is not spoken to without TLS", base.Host), Hint: "GITHUB_API_URL begins with https://"}
	}
	gh := github.NewClient(&http.Client{
		Timeout:   timeout,
		Transport: &authorized{opt.Transport, base.Host, opt.Token},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			switch {
			case len(via) > 5:
				return errors.New("it is redirected more than 5 times")
			case r.URL.Scheme != "https" && !loopback(r.URL.Hostname()):
				return fmt.Errorf("it is redirected to %s", r.URL.Scheme)
			}
			return nil
		},
	})
	gh.BaseURL, gh.UserAgent = base, opt.UserAgent
	return &Client{opt, gh}, nil
}

func loopback(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

// authorized sends the token to the API's host and bounds answers.
type authorized struct {
	inner http.RoundTripper
	host  string
	token string
}

func (a *authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.token != "" && r.URL.Host == a.host {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.inner.RoundTrip(r)
	if err == nil {
		resp.Body = &bounded{resp.Body, maxAnswer}
	}
	return resp, err
}

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

// ProblemError says what keeps a request from being answered, with advice.
type ProblemError struct {
	Message, Hint string
	NotFound      bool // what was asked for is not there, or may not be seen
	World         bool // the network or the server is the cause
	Err           error
}

func (p *ProblemError) Error() string { return p.Message }
func (p *ProblemError) Unwrap() error { return p.Err }

// IsNotFound reports whether something is not there.
func IsNotFound(err error) bool {
	p, ok := errors.AsType[*ProblemError](err)
	return ok && p.NotFound
}

// ErrOffline says that something would have to be asked for.
var ErrOffline = errors.New("it is not on this disk, and --offline was asked for")

// tries bounds how often a request that the network or the server fails is
// made.
const tries = 4

// call makes a request until it is answered: it waits for limits that pass
// soon, and repeats what a server fails at. What is what was being done.
func (c *Client) call(ctx context.Context, what string, f func() (*github.Response, error)) error {
	if c.opt.Offline {
		return fmt.Errorf("%s: %w", what, ErrOffline)
	}
	deadline := time.Now().Add(c.opt.Patience)
	for try := 1; ; try++ {
		resp, err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		over, limited := limitOf(err)
		wait := over.wait()
		if !limited {
			if try == tries || !broken(resp, err) {
				return c.explain(what, resp, err)
			}
			wait = time.Second << (try - 1) / 4
		}
		if time.Now().Add(wait).After(deadline) {
			return c.explain(what, resp, err)
		}
		if limited {
			c.opt.Say("GitHub asks to wait for %s", wait.Round(time.Second))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// limit is one of requests that is used up.
type limit struct {
	until time.Time
	hour  int // how many an hour are allowed; 0 for the secondary limit, of too many at a time
}

func (l limit) wait() time.Duration { return max(0, time.Until(l.until)) + 100*time.Millisecond }

func (l limit) String() string {
	until := l.until.Local().Format("15:04")
	if l.hour > 0 {
		return fmt.Sprintf("the limit of %d requests an hour is used up until %s", l.hour, until)
	}
	return "there were too many requests in a short time; GitHub asks to wait until " + until
}

// limitOf tells from an answer whether a limit is used up, as GitHub's
// documentation of its REST API says: a secondary one answers 403 or 429 with
// Retry-After, the other with nothing remaining; else to wait a minute is enough.
func limitOf(err error) (limit, bool) {
	minute := limit{until: time.Now().Add(time.Minute)}
	if r, ok := errors.AsType[*github.RateLimitError](err); ok {
		return limit{r.Rate.Reset.Time, r.Rate.Limit}, true
	}
	if a, ok := errors.AsType[*github.AbuseRateLimitError](err); ok {
		if a.RetryAfter != nil {
			return limit{until: time.Now().Add(*a.RetryAfter)}, true
		}
		return minute, true
	}
	e, ok := errors.AsType[*github.ErrorResponse](err)
	if !ok || e.Response.StatusCode != http.StatusTooManyRequests && e.Response.StatusCode != http.StatusForbidden {
		return limit{}, false
	}
	number := func(name string) (int64, bool) {
		n, err := strconv.ParseInt(e.Response.Header.Get(name), 10, 64)
		return n, err == nil && n >= 0
	}
	const longest = 1 << 31 // seconds
	if s, ok := number("Retry-After"); ok {
		return limit{until: time.Now().Add(time.Duration(min(s, longest)) * time.Second)}, true
	}
	if left, ok := number("X-RateLimit-Remaining"); ok && left == 0 {
		reset, _ := number("X-RateLimit-Reset")
		hour, _ := number("X-RateLimit-Limit")
		return limit{time.Unix(reset, 0), int(hour)}, true
	}
	return minute, e.Response.StatusCode == http.StatusTooManyRequests
}

// broken reports whether the network or the server has failed a request, which
// may go well another time. What writes is not repeated when it may have been
// done.
func broken(resp *github.Response, err error) bool {
	if resp != nil && resp.Response != nil {
		return (resp.StatusCode >= 500 || cut(resp)) && resp.Request.Method == http.MethodGet
	}
	ue, ok := errors.AsType[*url.Error](err)
	return ok && strings.EqualFold(ue.Op, http.MethodGet)
}

// cut reports whether an answer that was good has ended too early, or is not what
// the API answers.
func cut(resp *github.Response) bool { return resp.StatusCode < 300 }

// explain says what an answer means for a person.
func (c *Client) explain(what string, resp *github.Response, err error) error {
	p := &ProblemError{Message: what + ": " + text(err), Err: err}
	if over, limited := limitOf(err); limited {
		p.World = true
		p.Message = what + ": " + over.String()
		if over.hour > 0 && c.opt.Token == "" {
			p.Hint = "with a token the limit is higher: export GITHUB_TOKEN=…, or gh auth login"
		}
		return p
	}
	if resp == nil || resp.Response == nil {
		p.World = true
		return p
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		p.Message, p.Hint = what+": the token is not valid", "export GITHUB_TOKEN=…, or gh auth login"
	case http.StatusForbidden:
		p.Hint = "the token needs the right for this: in a workflow, permissions: " + right(resp.Request)
	case http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusConflict:
		p.NotFound = resp.StatusCode == http.StatusNotFound || resp.Request.Method == http.MethodGet
		switch {
		case p.NotFound && c.opt.Token == "":
			p.Message, p.Hint = what+": it is not there, or it is private", "for what is private: export GITHUB_TOKEN=…, or gh auth login"
		case p.NotFound:
			p.Message, p.Hint = what+": it is not there, or the token may not see it", ""
		}
	default:
		p.World = resp.StatusCode >= 500 || cut(resp)
	}
	return p
}

// text is what GitHub says, without the address that was asked.
func text(err error) string {
	if e, ok := errors.AsType[*github.ErrorResponse](err); ok {
		var out strings.Builder
		fmt.Fprintf(&out, "GitHub answers %d %s", e.Response.StatusCode, e.Message)
		for _, one := range e.Errors {
			if one.Message != "" {
				out.WriteString("; " + one.Message)
			}
		}
		return out.String()
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err.Error()
	}
	return err.Error()
}

// right is the permission of a workflow that a request needs.
func right(r *http.Request) string {
	level := "write"
	if r.Method == http.MethodGet {
		level = "read"
	}
	switch path := r.URL.Path; {
	case strings.Contains(path, "/issues/"), strings.Contains(path, "/pulls"):
		return "{pull-requests: " + level + "}"
	default:
		return "{contents: " + level + "}"
	}
}
