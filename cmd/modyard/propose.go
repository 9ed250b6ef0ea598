package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"

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
they name, as in a registry's modules/NAME. Folders of DIR take the place of the
registry's, but for published versions, which stay. It is checked with the rules
of the registry first, and what can be filled in is: digests, dates, CODEOWNERS.
Then it is committed through GitHub's API, in a fork where you may not push, and
a pull request is opened; proposing again updates it. You need no clone.
` + exitHelp,
		Example: "  modyard propose my-module --to github.com/acme/modules",
		Args:    oneArg("the folder of a module"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.propose(cmd.Context(), args[0], to, title, dry)
		},
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "the `REGISTRY`: github.com/OWNER/REPO[/FOLDER][@BRANCH]")
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
		to: place, kind: "add", about: m.Name, dry: dry,
		make: a.registryChange(place, title, func(reg string) error { return replaceModule(filepath.Join(reg, "modules", m.Name), dir) }),
	})
}

// change is a change of a repository on GitHub.
type change struct {
	to          *place
	kind, about string // which name its branch
	dry         bool
	// make changes a copy of the repository, root, that is at the commit, and checks
	// what it made.
	make func(ctx context.Context, root, commit string) (made, error)
}

// made is a change that was made.
type made struct {
	title, body string
	// forced are files that are proposed though git ignores them, from the root.
	forced []string
}

// branchOf names the branch of a proposal of a kind, such as deprecate, about
// something: two that are about different things never have one name. Scope tells
// apart what the same thing is in; "" for the usual.
func branchOf(kind, about, scope string) string {
	plain := strings.Map(func(r rune) rune {
		if r < 128 && (r == '-' || r == '_' || r == '.' || unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return '-'
	}, about)
	plain = strings.Trim(strings.ReplaceAll(strings.TrimSuffix(plain, ".lock"), "..", "--"), ".")
	if plain != about || scope != "" { // as git's names of branches may not be
		plain = fmt.Sprintf("%.100s-%x", plain, sha256.Sum256([]byte(about+"\x00"+scope)))[:min(len(plain), 100)+1+8]
	}
	return "modyard/" + kind + "/" + plain
}

// proposeChange makes a change in a copy of a repository's branch, the default one
// if none is named, and proposes it.
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
	usual, err := c.DefaultBranch(ctx, repo)
	if err != nil {
		return err
	}
	onto, scope := cmpOr(p.ref, usual), p.folder
	if onto != usual {
		scope += "@" + onto
	}
	cache, err := a.remoteCache()
	if err != nil {
		return err
	}
	from := git.Remote{URL: p.address() + ".git", Token: a.githubToken(ctx, p.host)}
	w, err := git.Checkout(ctx, from, onto, filepath.Join(cache, "git"), a.offline)
	if err != nil {
		return fmt.Errorf("the repository %s: %w", repo, err)
	}
	if !w.IsBranch(ctx, onto) {
		return &hinted{fmt.Sprintf("%s has no branch %q to propose a change of", repo, onto), "name a branch after @, or nothing for the default branch"}
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
	m, err := ch.make(ctx, work, w.Commit)
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
	files, modes, err := changedFiles(ctx, work, w.Commit, m.forced)
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
		a.say("would open a pull request: %s", m.title)
		return nil
	}
	done, err := c.Propose(ctx, repo, github.Proposal{Onto: onto, Base: w.Commit, Branch: branchOf(ch.kind, ch.about, scope), Title: m.title, Body: m.body, Files: files, Modes: modes})
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
func (a *app) registryChange(to *place, title string, do func(reg string) error) func(ctx context.Context, root, commit string) (made, error) {
	return func(ctx context.Context, root, commit string) (m made, err error) {
		reg := filepath.Join(root, filepath.FromSlash(to.folder))
		if err := do(reg); err != nil {
			return m, err
		}
		f, err := a.fetcher()
		if err != nil {
			return m, err
		}
		res, r, err := a.reviewed(ctx, reg, registry.CheckOptions{Base: commit, Fix: true, Ignored: true, Fetcher: f, Display: "."})
		if err != nil {
			return m, err
		}
		if err := a.diagnostics(r.Diagnostics); err != nil {
			return m, err
		}
		r.print(a)
		if r.Verdict == verdictProblems {
			return m, r.exit()
		}
		m.forced = res.Ignored
		for _, name := range m.forced {
			a.say("note: %s is proposed though git ignores it: a new version's digest has it", name)
		}
		m.title, m.body = cmpOr(title, r.title()), r.markdown()
		return m, nil
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
// It has the files in forced, too, which git ignores.
func changedFiles(ctx context.Context, dir, commit string, forced []string) (files map[string][]byte, modes map[string]string, err error) {
	repo, err := git.Open(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	names, err := repo.Changed(ctx, commit)
	if err != nil {
		return nil, nil, err
	}
	names = append(names, forced...)
	files, modes = map[string][]byte{}, map[string]string{}
	total := int64(0)
	for _, name := range names {
		file := filepath.Join(dir, filepath.FromSlash(name))
		info, err := os.Lstat(file)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && info.IsDir() {
			files[name] = nil // gone, or a file's place has become a folder, or the reverse
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

// replaceModule makes a module's folder what another one is. Its published
// versions stay, and the folders and files in it that the other has nothing of.
func replaceModule(to, from string) error {
	have, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range have {
		there, err := os.Lstat(filepath.Join(to, e.Name()))
		if err != nil || e.Name() == "versions" || !there.IsDir() && !e.IsDir() {
			continue // it is new, stays, or is written over
		}
		if err := os.RemoveAll(filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return overlay(to, from)
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
