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
	Used    string            `json:"used"`   // "" if nothing fits, and there is no lock
	State   schema.State      `json:"state"`
	Reason  string            `json:"reason,omitempty"`
	Fits    string            `json:"fits"`              // the version that the step would pick without a lock
	Latest  string            `json:"latest"`            // the highest stable one, or the one in use if that is higher
	Problem string            `json:"problem,omitempty"` // why nothing fits
	Needs   registry.Bump     `json:"needs"`             // the least bump from used to latest
	Changes []registry.Change `json:"changes"`

	ref                schema.ModuleRef
	used, fits, latest *registry.Version
}

func (s standing) outdated() bool {
	return s.Problem != "" || s.State != schema.Active || s.Fits != s.Used || s.Latest != s.Used
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
				err = a.json(append([]standing{}, list...))
			} else {
				err = a.printStandings(list)
			}
			if err == nil && slices.ContainsFunc(list, func(s standing) bool { return s.Problem != "" }) {
				return exitCode(exitProblems)
			}
			return err
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
		s := standing{Step: e.Name, Module: ref.String(), Changes: []registry.Change{}, ref: ref}
		reg, err := p.resolver.registry(ref)
		if err == nil {
			err = s.fill(reg, p.lock)
		}
		if err != nil {
			code, hint := classify(err)
			if code != exitProblems {
				return nil, fmt.Errorf("step %q: %w", e.Name, err)
			}
			if s.Problem = err.Error(); hint != "" {
				s.Problem += " (" + hint + ")"
			}
		}
		out = append(out, s)
	}
	rank := map[schema.State]int{"": 0, schema.Disabled: 1, schema.Deprecated: 2, schema.Active: 3}
	slices.SortStableFunc(out, func(x, y standing) int { return cmp.Compare(rank[x.State], rank[y.State]) })
	return out, nil
}

// fill compares with what the registry has. The error says why nothing fits; what
// is known all the same is there.
func (s *standing) fill(reg *registry.Registry, lock *schema.Lock) error {
	m, _, err := reg.Module(s.ref.Name)
	if err != nil {
		return err
	}
	fits, noFit := m.Pick(s.ref.Selector, registry.PickOptions{AllowDisabled: true})
	s.used, s.fits = fits.Version, fits.Version
	if lock != nil {
		if l, ok := lock.Steps.Get(s.Step); ok && l.Module.Value == s.Module {
			if v, ok := m.Version(l.Version); ok {
				s.used = v
			}
		}
	}
	s.latest = s.used
	latest, err := m.Pick(registry.Latest, registry.PickOptions{AllowDisabled: true})
	// Else all are disabled, or pre-releases; and nobody goes down from one.
	if err == nil && (s.used == nil || s.used.State == schema.Disabled || !latest.Number.LessThan(s.used.Number)) {
		s.latest = latest.Version
	}
	number := func(v *registry.Version) string {
		if v == nil {
			return ""
		}
		return v.String()
	}
	s.Used, s.Fits, s.Latest = number(s.used), number(s.fits), number(s.latest)
	if s.used == nil {
		return noFit
	}
	state := s.used.Lifecycle
	if state.State == "" || m.State == schema.Disabled && state.State != schema.Disabled {
		state = m.Lifecycle // of the whole module, which is as grave or graver
	}
	s.State, s.Reason = cmp.Or(state.State, schema.Active), state.Reason
	d, err := s.since(s.latest)
	s.Changes, s.Needs = append(s.Changes, d.Changes...), d.Bump()
	return cmp.Or(noFit, err)
}

// since is what changes in the interface from the version in use to another.
func (s *standing) since(v *registry.Version) (registry.Difference, error) {
	if s.used == nil {
		return registry.Difference{}, nil
	}
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
		if s.Latest != s.Used && s.Used != "" {
			needs = s.Needs.String()
		}
		t.row(s.Step, s.Module, cmpOr(s.Used, "-"), cmpOr(string(s.State), "-"), cmpOr(s.Fits, "-"), cmpOr(s.Latest, "-"), needs)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, s := range list {
		if s.Problem != "" {
			a.say("%s: %s", s.Step, s.Problem)
		}
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
