package runner

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	secrets [][]byte // the longest first
	longest int
	held    []byte // what may be the beginning of a secret
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
	slices.SortFunc(l.secrets, func(a, b []byte) int { return cmp.Compare(len(b), len(a)) })
	if len(l.secrets) > 0 {
		l.longest = len(l.secrets[0])
	}
}

var stars = []byte("***")

// Write never fails: a log that cannot be written must not fail the step; the
// error comes from finish.
func (l *stepLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	if l.longest > 0 {
		p = append(l.held, p...)
		for _, s := range l.secrets {
			p = bytes.ReplaceAll(p, s, stars)
		}
		// Keep back an end that a secret may begin in.
		keep := 0
		for _, s := range l.secrets {
			for k := min(len(s)-1, len(p)); k > keep; k-- {
				if bytes.HasPrefix(s, p[len(p)-k:]) {
					keep = k
					break
				}
			}
		}
		l.held = slices.Clone(p[len(p)-keep:])
		p = p[:len(p)-keep]
	}
	l.put(p)
	return n, nil
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
	l.put(l.held)
	l.held = nil
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
