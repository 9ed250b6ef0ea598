package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/schema"
)

func (a *app) newCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Make a module, or a new version of one",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.newModuleCmd(), a.newVersionCmd())
	return cmd
}

type moduleOptions struct {
	registryFlag
	description  string
	owners, tags []string
}

func (o *moduleOptions) registerModule(cmd *cobra.Command) {
	o.register(cmd)
	f := cmd.Flags()
	f.StringVar(&o.description, "description", "", "what it does, in one line")
	f.StringSliceVar(&o.owners, "owner", nil, "a GitHub `USER` or ORGANIZATION/TEAM that reviews it")
	f.StringSliceVar(&o.tags, "tag", nil, "a `WORD` that it is found by")
}

func (a *app) newModuleCmd() *cobra.Command {
	o := &moduleOptions{}
	cmd := &cobra.Command{
		Use:   "module NAME",
		Short: "Make a module without versions",
		Args:  oneArg("the module"),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := o.open()
			if err != nil {
				return err
			}
			if err := a.makeModule(r, args[0], o); err != nil {
				return err
			}
			a.say("put its source into %s, then: modyard new version %s --script FILE", filepath.Join(r.Dir, "modules", args[0], "src"), args[0])
			return nil
		},
	}
	o.registerModule(cmd)
	return cmd
}

func (a *app) makeModule(r *registry.Registry, name string, o *moduleOptions) error {
	if !schema.ValidName(name) {
		return &hinted{fmt.Sprintf("%q is no name of a module", name), "lower-case letters, digits and hyphens, beginning with a letter"}
	}
	for _, n := range r.Names() {
		if schema.Fold(n) == schema.Fold(name) {
			return &hinted{fmt.Sprintf("the registry has the module %q", n), "modyard new version " + n}
		}
	}
	dir := filepath.Join(r.Dir, "modules", name)
	for _, d := range []string{"src", "versions"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	var b strings.Builder
	b.WriteString(schema.EditorComment(schema.KindModule))
	fmt.Fprintf(&b, "apiVersion: %s\nkind: %s\nname: %s\ndescription: %s\n", schema.APIVersion, schema.KindModule, name, schema.Scalar(cmp.Or(o.description, "What "+name+" does.")))
	if len(o.owners) > 0 {
		fmt.Fprintf(&b, "owners: %s\n", schema.Flow(o.owners))
	}
	if len(o.tags) > 0 {
		fmt.Fprintf(&b, "tags: %s\n", schema.Flow(o.tags))
	}
	file := filepath.Join(dir, registry.ModuleFile)
	if _, diags := schema.ParseModule(filepath.ToSlash(file), []byte(b.String())); diags.Err() != nil {
		return diags.Err()
	}
	if err := writeNew(file, b.String()); err != nil {
		return err
	}
	a.say("wrote %s", file)
	return nil
}

// writeNew writes a file that must not be there.
func writeNew(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", file, unwrapPath(err))
	}
	_, err = f.WriteString(text)
	return cmp.Or(err, f.Close())
}
