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
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/schema"
)

// template is what `modyard init` writes.
//
//go:embed all:template
var template embed.FS

func (a *app) initCmd() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Make a registry with one module and a pipeline that runs",
		Args:  argCount(0, 1, "one folder at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return a.init(cmd.Context(), dir, name)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the registry's name (default: that of the folder)")
	return cmd
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
