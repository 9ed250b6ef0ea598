package runner

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// stepsFile stands beside the record while the run lives: a line of JSON, a
// [StepRecord], whenever a step starts or ends, so that other processes see how
// far it is, and so that a run that is killed leaves what it did. The record
// that is saved at the end replaces it.
const stepsFile = "steps.jsonl"

// flushEvery is how long a line may stay in memory.
const flushEvery = 100 * time.Millisecond

// journal writes a stepsFile. It is kept as well as can be: what fails here
// fails again, and is told, when the record is saved.
type journal struct {
	mu    sync.Mutex
	file  *os.File
	out   *bufio.Writer
	timer *time.Timer // set while lines wait in memory
}

func openJournal(dir string) (*journal, error) {
	f, err := os.OpenFile(filepath.Join(dir, stepsFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return &journal{file: f, out: bufio.NewWriterSize(f, 1<<16)}, nil
}

// add writes down what a step's record is now.
func (j *journal) add(s *StepRecord) {
	if j == nil {
		return
	}
	line, err := json.Marshal(s)
	if err != nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, _ = j.out.Write(append(line, '\n'))
	if j.timer == nil {
		j.timer = time.AfterFunc(flushEvery, j.flush)
	}
}

func (j *journal) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = j.out.Flush()
	j.timer = nil
}

// close ends the journal and, when the record is saved, removes it.
func (j *journal) close(saved bool) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.timer != nil {
		j.timer.Stop()
	}
	_ = j.out.Flush()
	j.file.Close()
	if saved {
		os.Remove(j.file.Name())
	}
}

// readJournal brings the steps of a record to what the journal beside it says.
// A last line that is cut is the mark of a killed run.
func (r *Record) readJournal() error {
	data, err := os.ReadFile(filepath.Join(r.dir, stepsFile))
	if err != nil {
		return err
	}
	steps := make(map[string]*StepRecord, len(r.Steps))
	for _, s := range r.Steps {
		steps[s.Name] = s
	}
	for line := range bytes.Lines(data) {
		var now StepRecord
		if decodeExact(line, &now) != nil {
			break
		}
		if s := steps[now.Name]; s != nil {
			*s = now
		}
	}
	return nil
}
