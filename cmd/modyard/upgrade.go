package main

import (
	"cmp"
	"context"
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
	"github.com/modyard/modyard/schema"
)

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
			u.file, u.steps = args[0], args[1:]
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
	file        string
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
		a.say("wrote %s", u.file)
	}
	a.say("wrote %s", lockFile(u.file))
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
		if s.Problem != "" && (!u.latest || s.Latest == "") {
			return nil, nil, &hinted{fmt.Sprintf("step %q: %s", s.Step, s.Problem), "modyard outdated lists all steps; --latest takes what is there"}
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
			return fmt.Errorf("cannot write %s: %w", u.file, unwrapPath(err))
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
	return a.proposeChange(ctx, change{to: to, kind: "upgrade", about: inside, dry: u.dry, make: func(ctx context.Context, root, _ string) (m made, err error) {
		u.file = filepath.Join(root, filepath.FromSlash(inside))
		if _, err := os.Stat(u.file); err != nil {
			return m, &hinted{fmt.Sprintf("the default branch of %s/%s has no %s", to.owner, to.name, inside), "push the pipeline first"}
		}
		moves, text, err := a.newer(ctx, u)
		if err != nil || len(moves) == 0 {
			return m, err
		}
		if err := a.writeUpgrade(ctx, u, text); err != nil {
			return m, err
		}
		m.title, m.body, err = upgradeText(inside, moves)
		return m, err
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
