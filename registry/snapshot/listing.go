package snapshot

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// listing is what is found where names are not those of a file system: in a
// commit, in an archive. Names are relative to the folder that is taken.
type listing struct {
	files map[string]string // what stands for the content, by name
	links map[string]string // the text of each link, by name
	wrong map[string]error  // what cannot be kept, by name
}

func newListing() *listing {
	return &listing{map[string]string{}, map[string]string{}, map[string]error{}}
}

// resolve puts the content of each link's target in the link's place, or says
// what is wrong with the link. folder is where the names begin, which links
// may go through.
func (l *listing) resolve(folder string) {
	copies := map[string]string{}
	for name := range l.links {
		at := name
		for hops := 0; l.links[at] != "" && hops < 40; hops++ {
			at = follow(folder, at, l.links[at])
		}
		if id, ok := l.files[at]; ok {
			copies[name] = id
		} else {
			l.wrong[name] = &ProblemError{name, "is a link to no file of the folder", "put the file itself there"}
		}
	}
	maps.Copy(l.files, copies)
}

// tree makes the tree of what is not left out, and tells what stands for the
// content of each of its files.
func (l *listing) tree(patterns []string) (*Tree, []string, error) {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(l.wrong)) {
		if !ignoredPath(patterns, nfc(name)) {
			problems = append(problems, l.wrong[name])
		}
	}
	if len(problems) > maxProblems {
		problems = append(problems[:maxProblems], fmt.Errorf("and %d problems more", len(problems)-maxProblems))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, nil, err
	}
	contents := map[string]string{} // by NFC name
	var files []file
	for name, id := range l.files {
		if ignoredPath(patterns, nfc(name)) {
			continue
		}
		contents[nfc(name)] = id
		files = append(files, file{name: nfc(name)})
	}
	if len(files) > MaxFiles {
		return nil, nil, fmt.Errorf("there are %d files; a snapshot has at most %d", len(files), MaxFiles)
	}
	t, err := newTree(files)
	if err != nil {
		return nil, nil, err
	}
	ids := make([]string, len(t.files))
	for i, f := range t.files {
		ids[i] = contents[f.name]
	}
	return t, ids, nil
}

// maxProblems bounds how many problems of one folder are told.
const maxProblems = 100

// follow gives the path in the folder that a link there leads to; "" when it
// leads out.
func follow(folder, link, target string) string {
	if path.IsAbs(target) {
		return ""
	}
	at := path.Join(folder, path.Dir(link), target)
	if folder = path.Clean(folder); folder == "." {
		return at
	}
	inside, ok := strings.CutPrefix(at, folder+"/")
	if !ok {
		return ""
	}
	return inside
}

// ignoredPath reports whether the file or one of the folders it is in is left out.
func ignoredPath(patterns []string, name string) bool {
	for p, isDir := name, false; p != "."; p, isDir = path.Dir(p), true {
		if ignored(patterns, p, isDir) {
			return true
		}
	}
	return false
}
