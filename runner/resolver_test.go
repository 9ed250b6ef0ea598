package runner_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

// modules resolves exact versions of testdata/registry, and of
// testdata/plan/modules what no registry would hold. The folders stand as they
// are for the newest versions alone.
type modules struct{}

func (modules) Resolve(ctx context.Context, req runner.Request) (*runner.Module, error) {
	file := filepath.Join("../testdata/registry/modules", req.Ref.Name, "versions", req.Ref.Selector+".yaml")
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		file = filepath.Join("../testdata/plan/modules", req.Ref.Name+"@"+req.Ref.Selector+".yaml")
		data, err = os.ReadFile(file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		dirs, _ := filepath.Glob("../testdata/registry/modules/*")
		var names []string
		for _, d := range dirs {
			names = append(names, filepath.Base(d))
		}
		hint := schema.DidYouMean(req.Ref.Name, names)
		if slices.Contains(names, req.Ref.Name) {
			hint = ""
		}
		return nil, &runner.ResolveError{Message: "there is no " + req.Ref.Name + "@" + req.Ref.Selector, Hint: hint}
	}
	if err != nil {
		return nil, err
	}
	v, diags := schema.ParseModuleVersion(strings.TrimPrefix(filepath.ToSlash(file), "../testdata/"), data)
	if err := diags.Err(); err != nil {
		return nil, err
	}
	m := &runner.Module{Ref: req.Ref.String(), Version: v, Snapshot: &runner.Snapshot{Digest: runner.EmptyTree}}
	if v.Snapshot != nil && v.Snapshot.Folder.Value != "" {
		dir := filepath.Join(filepath.Dir(file), "..", filepath.Base(v.Snapshot.Folder.Value))
		m.Snapshot = &runner.Snapshot{Digest: v.Snapshot.Digest, Open: func(context.Context) (snapshot.Unpacker, error) { return snapshot.Folder(dir) }}
	}
	return m, nil
}

// failing is a resolver to whom the world does not answer.
type failing struct{ err error }

func (f failing) Resolve(context.Context, runner.Request) (*runner.Module, error) { return nil, f.err }
