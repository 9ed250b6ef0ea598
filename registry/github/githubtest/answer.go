package githubtest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// object is a JSON object.
type object = map[string]any

// answer is what an operation says.
type answer struct {
	status int
	header http.Header
	body   any    // as JSON
	raw    []byte // instead of body, with header's Content-Type
}

func ok(body any) *answer { return &answer{status: http.StatusOK, body: body} }

func created(body any) *answer { return &answer{status: http.StatusCreated, body: body} }

// refuse is an error in GitHub's words.
func refuse(status int, message string, args ...any) *answer {
	return &answer{status: status, body: object{
		"message": fmt.Sprintf(message, args...), "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status),
	}}
}

func notFound() *answer { return refuse(http.StatusNotFound, "Not Found") }

func forbidden() *answer {
	return refuse(http.StatusForbidden, "Resource not accessible by integration")
}

// invalid is 422 with one of GitHub's error codes.
func invalid(resource, field, code string) *answer {
	return failed(object{"resource": resource, "field": field, "code": code})
}

// unpullable is 422 for a pull request, with a message of its own.
func unpullable(message string, args ...any) *answer {
	return failed(object{"resource": "PullRequest", "code": "custom", "message": fmt.Sprintf(message, args...)})
}

func failed(problem object) *answer {
	a := refuse(http.StatusUnprocessableEntity, "Validation Failed")
	a.body.(object)["errors"] = []any{problem}
	return a
}

// call is one request of the API.
type call struct {
	*Server
	r    *http.Request
	who  *token // nil: nobody
	repo *Repo  // nil: none in the path
}

func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }

// number is the number in the path, or 0.
func (c *call) number(name string) int {
	n, _ := strconv.Atoi(c.r.PathValue(name))
	return n
}

// decode reads the body into v, which has the fields' current values.
func (c *call) decode(v any) *answer {
	data, err := io.ReadAll(c.r.Body)
	if err != nil {
		return refuse(http.StatusBadRequest, "Problems reading body")
	}
	if len(data) > 0 && json.Unmarshal(data, v) != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	return nil
}

// accepts says whether the request asks for this media type.
func (c *call) accepts(media ...string) string {
	for part := range strings.SplitSeq(c.r.Header.Get("Accept"), ",") {
		part, _, _ = strings.Cut(strings.TrimSpace(part), ";")
		for _, m := range media {
			if part == m {
				return m
			}
		}
	}
	return ""
}

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	in, err := s.check.request(r)
	if err != nil {
		s.tb.Errorf("githubtest: %s %s: the request: %v", r.Method, r.URL.RequestURI(), err)
	}
	a := s.respond(r)
	if a.header == nil {
		a.header = http.Header{}
	}
	if s.spoil != nil {
		s.spoil(a)
	}
	data := a.raw
	if a.body != nil {
		a.header.Set("Content-Type", "application/json; charset=utf-8")
		if data, err = json.Marshal(a.body); err != nil {
			s.tb.Errorf("githubtest: %s %s: %v", r.Method, r.URL.RequestURI(), err)
		}
	}
	tag(r, a, data)
	if a.status == http.StatusNotModified {
		data = nil
		a.header.Del("Content-Type")
	}
	if in != nil {
		if err := s.check.answer(in, a.status, a.header, data); err != nil {
			s.tb.Errorf("githubtest: %s %s: the answer, %d: %v", r.Method, r.URL.RequestURI(), a.status, err)
		}
	}
	maps.Copy(w.Header(), a.header)
	s.charge(w.Header(), a.status)
	w.WriteHeader(a.status)
	_, _ = w.Write(data) // the client may be gone
}

// tag gives the answer of a GET an ETag, or turns it into 304.
func tag(r *http.Request, a *answer, data []byte) {
	if r.Method != http.MethodGet || a.status != http.StatusOK {
		return
	}
	etag := a.header.Get("Etag")
	if etag == "" {
		etag = fmt.Sprintf(`W/"%x"`, sha256.Sum256(data))
		a.header.Set("Etag", etag)
	}
	for have := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if have = strings.TrimSpace(have); have == "*" || strings.TrimPrefix(have, "W/") == strings.TrimPrefix(etag, "W/") {
			a.status = http.StatusNotModified
		}
	}
}
