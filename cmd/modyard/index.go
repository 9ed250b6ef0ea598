package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/attest"
	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/registry/github"
	"github.com/modyard/modyard/registry/oci"
	"github.com/modyard/modyard/schema"
)

func (a *app) indexCmd() *cobra.Command {
	var f registryFlag
	var out, key string
	var push bool
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Write the index of a registry: static files that make search fast",
		Long: `Write the index of the last commit: ` + registry.SearchFile + `, which has what list
and search say, and one small file a module with a line a version. Any web
server serves them; none is needed.

With --push they are put where index in registry.yaml says: on that branch, through
GitHub's API, and, if somebody signs them, beside the images, as one artifact;
with index: oci there alone. list and search of github.com/OWNER/REPO read them
there. A module that has changed since the index was made is read itself; nothing
but a listing comes from an index. Where the registry's policy names who may sign, the index beside
the images is read, and used only if one of them has signed it; on a branch, who
may push to it is trusted with descriptions.
` + exitHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.index(cmd.Context(), &f, out, key, push) },
	}
	f.register(cmd)
	cmd.Flags().StringVar(&out, "out", "", "write the files below `DIR`")
	cmd.Flags().BoolVar(&push, "push", false, "put them where registry.yaml says")
	cmd.Flags().StringVar(&key, "key", "", "sign an artifact with the private key in `FILE`")
	return cmd
}

func (a *app) index(ctx context.Context, f *registryFlag, out, key string, push bool) error {
	if (out == "") == !push {
		return usagef("give --out DIR or --push")
	}
	reg, err := f.open()
	if err != nil {
		return err
	}
	files, commit, err := indexOf(ctx, reg)
	if err != nil {
		return err
	}
	if push {
		signer, err := a.signer(key)
		if err != nil {
			return err
		}
		return a.pushIndex(ctx, reg, signer, files, commit, "")
	}
	for name, data := range files {
		dst := filepath.Join(out, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(dst, data, 0o644); err != nil {
			return fmt.Errorf("cannot write the index: %w", err)
		}
	}
	a.say("wrote %s of commit %.12s", count(len(files), "file"), commit)
	return nil
}

// indexOf makes the index of a registry at its last commit.
func indexOf(ctx context.Context, reg *registry.Registry) (files map[string][]byte, commit string, err error) {
	repo, err := git.Open(ctx, reg.Dir)
	if err != nil {
		return nil, "", err
	}
	if commit, err = repo.Commit(ctx, "HEAD"); err != nil {
		return nil, "", err
	}
	inside, err := repo.Rel(reg.Dir)
	if err != nil {
		return nil, "", err
	}
	dir := path.Join(inside, "modules")
	changed, err := repo.Changed(ctx, commit)
	if err != nil {
		return nil, "", err
	}
	for _, name := range changed {
		if strings.HasPrefix(name, dir+"/") {
			return nil, "", &hinted{fmt.Sprintf("%s is not in the last commit as it is", name), "commit it: the index is of a commit"}
		}
	}
	list, err := repo.Output(ctx, "ls-tree", "-z", commit, "--", dir+"/")
	if err != nil {
		return nil, "", err
	}
	trees := map[string]string{}
	for line := range strings.SplitSeq(string(list), "\x00") {
		meta, name, ok := strings.Cut(line, "\t")
		if f := strings.Fields(meta); ok && len(f) == 3 {
			trees[path.Base(name)] = f[2]
		}
	}
	files, err = reg.IndexFiles(commit, trees)
	return files, commit, err
}

// pushIndex puts an index of a commit where the registry says, unless the branch
// of is at another commit by now: that has an index of its own. Without of it is
// put in any case.
func (a *app) pushIndex(ctx context.Context, reg *registry.Registry, signer attest.Signer, files map[string][]byte, commit, of string) error {
	if reg.Index == "" {
		return &hinted{"the registry does not say where its index is", "add index: gh-pages, a branch, or index: oci to registry.yaml"}
	}
	var c *github.Client
	var repo github.Repo
	if reg.Index != indexOCI || of != "" {
		var host string
		var err error
		if repo, host, err = a.hub(reg); err != nil {
			return err
		}
		if c, err = a.github(ctx, host); err != nil {
			return err
		}
	}
	older := false
	still := func(ctx context.Context) (bool, error) {
		if of == "" {
			return true, nil
		}
		tip, err := c.Tip(ctx, repo, of)
		if older = err == nil && tip != commit; older {
			a.say("note: the index is left to a run at the branch's last commit, %.12s", tip)
		}
		return !older, err
	}
	if reg.Index == indexOCI {
		if ok, err := still(ctx); err != nil || !ok {
			return err
		}
		return a.pushIndexImage(ctx, reg, signer, files, commit)
	}
	changed, err := c.PutFolder(ctx, repo, reg.Index, registry.IndexDir, fmt.Sprintf("Index of %.12s", commit), files, still)
	if err != nil || older {
		return err
	}
	if changed {
		a.say("the branch %s of %s has the index of %.12s", reg.Index, repo, commit)
	} else {
		a.say("the index on the branch %s is that of %.12s already", reg.Index, commit)
	}
	if signer == nil || reg.Images == "" {
		return nil
	}
	return a.pushIndexImage(ctx, reg, signer, files, commit) // which can be verified
}

// What a registry calls the index that is an artifact beside its images, and
// what that consists of.
const (
	indexOCI  = "oci"
	indexName = "modyard.index" // no module is called so: names have no dots
	indexTag  = "latest"

	indexType      = "application/vnd.modyard.index.v1+json"
	searchType     = "application/vnd.modyard.search.v1+json"
	modulesType    = "application/vnd.modyard.index.modules.v1.tar"
	indexPredicate = "https://modyard.dev/index/v1"
)

// indexClaim is the config of an index's artifact, and what is signed.
type indexClaim struct {
	Format   int           `json:"format"`
	Registry string        `json:"registry"`
	Commit   string        `json:"commit"`
	Search   schema.Digest `json:"search"`  // of the search file
	Modules  schema.Digest `json:"modules"` // of the tar with the modules' files
}

func (a *app) pushIndexImage(ctx context.Context, reg *registry.Registry, signer attest.Signer, files map[string][]byte, commit string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if signer == nil && reg.Policy.Signers() {
		return &hinted{"the registry's policy names who may sign, and nobody signs the index", "give --key FILE, or publish from a workflow with permissions: {id-token: write}"}
	}
	search := oci.NewBlob(searchType, files[registry.SearchFile])
	search.Title = path.Base(registry.SearchFile)
	packed, err := packed(files)
	if err != nil {
		return err
	}
	modules := oci.NewBlob(modulesType, packed)
	modules.Title = "modules.tar"
	repository := reg.Images + "/" + indexName
	config := schema.JSON(indexClaim{registry.IndexFormat, reg.Name, commit, search.Digest, modules.Digest})
	art := oci.Artifact{Type: indexType, Config: oci.NewBlob(indexType, []byte(config)), Blobs: []oci.Blob{search, modules}}
	if signer != nil {
		if err := art.Sign(ctx, signer, repository, indexPredicate, map[string]any{"registry": reg.Name, "commit": commit}); err != nil {
			return err
		}
	}
	if err := c.PutArtifact(ctx, repository, indexTag, art); err != nil {
		return err
	}
	a.say("%s:%s is the index of %.12s", repository, indexTag, commit)
	return nil
}

// packed is a tar of the modules' files of an index, the same for the same
// files.
func packed(files map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range sortedKeys(files) {
		if name == registry.SearchFile {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// searchImage reads the search file of the index that is an artifact.
func (a *app) searchImage(ctx context.Context, reg *registry.Registry) (*registry.Search, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	repository := reg.Images + "/" + indexName
	art, err := c.GetArtifact(ctx, repository, indexTag)
	if err != nil {
		return nil, err
	}
	if art == nil || art.Type != indexType {
		return nil, errors.New("it is not there")
	}
	by, err := a.verifier(reg, nil)
	if err != nil {
		return nil, err
	}
	if by.Any() {
		if _, err := c.Signature(ctx, repository, art, by, indexPredicate); err != nil {
			return nil, err
		}
	}
	var claim indexClaim
	if err := json.Unmarshal(art.Config.Data, &claim); err != nil {
		return nil, fmt.Errorf("what it says of itself cannot be read: %w", err)
	}
	if claim.Registry != reg.Name {
		return nil, fmt.Errorf("it is of the registry %q", claim.Registry)
	}
	for _, b := range art.Blobs {
		if b.Digest == claim.Search {
			data, err := c.ReadBlob(ctx, repository, b, registry.MaxSearch)
			if err != nil {
				return nil, err
			}
			return registry.ParseSearch(data)
		}
	}
	return nil, errors.New("it has no search file")
}

// searchBranch reads the search file of the index that is on a branch.
func searchBranch(ctx context.Context, tree *github.Tree, branch string) (*registry.Search, error) {
	at, err := tree.Branch(ctx, branch)
	if err != nil {
		return nil, err
	}
	data, err := fs.ReadFile(at, registry.SearchFile)
	if err != nil {
		return nil, err
	}
	return registry.ParseSearch(data)
}

// signedIndex reports whether the index beside the images is read: it is the only
// one, or the registry's policy names who may sign, which a branch does not show.
func (a *app) signedIndex(reg *registry.Registry) (bool, error) {
	if reg.Index == indexOCI || reg.Images == "" {
		return reg.Index == indexOCI, nil
	}
	by, err := a.verifier(reg, nil)
	return err == nil && by.Any(), err
}

// fromIndex takes the summaries of a remote registry's modules from its index:
// of those whose folder is the same at the commit that is read. Without a good
// index there are none, and the modules are read themselves.
func (a *app) fromIndex(ctx context.Context, reg *registry.Registry) map[string]registry.Summary {
	tree, ok := reg.Elsewhere.(*github.Tree)
	if !ok || reg.Index == "" {
		return nil
	}
	var search *registry.Search
	signed, err := a.signedIndex(reg)
	where := "on the branch " + reg.Index
	switch {
	case err != nil:
	case !signed:
		search, err = searchBranch(ctx, tree, reg.Index)
	case a.offline:
		err = github.ErrOffline
	default:
		where = "beside the images"
		search, err = a.searchImage(ctx, reg)
	}
	if err == nil && search.Registry != reg.Name {
		err = fmt.Errorf("it is of the registry %q", search.Registry)
	}
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, github.ErrOffline) {
			a.say("warning: the index %s is not used: %v", where, err)
		}
		return nil
	}
	out := map[string]registry.Summary{}
	for _, s := range search.Modules {
		if s.Tree == "" || s.Tree != tree.Object("modules/"+s.Name) {
			continue
		}
		if files, known := tree.Listed("modules/" + s.Name + "/versions"); known && !s.Of(files) {
			a.say("warning: the index %s is not used: it names versions of %q that are not there, or not all", where, s.Name)
			return nil
		}
		out[s.Name] = s
	}
	return out
}
