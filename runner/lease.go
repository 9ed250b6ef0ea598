package runner

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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

// leases hands out the machine's resources in the order in which they were
// asked for, so that a large request is not starved by small ones.
type leases struct {
	mu      sync.Mutex
	cap     Capacity
	cpus    float64
	memory  int64
	gpus    int
	waiting []*waiter
}

type waiter struct {
	need  schema.Resources
	ready chan struct{}
}

func newLeases(c Capacity) *leases {
	return &leases{cap: c, cpus: c.CPUs, memory: c.Memory, gpus: len(c.GPUs)}
}

// need is what a step takes: at most all CPUs there are.
func (l *leases) need(r schema.Resources) schema.Resources {
	if r.CPUs == 0 {
		r.CPUs = 1
	}
	r.CPUs = min(r.CPUs, l.cap.CPUs)
	if l.cap.Memory == 0 {
		r.Memory = 0
	}
	return r
}

func (l *leases) fits(r schema.Resources) bool {
	return r.CPUs <= l.cpus && r.Memory <= l.memory && r.GPUs <= l.gpus
}

func (l *leases) take(r schema.Resources, sign int) {
	l.cpus -= r.CPUs * float64(sign)
	l.memory -= r.Memory * int64(sign)
	l.gpus -= r.GPUs * sign
}

// acquire waits for the resources.
func (l *leases) acquire(ctx context.Context, r schema.Resources) error {
	l.mu.Lock()
	if len(l.waiting) == 0 && l.fits(r) {
		l.take(r, 1)
		l.mu.Unlock()
		return nil
	}
	w := &waiter{r, make(chan struct{})}
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.ready: // came together with the end
		l.take(r, -1)
	default:
		for i, o := range l.waiting {
			if o == w {
				l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
				break
			}
		}
	}
	l.wake()
	return context.Cause(ctx)
}

func (l *leases) release(r schema.Resources) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.take(r, -1)
	l.wake()
}

func (l *leases) wake() {
	for len(l.waiting) > 0 && l.fits(l.waiting[0].need) {
		l.take(l.waiting[0].need, 1)
		close(l.waiting[0].ready)
		l.waiting = l.waiting[1:]
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
