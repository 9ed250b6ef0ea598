package runner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/modyard/modyard/runner/store"
	"github.com/modyard/modyard/schema"
)

// Bounds of a step's log: its beginning and its end are kept.
const (
	maxLogHead = 32 << 20
	maxLogTail = 1 << 20
	tailLines  = 20
	tailBytes  = 8 << 10
)

// stepLog is the log of a step: bounded, and without secrets. The file is made
// when something is written.
type stepLog struct {
	path string

	mu      sync.Mutex
	file    *os.File
	secrets [][]byte
	held    []byte // what may be the beginning of a secret
	covered int    // bytes of held that belong to a secret that began before
	starred bool   // what was written last is of a secret
	written int64
	dropped int64
	tail    []byte // the last bytes beyond the head
	last    []byte // the last bytes of all
	err     error
}

// mask hides the secrets' values, and each line of those that have several.
func (l *stepLog) mask(secrets map[string]string) {
	for _, v := range secrets {
		for part := range strings.SplitSeq(v, "\n") {
			if part = strings.TrimSpace(part); len(part) >= 4 || (part != "" && part == v) {
				l.secrets = append(l.secrets, []byte(part))
			}
		}
	}
}

// leak refuses text outputs that hold a secret: results are kept, shown and
// shared as they are. Files and folders are not looked into.
func (l *stepLog) leak(outputs map[string]store.Output) error {
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		var text string
		if outputs[name].Type != schema.TypeString || json.Unmarshal(outputs[name].Value, &text) != nil {
			continue
		}
		if slices.ContainsFunc(l.secrets, func(s []byte) bool { return strings.Contains(text, string(s)) }) {
			return &StepError{Reason: "output", Message: fmt.Sprintf("the output %q holds a secret", name), Hint: "a result is kept, shown and shared as it is: leave the secret out of it"}
		}
	}
	return nil
}

var stars = []byte("***")

// Write never fails: a log that cannot be written must not fail the step; the
// error comes from finish.
func (l *stepLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	if len(l.secrets) > 0 {
		p = l.masked(append(l.held, p...), false)
	}
	l.put(p)
	return n, nil
}

// masked puts stars for all that belongs to a secret. It keeps back an end that
// a secret may begin in, unless it is the last.
func (l *stepLog) masked(p []byte, last bool) []byte {
	hidden := make([]bool, len(p))
	for i := range l.covered {
		hidden[i] = true
	}
	keep := 0
	for _, s := range l.secrets {
		for at, from := bytes.Index(p, s), 0; at >= 0; at = bytes.Index(p[from:], s) {
			for i := range s {
				hidden[from+at+i] = true
			}
			from += at + 1
		}
		for k := min(len(s)-1, len(p)); k > keep && !last; k-- {
			if bytes.HasPrefix(s, p[len(p)-k:]) {
				keep = k
			}
		}
	}
	n := len(p) - keep
	out := make([]byte, 0, n)
	for i, c := range p[:n] {
		if !hidden[i] {
			out = append(out, c)
		} else if !l.starred {
			out = append(out, stars...)
		}
		l.starred = hidden[i]
	}
	l.held = slices.Clone(p[n:])
	l.covered = max(0, slices.Index(append(hidden[n:], false), false))
	return out
}

func (l *stepLog) put(p []byte) {
	l.last = keepEnd(append(l.last, keepEnd(p, tailBytes)...), tailBytes)
	if head := maxLogHead - l.written; head > 0 && l.err == nil {
		part := p[:min(int64(len(p)), head)]
		l.write(part)
		l.written += int64(len(part))
		p = p[len(part):]
	}
	if len(p) > 0 {
		l.dropped += int64(len(p))
		if p = keepEnd(p, maxLogTail); len(l.tail)+len(p) > 2*maxLogTail {
			l.tail = append([]byte(nil), keepEnd(l.tail, maxLogTail)...)
		}
		l.tail = append(l.tail, p...)
	}
}

func keepEnd(p []byte, n int) []byte { return p[max(0, len(p)-n):] }

func (l *stepLog) write(p []byte) {
	if len(p) == 0 {
		return
	}
	if l.file == nil {
		if l.file, l.err = os.Create(l.path); errors.Is(l.err, fs.ErrNotExist) {
			if l.err = os.MkdirAll(filepath.Dir(l.path), 0o755); l.err == nil {
				l.file, l.err = os.Create(l.path)
			}
		}
		if l.err != nil {
			return
		}
	}
	_, l.err = l.file.Write(p)
}

// finish writes what is held back and what was kept of the end.
func (l *stepLog) finish() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(l.masked(l.held, true))
	if l.dropped > 0 && l.err == nil {
		end := keepEnd(l.tail, maxLogTail)
		l.write(fmt.Appendf(nil, "\n[modyard: the step printed %d bytes more; the last %d follow]\n", l.dropped, len(end)))
		l.write(end)
		l.dropped, l.tail = 0, nil
	}
	if l.err != nil {
		return fmt.Errorf("cannot write the log %s: %w", l.path, l.err)
	}
	return nil
}

// Close closes the file.
func (l *stepLog) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// lastLines are the last lines that were printed.
func (l *stepLog) lastLines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.TrimRight(strings.ToValidUTF8(string(l.last), "�"), "\n")
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-tailLines):]
}

// made is the path of the log, or "" when nothing was printed.
func (l *stepLog) made() string {
	if l.file == nil {
		return ""
	}
	return l.path
}
