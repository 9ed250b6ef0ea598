package registry

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/modyard/modyard/schema"
)

// IndexFormat is the version of the format of an index.
const IndexFormat = 1

// Files of an index, below the folder that is named by its format.
const (
	IndexDir   = "modyard/v1"
	SearchFile = IndexDir + "/search.json"
	indexOfOne = IndexDir + "/modules/"
)

// MaxSearch bounds a search file, in bytes.
const MaxSearch = 64 << 20

// Search is the search file: what a listing of the registry says.
type Search struct {
	Format   int       `json:"format"`
	Registry string    `json:"registry"`
	Commit   string    `json:"commit"` // that the index was made of
	Modules  []Summary `json:"modules"`
}

// Summary is a module in a listing.
type Summary struct {
	Name        string       `json:"name"`
	Tree        string       `json:"tree,omitempty"`    // git's hash of the module's folder
	Version     string       `json:"version,omitempty"` // what is picked when none is asked for
	Versions    []string     `json:"versions"`
	State       schema.State `json:"state"`
	Tags        []string     `json:"tags,omitempty"`
	Owners      []string     `json:"owners,omitempty"`
	Description string       `json:"description"`
}

// Summarize reads a module's summary; the diagnostics are those of its
// manifest.
func (r *Registry) Summarize(name string) (Summary, schema.Diagnostics, error) {
	m, diags, err := r.Module(name)
	if err != nil {
		return Summary{}, nil, err
	}
	s := Summary{Name: name, State: cmp.Or(m.State, schema.Active), Tags: m.Tags, Owners: m.Owners, Description: m.Description, Versions: m.numbers()}
	if p, err := m.Pick("", PickOptions{}); err == nil {
		s.Version = p.Version.String()
	}
	return s, diags, nil
}

// indexLine is one version in a module's file of an index.
type indexLine struct {
	Version  string        `json:"version"`
	Digest   schema.Digest `json:"digest"`
	Snapshot schema.Digest `json:"snapshot,omitempty"`
	Created  string        `json:"created,omitempty"`
	State    schema.State  `json:"state"`
	Reason   string        `json:"reason,omitempty"`
	Use      string        `json:"use,omitempty"`
}

// IndexFiles makes the files of an index, by path: one a module, a line a version in
// rising order, and the search file. It depends on the commit alone. Trees are
// git's hashes of the modules' folders, by which a reader tells what of an index
// still holds at another commit.
func (r *Registry) IndexFiles(commit string, trees map[string]string) (map[string][]byte, error) {
	files := map[string][]byte{}
	search := Search{Format: IndexFormat, Registry: r.Name, Commit: commit, Modules: []Summary{}}
	for _, name := range r.Names() {
		s, diags, err := r.Summarize(name)
		if err == nil {
			err = diags.Err()
		}
		if err != nil {
			return nil, err
		}
		s.Tree = trees[name]
		search.Modules = append(search.Modules, s)
		m, _, err := r.Module(name)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		for _, v := range m.Versions {
			mv, diags, err := v.Manifest()
			if err == nil {
				err = diags.Err()
			}
			if err != nil {
				return nil, err
			}
			l := indexLine{Version: v.String(), Digest: mv.Digest, Created: mv.Created.Value, State: cmp.Or(v.State, schema.Active), Reason: v.Reason, Use: v.Use}
			if mv.Snapshot != nil {
				l.Snapshot = mv.Snapshot.Digest
			}
			b.WriteString(schema.JSON(l) + "\n")
		}
		files[indexOfOne+name+".jsonl"] = append([]byte{}, b.Bytes()...) // not nil, which removes
		r.forget(name)
	}
	data, err := json.Marshal(search)
	files[SearchFile] = append(data, '\n')
	return files, err
}

// ParseSearch reads a search file.
func ParseSearch(data []byte) (*Search, error) {
	s := &Search{}
	if len(data) > MaxSearch {
		return nil, fmt.Errorf("the search file has more than %d MiB", MaxSearch>>20)
	}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("the search file cannot be read: %w", err)
	}
	if s.Format != IndexFormat {
		return nil, fmt.Errorf("the search file has the format %d, not %d", s.Format, IndexFormat)
	}
	for _, m := range s.Modules {
		for _, text := range slices.Concat([]string{m.Name, m.Description, string(m.State)}, m.Tags, m.Owners) {
			if !schema.ValidText(text) {
				return nil, fmt.Errorf("the search file has control characters: %q", text)
			}
		}
	}
	return s, nil
}

// Of reports whether a summary's versions are those whose files a folder has,
// which is given by their names.
func (s *Summary) Of(files []string) bool {
	left := map[string]bool{}
	for _, number := range s.Versions {
		left[number] = true
	}
	if s.Version != "" && !left[s.Version] {
		return false
	}
	for _, name := range files {
		number, isYAML := strings.CutSuffix(name, ".yaml")
		if isYAML && !left[number] && isNumber(number) {
			return false
		}
		delete(left, number)
	}
	return len(left) == 0
}
