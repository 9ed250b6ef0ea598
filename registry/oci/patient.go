package oci

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// patient repeats requests that a registry is too busy for, for as long as it
// says in Retry-After, else longer each time.
type patient struct {
	inner    http.RoundTripper
	patience time.Duration
}

func (p *patient) RoundTrip(r *http.Request) (*http.Response, error) {
	deadline := time.Now().Add(p.patience)
	for try := 0; ; try++ {
		resp, err := p.inner.RoundTrip(r)
		if err != nil || !busy(resp.StatusCode) || r.Body != nil && r.Body != http.NoBody && r.GetBody == nil {
			return resp, err
		}
		wait := retryAfter(resp.Header.Get("Retry-After"), try)
		if time.Now().Add(wait).After(deadline) {
			return resp, nil
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		resp.Body.Close()
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
			return nil, context.Cause(r.Context())
		}
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			r = r.Clone(r.Context())
			r.Body = body
		}
	}
}

func busy(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryAfter is how long to wait: seconds or a date; without, from 0.2 s on,
// twice as long each time, with some chance in it so that many do not come
// back at once.
func retryAfter(header string, try int) time.Duration {
	if s, err := strconv.Atoi(header); err == nil && s >= 0 {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(header); err == nil {
		return max(0, time.Until(t))
	}
	wait := 200 * time.Millisecond << min(try, 7)
	return wait/2 + rand.N(wait)
}

// counting tells of the bytes that pass.
type counting struct {
	inner http.RoundTripper
	tell  func(n int64)
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.tell == nil {
		return c.inner.RoundTrip(r)
	}
	if r.Body != nil && r.Body != http.NoBody {
		r = r.Clone(r.Context())
		r.Body = &counted{r.Body, c.tell}
	}
	resp, err := c.inner.RoundTrip(r)
	if err == nil {
		resp.Body = &counted{resp.Body, c.tell}
	}
	return resp, err
}

type counted struct {
	io.ReadCloser
	tell func(n int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.tell(int64(n))
	return n, err
}
