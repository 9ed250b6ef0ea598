package runner

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/modyard/modyard/schema"
)

// Capacity is what a machine has for steps.
type Capacity struct {
	CPUs   float64
	Memory int64    // bytes; 0: not counted
	GPUs   []string // names as CUDA_VISIBLE_DEVICES has them
}

// Machine hands out what a machine has for steps in the order in which it was
// asked for, so that a large request is not starved by small ones. Runs may
// share one.
type Machine struct {
	Capacity

	mu      sync.Mutex
	cpus    float64
	memory  int64
	gpus    int
	waiting []*waiter
}

type waiter struct {
	need  schema.Resources
	ready chan struct{}
}

// NewMachine has the capacity to hand out; without CPUs, those of this machine.
func NewMachine(c Capacity) *Machine {
	if c.CPUs == 0 {
		c.CPUs = float64(runtime.GOMAXPROCS(0))
	}
	return &Machine{Capacity: c, cpus: c.CPUs, memory: c.Memory, gpus: len(c.GPUs)}
}

// need is what a step takes: at most all CPUs there are.
func (m *Machine) need(r schema.Resources) schema.Resources {
	if r.CPUs == 0 {
		r.CPUs = 1
	}
	r.CPUs = min(r.CPUs, m.CPUs)
	if m.Memory == 0 {
		r.Memory = 0
	}
	return r
}

func (m *Machine) fits(r schema.Resources) bool {
	return r.CPUs <= m.cpus && r.Memory <= m.memory && r.GPUs <= m.gpus
}

func (m *Machine) take(r schema.Resources, sign int) {
	m.cpus -= r.CPUs * float64(sign)
	m.memory -= r.Memory * int64(sign)
	m.gpus -= r.GPUs * sign
}

// acquire waits for the resources.
func (m *Machine) acquire(ctx context.Context, r schema.Resources) error {
	m.mu.Lock()
	if len(m.waiting) == 0 && m.fits(r) {
		m.take(r, 1)
		m.mu.Unlock()
		return nil
	}
	w := &waiter{r, make(chan struct{})}
	m.waiting = append(m.waiting, w)
	m.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-w.ready: // came together with the end
		m.take(r, -1)
	default:
		for i, o := range m.waiting {
			if o == w {
				m.waiting = append(m.waiting[:i], m.waiting[i+1:]...)
				break
			}
		}
	}
	m.wake()
	return context.Cause(ctx)
}

func (m *Machine) release(r schema.Resources) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.take(r, -1)
	m.wake()
}

func (m *Machine) wake() {
	for len(m.waiting) > 0 && m.fits(m.waiting[0].need) {
		m.take(m.waiting[0].need, 1)
		close(m.waiting[0].ready)
		m.waiting = m.waiting[1:]
	}
}

// gpuLease takes n of the devices, which other runs on this machine may want
// as well: each has a lock file.
func gpuLease(ctx context.Context, devices []string, n int) (names []string, release func(), err error) {
	var held []*flock.Flock
	release = func() {
		for _, l := range held {
			l.Close()
		}
		held, names = nil, nil
	}
	if n == 0 {
		return nil, release, nil
	}
	dir := filepath.Join(os.TempDir(), "modyard-gpus")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, release, fmt.Errorf("cannot lease GPUs: %w", err)
	}
	_ = os.Chmod(dir, 0o777|os.ModeSticky) // other users lease them as well; it fails for all but the first
	for {
		for _, d := range devices {
			l := flock.New(filepath.Join(dir, schema.DigestBytes([]byte(d)).Hex()[:16]))
			ok, err := l.TryLock()
			_ = os.Chmod(l.Path(), 0o666)
			if err != nil {
				release()
				return nil, release, fmt.Errorf("cannot lease GPUs: %w", err)
			}
			if ok {
				held, names = append(held, l), append(names, d)
			}
			if len(names) == n {
				return names, release, nil
			}
		}
		release()
		select {
		case <-ctx.Done():
			return nil, release, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// tooLarge says why a step can never run within the capacity.
func (c Capacity) tooLarge(r schema.Resources) error {
	switch {
	case r.GPUs > len(c.GPUs):
		return fmt.Errorf("it asks for %d GPUs; this machine has %d", r.GPUs, len(c.GPUs))
	case c.Memory > 0 && r.Memory > c.Memory:
		return fmt.Errorf("it asks for %d MiB of memory; this machine has %d", r.Memory>>20, c.Memory>>20)
	}
	return nil
}
