package registry

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/modyard/modyard/schema"
)

// Set is the registries that a pipeline names, with its lock: it picks the
// versions of the pipeline's own steps.
type Set struct {
	Registries map[string]*Registry // by the name the pipeline gives them
	Lock       *schema.Lock         // nil: none
	// Locked refuses a step that the lock does not have as it is.
	Locked bool
	// Upgrade tells for which steps the lock is passed over.
	Upgrade func(step string) bool
	PickOptions
}

// Choice is a version picked for a step.
type Choice struct {
	Picked
	Manifest *schema.ModuleVersion
	// FromLock says that the lock decided.
	FromLock bool
	// Note says what a user of the lock should know: that the step is not in
	// it, or asks for something else now.
	Note string
}

// LockError says that the lock does not fit.
type LockError struct{ Message, Hint string }

func (e *LockError) Error() string { return e.Message }

// Pick finds the version for a step. What the input is at fault for is a
// *[NotFoundError], a *[LockError] or a *[schema.ProblemsError].
func (s *Set) Pick(step string, ref schema.ModuleRef) (Choice, error) {
	reg, ok := s.Registries[ref.Registry]
	if !ok {
		return Choice{}, &NotFoundError{fmt.Sprintf("there is no registry %q", ref.Registry), "name it under registries"}
	}
	locked, has := schema.Locked{}, false
	if s.Lock != nil && (s.Upgrade == nil || !s.Upgrade(step)) {
		locked, has = s.Lock.Steps.Get(step)
	}
	if ref.Selector == Work {
		if s.Locked {
			return Choice{}, &LockError{"@work cannot be locked", "name a version"}
		}
		has = false
	}
	if has && locked.Module.Value == ref.String() {
		return s.fromLock(reg, step, ref, locked)
	}
	if s.Locked {
		if !has {
			return Choice{}, &LockError{"it is not in the lock", "modyard lock"}
		}
		return Choice{}, &LockError{fmt.Sprintf("the lock has %q, the step asks for %q", locked.Module.Value, ref), "modyard lock"}
	}
	p, err := reg.Pick(ref.Name, ref.Selector, s.PickOptions)
	if err != nil {
		return Choice{}, err
	}
	c := Choice{Picked: p}
	switch {
	case s.Lock == nil || ref.Selector == Work:
	case has:
		c.Note = fmt.Sprintf("it asks for %q now, not for %q as in the lock; took %s", ref, locked.Module.Value, p.Version)
	case s.Upgrade == nil || !s.Upgrade(step):
		c.Note = fmt.Sprintf("it is not in the lock; took %s", p.Version)
	}
	return s.read(c)
}

func (s *Set) fromLock(reg *Registry, step string, ref schema.ModuleRef, locked schema.Locked) (Choice, error) {
	p, err := reg.Pick(ref.Name, locked.Version, s.PickOptions)
	if nf, ok := AsNotFound(err); ok {
		return Choice{}, &LockError{"the lock names what may not be used: " + nf.Message, cmp.Or(nf.Hint, "modyard lock --upgrade "+step)}
	}
	if err != nil {
		return Choice{}, err
	}
	c, err := s.read(Choice{Picked: p, FromLock: true})
	if err == nil && c.Manifest.Digest != locked.Digest {
		return Choice{}, &LockError{
			fmt.Sprintf("version %s has the digest %s, the lock has %s", p.Version, c.Manifest.Digest.Short(), locked.Digest.Short()),
			"a published version never changes: find out what did; modyard lock --upgrade " + step + " takes it as it is",
		}
	}
	return c, err
}

func (s *Set) read(c Choice) (Choice, error) {
	m, diags, err := c.Version.Manifest()
	if err != nil {
		return c, err
	}
	if err := diags.Err(); err != nil {
		return c, err
	}
	if m == nil {
		return c, errors.New("the manifest is missing")
	}
	c.Manifest = m
	return c, nil
}
