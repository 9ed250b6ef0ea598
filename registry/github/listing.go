package github

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/google/go-github/v60/github"
)

// listing is entries of a tree, one after the other, as they are kept: mode,
// object, size, path and NUL. A large one is not taken apart.
type listing []byte

// entry is one of a listing.
type entry struct {
	mode, object, path []byte
	size               int64
	length             int // in the listing
}

// What begins a listing that is kept: whether it has all that is below.
const (
	keptWhole = "modyard tree 1 whole\x00"
	keptCut   = "modyard tree 1 cut\x00"
)

// each calls f with the entries and where they begin, and reports whether
// nothing is amiss.
func each(list listing, f func(at int, e entry)) bool {
	for at := 0; at < len(list); {
		text, _, ended := bytes.Cut(list[at:], []byte{0})
		e := entry{length: len(text) + 1}
		var size []byte
		var named bool
		e.mode, text, _ = bytes.Cut(text, []byte(" "))
		e.object, text, _ = bytes.Cut(text, []byte(" "))
		size, e.path, named = bytes.Cut(text, []byte(" "))
		n, err := strconv.ParseInt(string(size), 10, 64)
		if !ended || !named || err != nil {
			return false
		}
		e.size = n
		f(at, e)
		at += e.length
	}
	return true
}

// list brings the entries of a tree, from the cache if it is there: the tree
// of a hash never changes.
func (c *Client) list(ctx context.Context, repo Repo, object string, deep bool) (list listing, whole bool, err error) {
	name := object
	if deep {
		name += "-deep"
	}
	key := c.file(repo, "trees", name)
	if data, err := os.ReadFile(key); err == nil {
		if list, whole, ok := unpack(data); ok {
			return list, whole, nil
		}
	}
	kept := []byte(keptCut)
	err = c.call(ctx, fmt.Sprintf("cannot list the files of %s at %.12s", repo, object), func() (*github.Response, error) {
		t, resp, err := c.gh.Git.GetTree(ctx, repo.Owner, repo.Name, object, deep)
		if err != nil {
			return resp, err
		}
		kept = []byte(keptWhole)
		if t.GetTruncated() {
			kept = []byte(keptCut)
			if deep {
				return resp, nil // what is there of it is of no use
			}
		}
		for _, e := range t.Entries {
			if name := e.GetPath(); !strings.Contains(name, "\x00") { // git has none
				kept = fmt.Appendf(kept, "%s %s %d %s\x00", e.GetMode(), e.GetSHA(), e.GetSize(), name)
			}
		}
		return resp, nil
	})
	if err != nil {
		return nil, false, err
	}
	list, whole, ok := unpack(kept)
	if !ok {
		return nil, false, &ProblemError{Message: fmt.Sprintf("cannot list the files of %s at %.12s: the answer is no list of files", repo, object), World: true}
	}
	c.keep(key, kept)
	return list, whole, nil
}

// unpack reads a listing that was kept; it is not ok when anything is amiss.
func unpack(data []byte) (list listing, whole, ok bool) {
	list, whole = bytes.CutPrefix(data, []byte(keptWhole))
	if !whole {
		if list, ok = bytes.CutPrefix(data, []byte(keptCut)); !ok {
			return nil, false, false
		}
	}
	return list, whole, each(list, func(int, entry) {})
}
