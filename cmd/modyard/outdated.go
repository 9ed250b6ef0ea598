package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/schema"
)

// standing is how a step's version compares with what its registry has.
type standing struct {
	Step    string            `json:"step"`
	Module  string            `json:"module"` // as the step names it
	Used    string            `json:"used"`
	State   schema.State      `json:"state"`
	Reason  string            `json:"reason,omitempty"`
	Fits    string            `json:"fits"`   // the version that the step would pick without a lock
	Latest  string            `json:"latest"` // the highest stable one
	Needs   registry.Bump     `json:"needs"`  // the least bump from used to latest
	Changes []registry.Change `json:"changes"`

	ref                schema.ModuleRef
	used, fits, latest *registry.Version
}

func (s standing) outdated() bool {
	return s.State != schema.Active || s.Fits != s.Used || s.Latest != s.Used
}

func (a *app) outdatedCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "outdated PIPELINE.yaml",
		Short: "List the steps for which there are newer versions",
		Long: `List the steps of a pipeline whose versions are disabled, deprecated or not the
newest, in this order: the version in use (of the lock, if there is one), the one
that fits what the step asks for, the latest, and what would change.
` + exitHelp,
		Args: oneArg("a pipeline's file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := a.standings(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(s standing) bool { return !s.outdated() })
			if asJSON {
				return a.json(append([]standing{}, list...))
			}
			return a.printStandings(list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

// standings tells of every step with a module of a registry; those that need
// care are first.
func (a *app) standings(ctx context.Context, file string) ([]standing, error) {
	p := &planned{}
	if err := p.readFile(ctx, a, file, &planFlags{upgrade: []string{"*"}}); err != nil { // a lock would pin the commit
		return nil, err
	}
	var out []standing
	for _, e := range p.pipeline.Steps {
		ref, err := schema.ParseStepRef(e.Value.Module.Value)
		if err != nil || ref.Image != "" || ref.Selector == registry.Work {
			continue
		}
		if re, ok := p.resolver.missing[ref.Registry]; ok {
			return nil, re
		}
		reg, ok := p.resolver.set.Registries[ref.Registry]
		if !ok {
			continue
		}
		s, err := standingOf(reg, ref, e.Name, p.lock)
		if err != nil {
			return nil, fmt.Errorf("step %q: %w", e.Name, err)
		}
		out = append(out, s)
	}
	rank := map[schema.State]int{schema.Disabled: 0, schema.Deprecated: 1, schema.Active: 2}
	slices.SortStableFunc(out, func(x, y standing) int { return cmp.Compare(rank[x.State], rank[y.State]) })
	return out, nil
}

func standingOf(reg *registry.Registry, ref schema.ModuleRef, step string, lock *schema.Lock) (standing, error) {
	s := standing{Step: step, Module: ref.String(), ref: ref, Changes: []registry.Change{}}
	m, _, err := reg.Module(ref.Name)
	if err != nil {
		return s, err
	}
	fits, err := m.Pick(ref.Selector, registry.PickOptions{AllowDisabled: true})
	if err != nil {
		return s, err
	}
	used := fits.Version
	if lock != nil {
		if l, ok := lock.Steps.Get(step); ok && l.Module.Value == ref.String() {
			if v, ok := m.Version(l.Version); ok {
				used = v
			}
		}
	}
	s.used, s.fits, s.latest = used, fits.Version, used
	s.Used, s.Fits, s.State, s.Reason = used.String(), fits.String(), cmp.Or(used.State, m.State, schema.Active), cmp.Or(used.Reason, m.Reason)
	if latest, err := m.Pick(registry.Latest, registry.PickOptions{AllowDisabled: true}); err == nil { // else all are disabled, or pre-releases
		s.latest = latest.Version
	}
	s.Latest = s.latest.String()
	d, err := s.since(s.latest)
	s.Changes, s.Needs = append(s.Changes, d.Changes...), d.Bump()
	return s, err
}

// since is what changes in the interface from the version in use to another.
func (s *standing) since(v *registry.Version) (registry.Difference, error) {
	before, _, err := s.used.Manifest()
	if err != nil {
		return registry.Difference{}, err
	}
	after, _, err := v.Manifest()
	if err != nil || before == nil || after == nil {
		return registry.Difference{}, err
	}
	return registry.Compare(before, after), nil
}

func (a *app) printStandings(list []standing) error {
	if len(list) == 0 {
		a.say("every step has the newest version")
		return nil
	}
	t := a.table()
	t.row("STEP", "MODULE", "USED", "STATE", "FITS", "LATEST", "NEEDS")
	for _, s := range list {
		needs := ""
		if s.Latest != s.Used {
			needs = s.Needs.String()
		}
		t.row(s.Step, s.Module, s.Used, string(s.State), s.Fits, s.Latest, needs)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, s := range list {
		if s.Reason != "" {
			a.say("%s: %s is %s: %s", s.Step, s.Used, s.State, s.Reason)
		}
		for _, c := range s.Changes {
			if c.Bump > registry.Patch {
				a.say("%s: %s: %s", s.Step, s.Latest, c)
			}
		}
	}
	return nil
}
