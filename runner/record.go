package runner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/modyard/modyard/schema"
)

// Record is what is kept of a run.
type Record struct {
	ID       string         `json:"id"`
	Pipeline string         `json:"pipeline"`
	File     string         `json:"file,omitempty"`
	Line     string         `json:"line"` // the first run of those that this one continues
	State    State          `json:"state"`
	Started  time.Time      `json:"started"`
	Finished time.Time      `json:"finished,omitzero"`
	Params   map[string]any `json:"params,omitempty"`
	Steps    []*StepRecord  `json:"steps"`
	Outputs  []OutputRecord `json:"outputs,omitempty"`
	Error    string         `json:"error,omitempty"`

	dir     string
	journal *journal // while the run lives
}

// StepRecord is what is kept of a step.
type StepRecord struct {
	Name     string         `json:"name"`
	Module   string         `json:"module,omitempty"`  // with its exact version
	Version  schema.Digest  `json:"version,omitempty"` // the version digest of the module
	Within   []string       `json:"within,omitempty"`  // the modules around it that are pipelines, the outermost first
	State    State          `json:"state"`
	Key      schema.Digest  `json:"key,omitempty"`
	Seconds  float64        `json:"seconds,omitempty"`
	Attempts int            `json:"attempts,omitempty"`
	Why      string         `json:"why,omitempty"`
	From     string         `json:"from,omitempty"` // the run that made a reused result
	Params   map[string]any `json:"params,omitempty"`
	Values   map[string]any `json:"values,omitempty"` // value outputs
	Error    string         `json:"error,omitempty"`
	ExitCode int            `json:"exitCode,omitempty"` // of a command that failed
	Log      string         `json:"log,omitempty"`      // relative to the record
}

// OutputRecord is an output of the pipeline.
type OutputRecord struct {
	Name   string        `json:"name"`
	Type   schema.Type   `json:"type"`
	Format string        `json:"format,omitempty"`
	Value  any           `json:"value,omitempty"`
	Path   string        `json:"path,omitempty"` // relative to the record; "" when it is in the store only
	Digest schema.Digest `json:"digest,omitempty"`
	Size   int64         `json:"size,omitempty"`
}

// Seconds is how long the run took.
func (r *Record) Seconds() float64 {
	if r.Finished.IsZero() {
		return time.Since(r.Started).Seconds()
	}
	return r.Finished.Sub(r.Started).Seconds()
}

// Dir is the record's folder.
func (r *Record) Dir() string { return r.dir }

// Step finds the record of a step.
func (r *Record) Step(name string) (*StepRecord, bool) {
	i := slices.IndexFunc(r.Steps, func(s *StepRecord) bool { return s.Name == name })
	if i < 0 {
		return nil, false
	}
	return r.Steps[i], true
}

// Metrics are the numbers among the value outputs of the steps, by
// STEP.OUTPUT.
func (r *Record) Metrics() map[string]any {
	out := map[string]any{}
	for _, s := range r.Steps {
		for name, v := range s.Values {
			switch v.(type) {
			case float64, int64, json.Number:
				out[s.Name+"."+name] = v
			}
		}
	}
	return out
}

// History is the folder of the runs' records: .modyard of a working folder.
type History struct{ Dir string }

const (
	recordFile = "run.json"
	lockFile   = "lock" // held by the process that runs
)

func (h History) runs() string { return filepath.Join(h.Dir, "runs") }

// begin makes the folder of a new record and locks it while the run lives.
func (h History) begin(r *Record) (unlock func(), err error) {
	if err := os.MkdirAll(h.runs(), 0o755); err != nil {
		return nil, fmt.Errorf("cannot keep the run: %w", err)
	}
	if err := h.ignore(); err != nil {
		return nil, fmt.Errorf("cannot keep the run: %w", err)
	}
	base := r.Started.UTC().Format("20060102-150405")
	for i := 0; ; i++ {
		r.ID = base
		if i > 0 {
			r.ID = fmt.Sprintf("%s-%d", base, i+1)
		}
		r.dir = filepath.Join(h.runs(), r.ID)
		if err = os.Mkdir(r.dir, 0o755); err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("cannot keep the run: %w", err)
		}
	}
	lock := flock.New(filepath.Join(r.dir, lockFile))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return nil, errors.Join(errors.New("cannot lock the run's record"), err)
	}
	if r.journal, err = openJournal(r.dir); err != nil {
		return nil, fmt.Errorf("cannot keep the run: %w", err)
	}
	return func() { lock.Close(); os.Remove(lock.Path()) }, nil
}

// ignore makes the folder ignore itself in git.
func (h History) ignore() error {
	p := filepath.Join(h.Dir, ".gitignore")
	if _, err := os.Lstat(p); err == nil {
		return nil
	}
	return os.WriteFile(p, []byte("*\n"), 0o644)
}

// save writes the record, whole or not at all.
func (r *Record) save() error {
	if r.dir == "" {
		return nil
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp := filepath.Join(r.dir, recordFile+".new")
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return fmt.Errorf("cannot keep the run: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(r.dir, recordFile)); err != nil {
		return fmt.Errorf("cannot keep the run: %w", err)
	}
	return nil
}

// IDs lists the runs, the latest first.
func (h History) IDs() ([]string, error) {
	entries, err := os.ReadDir(h.runs())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the runs: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if _, err := os.Lstat(filepath.Join(h.runs(), e.Name(), recordFile)); err == nil {
			ids = append(ids, e.Name())
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return compareIDs(b, a) })
	return ids, nil
}

// compareIDs orders run ids by time: 20261123-100000, 20261123-100000-2.
func compareIDs(a, b string) int {
	const stamp = len("20060102-150405")
	if len(a) >= stamp && len(b) >= stamp && a[:stamp] == b[:stamp] && len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// ErrNoRun says that there is no such run.
var ErrNoRun = errors.New("no such run")

// Load reads the record of a run.
func (h History) Load(id string) (*Record, error) {
	if id == "" || filepath.Base(id) != id || id == ".." || id == "." {
		return nil, fmt.Errorf("%q: %w", id, ErrNoRun)
	}
	r, err := load(filepath.Join(h.runs(), id))
	if err != nil || r.State != Running {
		return r, err
	}
	alive := locked(filepath.Join(r.dir, lockFile))
	journal := r.readJournal()
	if !alive || journal != nil {
		// It may have ended since its record was read.
		if now, err := load(r.dir); err != nil || now.State != Running {
			return now, err
		}
	}
	if !alive {
		r.died()
	}
	return r, nil
}

// load reads the record in a folder.
func load(dir string) (*Record, error) {
	id := filepath.Base(dir)
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%q: %w", id, ErrNoRun)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the run: %w", err)
	}
	r := &Record{}
	if err := decodeExact(data, r); err != nil {
		return nil, fmt.Errorf("cannot read the run %s: %w", id, err)
	}
	r.dir = dir
	return r, nil
}

// died gives a run whose process is gone, and its steps, their state.
func (r *Record) died() {
	r.State = Died
	for _, s := range r.Steps {
		switch s.State {
		case Running:
			s.State = Died
		case Waiting:
			s.State, s.Why = Skipped, endedBefore
		}
	}
}

// decodeExact reads JSON whose integers have 64 bits, which a float64 would cut.
func decodeExact(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return dec.Decode(v)
}

// locked reports whether a process holds the lock.
func locked(path string) bool {
	if _, err := os.Lstat(path); err != nil {
		return false
	}
	lock := flock.New(path)
	ok, err := lock.TryRLock() // others may look at the same time
	lock.Close()
	return !ok && err == nil
}

// Latest finds the latest run that accept takes, or nil. Records that cannot
// be read are passed over.
func (h History) Latest(accept func(*Record) bool) (*Record, error) {
	ids, err := h.IDs()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if r, err := h.Load(id); err == nil && accept(r) {
			return r, nil
		}
	}
	return nil, nil
}
