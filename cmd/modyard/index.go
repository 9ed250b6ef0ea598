package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/registry/github"
)

func (a *app) indexCmd() *cobra.Command {
	var f registryFlag
	var out string
	var push bool
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Write the index of a registry: static files that make search fast",
		Long: `Write the index of the last commit: ` + registry.SearchFile + `, which has what list
and search say, and one small file a module with a line a version. Any web
server serves them; none is needed.

With --push they are put on the branch that index in registry.yaml names, through
GitHub's API, and list and search of github.com/OWNER/REPO read them there. A
module that has changed since the index was made is read itself.
` + exitHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.index(cmd.Context(), &f, out, push) },
	}
	f.register(cmd)
	cmd.Flags().StringVar(&out, "out", "", "write the files below `DIR`")
	cmd.Flags().BoolVar(&push, "push", false, "put them on the branch that registry.yaml names")
	return cmd
}

func (a *app) index(ctx context.Context, f *registryFlag, out string, push bool) error {
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
		return a.pushIndex(ctx, reg, files, commit)
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

func (a *app) pushIndex(ctx context.Context, reg *registry.Registry, files map[string][]byte, commit string) error {
	if reg.Index == "" {
		return &hinted{"the registry does not say which branch has its index", "add index: gh-pages to registry.yaml"}
	}
	repo, host, err := a.hub(reg)
	if err != nil {
		return err
	}
	c, err := a.github(ctx, host)
	if err != nil {
		return err
	}
	changed, err := c.PutFolder(ctx, repo, reg.Index, registry.IndexDir, fmt.Sprintf("Index of %.12s", commit), files)
	if err != nil {
		return err
	}
	if !changed {
		a.say("the index on the branch %s is that of %.12s already", reg.Index, commit)
		return nil
	}
	a.say("the branch %s of %s has the index of %.12s", reg.Index, repo, commit)
	return nil
}

// fromIndex takes the summaries of a remote registry's modules from its index:
// of those whose folder is the same at the commit that is read. Without a good
// index there are none, and the modules are read themselves.
func (a *app) fromIndex(ctx context.Context, reg *registry.Registry) map[string]registry.Summary {
	tree, ok := reg.Elsewhere.(*github.Tree)
	if !ok || reg.Index == "" {
		return nil
	}
	search, err := func() (*registry.Search, error) {
		at, err := tree.Branch(ctx, reg.Index)
		if err != nil {
			return nil, err
		}
		f, err := at.Open(registry.SearchFile)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return registry.ParseSearch(f)
	}()
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, github.ErrOffline) {
			a.say("warning: the index on the branch %s cannot be read: %v", reg.Index, err)
		}
		return nil
	}
	out := map[string]registry.Summary{}
	for _, s := range search.Modules {
		if s.Tree != "" && s.Tree == tree.Object("modules/"+s.Name) {
			out[s.Name] = s
		}
	}
	return out
}
