package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/schema"
)

// Remote is where results are shared between machines.
type Remote interface {
	// Find gives the result of a key that somebody whose results are accepted
	// has shared, or nil.
	Find(ctx context.Context, key schema.Digest) (*Result, error)
	// Open begins to read an object of a result that Find gave: a file's
	// content, or a folder's canonical archive. What is read is untrusted.
	Open(ctx context.Context, o Object) (io.ReadCloser, error)
	// Share shares a result. content writes an object as Open reads it.
	Share(ctx context.Context, r *Result, content func(ctx context.Context, o Object, w io.Writer) error) error
}

// Sharing says how a store uses a remote.
type Sharing struct {
	Remote Remote
	// Host shares results of host environments too: whoever does says that
	// the machines are equal enough.
	Host bool
	// ReadOnly shares nothing.
	ReadOnly bool
	// Warn is told why the remote is no longer used; the run goes on without
	// it. It is called once.
	Warn func(error)

	off     atomic.Bool
	sending errgroup.Group
}

// maxSending bounds how many results are on their way to the remote at once.
const maxSending = 16

// Share makes the store look for results in a remote that it does not have,
// and share those that are new. It must be called before the store is used.
func (s *Store) Share(sh *Sharing) {
	sh.sending.SetLimit(maxSending)
	s.sharing = sh
}

// Flush waits until what is to be shared is.
func (s *Store) Flush() {
	if s.sharing != nil {
		_ = s.sharing.sending.Wait() // failures were told of
	}
}

// Shared reports whether the store has a remote, so that a lookup may take the
// time of a request.
func (s *Store) Shared() bool { return s.sharing != nil }

// with reports whether results of a scope are shared at all.
func (sh *Sharing) with(sc Scope) bool {
	return sh != nil && !sh.off.Load() && sc.Line == "" && (!sc.Machine || sh.Host)
}

// failed lets go of the remote.
func (sh *Sharing) failed(ctx context.Context, err error) {
	if ctx.Err() == nil && !sh.off.Swap(true) && sh.Warn != nil {
		sh.Warn(err)
	}
}

// fromRemote takes a result of the remote into the store; nil when there is
// none, or none that is whole.
func (s *Store) fromRemote(ctx context.Context, key schema.Digest, sc Scope) (*Result, error) {
	if !s.sharing.with(sc) {
		return nil, nil
	}
	r, err := s.sharing.Remote.Find(ctx, key)
	if err == nil && r != nil {
		err = s.take(ctx, r)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if _, broken := errors.AsType[*MismatchError](err); broken {
		return nil, nil // its maker has shared something else: it is computed here
	}
	if _, local := errors.AsType[*localError](err); local {
		return nil, err
	}
	if err != nil {
		s.sharing.failed(ctx, err)
		return nil, nil
	}
	if r == nil || r.Key != key {
		return nil, nil
	}
	data, err := pack(r)
	if err != nil {
		return nil, err
	}
	return r, s.write(s.resultPath(key, sc), data)
}

// localError is a failure of this machine, not of the remote.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

// take brings the objects of a result into the store.
func (s *Store) take(ctx context.Context, r *Result) error {
	for name, o := range r.Outputs {
		if o.Object == nil {
			continue
		}
		if !o.Digest.Valid() {
			return fmt.Errorf("the result of %s has no digest for its output %q", r.Key.Short(), name)
		}
		switch err := s.Check(ctx, *o.Object); {
		case err == nil:
			continue
		case !errors.Is(err, ErrMissing) && !errors.Is(err, ErrDamaged):
			return &localError{err}
		}
		if err := s.takeObject(ctx, *o.Object); err != nil {
			return fmt.Errorf("cannot fetch the output %q: %w", name, err)
		}
	}
	return nil
}

func (s *Store) takeObject(ctx context.Context, o Object) error {
	if o.Folder {
		packed := snapshot.Packed{Data: true, Open: func(ctx context.Context) (io.ReadCloser, error) { return s.sharing.Remote.Open(ctx, o) }}
		_, err := s.AddTree(ctx, packed, o.Digest)
		return err
	}
	rc, err := s.sharing.Remote.Open(ctx, o)
	if err != nil {
		return err
	}
	defer rc.Close()
	f, err := os.CreateTemp(s.Temp(), "file-")
	if err != nil {
		return &localError{err}
	}
	defer os.Remove(f.Name())
	h := sha256.New()
	_, err = copyContext(ctx, io.MultiWriter(f, h), io.LimitReader(rc, o.Size+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got := schema.DigestSum(h.Sum(nil)); got != o.Digest {
		return &MismatchError{Want: o.Digest, Got: got}
	}
	if err := seal(f.Name(), objectMode); err != nil {
		return &localError{err}
	}
	if err := s.commitFile(ctx, f.Name(), o); err != nil {
		return &localError{err}
	}
	return nil
}

// toRemote shares a result that was made here, while the run goes on.
func (s *Store) toRemote(ctx context.Context, r *Result, sc Scope) {
	if !s.sharing.with(sc) || s.sharing.ReadOnly {
		return
	}
	s.sharing.sending.Go(func() error {
		if s.sharing.off.Load() {
			return nil
		}
		if err := s.sharing.Remote.Share(ctx, r, s.content); err != nil {
			s.sharing.failed(ctx, err)
		}
		return nil
	})
}

func (s *Store) content(ctx context.Context, o Object, w io.Writer) error {
	if o.Folder {
		t, err := snapshot.Data(s.Path(o))
		if err != nil {
			return err
		}
		return t.WriteTar(ctx, w)
	}
	f, err := os.Open(s.Path(o))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = copyContext(ctx, w, f)
	return err
}
