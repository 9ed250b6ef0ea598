package main

import (
	"context"
	"fmt"
	"os"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/snapshot"
)

// fetcher brings what is not in a registry's folders; all of it is gone when
// the program ends.
func (a *app) fetcher() (*snapshot.Fetcher, error) {
	if a.fetch != nil {
		return a.fetch, nil
	}
	var err error
	if a.scratch, err = os.MkdirTemp("", "modyard-"); err != nil {
		return nil, fmt.Errorf("cannot make a folder for what is fetched: %w", err)
	}
	f := &snapshot.Fetcher{Scratch: a.scratch, Offline: a.offline}
	f.AzureURL, _ = a.lookup("AZURE_DEVOPS_URL")
	f.AzureToken, _ = a.lookup("AZURE_DEVOPS_TOKEN")
	f.Image = func(ctx context.Context, name, folder, scratch string) (*snapshot.Tree, error) {
		c, err := a.client()
		if err != nil {
			return nil, err
		}
		return c.Folder(ctx, name, folder, scratch)
	}
	f.Version = func(ctx context.Context, location, dir, module, selector string) (*snapshot.Tree, error) {
		p, err := a.parsePlace(location)
		if err != nil {
			return nil, err
		}
		if p == nil && dir == "" {
			return nil, fmt.Errorf("the folder %q of a registry that is not on this disk cannot be read", location)
		}
		reg, diags, err := a.openRegistry(ctx, location, "", dir)
		if err == nil {
			err = diags.Err()
		}
		if err != nil {
			return nil, err
		}
		v, err := reg.Pick(module, selector, registry.PickOptions{AllowDisabled: true})
		if err != nil {
			return nil, err
		}
		return v.Source(ctx, f)
	}
	a.fetch = f
	return f, nil
}
