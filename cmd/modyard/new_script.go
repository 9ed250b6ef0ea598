package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/schema"
)

// scriptVersion makes a version of one Python script.
func (a *app) scriptVersion(ctx context.Context, r *registry.Registry, name string, o *versionOptions, iface schema.Interface) error {
	origin, err := o.origin()
	if err != nil {
		return err
	}
	if origin == nil {
		if _, err := os.Stat(o.script); err != nil {
			return fmt.Errorf("cannot read the script %s: %w", o.script, unwrapPath(err))
		}
	}
	r, err = a.ensureModule(r, name, &o.moduleOptions)
	if err != nil {
		return err
	}
	script := o.script
	if origin == nil {
		src := filepath.Join(r.Dir, "modules", name, "src")
		if err := copyInto(o.script, src); err != nil {
			return err
		}
		script, origin = filepath.Base(o.script), &schema.Snapshot{Origin: "folder", Folder: schema.Text{Value: "../src"}}
	}
	m := &schema.ModuleVersion{
		Module: schema.Text{Value: name}, Description: o.description, Interface: iface,
		Run: scriptRun(script, iface), Snapshot: origin,
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
