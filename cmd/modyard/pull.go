package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

func (a *app) pullCmd() *cobra.Command {
	f := &planFlags{unbound: true}
	cmd := &cobra.Command{
		Use:   "pull PIPELINE.yaml | MODULE[@VERSION]",
		Short: "Bring the files of modules into the store",
		Long: `Bring the snapshots that a pipeline or a module needs into the store, so that a
run needs no network: from the registry's folders or git history, from where the
version says, or out of its OCI image. Every snapshot is compared with the
digest that was reviewed. Images that steps run in are brought by their digest,
each as an OCI layout beside the store.
` + exitHelp,
		Args: oneArg("a pipeline's file or a module"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.pull(cmd.Context(), args[0], f) },
	}
	a.storeFlag(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&f.locked, "locked", false, "refuse a step that the lock does not have as it is")
	fl.BoolVar(&f.allowDisabled, "allow-disabled", false, "let a step that names a disabled version have it")
	fl.StringVar(&f.registry, "registry", "", "the registry of a module that is named: a folder, github.com/OWNER/REPO@REF or a git URL (default: the one around this folder)")
	return cmd
}

func (a *app) pull(ctx context.Context, target string, f *planFlags) error {
	p, err := a.plan(ctx, target, f)
	if err != nil {
		return err
	}
	st, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	stop := a.showBytes()
	defer stop()
	if err := a.pullImages(ctx, p.plan); err != nil {
		return err
	}
	seen := map[schema.Digest]bool{runner.EmptyTree: true}
	for _, s := range p.plan.Steps {
		if seen[s.Snapshot.Digest] {
			continue
		}
		seen[s.Snapshot.Digest] = true
		what, err := pullOne(ctx, st, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Title(), err)
		}
		a.say("%s  %s  %s", what, s.Snapshot.Digest, s.Title())
	}
	return nil
}

// pullImages brings the images that steps run in, each as an OCI layout beside
// the store, which podman runs as oci:DIR.
func (a *app) pullImages(ctx context.Context, p *runner.Plan) error {
	store, err := a.storeDir()
	if err != nil {
		return err
	}
	seen := map[string]bool{"": true}
	for _, s := range p.Steps {
		image := s.Run.Environment.Image.Value
		if m := s.Module; m != nil && m.Version.Snapshot.IsEnvironment() {
			image = m.Version.Snapshot.Image.Name.Value
		}
		if seen[image] {
			continue
		}
		seen[image] = true
		c, err := a.client()
		if err != nil {
			return err
		}
		at, had, err := c.Keep(ctx, image, store+"-images")
		if err != nil {
			return fmt.Errorf("%s: %w", s.Title(), err)
		}
		what := "pulled"
		if had {
			what = "had   "
		}
		a.say("%s  %s  the image of %s, in %s", what, image, s.Title(), filepath.ToSlash(at))
	}
	return nil
}

func pullOne(ctx context.Context, st *store.Store, s *runner.ModuleStep) (string, error) {
	if st.Check(ctx, store.Object{Digest: s.Snapshot.Digest, Folder: true}) == nil {
		return "had   ", nil
	}
	t, err := s.Snapshot.Open(ctx)
	if err != nil {
		return "", err
	}
	_, err = st.AddTree(ctx, t, s.Snapshot.Digest)
	return "pulled", err
}
