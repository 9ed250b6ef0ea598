package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/schema"
)

// template is what `modyard init` writes.
//
//go:embed all:template
var template embed.FS

// workflows are what `modyard init --github` writes.
//
//go:embed workflows
var workflows embed.FS

func (a *app) initCmd() *cobra.Command {
	var name, branch string
	var forGitHub bool
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Make a registry with one module and a pipeline that runs",
		Long: `Make a registry with one module, a test of it, and a pipeline that runs.

With --github, also in a registry that is there, write the workflows for GitHub
Actions: modyard-check.yml checks pull requests, modyard-publish.yml publishes.
` + exitHelp,
		Args: argCount(0, 1, "one folder at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			if forGitHub && fileExists(filepath.Join(dir, registry.ManifestFile)) {
				return a.writeWorkflows(cmd.Context(), dir, branch)
			}
			if err := a.init(cmd.Context(), dir, name); err != nil || !forGitHub {
				return err
			}
			return a.writeWorkflows(cmd.Context(), dir, branch)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the registry's name (default: that of the folder)")
	cmd.Flags().BoolVar(&forGitHub, "github", false, "write the workflows for GitHub Actions")
	cmd.Flags().StringVar(&branch, "branch", "main", "the default branch of the repository, for --github")
	return cmd
}

// releaseTag is what a program that was built of a release calls itself.
var releaseTag = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+$`)

// branchName is a name of a branch that is text and nothing else in a workflow.
var branchName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)

// actionRef is what the workflows name our action by: a release's commit, since a
// tag can be moved.
func actionRef(version, revision string) string {
	switch {
	case !releaseTag.MatchString(version):
		return "main"
	case revision == "":
		return version
	}
	return revision + " # " + version
}

// writeWorkflows writes those that are not there, at the repository's root.
func (a *app) writeWorkflows(ctx context.Context, dir, branch string) error {
	if !branchName.MatchString(branch) {
		return usagef("%q is no name of a branch", branch)
	}
	root, inside := dir, "."
	if repo, err := git.Open(ctx, dir); err == nil {
		root = repo.Root
		if inside, err = repo.Rel(dir); err != nil {
			return err
		}
	}
	ref := actionRef(ourVersion(), revision)
	entries, err := workflows.ReadDir("workflows")
	if err != nil {
		return err
	}
	for _, e := range entries {
		data, err := workflows.ReadFile("workflows/" + e.Name())
		if err != nil {
			return err
		}
		text := strings.NewReplacer("MODYARD_REF", ref, "MODYARD_BRANCH", branch).Replace(string(data))
		if inside != "." && inside != "" {
			text = inFolder(text, inside)
		}
		dst := filepath.Join(root, ".github", "workflows", e.Name())
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return err
		}
		if err := writeNew(dst, text); err != nil {
			if errors.Is(err, fs.ErrExist) {
				a.say("kept  %s", filepath.ToSlash(dst))
				continue
			}
			return err
		}
		a.say("wrote %s", filepath.ToSlash(dst))
	}
	return nil
}

// inFolder names the registry's folder in a workflow.
func inFolder(text, folder string) string {
	folder = schema.Flow(folder)
	text = regexp.MustCompile(`\{command: (\w+)\}`).ReplaceAllString(text, "{command: $1, registry: "+strings.ReplaceAll(folder, "$", "$$")+"}")
	return strings.ReplaceAll(text, "          command: test\n", "          command: test\n          registry: "+folder+"\n")
}

func (a *app) init(ctx context.Context, dir, name string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if name == "" {
		name = nameOf(filepath.Base(abs))
	}
	if !schema.ValidName(name) {
		return usagef("%q is no name of a registry: --name NAME, lower-case letters, digits and hyphens", name)
	}
	if fileExists(filepath.Join(dir, registry.ManifestFile)) {
		return &hinted{fmt.Sprintf("there is a registry in %s already", dir), "modyard new module NAME"}
	}
	fill := strings.NewReplacer("NAME", name, "CREATED", time.Now().UTC().Format(time.RFC3339),
		"# registry schema\n", schema.EditorComment(schema.KindRegistry), "# module schema\n", schema.EditorComment(schema.KindModule),
		"# version schema\n", schema.EditorComment(schema.KindModuleVersion), "# pipeline schema\n", schema.EditorComment(schema.KindPipeline), "# test schema\n", schema.EditorComment(schema.KindModuleTest))
	var wrote []string
	err = fs.WalkDir(template, "template", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := template.ReadFile(p)
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(p, "template/")
		dst := filepath.Join(dir, filepath.FromSlash(rel))
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return err
		}
		if path.Base(rel)[0] == '.' && fileExists(dst) {
			return nil // theirs
		}
		if err := writeNew(dst, fill.Replace(string(data))); err != nil {
			return err
		}
		wrote = append(wrote, rel)
		return nil
	})
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return &hinted{err.Error(), "choose an empty folder: modyard init DIR"}
		}
		return err
	}
	res, err := registry.Check(ctx, dir, registry.CheckOptions{Fix: true})
	if err != nil {
		return err
	}
	if err := a.diagnostics(res.Diagnostics); err != nil {
		return err
	}
	for _, f := range wrote {
		a.say("wrote %s", path.Join(filepath.ToSlash(dir), f))
	}
	in := ""
	if dir != "." {
		in = "-C " + shellQuote(dir) + " "
	}
	a.say("try:  modyard %srun pipeline.yaml", in)
	a.say("then: git init, commit, and modyard %scheck", in)
	return nil
}

// nameOf makes a registry's name of a folder's.
func nameOf(folder string) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r == '_' || r == '.' || r == ' ':
			return '-'
		}
		return -1
	}, folder)
	return strings.Trim(s, "-0123456789")
}
