package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// moduleRows reads the modules of a registry, from its index where it has one;
// problems in a module are said and the module is listed all the same.
func (a *app) moduleRows(ctx context.Context, r *registry.Registry) ([]registry.Summary, error) {
	known := a.fromIndex(ctx, r)
	rows := []registry.Summary{}
	for _, name := range r.Names() {
		row, ok := known[name]
		if !ok {
			var diags schema.Diagnostics
			var err error
			if row, diags, err = r.Summarize(name); err != nil {
				return nil, err
			}
			if diags.Err() != nil {
				a.say("warning: the module %q has problems: modyard check", name)
			}
		}
		row.Tree = ""
		rows = append(rows, row)
	}
	return rows, nil
}

func (a *app) printRows(rows []registry.Summary, asJSON bool) error {
	if asJSON {
		return a.json(rows)
	}
	t := a.table()
	t.row("MODULE", "VERSION", "STATE", "TAGS", "DESCRIPTION")
	for _, r := range rows {
		t.row(r.Name, cmpOr(r.Version, "-"), string(r.State), strings.Join(r.Tags, ","), firstLine(r.Description))
	}
	return t.flush()
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func (a *app) listCmd() *cobra.Command {
	var f registryFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the modules of a registry",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := f.read(cmd.Context(), a)
			if err != nil {
				return err
			}
			rows, err := a.moduleRows(cmd.Context(), r)
			if err != nil {
				return err
			}
			return a.printRows(rows, asJSON)
		},
	}
	f.registerRead(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

func (a *app) searchCmd() *cobra.Command {
	var f registryFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "search WORD…",
		Short: "Find modules by name, tag or description",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("name a word to look for")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.read(cmd.Context(), a)
			if err != nil {
				return err
			}
			rows, err := a.moduleRows(cmd.Context(), r)
			if err != nil {
				return err
			}
			found := rank(rows, args)
			if len(found) == 0 && !asJSON {
				a.say("no module has all of: %s", strings.Join(args, ", "))
				return exitCode(exitProblems)
			}
			return a.printRows(found, asJSON)
		},
	}
	f.registerRead(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

// rank keeps the modules that have every word: in the name before tags before
// the description.
func rank(rows []registry.Summary, words []string) []registry.Summary {
	type scored struct {
		registry.Summary
		score int
	}
	var found []scored
	for _, r := range rows {
		total := 0
		for _, w := range words {
			w = strings.ToLower(w)
			score := 0
			switch {
			case r.Name == w:
				score = 8
			case strings.Contains(r.Name, w):
				score = 4
			case slices.Contains(r.Tags, w):
				score = 3
			case strings.Contains(strings.ToLower(r.Description), w):
				score = 1
			}
			if score == 0 {
				total = 0
				break
			}
			total += score
		}
		if total > 0 {
			found = append(found, scored{r, total})
		}
	}
	slices.SortStableFunc(found, func(a, b scored) int { return b.score - a.score })
	out := []registry.Summary{}
	for _, s := range found {
		out = append(out, s.Summary)
	}
	return out
}

// pickArg picks MODULE[@SELECTOR] from a registry.
func pickArg(r *registry.Registry, arg string) (registry.Picked, *schema.ModuleVersion, error) {
	ref, err := schema.ParseModuleRef(arg)
	if err != nil {
		return registry.Picked{}, nil, usagef("%w", err)
	}
	p, err := r.Pick(ref.Name, ref.Selector, registry.PickOptions{AllowDisabled: true})
	if err != nil {
		return p, nil, err
	}
	m, diags, err := p.Manifest()
	if err != nil {
		return p, nil, err
	}
	if m == nil {
		return p, nil, diags.Err()
	}
	return p, m, nil
}

func (a *app) showCmd() *cobra.Command {
	var f registryFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show MODULE[@VERSION] | oci://HOST/PATH:TAG",
		Short: "Show a module version: its interface and how to use it",
		Args:  oneArg("a module"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if ref, ok := strings.CutPrefix(args[0], "oci://"); ok {
				return a.showImage(cmd.Context(), ref, asJSON)
			}
			r, err := f.read(cmd.Context(), a)
			if err != nil {
				return err
			}
			p, m, err := pickArg(r, args[0])
			if err != nil {
				return err
			}
			mod, _, err := r.Module(p.Version.Module())
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(map[string]any{"module": mod.Module, "version": m, "state": cmp.Or(p.State, schema.Active)})
			}
			return a.showVersion(r, mod, p, m)
		},
	}
	f.registerRead(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

func (a *app) showVersion(r *registry.Registry, mod *registry.Module, p registry.Picked, m *schema.ModuleVersion) error {
	fmt.Fprintf(a.out, "%s@%s  %s\n", mod.Name, p.Version, cmpOr(m.Description, mod.Description))
	for _, w := range p.Warnings {
		a.say("warning: %s", w)
	}
	if err := a.showInterface(m); err != nil {
		return err
	}
	t := a.versionTable(m)
	if len(mod.Owners) > 0 {
		t.row("owners", strings.Join(mod.Owners, ", "))
	}
	var versions []string
	for _, v := range mod.Versions {
		text := v.String()
		if v.State != "" {
			text += " (" + string(v.State) + ")"
		}
		versions = append(versions, text)
	}
	t.row("versions", strings.Join(versions, ", "))
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "use it:\n%s", indentText(stepText(r.Name, mod.Name, "^"+majorOf(p.Version), m, nil), "  "))
	return nil
}

// showImage shows the version that an image carries.
func (a *app) showImage(ctx context.Context, ref string, asJSON bool) error {
	e, m, err := a.imageVersion(ctx, ref)
	if err != nil {
		return err
	}
	if asJSON {
		return a.json(map[string]any{"image": e.Ref, "version": m})
	}
	fmt.Fprintf(a.out, "%s@%s  %s\n", m.Module.Value, m.Version.Value, m.Description)
	if err := a.showInterface(m); err != nil {
		return err
	}
	t := a.versionTable(m)
	t.row("image", e.Ref)
	if err := t.flush(); err != nil {
		return err
	}
	name, _, _ := strings.Cut(ref, "@")
	fmt.Fprintf(a.out, "use it:\n  module: oci://%s@%s\n", name, e.Digest)
	return nil
}

func (a *app) showInterface(m *schema.ModuleVersion) error {
	t := a.table()
	for _, in := range m.Inputs {
		t.row("  input", in.Name, typeText(string(in.Value.Type), in.Value.Format, in.Value.Optional), in.Value.Description)
	}
	for _, e := range m.Params {
		typ := typeText(e.Value.TypeName(), "", e.Value.Optional)
		if e.Value.Default != nil {
			typ += " = " + schema.JSON(e.Value.Default)
		}
		t.row("  param", e.Name, typ, e.Value.Description)
	}
	for _, e := range m.Secrets {
		t.row("  secret", e.Name, typeText("", "", e.Value.Optional), e.Value.Description)
	}
	for _, o := range m.Outputs {
		t.row("  output", o.Name, typeText(o.Value.TypeName(), o.Value.Format, o.Value.Optional), o.Value.Description)
	}
	return t.flush()
}

func (a *app) versionTable(m *schema.ModuleVersion) *table {
	t := a.table()
	t.row("created", m.Created.Value)
	t.row("version digest", string(m.Digest))
	if m.Snapshot != nil {
		t.row("snapshot", string(m.Snapshot.Digest))
		if m.Snapshot.Origin != "folder" {
			t.row("files", snapshot.Describe(m.Snapshot))
		}
	}
	return t
}

func typeText(typ, format string, optional bool) string {
	s := typ
	if format != "" {
		s += " " + format
	}
	if optional {
		s += " (optional)"
	}
	return strings.TrimSpace(s)
}

func (a *app) diffCmd() *cobra.Command {
	var f registryFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff MODULE A B",
		Short: "Tell what changed between two versions, and the bump it needs",
		Args:  argCount(3, 3, "a module and two versions"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.read(cmd.Context(), a)
			if err != nil {
				return err
			}
			pa, ma, err := pickArg(r, args[0]+"@"+args[1])
			if err != nil {
				return err
			}
			pb, mb, err := pickArg(r, args[0]+"@"+args[2])
			if err != nil {
				return err
			}
			d := registry.Compare(ma, mb)
			least := registry.Least(pa.Number, d)
			if asJSON {
				return a.json(map[string]any{"module": args[0], "from": pa.Version.String(), "to": pb.Version.String(), "changes": append([]registry.Change{}, d.Changes...), "least": least, "chosen": registry.Raised(pa.Number, pb.Number)})
			}
			fmt.Fprint(a.out, d.Table())
			fmt.Fprintf(a.out, "from %s to %s is a %s step; the least is %s\n", pa.Version, pb.Version, registry.Raised(pa.Number, pb.Number), least)
			return nil
		},
	}
	f.registerRead(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}
