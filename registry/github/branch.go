package github

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/google/go-github/v60/github"
)

// PutFolder makes a folder of a branch hold these texts and no others, in one
// commit, and makes the branch when it is not there. Files that are there as
// they are cost no request. It reports whether anything changed. Still is asked
// before each try whether this is still what the folder should hold.
func (c *Client) PutFolder(ctx context.Context, repo Repo, branch, folder, message string, files map[string][]byte, still func(context.Context) (bool, error)) (bool, error) {
	for try := 1; ; try++ {
		if ok, err := still(ctx); err != nil || !ok {
			return false, err
		}
		changed, err := c.putFolder(ctx, repo, branch, folder, message, files)
		if !answered(err, http.StatusUnprocessableEntity) || try == tries {
			return changed, err
		}
		// Somebody else has moved the branch: on top of that, then.
	}
}

func (c *Client) putFolder(ctx context.Context, repo Repo, branch, folder, message string, files map[string][]byte) (bool, error) {
	tip, err := c.commit(ctx, repo, "heads/"+branch)
	if err != nil && !IsNotFound(err) {
		return false, err
	}
	p := Proposal{Base: tip, Files: map[string][]byte{}}
	var there *Tree
	if tip != "" {
		if there, err = c.tree(ctx, repo, tip, ""); err != nil {
			return false, err
		}
		var old []string
		if n, err := there.find(folder); err == nil && n.isDir() {
			if old, err = there.names(n, folder); err != nil {
				return false, err
			}
		}
		for _, name := range old {
			if _, keep := files[name]; !keep {
				p.Files[name] = nil
			}
		}
	}
	for name, data := range files {
		if there != nil {
			if n, err := there.find(name); err == nil && n.object == blobHash(data) {
				continue
			}
		}
		p.Files[name] = data
	}
	if len(p.Files) == 0 {
		return false, nil
	}
	commit, err := c.commitTexts(ctx, repo, p, message)
	if err != nil {
		return false, err
	}
	ref := &github.Reference{Ref: new("refs/heads/" + branch), Object: &github.GitObject{SHA: &commit}}
	return true, c.call(ctx, fmt.Sprintf("cannot write the branch %s of %s", branch, repo), func() (resp *github.Response, err error) {
		if tip == "" {
			_, resp, err = c.gh.Git.CreateRef(ctx, repo.Owner, repo.Name, ref)
		} else {
			_, resp, err = c.gh.Git.UpdateRef(ctx, repo.Owner, repo.Name, ref, false)
		}
		return resp, err
	})
}

// maxNames bounds the files and folders that one on a branch may have.
const maxNames = 1 << 20

// names lists the files below a folder, from the root.
func (t *Tree) names(n *node, folder string) ([]string, error) {
	w := walk{t: t, left: maxNames}
	if err := w.folder(n, folder, 0); err != nil {
		return nil, err
	}
	var out []string
	for _, e := range w.files {
		out = append(out, e.Path)
	}
	slices.Sort(out)
	return out, nil
}

// Object is git's hash of a file or folder of the registry, or "".
func (t *Tree) Object(name string) string {
	n, err := t.find(t.at(name))
	if err != nil {
		return ""
	}
	return n.object
}

// Listed lists the names in a folder of the registry where they are known
// already, as they are unless the host has cut its list of files.
func (t *Tree) Listed(name string) (names []string, known bool) {
	dir, base := path.Split(t.at(name))
	n, err := t.find(strings.TrimSuffix(dir, "/"))
	if err != nil || !n.isDir() || !n.loaded {
		return nil, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.children == nil && n.whole { // not sorted yet: of most nobody asks more
		prefix := []byte(base + "/")
		for _, list := range n.below {
			each(list, func(_ int, e entry) {
				if inside, ok := bytes.CutPrefix(e.path[min(n.skip, len(e.path)):], prefix); ok && !bytes.ContainsRune(inside, '/') {
					names = append(names, string(inside))
				}
			})
		}
		return names, true
	}
	c := n.children[base]
	if c == nil || !c.isDir() || !c.loaded {
		return nil, c == nil && n.children != nil
	}
	if c.children == nil {
		c.sort()
	}
	for name := range c.children {
		names = append(names, name)
	}
	return names, true
}

// Tip is the last commit of a branch.
func (c *Client) Tip(ctx context.Context, repo Repo, branch string) (string, error) {
	return c.commit(ctx, repo, "heads/"+branch)
}

// Branch is the same repository at the tip of a branch, from its root.
func (t *Tree) Branch(ctx context.Context, branch string) (*Tree, error) {
	return t.c.At(ctx, t.repo, "heads/"+branch, "")
}
