package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/schema"
)

type versionOptions struct {
	moduleOptions
	originFlags
	script, from, number, bump      string
	inputs, outputs, params, remove []string
}

func (a *app) newVersionCmd() *cobra.Command {
	o := &versionOptions{}
	cmd := &cobra.Command{
		Use:   "version MODULE",
		Short: "Make a new version of a module",
		Long: `Make a new version of a module, with the digest of its folder filled in.

From the last version: its manifest is copied, the flags change its interface,
and the number rises as the change of the interface needs. With --script the
version is made of a Python script: the flags are its whole interface, and each
is handed to the script as an option of that name. With --from a script step of
a pipeline becomes a module version, and the step uses it. With one of the
--from-… flags its files come from elsewhere, and the script is one of them.

Interfaces are written NAME:TYPE[:FORMAT] for inputs and outputs and
NAME:TYPE[=DEFAULT] for params; a ? behind the name makes it optional.
` + exitHelp,
		Example: `  modyard new version train-model
  modyard new version train-model --param rate:number=0.1
  modyard new version train-model --script train.py --input data:file:csv --param epochs:integer=200 --output model:file:json
  modyard new version plot --from pipeline.yaml#plot`,
		Args: oneArg("the module"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.newVersion(cmd.Context(), args[0], o) },
	}
	o.registerModule(cmd)
	o.originFlags.register(cmd)
	f := cmd.Flags()
	f.StringVar(&o.script, "script", "", "make the version of this Python `FILE`")
	f.StringVar(&o.from, "from", "", "make the version of a script step: `PIPELINE#STEP`")
	f.StringVar(&o.number, "version", "", "the number (default: what the change of the interface needs)")
	f.StringVar(&o.bump, "bump", "", "raise at least this part: patch, minor or major")
	f.StringArrayVar(&o.inputs, "input", nil, "an input: `NAME:file[:FORMAT]` or NAME:folder")
	f.StringArrayVar(&o.outputs, "output", nil, "an output: `NAME:TYPE[:FORMAT]`")
	f.StringArrayVar(&o.params, "param", nil, "a param: `NAME:TYPE[=DEFAULT]`")
	f.StringArrayVar(&o.remove, "remove", nil, "drop an input, output or param of the last version by its `NAME`")
	return cmd
}

func (a *app) newVersion(ctx context.Context, name string, o *versionOptions) error {
	if o.script != "" && o.from != "" {
		return usagef("--script and --from exclude each other")
	}
	iface, err := o.iface()
	if err != nil {
		return err
	}
	r, err := o.open()
	if err != nil {
		return err
	}
	switch {
	case o.script != "":
		return a.scriptVersion(ctx, r, name, o, iface)
	case o.from != "":
		return a.stepVersion(ctx, r, name, o)
	}
	return a.nextVersion(ctx, r, name, o, iface)
}

// iface reads the interface flags.
func (o *versionOptions) iface() (schema.Interface, error) {
	var i schema.Interface
	for _, s := range o.inputs {
		name, typ, format, optional, err := dataFlag("--input", s)
		if err != nil {
			return i, err
		}
		if !schema.Type(typ).IsData() {
			return i, usagef("--input %q: an input is a file or a folder", s)
		}
		i.Inputs = append(i.Inputs, schema.Entry[schema.Input]{Name: name, Value: schema.Input{Type: schema.Type(typ), Format: format, Optional: optional}})
	}
	for _, s := range o.outputs {
		name, typ, format, optional, err := dataFlag("--output", s)
		if err != nil {
			return i, err
		}
		i.Outputs = append(i.Outputs, schema.Entry[schema.Output]{Name: name, Value: schema.Output{Spec: schema.Spec{Type: schema.Type(typ)}, Format: format, Optional: optional}})
	}
	for _, s := range o.params {
		decl, def, has := strings.Cut(s, "=")
		name, typ, format, optional, err := dataFlag("--param", decl)
		if err != nil {
			return i, err
		}
		p := schema.Param{Spec: schema.Spec{Type: schema.Type(typ)}, Optional: optional}
		if p.Type == schema.TypeList {
			p.Items = schema.Type(cmp.Or(format, "string"))
		}
		if has {
			if p.Default, err = p.Parse(def); err != nil {
				return i, usagef("--param %q: %w", s, err)
			}
		}
		i.Params = append(i.Params, schema.Entry[schema.Param]{Name: name, Value: p})
	}
	return i, nil
}

func dataFlag(flag, s string) (name, typ, format string, optional bool, err error) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return "", "", "", false, usagef("%s %q is not NAME:TYPE", flag, s)
	}
	name, optional = strings.CutSuffix(parts[0], "?")
	if !schema.ValidIdent(name) {
		return "", "", "", false, usagef("%s %q: %q is no name", flag, s, name)
	}
	if len(parts) == 3 {
		format = parts[2]
	}
	return name, parts[1], format, optional, nil
}

// lastVersion is the module's highest stable version, or nil.
func lastVersion(r *registry.Registry, name string) (*registry.Version, *schema.ModuleVersion, error) {
	m, diags, err := r.Module(name)
	if err != nil {
		return nil, nil, err
	}
	if err := diags.Err(); err != nil {
		return nil, nil, err
	}
	for i := len(m.Versions) - 1; i >= 0; i-- {
		if v := m.Versions[i]; v.Stable() {
			mv, diags, err := v.Manifest()
			if err != nil {
				return nil, nil, err
			}
			return v, mv, diags.Err()
		}
	}
	return nil, nil, nil
}

// nextNumber chooses the number of a version that follows another.
func (o *versionOptions) nextNumber(last *registry.Version, before, now *schema.ModuleVersion) (string, registry.Bump, error) {
	if o.number != "" {
		if v, err := semver.StrictNewVersion(o.number); err != nil || v.Metadata() != "" {
			return "", 0, usagef("--version %q is no semantic version", o.number)
		}
	}
	bump := registry.Patch
	if last == nil {
		return cmp.Or(o.number, "1.0.0"), bump, nil
	}
	if before != nil && now != nil {
		bump = registry.Least(last.Number, registry.Compare(before, now))
	}
	switch o.bump {
	case "", "patch":
	case "minor":
		bump = max(bump, registry.Minor)
	case "major":
		bump = registry.Major
	default:
		return "", 0, usagef("--bump is patch, minor or major, not %q", o.bump)
	}
	return cmp.Or(o.number, registry.Next(last.Number, bump).String()), bump, nil
}

// nextVersion copies the last version's manifest and changes it.
func (a *app) nextVersion(ctx context.Context, r *registry.Registry, name string, o *versionOptions, iface schema.Interface) error {
	last, before, err := lastVersion(r, name)
	if err != nil {
		return err
	}
	if last == nil {
		return &hinted{fmt.Sprintf("the module %q has no version to begin from", name), "make the first one: modyard new version " + name + " --script FILE"}
	}
	data, err := os.ReadFile(filepath.Join(r.Dir, filepath.FromSlash(last.Path())))
	if err != nil {
		return err
	}
	e := schema.NewEdit(data)
	if err := o.change(e, before, iface); err != nil {
		return err
	}
	origin, err := o.origin()
	if err != nil {
		return err
	}
	if origin != nil {
		if err := e.Set(snapshotText(origin), "snapshot"); err != nil {
			return err
		}
	}
	now, diags := schema.ParseModuleVersion("the new version", e.Bytes())
	if err := diags.Err(); err != nil {
		return err
	}
	number, bump, err := o.nextNumber(last, before, now)
	if err != nil {
		return err
	}
	if err := e.Set(schema.Scalar(number), "version"); err != nil {
		return err
	}
	created := time.Now().UTC()
	if at := last.Created().Add(time.Second); at.After(created) {
		created = at // two versions in one second
	}
	if err := e.Set(created.Format(time.RFC3339), "created"); err != nil {
		return err
	}
	if err := a.writeVersion(ctx, r, name, number, string(e.Bytes())); err != nil {
		return err
	}
	a.say("a %s step from %s", bump, last)
	return nil
}

// change applies the interface flags to the last version's text.
func (o *versionOptions) change(e *schema.Edit, before *schema.ModuleVersion, iface schema.Interface) error {
	if o.description != "" {
		if err := e.Set(schema.Scalar(o.description), "description"); err != nil {
			return err
		}
	}
	for _, name := range o.remove {
		found := false
		for _, group := range []string{"inputs", "outputs", "params"} {
			names := map[string][]string{"inputs": before.Inputs.Names(), "outputs": before.Outputs.Names(), "params": before.Params.Names()}[group]
			for _, n := range names {
				if n == name {
					found = true
					if err := e.Delete(group, name); err != nil {
						return err
					}
				}
			}
		}
		if !found {
			return usagef("--remove %q: the last version has no such input, output or param", name)
		}
	}
	if err := o.command(e, before, iface); err != nil {
		return err
	}
	// What exists keeps all that a flag does not say.
	set := func(group, name string, exists bool, whole string, fields ...string) error {
		if !exists {
			return e.Set(whole, group, name)
		}
		for i := 0; i+1 < len(fields); i += 2 {
			if fields[i+1] == "" {
				continue
			}
			if err := e.Set(fields[i+1], group, name, fields[i]); err != nil {
				return err
			}
		}
		return nil
	}
	for _, x := range iface.Inputs {
		_, exists := before.Inputs.Get(x.Name)
		if err := set("inputs", x.Name, exists, inputText(x.Value), "type", string(x.Value.Type), "format", x.Value.Format, "optional", truthText(x.Value.Optional)); err != nil {
			return err
		}
	}
	for _, x := range iface.Outputs {
		_, exists := before.Outputs.Get(x.Name)
		if err := set("outputs", x.Name, exists, outputText(x.Value), "type", string(x.Value.Type), "format", x.Value.Format, "optional", truthText(x.Value.Optional)); err != nil {
			return err
		}
	}
	for _, x := range iface.Params {
		_, exists := before.Params.Get(x.Name)
		if err := set("params", x.Name, exists, paramSpecText(x.Value), "type", string(x.Value.Type), "default", defaultText(x.Value), "optional", truthText(x.Value.Optional)); err != nil {
			return err
		}
	}
	return nil
}

// command hands new names to the command as options, as --script does, and
// drops the arguments that name what is removed.
func (o *versionOptions) command(e *schema.Edit, before *schema.ModuleVersion, iface schema.Interface) error {
	if before.Run == nil {
		return nil
	}
	var lines []string
	changed := false
	for _, arg := range before.Run.Command {
		if o.names(arg) {
			changed = true
			continue
		}
		lines = append(lines, argumentText(arg))
	}
	added := iface
	added.Inputs = newNames(iface.Inputs, before.Inputs)
	added.Outputs = newNames(iface.Outputs, before.Outputs)
	added.Params = newNames(iface.Params, before.Params)
	for _, arg := range scriptRun("", added).Command[2:] {
		changed = true
		lines = append(lines, argumentText(arg))
	}
	if !changed {
		return nil
	}
	return e.Set("- "+strings.Join(lines, "\n- "), "run", "command")
}

func newNames[T any](now, before schema.Map[T]) schema.Map[T] {
	var out schema.Map[T]
	for _, x := range now {
		if _, had := before.Get(x.Name); !had {
			out = append(out, x)
		}
	}
	return out
}

// names reports whether an argument names something that is removed.
func (o *versionOptions) names(arg schema.Argument) bool {
	for _, t := range arg.Texts {
		tpl, err := schema.ParseTemplate(t.Value)
		if err != nil {
			continue
		}
		for _, ref := range tpl.Refs() {
			if slices.Contains(o.remove, ref.Name) {
				return true
			}
		}
	}
	return false
}

// writeVersion writes a new version's file and fills in what can be computed.
func (a *app) writeVersion(ctx context.Context, r *registry.Registry, module, number, text string) error {
	file := filepath.Join(r.Dir, "modules", module, "versions", number+".yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := writeNew(file, text); err != nil {
		return err
	}
	f, err := a.fetcher()
	if err != nil {
		return err
	}
	res, err := registry.Check(ctx, r.Dir, registry.CheckOptions{Fix: true, Fetcher: f})
	if err != nil {
		return err
	}
	diags := slices.DeleteFunc(res.Diagnostics, func(d schema.Diagnostic) bool { return d.File != filepath.ToSlash(file) })
	if err := a.diagnostics(diags); err != nil {
		return err
	}
	a.say("wrote %s", file)
	if diags.Errors() > 0 {
		return exitCode(exitProblems)
	}
	return nil
}

// ensureModule makes the module when it is not there.
func (a *app) ensureModule(r *registry.Registry, name string, o *moduleOptions) (*registry.Registry, error) {
	if slices.Contains(r.Names(), name) {
		return r, nil
	}
	if err := a.makeModule(r, name, o); err != nil {
		return nil, err
	}
	return loadRegistry(r.Dir)
}
