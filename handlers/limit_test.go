package handlers_test

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/handlers"
)

// Those who are refused take nothing from those who may pass.
func TestAFloodPassesAtTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const rate, length = 200, 5 * time.Second
		limiter := handlers.NewLimiter(rate, time.Now)
		begin := time.Now()
		var passed atomic.Int64
		var callers sync.WaitGroup
		for range 64 {
			callers.Go(func() {
				for ; time.Since(begin) <= length; time.Sleep(25 * time.Millisecond) {
					for range 100 {
						if limiter.Pass("key") == nil {
							passed.Add(1)
						}
					}
				}
			})
		}
		callers.Wait()
		want := int64(2*rate + rate*int(length/time.Second))
		if got := passed.Load(); got < want-1 || got > want+1 {
			t.Errorf("got %d passed, want %d", got, want)
		}
	})
}

// Time that was read first can come last; it must not be given twice.
func TestAFloodReadsItsTimeInOrder(t *testing.T) {
	t.Parallel()
	const rate = 10
	begin := time.Now()
	var ticks, passed atomic.Int64
	limiter := handlers.NewLimiter(rate, func() time.Time {
		now := begin.Add(time.Duration(ticks.Add(1)) * time.Millisecond)
		runtime.Gosched()
		return now
	})
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			for range 1000 {
				if limiter.Pass("key") == nil {
					passed.Add(1)
				}
			}
		})
	}
	callers.Wait()
	want := 2*rate + rate*ticks.Load()/1000
	if got := passed.Load(); got < want-1 || got > want+1 {
		t.Errorf("got %d passed, want %d", got, want)
	}
}

func TestHowLongToWaitIsEnough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, rate := range []int{1, 3, 7, 200, 9999} {
			limiter := handlers.NewLimiter(rate, time.Now)
			for i := range 2*rate + 50 {
				err := limiter.Pass("key")
				if i < 2*rate {
					if err != nil {
						t.Fatalf("%d a second: got %v for the burst", rate, err)
					}
					continue
				}
				limited, ok := errors.AsType[*handlers.Limited](err)
				if !ok || limited.Wait <= 0 || limited.Wait > time.Second/time.Duration(rate)+time.Nanosecond {
					t.Fatalf("%d a second: got %v, want to wait for one", rate, err)
				}
				time.Sleep(limited.Wait)
				if err := limiter.Pass("key"); err != nil {
					t.Fatalf("%d a second: got %v after the wait", rate, err)
				}
			}
		}
	})
}
