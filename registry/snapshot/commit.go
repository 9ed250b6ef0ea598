package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/modyard/modyard/registry/git"
)

// lfsPointer begins what git keeps in the place of a file that Git LFS has.
var lfsPointer = []byte("version https://git-lfs.github.com/spec/v1")

// maxLink bounds the text of a link in git, in bytes.
const maxLink = 4096

// Objects is where the contents of git's files come from: a [git.Repo], or a
// host that serves them.
type Objects interface {
	// Prefetch says which contents will be read.
	Prefetch(ctx context.Context, objects []string) error
	// Blobs reads contents in order; each reader is valid during its call only.
	Blobs(ctx context.Context, objects []string, f func(i int, size int64, content io.Reader) error) error
}

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
	return Entries(ctx, repo, entries, folder)
}

// Entries is the tree of a folder whose files git lists like this.
func Entries(ctx context.Context, repo Objects, entries []git.TreeEntry, folder string) (*Tree, error) {
	l := newListing()
	for _, e := range entries {
		name := e.Path
		if folder != "" && folder != "." {
			name = strings.TrimPrefix(e.Path, strings.TrimSuffix(folder, "/")+"/")
		}
		switch e.Mode {
		case "120000":
			l.links[name] = e.Object
		case "160000":
			l.wrong[name] = &ProblemError{name, "is a git submodule", "copy its files into the folder"}
		default:
			l.files[name] = e.Object
		}
	}
	if err := readLinks(ctx, repo, l.links); err != nil {
		return nil, err
	}
	l.resolve(folder)
	patterns, err := commitIgnore(ctx, repo, l.files)
	if err != nil {
		return nil, err
	}
	t, ids, err := l.tree(patterns)
	if err != nil {
		return nil, err
	}
	if err := repo.Prefetch(ctx, ids); err != nil {
		return nil, err
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

func commitIgnore(ctx context.Context, repo Objects, blobs map[string]string) (patterns []string, err error) {
	id, ok := blobs[IgnoreFile]
	if !ok {
		return nil, nil
	}
	if err := repo.Prefetch(ctx, []string{id}); err != nil {
		return nil, err
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

// readLinks puts the text of each link in the place of its object.
func readLinks(ctx context.Context, repo Objects, links map[string]string) error {
	names := slices.Sorted(maps.Keys(links))
	ids := make([]string, len(names))
	for i, name := range names {
		ids[i] = links[name]
	}
	if err := repo.Prefetch(ctx, ids); err != nil {
		return err
	}
	return repo.Blobs(ctx, ids, func(i int, _ int64, content io.Reader) error {
		data, err := io.ReadAll(io.LimitReader(content, maxLink))
		links[names[i]] = string(data)
		return err
	})
}

// Added finds the first-parent commit that brought the file of a version to
// what it is: where its source is found for ever. That is the merge that added
// it; or, where a branch was rebased onto the base, the last of its commits
// that touched the file, which is add-only from then on. rev is where to look
// from; path is relative to the repository's root.
func Added(ctx context.Context, repo *git.Repo, rev, path string) (string, error) {
	out, err := repo.Output(ctx, "log", "-1", "-m", "--first-parent", "--diff-filter=AM", "--no-renames", "--format=%H", rev, "--", ":(top,literal)"+path)
	if err != nil {
		return "", err
	}
	commit := strings.TrimSpace(string(out))
	if commit == "" {
		return "", fmt.Errorf("no commit adds %s", path)
	}
	return commit, nil
}
