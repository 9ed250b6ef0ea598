package githubtest

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

//go:embed openapi.json.gz
var description []byte

// checker compares requests and answers with the description.
type checker struct {
	router  routers.Router
	options *openapi3filter.Options
}

// newChecker reads the description, once per process.
var newChecker = sync.OnceValues(func() (*checker, error) {
	z, err := gzip.NewReader(bytes.NewReader(description))
	if err != nil {
		return nil, fmt.Errorf("read the description: %w", err)
	}
	doc, err := openapi3.NewLoader().LoadFromIoReader(z)
	if err != nil {
		return nil, fmt.Errorf("read the description: %w", err)
	}
	for _, item := range doc.Paths.Map() {
		for _, operation := range item.Operations() {
			if body := operation.RequestBody; body != nil {
				closed(body.Value.Content["application/json"].Schema.Value)
			}
		}
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("read the description: %w", err)
	}
	return &checker{router, &openapi3filter.Options{
		MultiError: true, SkipSettingDefaults: true, RejectWhenRequestBodyNotSpecified: true,
		SchemaValidationOptions: []openapi3.SchemaValidationOption{
			openapi3.WithStringFormatValidator("uri", openapi3.NewCallbackValidator(absolute)),
		},
	}}, nil
})

// closed refuses properties unknown to GitHub, which it would not heed.
func closed(s *openapi3.Schema) {
	if s.Properties != nil && s.AdditionalProperties.Has == nil {
		s.AdditionalProperties.Has = new(bool)
	}
	for _, p := range s.Properties {
		closed(p.Value)
	}
	if s.Items != nil {
		closed(s.Items.Value)
	}
}

func absolute(s string) error {
	if u, err := url.Parse(s); err != nil || !u.IsAbs() {
		return errors.New("not an absolute URL")
	}
	return nil
}

// request says what is wrong with r. The input is for answer, and nil when
// the description has no such operation.
func (c *checker) request(r *http.Request) (*openapi3filter.RequestValidationInput, error) {
	route, params, err := c.router.FindRoute(r)
	if err != nil {
		return nil, err
	}
	// What GitHub gets in a path it unescapes, slashes too.
	for k, v := range params {
		if params[k], err = url.PathUnescape(v); err != nil {
			return nil, err
		}
	}
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: c.options}
	if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
		return in, err
	}
	for name := range r.URL.Query() {
		if route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			return in, fmt.Errorf("unknown query parameter %q", name)
		}
	}
	return in, nil
}

// Where the description leaves something out that GitHub does say.
var (
	// Any operation may be answered so, with a basic-error.
	anywhere = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict,
		http.StatusUnprocessableEntity, http.StatusTooManyRequests}
	// Media types of blobs, in the text of the operation only.
	rawBlob = []string{"application/vnd.github.raw", "application/vnd.github.raw+json", "application/vnd.github.v3.raw"}
)

// answer says what is wrong with an answer.
func (c *checker) answer(in *openapi3filter.RequestValidationInput, status int, header http.Header, body []byte) error {
	if status == http.StatusNotModified {
		return nil
	}
	operation := in.Route.Operation
	if operation.Responses.Status(status) == nil {
		return c.undescribed(status, body)
	}
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil && len(body) > 0 {
		return fmt.Errorf("content type: %w", err)
	}
	if media != "" && media != "application/json" {
		if strings.Contains(in.Route.Path, "/git/blobs/") && slices.Contains(rawBlob, media) {
			return nil
		}
		if operation.Responses.Status(status).Value.Content[media] == nil {
			return fmt.Errorf("status %d has no media type %q", status, media)
		}
		return nil // kin-openapi reads JSON only
	}
	return openapi3filter.ValidateResponse(in.Request.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: status, Header: header, Body: io.NopCloser(bytes.NewReader(body)), Options: c.options,
	})
}

func (c *checker) undescribed(status int, body []byte) error {
	var basic struct {
		Message string
		URL     string `json:"documentation_url"`
		Status  string
	}
	if !slices.Contains(anywhere, status) {
		return fmt.Errorf("unexpected status %d", status)
	}
	if err := json.Unmarshal(body, &basic); err != nil || basic.Message == "" || basic.URL == "" || basic.Status != fmt.Sprint(status) {
		return fmt.Errorf("status %d with no basic error but %.100q", status, body)
	}
	return nil
}
