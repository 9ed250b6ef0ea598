package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/runner"
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

type versionOptions struct {
	moduleOptions
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
a pipeline becomes a module version, and the step uses it.

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
	if _, err := registry.Check(ctx, r.Dir, registry.CheckOptions{Fix: true}); err != nil {
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	_, diags := schema.ParseModuleVersion(filepath.ToSlash(file), data)
	if err := a.diagnostics(diags); err != nil {
		return err
	}
	a.say("wrote %s", file)
	return nil
}

// ensureModule makes the module when it is not there.
func (a *app) ensureModule(r *registry.Registry, name string, o *moduleOptions) (*registry.Registry, error) {
	for _, n := range r.Names() {
		if n == name {
			return r, nil
		}
	}
	if err := a.makeModule(r, name, o); err != nil {
		return nil, err
	}
	return loadRegistry(r.Dir)
}

// scriptVersion makes a version of one Python script.
func (a *app) scriptVersion(ctx context.Context, r *registry.Registry, name string, o *versionOptions, iface schema.Interface) error {
	if _, err := os.Stat(o.script); err != nil {
		return fmt.Errorf("cannot read the script %s: %w", o.script, unwrapPath(err))
	}
	r, err := a.ensureModule(r, name, &o.moduleOptions)
	if err != nil {
		return err
	}
	src := filepath.Join(r.Dir, "modules", name, "src")
	if err := copyInto(o.script, src); err != nil {
		return err
	}
	m := &schema.ModuleVersion{
		Module: schema.Text{Value: name}, Description: o.description, Interface: iface,
		Run: scriptRun(filepath.Base(o.script), iface), Snapshot: &schema.Snapshot{Folder: schema.Text{Value: "../src"}},
	}
	return a.addVersion(ctx, r, m, o)
}

// scriptRun hands every name to the script as an option.
func scriptRun(script string, i schema.Interface) *schema.Run {
	run := &schema.Run{Environment: schema.Environment{}}
	add := func(nested bool, texts ...string) {
		arg := schema.Argument{Nested: nested}
		for _, t := range texts {
			arg.Texts = append(arg.Texts, schema.Text{Value: t})
		}
		run.Command = append(run.Command, arg)
	}
	option := func(name, context string, optional bool) {
		flag := "--" + strings.ReplaceAll(name, "_", "-") + "="
		add(optional, flag+"${{ "+context+"."+name+" }}")
	}
	add(false, "python")
	add(false, script)
	for _, e := range i.Inputs {
		option(e.Name, "inputs", e.Value.Optional)
	}
	for _, e := range i.Params {
		option(e.Name, "params", e.Value.Optional)
	}
	for _, e := range i.Outputs {
		option(e.Name, "outputs", false)
	}
	return run
}

// copyInto copies a file into a folder unless it is there already.
func copyInto(file, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	dst := filepath.Join(dir, filepath.Base(file))
	a, errA := os.Stat(file)
	b, errB := os.Stat(dst)
	if errA == nil && errB == nil && os.SameFile(a, b) {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(dst, data, 0o644)
}

// addVersion gives a manifest its number and writes it.
func (a *app) addVersion(ctx context.Context, r *registry.Registry, m *schema.ModuleVersion, o *versionOptions) error {
	last, before, err := lastVersion(r, m.Module.Value)
	if err != nil {
		return err
	}
	number, _, err := o.nextNumber(last, before, m)
	if err != nil {
		return err
	}
	m.Version.Value = number
	text := versionText(m)
	if _, diags := schema.ParseModuleVersion("the new version", []byte(text)); diags.Err() != nil {
		return diags.Err()
	}
	return a.writeVersion(ctx, r, m.Module.Value, number, text)
}

// stepVersion turns a script step of a pipeline into a module version, and
// that step into a ModuleStep.
func (a *app) stepVersion(ctx context.Context, r *registry.Registry, name string, o *versionOptions) error {
	file, step, ok := strings.Cut(o.from, "#")
	if !ok {
		return usagef("--from %q is not PIPELINE#STEP", o.from)
	}
	p, err := a.plan(ctx, file, &planFlags{})
	if err != nil {
		return err
	}
	st, ok := p.plan.Step(step)
	def, _ := p.pipeline.Steps.Get(step)
	switch {
	case !ok:
		return &hinted{fmt.Sprintf("the pipeline has no step %q", step), schema.DidYouMean(step, p.pipeline.Steps.Names())}
	case st.Module != nil:
		return &hinted{fmt.Sprintf("step %q uses the module %s already", step, st.Module.Ref), ""}
	}
	m, err := stepManifest(name, o, st, &def)
	if err != nil {
		return err
	}
	inPipeline, err := registryName(r, p, file)
	if err != nil {
		return err
	}
	if r, err = a.ensureModule(r, name, &o.moduleOptions); err != nil {
		return err
	}
	if def.Snapshot != nil {
		from := filepath.Join(filepath.Dir(file), filepath.FromSlash(def.Snapshot.Folder.Value))
		if err := copySource(from, filepath.Join(r.Dir, "modules", name, "src")); err != nil {
			return err
		}
	}
	if err := a.addVersion(ctx, r, m, o); err != nil {
		return err
	}
	v, err := semver.NewVersion(m.Version.Value)
	if err != nil {
		return err
	}
	ref := schema.ModuleRef{Registry: inPipeline, Name: name, Selector: "^" + rangeOf(v)}
	return a.rewriteStep(file, step, ref)
}

// registryName finds the name that the pipeline has for the registry.
func registryName(r *registry.Registry, p *planned, file string) (string, error) {
	want, err := os.Stat(r.Dir)
	if err != nil {
		return "", err
	}
	for name, reg := range p.resolver.set.Registries {
		if have, err := os.Stat(reg.Dir); err == nil && os.SameFile(want, have) {
			return name, nil
		}
	}
	rel, err := filepath.Rel(filepath.Dir(file), r.Dir)
	if err != nil {
		rel = r.Dir
	}
	return "", &hinted{
		fmt.Sprintf("the pipeline does not name the registry in %s", r.Dir),
		fmt.Sprintf("add registries: {%s: %s} to %s, or name another registry: --registry DIR", r.Name, filepath.ToSlash(rel), file),
	}
}

// stepManifest makes the manifest of a version of what a script step is.
func stepManifest(name string, o *versionOptions, st *runner.ModuleStep, def *schema.Step) (*schema.ModuleVersion, error) {
	for _, e := range st.Run.Env {
		if strings.Contains(e.Value.Value, "env.") {
			return nil, &hinted{fmt.Sprintf("the step's variable %s reads the environment: %q", e.Name, e.Value.Value), "a module gets what it needs by params: hand it over in one"}
		}
	}
	m := &schema.ModuleVersion{
		Module: schema.Text{Value: name}, Description: cmp.Or(o.description, def.Description), Interface: st.Interface, Run: st.Run,
		Snapshot: &schema.Snapshot{Folder: schema.Text{Value: "../src"}},
	}
	m.Params = nil
	for _, e := range st.Interface.Params {
		p := schema.Param{Spec: e.Value.Spec, Optional: e.Value.Optional}
		if arg, ok := def.Params.Get(e.Name); ok {
			if s, isText := arg.Value.(string); !isText || !strings.Contains(s, "${{") {
				p.Default, p.Optional = st.Values[e.Name].Value, false
			}
		}
		m.Params = append(m.Params, schema.Entry[schema.Param]{Name: e.Name, Value: p})
	}
	return m, nil
}

// copySource copies what a snapshot of a folder holds.
func copySource(from, to string) error {
	t, err := snapshot.Folder(from)
	if err != nil {
		return err
	}
	for _, f := range t.Files() {
		dst := filepath.Join(to, filepath.FromSlash(f))
		data, err := os.ReadFile(filepath.Join(from, filepath.FromSlash(f)))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(dst, data, fs.FileMode(0o644)); err != nil {
			return err
		}
	}
	return nil
}

// rewriteStep makes a script step of a pipeline use a module.
func (a *app) rewriteStep(file, step string, ref schema.ModuleRef) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	e := schema.NewEdit(data)
	if err := e.Set(schema.Scalar(ref.String()), "steps", step, "module"); err != nil {
		return err
	}
	for _, key := range []string{"run", "snapshot", "outputs"} {
		if err := e.Delete("steps", step, key); err != nil {
			return err
		}
	}
	if err := os.WriteFile(file, e.Bytes(), 0o644); err != nil {
		return err
	}
	a.say("step %q of %s uses %s now", step, file, ref)
	return nil
}
