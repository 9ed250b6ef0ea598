package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/git"
	"github.com/modyard/modyard/runner/store"
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

func (a *app) upgradeCmd() *cobra.Command {
	var u upgrading
	var pr bool
	cmd := &cobra.Command{
		Use:   "upgrade PIPELINE.yaml [STEP]…",
		Short: "Take newer versions, of all steps or of those that are named",
		Long: `Pick the newest versions that fit what the steps ask for, and write the lock. With
--latest, steps that ask for less ask for the latest version from now on; the
pipeline keeps its comments and order. A pipeline that the new versions do not
fit is left as it is, and what does not fit is said.

With --pr your files stay as they are: the pipeline on the default branch of the
repository on GitHub that this clone came from is upgraded, and a pull request
proposes it. Running it again updates that pull request.
` + exitHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("name a pipeline's file")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			u.file, u.shown, u.steps = args[0], args[0], args[1:]
			if pr {
				return a.proposeUpgrade(cmd.Context(), u)
			}
			return a.upgrade(cmd.Context(), u)
		},
	}
	cmd.Flags().BoolVar(&u.latest, "latest", false, "let steps that ask for a range or a version ask for the latest")
	cmd.Flags().BoolVar(&u.dry, "dry-run", false, "say what would change")
	cmd.Flags().BoolVar(&pr, "pr", false, "propose it in a pull request")
	return cmd
}

// upgrading is an upgrade of a pipeline's steps.
type upgrading struct {
	file, shown string   // where it is, and how messages call it
	steps       []string // all, if none is named
	latest, dry bool
}

func (a *app) upgrade(ctx context.Context, u upgrading) error {
	_, text, err := a.newer(ctx, u)
	if err != nil || u.dry {
		return err
	}
	if err := a.writeUpgrade(ctx, u, text); err != nil {
		return err
	}
	if text != nil {
		a.say("wrote %s", u.shown)
	}
	a.say("wrote %s", lockFile(u.shown))
	return nil
}

// newer finds the steps that get another version, says so, and makes the
// pipeline's new text, which is nil when no step asks for anything else.
func (a *app) newer(ctx context.Context, u upgrading) (moves []move, text []byte, err error) {
	list, err := a.standings(ctx, u.file)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, s := range list {
		names = append(names, s.Step)
	}
	for _, s := range u.steps {
		if !slices.Contains(names, s) {
			return nil, nil, &hinted{fmt.Sprintf("there is no step %q with a module", s), schema.DidYouMean(s, names)}
		}
	}
	data, err := readManifest(u.file, schema.MaxPipeline)
	if err != nil {
		return nil, nil, err
	}
	edit := schema.NewEdit(data)
	for _, s := range list {
		if len(u.steps) > 0 && !slices.Contains(u.steps, s.Step) {
			continue
		}
		if u.latest && s.Fits != s.Latest {
			ref := s.ref
			ref.Selector = newSelector(ref.Selector, s.Latest)
			if err := edit.Set(schema.Scalar(ref.String()), "steps", s.Step, "module"); err != nil {
				return nil, nil, fmt.Errorf("step %q: %w", s.Step, err)
			}
			a.say("%s: %s becomes %s", s.Step, s.Module, ref)
			moves, text = append(moves, move{s, s.latest}), edit.Bytes()
		} else if s.Fits != s.Used {
			a.say("%s: %s becomes %s", s.Step, s.Used, s.Fits)
			moves = append(moves, move{s, s.fits})
		}
	}
	return moves, text, nil
}

// writeUpgrade writes the pipeline's new text, if there is one and it can be
// planned, and the lock.
func (a *app) writeUpgrade(ctx context.Context, u upgrading, text []byte) error {
	if text != nil {
		if err := a.trial(ctx, u.file, text); err != nil {
			return err
		}
		if err := os.WriteFile(u.file, text, 0o644); err != nil {
			return fmt.Errorf("cannot write %s: %w", u.shown, unwrapPath(err))
		}
	}
	if len(u.steps) == 0 {
		u.steps = []string{"*"}
	}
	return a.writeLock(ctx, u.file, &planFlags{upgrade: u.steps, unbound: true})
}

// move is a step that gets another version.
type move struct {
	standing
	to *registry.Version
}

// proposeUpgrade upgrades the pipeline as it is on the default branch of the
// repository that the clone around it came from.
func (a *app) proposeUpgrade(ctx context.Context, u upgrading) error {
	repo, err := git.Open(ctx, filepath.Dir(u.file))
	if err != nil {
		return err
	}
	inside, err := repo.Rel(u.file)
	if err != nil {
		return err
	}
	to, err := a.originOf(ctx, repo)
	if err != nil {
		return err
	}
	branch := "modyard/upgrade-" + strings.ReplaceAll(strings.TrimSuffix(inside, path.Ext(inside)), "/", "-")
	return a.proposeChange(ctx, change{to: to, branch: branch, dry: u.dry, make: func(ctx context.Context, root, _ string) (title, body string, err error) {
		u.file = filepath.Join(root, filepath.FromSlash(inside))
		if _, err := os.Stat(u.file); err != nil {
			return "", "", &hinted{fmt.Sprintf("the default branch of %s/%s has no %s", to.owner, to.name, inside), "push the pipeline first"}
		}
		moves, text, err := a.newer(ctx, u)
		if err != nil || len(moves) == 0 {
			return "", "", err
		}
		if err := a.writeUpgrade(ctx, u, text); err != nil {
			return "", "", err
		}
		return upgradeText(inside, moves)
	}})
}

// upgradeText says in a pull request what an upgrade changes.
func upgradeText(file string, moves []move) (title, body string, err error) {
	title = fmt.Sprintf("Upgrade %s of %s", count(len(moves), "step"), path.Base(file))
	if len(moves) == 1 {
		title = fmt.Sprintf("Upgrade %s to %s", moves[0].to.Module(), moves[0].to)
	}
	var table, more strings.Builder
	fmt.Fprintf(&table, "Newer versions of modules for %s.\n\n| step | module | from | to | needs |\n| --- | --- | --- | --- | --- |\n", code(file))
	for _, m := range moves {
		d, err := m.since(m.to)
		if err != nil {
			return "", "", err
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s |\n", code(m.Step), code(m.Module), code(m.Used), code(m.to.String()), d.Bump())
		if m.Reason != "" {
			fmt.Fprintf(&more, "\n%s %s is %s: %s\n", code(m.to.Module()), code(m.Used), m.State, plain(m.Reason))
		}
		if len(d.Changes) > 0 {
			fmt.Fprintf(&more, "\nStep %s:\n\n", code(m.Step))
			listSome(&more, d.Changes, func(c registry.Change) string { return "- " + plain(c.String()) })
		}
	}
	return title, cut(table.String() + more.String()), nil
}

// newSelector asks for a version in the way that the step did: a number by a
// number, a range by one.
func newSelector(old, version string) string {
	if old == "" || strings.ContainsAny(old, "^~<>=*xX ,|") || strings.Count(old, ".") < 2 {
		return "^" + version
	}
	return version
}

// trial plans a pipeline as it would be, beside the one that is there.
func (a *app) trial(ctx context.Context, file string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".upgrade-*.yaml")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err := cmp.Or(err, f.Close()); err != nil {
		return err
	}
	_, err = a.plan(ctx, f.Name(), &planFlags{unbound: true, noLock: true})
	if problems, ok := errors.AsType[*schema.ProblemsError](err); ok {
		for i := range problems.Diagnostics {
			problems.Diagnostics[i].File = filepath.ToSlash(file)
		}
	}
	return err
}

func (a *app) affectedCmd() *cobra.Command {
	var f registryFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "affected MODULE@VERSION",
		Short: "Find what has used a version: pipelines, locks, runs, stored results",
		Long: `Find what has used a version, for the day that it turns out bad: the pipelines
below this folder that pick it or have it in their lock, the runs recorded here,
and the results in the store that its files made.
` + exitHelp,
		Args: oneArg("a version of a module"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.affectedBy(cmd.Context(), &f, args[0], asJSON) },
	}
	f.registerRead(cmd)
	a.storeFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

// usedBy is what has used a version.
type usedBy struct {
	Version   string          `json:"version"`
	Pipelines []use           `json:"pipelines"`
	Runs      []string        `json:"runs"`
	Results   []schema.Digest `json:"results"` // keys
}

func (a *app) affectedBy(ctx context.Context, f *registryFlag, arg string, asJSON bool) error {
	reg, err := f.read(ctx, a)
	if err != nil {
		return err
	}
	picked, m, err := pickArg(reg, arg)
	if err != nil {
		return err
	}
	out := usedBy{Version: picked.Module() + "@" + picked.String(), Pipelines: []use{}, Runs: []string{}, Results: []schema.Digest{}}
	list, err := a.uses(ctx, ".", reg, picked.Module())
	if err != nil {
		return err
	}
	mod, _, err := reg.Module(picked.Module())
	if err != nil {
		return err
	}
	for _, u := range list {
		if now, err := mod.Pick(u.Ref.Selector, registry.PickOptions{AllowDisabled: true}); err == nil {
			u.Picks = now.String()
		}
		if u.Picks == picked.String() || u.Locked == picked.String() {
			out.Pipelines = append(out.Pipelines, u)
		}
	}
	if out.Runs, err = runsWith(out.Version); err != nil {
		return err
	}
	if m.Snapshot != nil && m.Snapshot.Digest != "" {
		if err := a.resultsOf(ctx, m.Snapshot.Digest, &out); err != nil {
			return err
		}
	}
	if asJSON {
		return a.json(out)
	}
	for _, u := range out.Pipelines {
		how := "picks it"
		if u.Locked == picked.String() {
			how = "has it in its lock"
		}
		fmt.Fprintf(a.out, "pipeline  %s, step %q: %s %s\n", u.File, u.Step, u.Module, how)
	}
	for _, r := range out.Runs {
		fmt.Fprintf(a.out, "run       %s\n", r)
	}
	for _, k := range out.Results {
		fmt.Fprintf(a.out, "result    %s\n", k)
	}
	a.say("%s: %s, %s, %s", out.Version, count(len(out.Pipelines), "step"), count(len(out.Runs), "run"), count(len(out.Results), "stored result"))
	return nil
}

// runsWith lists the runs recorded here that had a version.
func runsWith(version string) ([]string, error) {
	out := []string{}
	ids, err := history().IDs()
	if err != nil {
		return out, err
	}
	for _, id := range ids {
		r, err := history().Load(id)
		if err != nil {
			continue // another run may have removed it, or it is damaged
		}
		for _, s := range r.Steps {
			if s.Module == version || strings.HasSuffix(s.Module, "/"+version) {
				out = append(out, id)
				break
			}
		}
	}
	return out, nil
}

// resultsOf lists the results in the store that files made.
func (a *app) resultsOf(ctx context.Context, snapshot schema.Digest, out *usedBy) error {
	st, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	return st.Results(func(_ string, r *store.Result, err error) error {
		if err != nil || ctx.Err() != nil {
			return context.Cause(ctx) // one that is damaged is of no use to anybody
		}
		document, err := st.Key(r.Key)
		var d struct{ Snapshot schema.Digest } // a runner.Document
		if err == nil && json.Unmarshal(document, &d) == nil && d.Snapshot == snapshot {
			out.Results = append(out.Results, r.Key)
		}
		return nil
	})
}
