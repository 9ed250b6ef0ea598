package githubtest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// page answers one page of a list, and links to the others. Size is
// GitHub's own choice, 100 the most a client may ask for.
func page[T, J any](c *call, size int, all []T, render func([]T) J) *answer {
	if n, err := strconv.Atoi(c.query("per_page")); err == nil && n > 0 {
		size = min(n, 100)
	}
	at := 1
	if n, err := strconv.Atoi(c.query("page")); err == nil && n > 0 {
		at = n
	}
	last := (len(all) + size - 1) / size
	start, end := min((at-1)*size, len(all)), min(at*size, len(all))
	a := ok(render(all[start:end]))
	var links []string
	link := func(rel string, n int) {
		u := *c.r.URL
		q := u.Query()
		q.Set("page", strconv.Itoa(n))
		u.RawQuery = q.Encode()
		links = append(links, fmt.Sprintf(`<%s%s>; rel="%s"`, c.URL, u.RequestURI(), rel))
	}
	if at > 1 {
		link("prev", min(at-1, max(last, 1)))
	}
	if at < last {
		link("next", at+1)
		link("last", last)
	}
	if at > 1 {
		link("first", 1)
	}
	if links != nil {
		a.header = http.Header{"Link": {strings.Join(links, ", ")}}
	}
	return a
}

// each renders a list entry by entry.
func each[T any](f func(T) object) func([]T) []object {
	return func(list []T) []object {
		out := []object{}
		for _, v := range list {
			out = append(out, f(v))
		}
		return out
	}
}
