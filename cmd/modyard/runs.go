package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

func (a *app) runsCmd() *cobra.Command {
	var asJSON bool
	var most int
	cmd := &cobra.Command{
		Use:   "runs [RUN]",
		Short: "List the runs of this folder, or show one",
		Args:  argCount(0, 1, "one run at most"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.showRun(args[0], asJSON)
			}
			return a.listRuns(most, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	cmd.Flags().IntVarP(&most, "number", "n", 20, "list `N` runs at most")
	compare := &cobra.Command{
		Use:   "compare RUN RUN…",
		Short: "Put params and metrics of runs side by side",
		Args:  argCount(2, 20, "two runs or more"),
		RunE:  func(_ *cobra.Command, args []string) error { return a.compareRuns(args, asJSON) },
	}
	compare.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	cmd.AddCommand(compare)
	return cmd
}

// loadRun finds a run by its id, "latest", or "latest~N" for the Nth before.
func loadRun(id string) (*runner.Record, error) {
	back := 0
	if rest, ok := strings.CutPrefix(id, "latest"); ok {
		if rest != "" {
			if _, err := fmt.Sscanf(rest, "~%d", &back); err != nil || back < 0 {
				return nil, fmt.Errorf("%q: %w", id, runner.ErrNoRun)
			}
		}
		ids, err := history().IDs()
		if err != nil {
			return nil, err
		}
		if back >= len(ids) {
			return nil, fmt.Errorf("%q: %w", id, runner.ErrNoRun)
		}
		id = ids[back]
	}
	return history().Load(id)
}

// loadStep finds a run and a step of it.
func loadStep(run, step string) (*runner.Record, *runner.StepRecord, error) {
	r, err := loadRun(run)
	if err != nil {
		return nil, nil, err
	}
	s, ok := r.Step(step)
	if !ok {
		var names []string
		for _, s := range r.Steps {
			names = append(names, s.Name)
		}
		return nil, nil, &hinted{fmt.Sprintf("run %s has no step %q", r.ID, step), schema.DidYouMean(step, names)}
	}
	return r, s, nil
}

func (a *app) listRuns(most int, asJSON bool) error {
	ids, err := history().IDs()
	if err != nil {
		return err
	}
	records := []*runner.Record{}
	for _, id := range ids[:min(most, len(ids))] {
		r, err := history().Load(id)
		if err != nil {
			a.say("warning: %v", err)
			continue
		}
		records = append(records, r)
	}
	if asJSON {
		for _, r := range records {
			r.Steps = nil
		}
		return a.json(records)
	}
	if len(records) == 0 {
		a.say("no runs in this folder yet")
		return nil
	}
	t := a.table()
	t.row("RUN", "PIPELINE", "STATE", "TOOK", "STEPS")
	for _, r := range records {
		states := map[runner.State]int{}
		for _, s := range r.Steps {
			states[s.State]++
		}
		var parts []string
		for _, st := range []runner.State{runner.Done, runner.Reused, runner.Failed, runner.Skipped, runner.Interrupted, runner.Running, runner.Died} {
			if states[st] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", states[st], strings.Replace(string(st), "done", "ran", 1)))
			}
		}
		t.row(r.ID, r.Pipeline, string(r.State), seconds(r.Seconds()), strings.Join(parts, ", "))
	}
	return t.flush()
}

func (a *app) showRun(id string, asJSON bool) error {
	r, err := loadRun(id)
	if err != nil {
		return err
	}
	if asJSON {
		return a.json(r)
	}
	fmt.Fprintf(a.out, "run %s of %s: %s in %s\n", r.ID, cmpOr(r.File, r.Pipeline), r.State, seconds(r.Seconds()))
	if len(r.Params) > 0 {
		fmt.Fprintf(a.out, "params: %s\n", valuesText(r.Params))
	}
	t := a.table()
	for _, s := range r.Steps {
		t.row("  "+s.Name, string(s.State), seconds(s.Seconds), cmpOr(s.Module, "script"), joinNonEmpty(s.Error, s.Why, valuesText(s.Values)))
	}
	if err := t.flush(); err != nil {
		return err
	}
	return a.printOutputs(r, "")
}

// compareRuns lists what the runs differ in first: params of the pipeline and
// of steps, then metrics.
func (a *app) compareRuns(ids []string, asJSON bool) error {
	type column struct {
		ID      string         `json:"id"`
		Params  map[string]any `json:"params"`
		Metrics map[string]any `json:"metrics"`
	}
	var cols []column
	for _, id := range ids {
		r, err := loadRun(id)
		if err != nil {
			return err
		}
		c := column{r.ID, map[string]any{}, r.Metrics()}
		for _, s := range r.Steps {
			for name, v := range s.Params {
				c.Params[s.Name+"."+name] = v
			}
		}
		cols = append(cols, c)
	}
	if asJSON {
		return a.json(cols)
	}
	t := a.table()
	head := []string{""}
	for _, c := range cols {
		head = append(head, c.ID)
	}
	t.row(head...)
	rows := func(title string, pick func(column) map[string]any) {
		names := map[string]bool{}
		for _, c := range cols {
			for n := range pick(c) {
				names[n] = true
			}
		}
		for _, n := range slices.Sorted(maps.Keys(names)) {
			row := []string{title + " " + n}
			same := true
			for _, c := range cols {
				text := "-"
				if v, ok := pick(c)[n]; ok {
					text = schema.Render(v)
				}
				same = same && (len(row) == 1 || text == row[1])
				row = append(row, text)
			}
			if !same {
				row = append(row, "*")
			}
			t.row(row...)
		}
	}
	rows("param", func(c column) map[string]any { return c.Params })
	rows("metric", func(c column) map[string]any { return c.Metrics })
	return t.flush()
}

func (a *app) logsCmd() *cobra.Command {
	var run string
	cmd := &cobra.Command{
		Use:   "logs STEP",
		Short: "Print what a step printed",
		Long: `Print the log of a step of the latest run. The log of a reused step is that of
the run that made its result.`,
		Args: oneArg("a step"),
		RunE: func(_ *cobra.Command, args []string) error { return a.logs(args[0], run) },
	}
	cmd.Flags().StringVar(&run, "run", "latest", "the `RUN`: its id, latest, or latest~1 for the one before")
	return cmd
}

func (a *app) logs(step, run string) error {
	r, s, err := loadStep(run, step)
	if err != nil {
		return err
	}
	if s.State == runner.Reused && s.From != "" && s.From != r.ID {
		from, err := history().Load(s.From)
		if err != nil {
			return &hinted{fmt.Sprintf("step %q was reused from run %s, which is not in this folder", step, s.From), ""}
		}
		a.say("step %q was reused; this is its log in run %s", step, s.From)
		// The step may have had another name there.
		for _, o := range from.Steps {
			if o.Key == s.Key && o.Log != "" {
				r, s = from, o
				break
			}
		}
	}
	if s.Log == "" {
		a.say("step %q did not run", step)
		return nil
	}
	f, err := os.Open(filepath.Join(r.Dir(), filepath.FromSlash(s.Log)))
	if errors.Is(err, os.ErrNotExist) {
		a.say("step %q printed nothing", step)
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(a.out, f)
	return err
}
