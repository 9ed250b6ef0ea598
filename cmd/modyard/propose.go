package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/registry/github"
	"github.com/modyard/modyard/schema"
)

func (a *app) proposeCmd() *cobra.Command {
	var to, title string
	var dry bool
	cmd := &cobra.Command{
		Use:   "propose DIR --to github.com/OWNER/REPO",
		Short: "Propose a module, or new versions of it, in a pull request",
		Long: `Propose the module in DIR, a folder with module.yaml, versions and the files that
they name, as in a registry's modules/NAME. It is checked with the rules of the
registry first, and what can be filled in is: digests, dates, CODEOWNERS. Then
it is committed through GitHub's API, in a fork where you may not push, and a
pull request is opened; proposing again updates it. You need no clone.
` + exitHelp,
		Example: "  modyard propose my-module --to github.com/acme/modules",
		Args:    oneArg("the folder of a module"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.propose(cmd.Context(), args[0], to, title, dry)
		},
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "the `REGISTRY`: github.com/OWNER/REPO[/FOLDER]")
	f.StringVar(&title, "title", "", "the title of the pull request (default: what is new)")
	f.BoolVar(&dry, "dry-run", false, "check, and say what would be proposed")
	return cmd
}

func (a *app) propose(ctx context.Context, dir, to, title string, dry bool) error {
	data, err := readManifest(filepath.Join(dir, registry.ModuleFile), schema.MaxManifest)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return &hinted{fmt.Sprintf("%s holds no module: there is no %s", dir, registry.ModuleFile), "modyard new module NAME makes one in a registry"}
		}
		return err
	}
	m, diags := schema.ParseModule(filepath.ToSlash(filepath.Join(dir, registry.ModuleFile)), data)
	if err := diags.Err(); err != nil {
		return err
	}
	place, err := a.parsePlace(to)
	if err != nil {
		return err
	}
	return a.proposeChange(ctx, change{
		to: place, branch: "modyard/" + m.Name, dry: dry,
		make: a.registryChange(place, title, func(reg string) error { return overlay(filepath.Join(reg, "modules", m.Name), dir) }),
	})
}

// change is a change of a repository on GitHub.
type change struct {
	to     *place
	branch string
	dry    bool
	// make changes a copy of the repository, root, that is at the commit, checks what
	// it made, and says what the pull request is to say.
	make func(ctx context.Context, root, commit string) (title, body string, err error)
}

// proposeChange makes a change in a copy of a repository's default branch and
// proposes it.
func (a *app) proposeChange(ctx context.Context, ch change) error {
	p := ch.to
	if p == nil || p.owner == "" {
		return usagef("name the repository on GitHub: github.com/OWNER/REPO")
	}
	c, err := a.github(ctx, p.host)
	if err != nil {
		return err
	}
	repo := github.Repo{Owner: p.owner, Name: p.name}
	branch, err := c.DefaultBranch(ctx, repo)
	if err != nil {
		return err
	}
	cache, err := a.remoteCache()
	if err != nil {
		return err
	}
	w, err := git.Checkout(ctx, "https://"+p.host+"/"+p.owner+"/"+p.name+".git", branch, filepath.Join(cache, "git"), a.offline)
	if err != nil {
		return fmt.Errorf("the repository %s: %w", repo, err)
	}
	f, err := a.fetcher()
	if err != nil {
		return err
	}
	work := filepath.Join(f.Scratch, "proposal")
	links, err := w.Copy(ctx, work)
	defer w.Drop(ctx, work)
	if err != nil {
		return err
	}
	title, body, err := ch.make(ctx, work, w.Commit)
	if problems, ok := errors.AsType[*schema.ProblemsError](err); ok {
		for i, d := range problems.Diagnostics { // the copy is nothing that anybody knows
			problems.Diagnostics[i].File = strings.TrimPrefix(d.File, filepath.ToSlash(work)+"/")
		}
	}
	if err != nil {
		return err
	}
	for _, name := range links {
		if _, err := os.Lstat(filepath.Join(work, filepath.FromSlash(name))); err == nil {
			return &hinted{fmt.Sprintf("%q is a link in %s, in whose place nothing is proposed", name, repo), "a registry holds plain files: remove the link first"}
		}
	}
	files, modes, err := changedFiles(ctx, work, w.Commit)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		a.say("nothing to propose: %s has it as it is", repo)
		return nil
	}
	if ch.dry {
		for _, name := range sortedKeys(files) {
			a.say("would write %s", name)
		}
		a.say("would open a pull request: %s", title)
		return nil
	}
	done, err := c.Propose(ctx, repo, github.Proposal{Base: w.Commit, Branch: ch.branch, Title: title, Body: body, Files: files, Modes: modes})
	if err != nil {
		return err
	}
	if done.Fork != "" {
		a.say("the branch is in the fork %s", done.Fork)
	}
	verb := "opened"
	if done.Updated {
		verb = "updated"
	}
	a.say("%s %s#%d", verb, repo, done.Number)
	fmt.Fprintln(a.out, done.URL)
	return nil
}

// registryChange makes a change of a registry, and checks it as the registry's
// own workflow would.
func (a *app) registryChange(to *place, title string, do func(reg string) error) func(ctx context.Context, root, commit string) (string, string, error) {
	return func(ctx context.Context, root, commit string) (string, string, error) {
		reg := filepath.Join(root, filepath.FromSlash(to.folder))
		if err := do(reg); err != nil {
			return "", "", err
		}
		f, err := a.fetcher()
		if err != nil {
			return "", "", err
		}
		_, r, err := a.reviewed(ctx, reg, registry.CheckOptions{Base: commit, Fix: true, Fetcher: f, Display: "."})
		if err != nil {
			return "", "", err
		}
		if err := a.diagnostics(r.Diagnostics); err != nil {
			return "", "", err
		}
		r.print(a)
		if r.Verdict == verdictProblems {
			return "", "", r.exit()
		}
		return cmpOr(title, r.title()), r.markdown(), nil
	}
}

// title says in a line what is new.
func (r *review) title() string {
	var names []string
	for _, v := range r.Versions {
		names = append(names, v.Module+" "+v.Version)
	}
	if len(names) == 0 {
		return "Change the registry"
	}
	return "Add " + strings.Join(names, ", ")
}

// maxProposed bounds the bytes of a proposal: all of it goes through the API.
const maxProposed = 64 << 20

// changedFiles reads what differs from a commit, by path; nil for what is gone.
func changedFiles(ctx context.Context, dir, commit string) (files map[string][]byte, modes map[string]string, err error) {
	repo, err := git.Open(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	names, err := repo.Changed(ctx, commit)
	if err != nil {
		return nil, nil, err
	}
	files, modes = map[string][]byte{}, map[string]string{}
	total := int64(0)
	for _, name := range names {
		file := filepath.Join(dir, filepath.FromSlash(name))
		info, err := os.Lstat(file)
		if errors.Is(err, fs.ErrNotExist) {
			files[name] = nil
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, nil, &hinted{fmt.Sprintf("%q is neither a file nor a folder", name), "put the file itself there"}
		}
		if total += info.Size(); total > maxProposed {
			return nil, nil, &hinted{fmt.Sprintf("the change has more than %d MiB", maxProposed>>20), "keep large files out of the registry: give them as inputs, or from another origin"}
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, err
		}
		files[name] = append([]byte{}, data...) // not nil
		if info.Mode()&0o111 != 0 {
			modes[name] = "100755"
		}
	}
	return files, modes, nil
}

// overlay copies a folder over another one. What the other has more stays.
func overlay(to, from string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		switch {
		case d.IsDir() && (d.Name() == ".git" || d.Name() == ".modyard" || d.Name() == "__pycache__"):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(dst, 0o755)
		case !d.Type().IsRegular():
			return &hinted{fmt.Sprintf("%q is neither a file nor a folder", filepath.ToSlash(rel)), "put the file itself there"}
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if path.Ext(dst) == ".yaml" && sameText(dst, data) {
			return nil
		}
		return os.WriteFile(dst, data, info.Mode().Perm()|0o600)
	})
}

// sameText reports whether a file has the text but for the ends of lines.
func sameText(file string, text []byte) bool {
	have, err := os.ReadFile(file)
	return err == nil && strings.ReplaceAll(string(have), "\r\n", "\n") == strings.ReplaceAll(string(text), "\r\n", "\n")
}
