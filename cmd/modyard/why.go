package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

func (a *app) whyCmd() *cobra.Command {
	var run string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "why STEP",
		Short: "Say why a step ran, or was reused",
		Long: `Say what decided about a step of the latest run: which part of its key changed
against the nearest earlier run of the pipeline, from what to what.`,
		Args: oneArg("a step"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.why(cmd.Context(), args[0], run, asJSON) },
	}
	cmd.Flags().StringVar(&run, "run", "latest", "the `RUN`: its id, latest, or latest~1 for the one before")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	a.storeFlag(cmd)
	return cmd
}

// answer is what why says.
type answer struct {
	Step    string               `json:"step"`
	Run     string               `json:"run"`
	State   runner.State         `json:"state"`
	Key     schema.Digest        `json:"key,omitempty"`
	Why     string               `json:"why,omitempty"`
	Against string               `json:"against,omitempty"` // the run compared with
	Changes []runner.FieldChange `json:"changes"`
}

func (a *app) why(ctx context.Context, step, run string, asJSON bool) error {
	r, s, err := loadStep(run, step)
	if err != nil {
		return err
	}
	w := answer{Step: step, Run: r.ID, State: s.State, Key: s.Key, Why: cmpOr(s.Error, s.Why), Changes: []runner.FieldChange{}}
	if s.Key.Valid() {
		if err := a.compareKey(ctx, r, s, &w); err != nil {
			return err
		}
	}
	if asJSON {
		return a.json(w)
	}
	verb := map[runner.State]string{runner.Done: "ran", runner.Reused: "was reused", runner.Failed: "failed", runner.Skipped: "was skipped", runner.Interrupted: "was interrupted", runner.Running: "is running", runner.Waiting: "waits", runner.Died: "was killed"}[s.State]
	fmt.Fprintf(a.out, "%s %s in run %s", step, cmpOr(verb, string(s.State)), r.ID)
	if len(w.Changes) == 0 || s.State == runner.Failed {
		if w.Why != "" {
			fmt.Fprintf(a.out, ": %s", w.Why)
		}
	}
	fmt.Fprintln(a.out)
	if len(w.Changes) > 0 {
		fmt.Fprintf(a.out, "since run %s:\n", w.Against)
		for _, c := range w.Changes {
			fmt.Fprintf(a.out, "  %s\n", c)
		}
	}
	return nil
}

// compareKey finds the nearest earlier run in which the step had another key.
func (a *app) compareKey(ctx context.Context, r *runner.Record, s *runner.StepRecord, w *answer) error {
	ids, err := history().IDs()
	if err != nil {
		return err
	}
	st, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	after, err := st.Key(s.Key)
	if err != nil || after == nil {
		return err
	}
	past := false
	for _, id := range ids {
		if id == r.ID {
			past = true
			continue
		}
		if !past {
			continue
		}
		o, err := history().Load(id)
		if err != nil || o.Pipeline != r.Pipeline || o.File != r.File {
			continue
		}
		os, ok := o.Step(s.Name)
		if !ok || !os.Key.Valid() {
			continue
		}
		if os.Key == s.Key {
			if s.State == runner.Reused {
				return nil // the same as in the run before
			}
			continue
		}
		before, err := st.Key(os.Key)
		if err != nil {
			return err
		}
		if before == nil {
			continue
		}
		w.Against = o.ID
		w.Changes, err = runner.Differences(before, after)
		return err
	}
	return nil
}
