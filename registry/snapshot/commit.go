package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
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
	var problems []error
	for _, e := range entries {
		name := e.Path
		if folder != "" && folder != "." {
			name = strings.TrimPrefix(e.Path, strings.TrimSuffix(folder, "/")+"/")
		}
		switch e.Mode {
		case "120000":
			links[name] = e.Object
		case "160000":
			problems = append(problems, &ProblemError{name, "is a git submodule", "copy its files into the folder"})
		default:
			blobs[name] = e.Object
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if err := resolveLinks(ctx, repo, blobs, links); err != nil {
		return nil, err
	}
	var patterns []string
	if id, ok := blobs[IgnoreFile]; ok {
		err := repo.Blobs(ctx, []string{id}, func(_ int, _ int64, content io.Reader) error {
			data, err := io.ReadAll(io.LimitReader(content, 64<<10+1))
			if err != nil {
				return err
			}
			patterns, err = parseIgnore(data)
			return err
		})
		if err != nil {
			return nil, err
		}
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

// resolveLinks puts the blob of each link's target in the link's place.
func resolveLinks(ctx context.Context, repo *git.Repo, blobs, links map[string]string) error {
	var names, ids []string
	for name, id := range links {
		names, ids = append(names, name), append(ids, id)
	}
	targets := map[string]string{}
	err := repo.Blobs(ctx, ids, func(i int, size int64, content io.Reader) error {
		if size > maxLink {
			return &ProblemError{names[i], "is a link that is too long", ""}
		}
		data, err := io.ReadAll(content)
		targets[names[i]] = string(data)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		at := name
		for hops := 0; ; hops++ {
			target, isLink := targets[at]
			if !isLink {
				break
			}
			if hops > 40 || strings.HasPrefix(target, "/") {
				return &ProblemError{name, "is a link out of the folder", "put the file itself there"}
			}
			at = path.Join(path.Dir(at), target)
		}
		id, ok := blobs[at]
		if !ok {
			return &ProblemError{name, "is a link to no file of the folder", "put the file itself there"}
		}
		defer func() { blobs[name] = id }()
	}
	return nil
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

// Added finds the first-parent commit that added the file of a version: where
// its source is found for ever. path is relative to the repository's root.
func Added(ctx context.Context, repo *git.Repo, path string) (string, error) {
	out, err := repo.Output(ctx, "log", "-m", "--first-parent", "--diff-filter=A", "--no-renames", "--format=%H", "--", ":(top,literal)"+path)
	if err != nil {
		return "", err
	}
	commits := strings.Fields(string(out))
	if len(commits) == 0 {
		return "", fmt.Errorf("no commit adds %s", path)
	}
	return commits[len(commits)-1], nil
}
