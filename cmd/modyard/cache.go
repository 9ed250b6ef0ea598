package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

func (a *app) cacheCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Look after the store of results",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.cacheSizeCmd(), a.cacheListCmd(), a.cacheVerifyCmd(), a.cacheGCCmd())
	return cmd
}

// storeCommand is a command that opens the store.
func (a *app) storeCommand(use, short string, run func(*cobra.Command, *store.Store) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer st.Close()
			return run(cmd, st)
		},
	}
	a.storeFlag(cmd)
	return cmd
}

func (a *app) cacheSizeCmd() *cobra.Command {
	var asJSON bool
	cmd := a.storeCommand("size", "Say how much the store holds, and where it is", func(_ *cobra.Command, st *store.Store) error {
		u, err := st.Usage()
		if err != nil {
			return err
		}
		if asJSON {
			return a.json(map[string]any{"dir": st.Root(), "usage": u})
		}
		t := a.table()
		t.row("store", st.Root())
		t.row("size", bytesText(u.Bytes))
		t.row("results", strconv.Itoa(u.Results))
		t.row("objects", strconv.Itoa(u.Objects))
		t.row("environments", strconv.Itoa(u.Environments))
		return t.flush()
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

func (a *app) cacheListCmd() *cobra.Command {
	var asJSON bool
	cmd := a.storeCommand("list", "List the results in the store", func(_ *cobra.Command, st *store.Store) error {
		results := []*store.Result{}
		err := st.Results(func(_ string, r *store.Result, err error) error {
			if err == nil {
				results = append(results, r)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if asJSON {
			return a.json(results)
		}
		t := a.table()
		t.row("KEY", "STEP", "MADE", "TOOK", "SIZE")
		for _, r := range results {
			var size int64
			for _, o := range r.Outputs {
				if o.Object != nil {
					size += o.Size
				}
			}
			t.row(r.Key.Short(), r.Step, r.Made.Format("2006-01-02 15:04:05"), seconds(r.Duration.Seconds()), bytesText(size))
		}
		return t.flush()
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

func (a *app) cacheVerifyCmd() *cobra.Command {
	return a.storeCommand("verify", "Hash everything in the store; what is damaged is removed", func(cmd *cobra.Command, st *store.Store) error {
		n, damaged, err := st.Verify(cmd.Context())
		if err != nil {
			return err
		}
		for _, d := range damaged {
			fmt.Fprintf(a.out, "damaged: %s\n", d)
		}
		if len(damaged) > 0 {
			a.say("%d of %d damaged and removed; they are computed again when needed", len(damaged), n)
			return exitCode(exitProblems)
		}
		fmt.Fprintf(a.out, "%s checked, all whole\n", count(n, "thing"))
		return nil
	})
}

func (a *app) cacheGCCmd() *cobra.Command {
	var age, size string
	cmd := a.storeCommand("gc", "Remove results that were not used for long", func(cmd *cobra.Command, st *store.Store) error {
		var opt store.GCOptions
		var err error
		if opt.MaxAge, err = parseAge(age); err != nil {
			return usagef("--max-age: %w", err)
		}
		if size != "" {
			if opt.MaxBytes, err = schema.ParseMemory(size); err != nil {
				return usagef("--max-size: %w", err)
			}
		}
		c, err := st.GC(cmd.Context(), opt)
		if errors.Is(err, store.ErrBusy) {
			return &hinted{"the store is in use by a run; nothing was removed", "try again when it has ended"}
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(a.out, "removed %s and %s, %s\n", count(c.Results, "result"), count(c.Objects, "object"), bytesText(c.Bytes))
		return nil
	})
	cmd.Flags().StringVar(&age, "max-age", "30d", "remove what was not used for so long: 12h, 30d")
	cmd.Flags().StringVar(&size, "max-size", "", "then remove what was used longest ago until this is enough: 20Gi")
	return cmd
}

// parseAge reads a duration that may be in days.
func parseAge(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%q is no span of time", s)
		}
		return max(1, time.Duration(n*24*float64(time.Hour))), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no span of time", s)
	}
	return max(1, d), nil // 0 would mean the default
}
