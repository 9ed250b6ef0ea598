package conformance

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

// compare reports how a run differs from what was wanted.
func (b *bench) compare(t *testing.T, name string, rec *runner.Record, w want) {
	t.Helper()
	if w.State == "" {
		w.State = runner.Done
	}
	states := map[string]runner.State{}
	for _, s := range rec.Steps {
		states[s.Name] = s.State
	}
	same(t, name+": state", rec.State, w.State)
	if w.Steps != nil {
		same(t, name+": steps", states, w.Steps)
	}
	if w.Outputs != nil {
		same(t, name+": outputs", outputs(t, rec), w.Outputs)
	}
	for _, s := range rec.Steps {
		of := name + ": step " + s.Name + ": "
		if n, ok := w.Attempts[s.Name]; ok {
			same(t, of+"attempts", s.Attempts, n)
		}
		if v, ok := w.Values[s.Name]; ok {
			same(t, of+"values", s.Values, v)
		}
		contains(t, of+"error", s.Error, w.Error[s.Name])
		contains(t, of+"why", s.Why, w.Why[s.Name])
		log := readLog(t, rec, s)
		contains(t, of+"log", log, w.Log[s.Name])
		for _, text := range w.NotLog[s.Name] {
			if strings.Contains(log, text) {
				t.Errorf("%slog: there is %q in %q", of, text, log)
			}
		}
		if most, ok := w.LogBytes[s.Name]; ok && len(log) > most {
			t.Errorf("%slog: %d bytes, more than %d", of, len(log), most)
		}
		if t.Failed() && s.State == runner.Failed {
			t.Logf("%sfailed: %s\n%s", of, s.Error, log[max(0, len(log)-2000):])
		}
	}
	for _, m := range []map[string]texts{w.Error, w.Why, w.Log, w.NotLog} {
		for _, step := range sortedKeys(m) {
			if _, ok := states[step]; !ok {
				t.Errorf("%s: there is no step %q", name, step)
			}
		}
	}
}

// same compares by what JSON shows, so that 1 and 1.0 are equal, as in YAML.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := schema.JSON(got), schema.JSON(want); g != w {
		t.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}

func readLog(t *testing.T, rec *runner.Record, s *runner.StepRecord) string {
	if s.Log == "" {
		return ""
	}
	data, err := os.ReadFile(filepath.Join(rec.Dir(), filepath.FromSlash(s.Log)))
	if err != nil && !os.IsNotExist(err) { // a step that prints nothing has none
		t.Error(err)
	}
	return string(data)
}

// outputs are the pipeline's outputs as a case writes them.
func outputs(t *testing.T, rec *runner.Record) map[string]any {
	out := map[string]any{}
	for _, o := range rec.Outputs {
		switch path := filepath.Join(rec.Dir(), filepath.FromSlash(o.Path)); o.Type {
		case schema.TypeFile:
			data, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
			}
			out[o.Name] = string(data)
		case schema.TypeFolder:
			out[o.Name] = folder(t, path)
		default:
			out[o.Name] = o.Value
		}
	}
	return out
}

func folder(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(p)
		out[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return out
}
