package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

// collect takes the outputs into the store.
func (w *workspace) collect(ctx context.Context, x runner.Execution) (map[string]store.Output, error) {
	out := map[string]store.Output{}
	var missing []string
	for _, o := range x.Task.Step.Outputs {
		name := o.Value.Path(o.Name)
		path, linked, err := w.inside(o.Name, name)
		if errors.Is(err, fs.ErrNotExist) || (err == nil && o.Value.Type == schema.TypeFolder && empty(path)) {
			if !o.Value.Optional {
				missing = append(missing, name)
			}
			continue
		}
		if err != nil {
			return nil, w.forbidden(o.Name, err)
		}
		taken, err := take(ctx, x.Store, o, path, linked)
		if err != nil {
			return nil, w.forbidden(o.Name, err)
		}
		out[o.Name] = taken
	}
	if len(missing) > 0 {
		return nil, &runner.StepError{Reason: "output", Message: "the command ended well but did not write " + schema.QuoteList(missing, "and"), Hint: w.found()}
	}
	return out, nil
}

// forbidden makes a failure of the step of an error that comes of permissions
// which the step has taken away from its own files.
func (w *workspace) forbidden(output string, err error) error {
	path := ""
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		path = p.Path
	} else if l, ok := errors.AsType[*os.LinkError](err); ok {
		path = l.Old
	}
	name, below := strings.CutPrefix(path, w.work+string(filepath.Separator))
	if !below || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return &runner.StepError{
		Reason: "output", Message: fmt.Sprintf("the output %q cannot be kept: no permission for %s", output, filepath.ToSlash(name)),
		Hint: "leave what is written, and the folders around it, readable and writable for its owner",
	}
}

// found tells what is there instead of a missing output.
func (w *workspace) found() string {
	entries, _ := os.ReadDir(w.file("outputs"))
	var names []string
	for _, e := range entries {
		if len(names) < 10 {
			names = append(names, "outputs/"+e.Name())
		}
	}
	if len(names) == 0 {
		return "hand the path over: the expression ${{ outputs.NAME }} in the command names where to write"
	}
	return "it wrote " + strings.Join(names, ", ")
}

func empty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// inside resolves an output's path and refuses one that leads out of the
// working directory. What a link leads to may be wanted again.
func (w *workspace) inside(output, name string) (target string, linked bool, err error) {
	path := w.file(name)
	info, err := os.Lstat(path)
	if err != nil {
		return "", false, err
	}
	dir, err := os.Lstat(filepath.Dir(path))
	if err != nil {
		return "", false, err
	}
	if dir.IsDir() && info.Mode()&fs.ModeSymlink == 0 {
		return path, false, nil // the common case: no link on the way
	}
	target, err = filepath.EvalSymlinks(path)
	if err != nil {
		return "", false, err
	}
	work, err := filepath.EvalSymlinks(w.work)
	if err != nil {
		return "", false, err
	}
	if !strings.HasPrefix(target, work+string(filepath.Separator)) {
		return "", false, &runner.StepError{Reason: "output", Message: fmt.Sprintf("the output %q is a link out of the working directory", output), Hint: "write the file itself"}
	}
	return target, true, nil
}

func take(ctx context.Context, st *store.Store, o schema.Entry[schema.Output], path string, linked bool) (store.Output, error) {
	fail := func(format string, args ...any) (store.Output, error) {
		return store.Output{}, &runner.StepError{Reason: "output", Message: fmt.Sprintf("the output %q "+format, append([]any{o.Name}, args...)...)}
	}
	info, err := os.Stat(path)
	if err != nil {
		return store.Output{}, err
	}
	out := store.Output{Type: o.Value.Type}
	var obj store.Object
	switch {
	case o.Value.Type == schema.TypeFolder && !info.IsDir():
		return fail("is no folder")
	case o.Value.Type != schema.TypeFolder && !info.Mode().IsRegular():
		return fail("is no file")
	case o.Value.Type == schema.TypeFolder:
		obj, err = takeFolder(ctx, st, path, linked)
		if errs := snapshotProblems(err); errs != "" {
			return fail("cannot be kept: %s", errs)
		}
	case o.Value.Type == schema.TypeFile && linked:
		obj, err = st.CopyFile(ctx, path)
	case o.Value.Type == schema.TypeFile:
		obj, err = st.MoveFile(ctx, path)
	default:
		v, verr := readValue(path, o.Value.Spec)
		if verr != nil {
			return fail("is no %s: %v", o.Value.TypeName(), verr)
		}
		out.Value = []byte(schema.JSON(v))
		return out, nil
	}
	if errors.Is(err, store.ErrChanged) {
		return fail("cannot be kept: something that the step left behind still writes to it")
	}
	out.Object = &obj
	return out, err
}

func takeFolder(ctx context.Context, st *store.Store, path string, linked bool) (store.Object, error) {
	if !linked {
		return st.MoveFolder(ctx, path)
	}
	t, err := snapshot.Data(path)
	if err != nil {
		return store.Object{}, err
	}
	return st.AddTree(ctx, t, "")
}

func snapshotProblems(err error) string {
	if _, ok := errors.AsType[*snapshot.ProblemError](err); ok {
		return strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return ""
}

// readValue reads a value output: UTF-8 text of at most 64 KiB, less one final
// newline.
func readValue(path string, spec schema.Spec) (any, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, schema.MaxValue+1))
	if err != nil {
		return nil, err
	}
	if len(data) > schema.MaxValue {
		return nil, fmt.Errorf("its file is longer than %d bytes", schema.MaxValue)
	}
	if rest, ok := bytes.CutSuffix(data, []byte("\r\n")); ok {
		data = rest
	} else {
		data = bytes.TrimSuffix(data, []byte("\n"))
	}
	return spec.Parse(string(data))
}
