package githubtest

import (
	"net/http"
	"strconv"
	"time"
)

// limits is what is left of the rate limits.
type limits struct {
	remaining, used int
	reset           time.Time
	slow            int // requests to refuse by the secondary limit
	after           time.Duration
}

// RateLimit leaves so many requests of the API until reset: then they are
// 5,000 an hour again. What is beyond gets 403. Answers of 304 are free.
func (s *Server) RateLimit(remaining int, reset time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit.remaining, s.limit.reset = remaining, reset
}

// SecondaryLimit has the next n requests get 429 and the advice to retry
// after a time of whole seconds.
func (s *Server) SecondaryLimit(n int, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit.slow, s.limit.after = n, after
}

// limited returns the answer when there were too many requests.
func (s *Server) limited(who *token) *answer {
	l := &s.limit
	if l.slow > 0 {
		l.slow--
		a := refuse(http.StatusTooManyRequests, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")
		a.header = http.Header{"Retry-After": {strconv.Itoa(int(l.after.Seconds()))}}
		return a
	}
	if l.remaining <= 0 && !time.Now().Before(l.reset) {
		l.remaining, l.used, l.reset = 5000, 0, time.Now().Add(time.Hour)
	}
	switch {
	case l.remaining > 0:
		return nil
	case who == nil:
		return refuse(http.StatusForbidden, "API rate limit exceeded for 127.0.0.1. (But here's the good news: Authenticated requests get a higher rate limit.)")
	}
	return refuse(http.StatusForbidden, "API rate limit exceeded for user ID %d.", s.userID(who.login))
}

// charge counts an answer and writes what is left.
func (s *Server) charge(h http.Header, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.limit
	if status != http.StatusNotModified && l.remaining > 0 {
		l.remaining--
		l.used++
	}
	h.Set("X-Ratelimit-Limit", strconv.Itoa(l.remaining+l.used))
	h.Set("X-Ratelimit-Remaining", strconv.Itoa(l.remaining))
	h.Set("X-Ratelimit-Used", strconv.Itoa(l.used))
	h.Set("X-Ratelimit-Reset", strconv.FormatInt(l.reset.Unix(), 10))
	h.Set("X-Ratelimit-Resource", "core")
}
