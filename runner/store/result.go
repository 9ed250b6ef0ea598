package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/modyard/modyard/schema"
)

// Result is what a task gave.
type Result struct {
	Key     schema.Digest     `json:"key"`
	Outputs map[string]Output `json:"outputs"`
	// The rest is for people.
	Made     time.Time     `json:"made"`
	Duration time.Duration `json:"duration"` // nanoseconds
	Run      string        `json:"run,omitempty"`
	Step     string        `json:"step,omitempty"`
}

// Output is one output: an object, or the text of a value as JSON.
type Output struct {
	*Object
	Type  schema.Type     `json:"type"`
	Value json.RawMessage `json:"value,omitempty"`
}

// Scope says which results of a key may be reused: those made anywhere (the
// zero Scope), on this machine, or within one line of runs.
type Scope struct {
	Machine bool   // made by a host environment
	Line    string // of a task that is not deterministic
}

func (s *Store) resultPath(key schema.Digest, sc Scope) string {
	p := s.shard("results", key)
	if sc.Machine {
		p += "." + s.machine
	}
	if sc.Line != "" {
		p += "." + sc.Line
	}
	return p
}

// Lookup finds the result of a key whose objects are all there and whole, here
// or in a remote. It returns nil when there is none; why then says what is wrong
// with one that was there.
func (s *Store) Lookup(ctx context.Context, key schema.Digest, sc Scope) (r *Result, why error, err error) { //nolint:revive // why is no failure
	r, why, err = s.LookupHere(ctx, key, sc)
	if r != nil || why != nil || err != nil {
		return r, why, err
	}
	r, err = s.fromRemote(ctx, key, sc)
	return r, nil, err
}

// LookupHere is Lookup without a remote.
func (s *Store) LookupHere(ctx context.Context, key schema.Digest, sc Scope) (r *Result, why error, err error) { //nolint:revive // why is no failure
	path := s.resultPath(key, sc)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the store: %w", err)
	}
	r = &Result{}
	if err := unpack(data, r); err != nil || r.Key != key {
		os.Remove(path)
		return nil, fmt.Errorf("its result was %w", ErrDamaged), nil
	}
	for name, o := range r.Outputs {
		if o.Object == nil {
			continue
		}
		err := s.Check(ctx, *o.Object)
		if errors.Is(err, ErrMissing) || errors.Is(err, ErrDamaged) {
			return nil, fmt.Errorf("its output %q was %w", name, err), nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("cannot read the store: %w", err)
		}
	}
	touch(path)
	return r, nil, nil
}

// touch notes that a result was used, which gc goes by; once an hour is enough.
func touch(path string) {
	now := time.Now()
	if info, err := os.Stat(path); err == nil && now.Sub(info.ModTime()) > time.Hour {
		_ = os.Chtimes(path, now, now)
	}
}

// Commit records a result whose objects are in the store. Without replace the
// first commit wins, and what is returned is the winner.
func (s *Store) Commit(ctx context.Context, r *Result, sc Scope, replace bool) (*Result, error) {
	if !replace {
		if first, _, err := s.LookupHere(ctx, r.Key, sc); err != nil || first != nil {
			return first, err
		}
	}
	data, err := pack(r)
	if err != nil {
		return nil, err
	}
	if err := s.write(s.resultPath(r.Key, sc), data); err != nil {
		return nil, err
	}
	s.toRemote(ctx, r, sc)
	return r, nil
}

func (s *Store) write(path string, data []byte) error {
	if err := writeFile(s.Temp(), path, data); err != nil {
		return fmt.Errorf("cannot write the store: %w", err)
	}
	return nil
}

// pack writes a value as a line of JSON and a line with its digest, so that a
// flipped bit is found.
func pack(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(append(data, '\n'), schema.DigestBytes(data)...), nil
}

func unpack(data []byte, v any) error {
	text, digest, ok := bytes.Cut(data, []byte("\n"))
	if !ok || schema.DigestBytes(text) != schema.Digest(digest) {
		return ErrDamaged
	}
	return json.Unmarshal(text, v)
}

// PutKey keeps the document of a key.
func (s *Store) PutKey(key schema.Digest, document []byte) error {
	p := s.shard("keys", key)
	if have, err := os.ReadFile(p); err == nil && bytes.Equal(have, document) {
		return nil
	}
	return s.write(p, document)
}

// Key returns the document of a key, or nil when it is not kept.
func (s *Store) Key(key schema.Digest) ([]byte, error) {
	if !key.Valid() {
		return nil, fmt.Errorf("%q is no key", key)
	}
	data, err := os.ReadFile(s.shard("keys", key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && schema.DigestBytes(data) != key {
		return nil, nil // damaged: Verify removes it
	}
	return data, err
}

// Results calls f for every result in the store, with its file.
func (s *Store) Results(f func(path string, r *Result, err error) error) error {
	root := filepath.Join(s.root, "results")
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		r := &Result{}
		err = unpack(data, r)
		if err == nil && !strings.HasPrefix(d.Name(), r.Key.Hex()) {
			err = errors.New("it is the result of another key")
		}
		return f(p, r, err)
	})
}
