package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/modyard/modyard/registry/git"
)

// lfsPointer begins what git keeps in the place of a file that Git LFS has.
var lfsPointer = []byte("version https://git-lfs.github.com/spec/v1")

// maxLink bounds the text of a link in git, in bytes.
const maxLink = 4096

// Commit is the tree of a folder in a commit: the raw blobs as git stores
// them, whatever a checkout would make of them. folder is relative to the
// repository's root, with /.
func Commit(ctx context.Context, repo *git.Repo, commit, folder string) (*Tree, error) {
	entries, err := repo.Tree(ctx, commit, folder)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("the folder %q is not in commit %.12s", folder, commit)
	}
	blobs := map[string]string{} // object by path
	links := map[string]string{} // object by path
	wrong := map[string]error{}  // what cannot be kept, by path
	for _, e := range entries {
		name := e.Path
		if folder != "" && folder != "." {
			name = strings.TrimPrefix(e.Path, strings.TrimSuffix(folder, "/")+"/")
		}
		switch e.Mode {
		case "120000":
			links[name] = e.Object
		case "160000":
			wrong[name] = &ProblemError{name, "is a git submodule", "copy its files into the folder"}
		default:
			blobs[name] = e.Object
		}
	}
	if err := resolveLinks(ctx, repo, folder, blobs, links, wrong); err != nil {
		return nil, err
	}
	patterns, err := commitIgnore(ctx, repo, blobs)
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		if !ignoredPath(patterns, nfc(name)) {
			problems = append(problems, wrong[name])
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	objects := map[string]string{} // by NFC name
	var files []file
	for name, id := range blobs {
		if ignoredPath(patterns, nfc(name)) {
			continue
		}
		objects[nfc(name)] = id
		files = append(files, file{name: nfc(name)})
	}
	if len(files) > MaxFiles {
		return nil, fmt.Errorf("the folder %q has %d files; a snapshot has at most %d", folder, len(files), MaxFiles)
	}
	t, err := newTree(files)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(t.files))
	for i, f := range t.files {
		ids[i] = objects[f.name]
	}
	t.each = func(ctx context.Context, f func(i int, content io.Reader) error) error {
		return repo.Blobs(ctx, ids, func(i int, size int64, content io.Reader) error {
			t.files[i].size = size
			head := make([]byte, min(size, int64(len(lfsPointer))))
			if _, err := io.ReadFull(content, head); err != nil {
				return err
			}
			if size < 1024 && bytes.Equal(head, lfsPointer) {
				return &ProblemError{t.files[i].name, "is kept by Git LFS; git has a pointer only", "keep the file in git itself, or give it as an input"}
			}
			return f(i, io.MultiReader(bytes.NewReader(head), content))
		})
	}
	return t, nil
}

func commitIgnore(ctx context.Context, repo *git.Repo, blobs map[string]string) (patterns []string, err error) {
	id, ok := blobs[IgnoreFile]
	if !ok {
		return nil, nil
	}
	err = repo.Blobs(ctx, []string{id}, func(_ int, _ int64, content io.Reader) error {
		data, err := io.ReadAll(io.LimitReader(content, 64<<10+1))
		if err != nil {
			return err
		}
		patterns, err = parseIgnore(data)
		return err
	})
	return patterns, err
}

// resolveLinks puts the blob of each link's target in the link's place, or
// says what is wrong with the link.
func resolveLinks(ctx context.Context, repo *git.Repo, folder string, blobs, links map[string]string, wrong map[string]error) error {
	names := slices.Sorted(maps.Keys(links))
	ids := make([]string, len(names))
	for i, name := range names {
		ids[i] = links[name]
	}
	targets := map[string]string{}
	err := repo.Blobs(ctx, ids, func(i int, _ int64, content io.Reader) error {
		data, err := io.ReadAll(io.LimitReader(content, maxLink))
		targets[names[i]] = string(data)
		return err
	})
	if err != nil {
		return err
	}
	copies := map[string]string{}
	for _, name := range names {
		at := name
		for hops := 0; targets[at] != "" && hops < 40; hops++ {
			at = follow(folder, at, targets[at])
		}
		if id, ok := blobs[at]; ok {
			copies[name] = id
		} else {
			wrong[name] = &ProblemError{name, "is a link to no file of the folder", "put the file itself there"}
		}
	}
	maps.Copy(blobs, copies)
	return nil
}

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

// Added finds the first-parent commit that brought the file of a version to
// what it is: where its source is found for ever. That is the merge that added
// it; or, where a branch was rebased onto the base, the last of its commits
// that touched the file, which is add-only from then on. path is relative to
// the repository's root.
func Added(ctx context.Context, repo *git.Repo, path string) (string, error) {
	out, err := repo.Output(ctx, "log", "-1", "-m", "--first-parent", "--diff-filter=AM", "--no-renames", "--format=%H", "--", ":(top,literal)"+path)
	if err != nil {
		return "", err
	}
	commit := strings.TrimSpace(string(out))
	if commit == "" {
		return "", fmt.Errorf("no commit adds %s", path)
	}
	return commit, nil
}
