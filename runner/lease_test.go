package runner

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modyard/modyard/schema"
)

func cpus(n float64) schema.Resources { return schema.Resources{CPUs: n} }

// Who asked first is served first, so that a large request is not starved.
func TestLeasesAreFIFO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewMachine(Capacity{CPUs: 4})
		if err := l.acquire(t.Context(), cpus(3)); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []string
		served := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(order)
		}
		for _, w := range []struct {
			name string
			need float64
		}{{"large", 4}, {"small", 1}, {"small too", 1}} {
			go func() {
				if err := l.acquire(t.Context(), cpus(w.need)); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, w.name)
				mu.Unlock()
				time.Sleep(time.Second)
				l.release(cpus(w.need))
			}()
			synctest.Wait()
		}
		if got := served(); len(got) != 0 {
			t.Errorf("%v went before a request that waits", got)
		}
		l.release(cpus(3))
		synctest.Wait()
		if got := served(); !slices.Equal(got, []string{"large"}) {
			t.Errorf("after the release: %v", got)
		}
		time.Sleep(3 * time.Second)
		got := served()
		slices.Sort(got[1:])
		if !slices.Equal(got, []string{"large", "small", "small too"}) {
			t.Errorf("in the end: %v", got)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.cpus != 4 {
			t.Errorf("%v CPUs are left of 4", l.cpus)
		}
	})
}

// One that gives up takes nothing with it, and lets those behind it go on.
func TestLeasesCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewMachine(Capacity{CPUs: 2})
		if err := l.acquire(t.Context(), cpus(1)); err != nil {
			t.Fatal(err)
		}
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		given := make(chan error, 1)
		go func() { given <- l.acquire(ctx, cpus(2)) }()
		synctest.Wait()
		got := make(chan error, 1)
		go func() { got <- l.acquire(t.Context(), cpus(1)) }()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("the second went before the first")
		default:
		}
		cancel(cause)
		if err := <-given; !errors.Is(err, cause) {
			t.Errorf("the cancelled one got %v", err)
		}
		if err := <-got; err != nil {
			t.Error(err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.cpus != 0 || len(l.waiting) != 0 {
			t.Errorf("%v CPUs free, %d waiting", l.cpus, len(l.waiting))
		}
	})
}

func TestLeasesNeed(t *testing.T) {
	l := NewMachine(Capacity{CPUs: 2})
	for _, tt := range []struct{ ask, want schema.Resources }{
		{schema.Resources{}, schema.Resources{CPUs: 1}},
		{schema.Resources{CPUs: 0.5}, schema.Resources{CPUs: 0.5}},
		{schema.Resources{CPUs: 64}, schema.Resources{CPUs: 2}},
		{schema.Resources{CPUs: 1, Memory: 1 << 40}, schema.Resources{CPUs: 1}}, // memory is not counted here
	} {
		if got := l.need(tt.ask); got != tt.want {
			t.Errorf("%+v takes %+v, not %+v", tt.ask, got, tt.want)
		}
	}
	c := Capacity{CPUs: 1, Memory: 1 << 30, GPUs: []string{"0"}}
	for _, r := range []schema.Resources{{GPUs: 2}, {Memory: 2 << 30}} {
		if c.tooLarge(r) == nil {
			t.Errorf("%+v fits into %+v", r, c)
		}
	}
	if err := c.tooLarge(schema.Resources{CPUs: 8, Memory: 1 << 30, GPUs: 1}); err != nil {
		t.Error(err)
	}
}

// A GPU is one step's at a time, among all runs on the machine.
func TestGPULease(t *testing.T) {
	devices := []string{t.Name() + "0", t.Name() + "1"}
	first, release, err := gpuLease(t.Context(), devices, 1)
	if err != nil || len(first) != 1 {
		t.Fatal(first, err)
	}
	second, releaseSecond, err := gpuLease(t.Context(), devices, 1)
	if err != nil || len(second) != 1 || second[0] == first[0] {
		t.Fatalf("%v while %v is held: %v", second, first, err)
	}
	releaseSecond()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if got, _, err := gpuLease(ctx, devices, 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("both while one is held: %v, %v", got, err)
	}
	release()
	both, release, err := gpuLease(t.Context(), devices, 2)
	if err != nil || !slices.Equal(both, devices) {
		t.Errorf("both: %v, %v", both, err)
	}
	release()
}
