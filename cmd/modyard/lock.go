package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/schema"
)

func (a *app) lockCmd() *cobra.Command {
	f := &planFlags{unbound: true}
	upgrade := false
	cmd := &cobra.Command{
		Use:   "lock PIPELINE.yaml [STEP…]",
		Short: "Write down the exact version of every step",
		Long: `Write FILE.lock.yaml beside FILE.yaml: for each step what it asks for, the
version that was picked, and its version digest. run keeps to it. A step whose
entry still fits is left alone; --upgrade picks anew, for all steps or for
those that are named.
` + exitHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 {
				return usagef("name a pipeline's file")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 && !upgrade {
				return usagef("steps are named with --upgrade")
			}
			if upgrade {
				f.upgrade = args[1:]
				if len(args) == 1 {
					f.upgrade = []string{"*"}
				}
			}
			return a.lock(cmd.Context(), args[0], f)
		},
	}
	cmd.Flags().BoolVar(&upgrade, "upgrade", false, "pick anew, for all steps or for those that are named")
	cmd.Flags().BoolVar(&f.allowDisabled, "allow-disabled", false, "let a step that names a disabled version have it")
	return cmd
}

func (a *app) lock(ctx context.Context, file string, f *planFlags) error {
	if err := a.writeLock(ctx, file, f); err != nil {
		return err
	}
	a.say("wrote %s", lockFile(file))
	return nil
}

func (a *app) writeLock(ctx context.Context, file string, f *planFlags) error {
	p, err := a.plan(ctx, file, f)
	if err != nil {
		return err
	}
	if err := a.warnings(p.plan); err != nil {
		return err
	}
	for _, step := range f.upgrade {
		if _, ok := p.plan.Modules[step]; !ok && step != "*" {
			return &hinted{fmt.Sprintf("there is no step %q with a module", step), schema.DidYouMean(step, sortedKeys(p.plan.Modules))}
		}
	}
	lock := &schema.Lock{}
	for _, e := range p.pipeline.Steps {
		m, ok := p.plan.Modules[e.Name]
		if !ok {
			continue
		}
		if m.Work {
			return &hinted{fmt.Sprintf("step %q asks for @%s, which cannot be locked", e.Name, registry.Work), "name a version"}
		}
		ref, err := schema.ParseStepRef(e.Value.Module.Value)
		if err != nil {
			return err
		}
		lock.Steps = append(lock.Steps, schema.Entry[schema.Locked]{Name: e.Name, Value: schema.Locked{
			Module: schema.Text{Value: ref.String()}, Version: m.Version.Version.Value, Digest: m.Version.Digest,
		}})
	}
	for _, e := range p.pipeline.Registries {
		if reg, ok := p.resolver.set.Registries[e.Name]; ok {
			commit := reg.Commit
			if repo, err := git.Open(ctx, reg.Dir); commit == "" && err == nil {
				commit, _ = repo.Commit(ctx, "HEAD")
			}
			if commit != "" {
				lock.Registries = append(lock.Registries, schema.Entry[string]{Name: e.Name, Value: commit})
			}
		}
	}
	if err := os.WriteFile(lockFile(file), lockText(lock), 0o644); err != nil {
		return fmt.Errorf("cannot write the lock: %w", err)
	}
	a.reportLock(p.lock, lock)
	return nil
}

func (a *app) reportLock(before, after *schema.Lock) {
	for _, e := range after.Steps {
		var old schema.Locked
		had := false
		if before != nil {
			old, had = before.Steps.Get(e.Name)
		}
		switch {
		case !had:
			a.say("  %s: %s is %s", e.Name, e.Value.Module.Value, e.Value.Version)
		case old.Version != e.Value.Version:
			a.say("  %s: %s is %s, was %s", e.Name, e.Value.Module.Value, e.Value.Version, old.Version)
		}
	}
}

func lockText(l *schema.Lock) []byte {
	var b strings.Builder
	b.WriteString(schema.EditorComment(schema.KindLock))
	b.WriteString("# Written by `modyard lock`.\napiVersion: " + schema.APIVersion + "\nkind: " + schema.KindLock + "\n")
	if len(l.Registries) > 0 {
		b.WriteString("registries:\n")
		for _, e := range l.Registries {
			fmt.Fprintf(&b, "  %s: %s\n", e.Name, schema.Scalar(e.Value))
		}
	}
	b.WriteString("steps:")
	if len(l.Steps) == 0 {
		b.WriteString(" {}\n")
		return []byte(b.String())
	}
	for _, e := range l.Steps {
		fmt.Fprintf(&b, "\n  %s:\n    module: %s\n    version: %s\n    digest: %s", e.Name, schema.Scalar(e.Value.Module.Value), e.Value.Version, e.Value.Digest)
	}
	b.WriteString("\n")
	return []byte(b.String())
}
