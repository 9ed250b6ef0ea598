package github

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // git's names of objects
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-github/v60/github"
	"golang.org/x/sync/errgroup"

	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/registry/snapshot"
)

// Repo names a repository.
type Repo struct{ Owner, Name string }

func (r Repo) String() string { return r.Owner + "/" + r.Name }

// Tree is a repository at one commit: an [fs.FS] whose files are brought when
// they are read, and what [snapshot.Objects] and registry.Elsewhere ask for.
type Tree struct {
	// Commit is the full hash that everything is read at.
	Commit string

	c      *Client
	ctx    context.Context //nolint:containedctx // an fs.FS has no other place for it
	repo   Repo
	folder string // of the registry in the repository, or ""
	root   *node
	mu     sync.Mutex // of what is loaded of the tree
}

// node is a file or a folder.
type node struct {
	name, mode, object string
	size               int64
	loaded             bool // what is in it is known, as below or as children
	whole              bool // and so is what is in those
	// below is what a listing has below it, until somebody looks inside: of a
	// large repository most never do. Skip is how long its own path is there.
	below    []listing
	skip     int
	children map[string]*node
}

func (n *node) isDir() bool { return n.mode == modeDir }

const (
	modeDir  = "040000"
	modeLink = "120000"
)

// At reads a repository at a branch, a tag or a commit; "" is the default
// branch. Folder is where the registry is in it, or "". The context holds for
// all that is read.
func (c *Client) At(ctx context.Context, repo Repo, ref, folder string) (*Tree, error) {
	commit, err := c.commit(ctx, repo, ref)
	if err != nil {
		return nil, err
	}
	return c.tree(ctx, repo, commit, folder)
}

// commit is the hash of what a name stands for now. Two requests of the same
// name cost one when nothing has changed.
func (c *Client) commit(ctx context.Context, repo Repo, ref string) (string, error) {
	if isHash(ref) {
		return ref, nil
	}
	name := ref
	if name == "" {
		name = "HEAD"
	}
	key := c.file(repo, "refs", hex.EncodeToString([]byte(name)))
	last, _ := os.ReadFile(key)
	known := strings.TrimSpace(string(last))
	if !isHash(known) {
		known = ""
	}
	if c.opt.Offline && known != "" {
		return known, nil
	}
	var now string
	err := c.call(ctx, fmt.Sprintf("cannot read %s at %s", repo, name), func() (*github.Response, error) {
		sha, resp, err := c.gh.Repositories.GetCommitSHA1(ctx, repo.Owner, repo.Name, name, known)
		if resp != nil && resp.Response != nil && resp.StatusCode == http.StatusNotModified {
			now = known
			return resp, nil
		}
		now = sha
		return resp, err
	})
	switch {
	case answered(err, http.StatusUnprocessableEntity):
		return "", &ProblemError{Message: fmt.Sprintf("%s has no branch, tag or commit %q", repo, strings.TrimPrefix(name, "heads/")), NotFound: true, Err: err}
	case answered(err, http.StatusConflict):
		return "", &ProblemError{Message: fmt.Sprintf("%s has no commit yet", repo), NotFound: true, Err: err}
	case err != nil:
		return "", err
	}
	if !isHash(now) {
		return "", &ProblemError{Message: fmt.Sprintf("cannot read %s at %s: the answer is no commit", repo, name), World: true}
	}
	if now != known {
		c.keep(key, []byte(now+"\n"))
	}
	return now, nil
}

func isHash(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && (len(s) == 40 || len(s) == 64)
}

func (c *Client) tree(ctx context.Context, repo Repo, commit, folder string) (*Tree, error) {
	t := &Tree{c: c, ctx: ctx, repo: repo, Commit: commit, folder: path.Clean("/" + folder)[1:], root: &node{mode: modeDir, object: commit}}
	return t, t.load(t.root, true)
}

// load brings what is in a folder: with all that is below, if the host will.
func (t *Tree) load(n *node, deep bool) error {
	list, whole, err := t.c.list(t.ctx, t.repo, n.object, deep)
	if err != nil {
		return err
	}
	if deep && !whole {
		return t.load(n, false)
	}
	n.below, n.skip, n.loaded, n.whole = []listing{list}, 0, true, deep
	return nil
}

// sort makes children of what a listing has below a folder.
func (n *node) sort() {
	n.children = map[string]*node{}
	for _, list := range n.below {
		var child *node // what the entry before is in
		begin := 0      // of those that are below it
		each(list, func(at int, e entry) {
			first, _, deeper := bytes.Cut(e.path[min(n.skip, len(e.path)):], []byte("/"))
			if child == nil || child.name != string(first) || !deeper {
				child.hold(list[begin:at])
				begin = at
				if child = n.children[string(first)]; child == nil {
					child = &node{name: string(first), mode: modeDir, loaded: n.whole, whole: n.whole, skip: n.skip + len(first) + 1}
					n.children[child.name] = child
				}
			}
			if !deeper {
				child.mode, child.object, child.size = string(e.mode), string(e.object), e.size
				begin = at + e.length
			}
		})
		child.hold(list[begin:])
	}
	n.below = nil
}

func (n *node) hold(list listing) {
	if len(list) > 0 {
		n.below = append(n.below, list)
	}
}

// find walks to a file or folder of the repository.
func (t *Tree) find(name string) (*node, error) {
	n := t.root
	if name == "." || name == "" {
		return n, nil
	}
	for i, elem := range strings.Split(name, "/") {
		if !n.isDir() {
			return nil, fs.ErrNotExist
		}
		inside, err := t.inside(n, i)
		if err != nil {
			return nil, err
		}
		child, ok := inside[elem]
		if !ok {
			return nil, fs.ErrNotExist
		}
		n = child
	}
	return n, nil
}

// deepest is the depth of a folder that is read whole, wherever it is.
const deepest = 1 << 10

// inside is what is in a folder, by name. What a truncated listing has left out
// is brought: the first folders are large and are read one level at a time;
// those below whole.
func (t *Tree) inside(n *node, depth int) (map[string]*node, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !n.loaded {
		const large = 2 // modules/ below the root
		if err := t.load(n, depth >= large+strings.Count(t.folder+"/", "/")-1); err != nil {
			return nil, err
		}
	}
	if n.children == nil {
		n.sort()
	}
	return n.children, nil
}

func (t *Tree) at(name string) string { return path.Join(t.folder, name) }

// Open opens a file or a folder of the registry.
func (t *Tree) Open(name string) (fs.File, error) {
	fail := func(err error) error { return &fs.PathError{Op: "open", Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return nil, fail(fs.ErrInvalid)
	}
	n, err := t.find(t.at(name))
	if err != nil {
		return nil, fail(err)
	}
	if n.isDir() {
		list, err := t.entries(n, t.at(name))
		if err != nil {
			return nil, fail(err)
		}
		return &openDir{info: info{n}, entries: list}, nil
	}
	if n.mode == modeLink {
		return nil, fail(errors.New("it is a link, which is not followed"))
	}
	data, err := t.c.blob(t.ctx, t.repo, n.object)
	if err != nil {
		return nil, fail(err)
	}
	return &openFile{info: info{n}, Reader: bytes.NewReader(data)}, nil
}

// ReadDir lists a folder of the registry.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := t.find(t.at(name))
	if err == nil && !n.isDir() {
		err = errors.New("it is no folder")
	}
	var list []fs.DirEntry
	if err == nil {
		list, err = t.entries(n, t.at(name))
	}
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return list, nil
}

func (t *Tree) entries(n *node, name string) ([]fs.DirEntry, error) {
	depth := 0
	if name != "." && name != "" {
		depth = strings.Count(name, "/") + 1
	}
	inside, err := t.inside(n, depth)
	if err != nil {
		return nil, err
	}
	var out []fs.DirEntry
	for _, c := range inside {
		out = append(out, fs.FileInfoToDirEntry(info{c}))
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

type info struct{ n *node }

func (i info) Name() string       { return i.n.name }
func (i info) Size() int64        { return i.n.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.n.isDir() }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	switch i.n.mode {
	case modeDir:
		return fs.ModeDir | 0o755
	case modeLink:
		return fs.ModeSymlink | 0o777
	}
	return 0o644
}

type openFile struct {
	info
	*bytes.Reader
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }
func (f *openFile) Size() int64                { return f.info.Size() }

type openDir struct {
	info
	entries []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.Name(), Err: errors.New("it is a folder")}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	out := d.entries
	if n > 0 {
		if len(out) == 0 {
			return nil, io.EOF
		}
		out = out[:min(n, len(out))]
	}
	d.entries = d.entries[len(out):]
	return out, nil
}

// blob brings the content of a file and holds it against its hash.
func (c *Client) blob(ctx context.Context, repo Repo, object string) ([]byte, error) {
	key := c.file(repo, "blobs", object)
	if data, err := os.ReadFile(key); err == nil && blobHash(data) == object {
		return data, nil
	}
	var data []byte
	what := fmt.Sprintf("cannot read the file %.12s of %s", object, repo)
	err := c.call(ctx, what, func() (resp *github.Response, err error) {
		data, resp, err = c.gh.Git.GetBlobRaw(ctx, repo.Owner, repo.Name, object)
		return resp, err
	})
	if err != nil {
		return nil, err
	}
	if len(object) == 40 && blobHash(data) != object {
		return nil, &ProblemError{Message: what + ": the answer has the hash " + blobHash(data), World: true}
	}
	c.keep(key, data)
	return data, nil
}

// blobHash is git's name of a content.
func blobHash(data []byte) string {
	h := sha1.New() //nolint:gosec // git's names of objects
	fmt.Fprintf(h, "blob %d\x00", len(data))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

// file is where something of a repository is kept, or "".
func (c *Client) file(repo Repo, kind, name string) string {
	if c.opt.Cache == "" {
		return ""
	}
	safe := func(s string) string { return hex.EncodeToString([]byte(strings.ToLower(s))) }
	return filepath.Join(c.opt.Cache, safe(c.opt.Host), safe(repo.String()), kind, name)
}

// keep writes into the cache, at once or not at all; a cache that cannot be
// written is slower and no failure. What is private is readable by its user.
func (c *Client) keep(file string, data []byte) {
	if file == "" || os.MkdirAll(filepath.Dir(file), 0o700) != nil {
		return
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".new-")
	if err != nil {
		return
	}
	_, err = tmp.Write(data)
	if errors.Join(err, tmp.Close()) != nil || os.Rename(tmp.Name(), file) != nil {
		os.Remove(tmp.Name())
	}
}

// Prefetch has nothing to do: Blobs brings several files at a time.
func (t *Tree) Prefetch(context.Context, []string) error { return nil }

// Blobs reads contents in order.
func (t *Tree) Blobs(ctx context.Context, objects []string, f func(i int, size int64, content io.Reader) error) error {
	const atOnce = 8
	for begin := 0; begin < len(objects); begin += atOnce {
		some := objects[begin:min(begin+atOnce, len(objects))]
		contents := make([][]byte, len(some))
		g, reading := errgroup.WithContext(ctx)
		for i, o := range some {
			g.Go(func() (err error) {
				contents[i], err = t.c.blob(reading, t.repo, o)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for i, data := range contents {
			if err := f(begin+i, int64(len(data)), bytes.NewReader(data)); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxFolder bounds the files and folders of what is brought file by file.
const maxFolder = 2000

// Folder is a folder of the registry as a commit has it; "" is the tree's own.
func (t *Tree) Folder(ctx context.Context, folder, commit string) (*snapshot.Tree, error) {
	from := t
	if commit != "" && commit != t.Commit {
		var err error
		if from, err = t.c.tree(ctx, t.repo, commit, t.folder); err != nil {
			return nil, err
		}
	}
	n, err := from.find(from.at(folder))
	if err != nil || !n.isDir() {
		return nil, fmt.Errorf("the folder %q is not in commit %.12s", folder, from.Commit)
	}
	w := walk{t: from, left: maxFolder}
	err = w.folder(n, "", 0)
	if errors.Is(err, errTooMuch) {
		return nil, &ProblemError{Message: fmt.Sprintf("the folder %q has more than %d files and folders, too many to be brought one by one", folder, maxFolder), Hint: "clone the repository, or publish the registry's images"}
	}
	if err != nil {
		return nil, err
	}
	return snapshot.Entries(ctx, from, w.files, "")
}

// walk lists the files below a folder, within bounds: of a tree that the host
// has cut, each folder may cost a request.
type walk struct {
	t     *Tree
	files []git.TreeEntry
	left  int // files and folders that it may still have
}

var errTooMuch = errors.New("it has too many files and folders, or they are too deep")

func (w *walk) folder(n *node, prefix string, depth int) error {
	const most = 128
	if depth > most {
		return errTooMuch
	}
	inside, err := w.t.inside(n, deepest)
	if err != nil {
		return err
	}
	if w.left -= len(inside); w.left < 0 {
		return errTooMuch
	}
	for _, c := range inside {
		name := path.Join(prefix, c.name)
		if !c.isDir() {
			w.files = append(w.files, git.TreeEntry{Mode: c.mode, Object: c.object, Path: name})
		} else if err := w.folder(c, name, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// Added is the commit of the tree's history that brought a file to what it is.
func (t *Tree) Added(ctx context.Context, file string) (string, error) {
	key := t.c.file(t.repo, "added", t.Commit+"-"+hex.EncodeToString([]byte(blobHash([]byte(t.at(file))))))
	if last, err := os.ReadFile(key); err == nil && isHash(string(last)) {
		return string(last), nil
	}
	var commit string
	err := t.c.call(ctx, fmt.Sprintf("cannot find the commit that added %s in %s", file, t.repo), func() (*github.Response, error) {
		list, resp, err := t.c.gh.Repositories.ListCommits(ctx, t.repo.Owner, t.repo.Name, &github.CommitsListOptions{
			SHA: t.Commit, Path: t.at(file), ListOptions: github.ListOptions{PerPage: 1},
		})
		if err == nil && len(list) > 0 {
			commit = list[0].GetSHA()
		}
		return resp, err
	})
	if err == nil && commit == "" {
		err = fmt.Errorf("no commit adds %s", file)
	}
	if err == nil {
		t.c.keep(key, []byte(commit))
	}
	return commit, err
}
