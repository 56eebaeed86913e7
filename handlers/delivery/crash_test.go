package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/memlanes"
)

// errCrashed is what every write of a node gets once it has crashed.
var errCrashed = errors.New("crashed")

// fuse is a client of the store that stops to work at its n-th write: before it,
// or after it was written.
type fuse struct {
	mu     sync.Mutex
	left   int
	after  bool
	blown  chan struct{} // closed when it has
	writes int
}

func (f *fuse) client(s *memlanes.Store) *memlanes.Client {
	f.blown = make(chan struct{})
	return &memlanes.Client{
		Store: s,
		Before: func(write, _ string) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			select {
			case <-f.blown:
				return errCrashed
			default:
			}
			if write == "read" {
				return nil
			}
			f.writes++
			if f.left--; f.left == 0 && !f.after {
				close(f.blown)
				return errCrashed
			}
			return nil
		},
		After: func(string, string) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.left == 0 && f.after {
				close(f.blown)
				f.left--
				return errCrashed
			}
			return nil
		},
	}
}

// crashes has a node crash at its n-th write, and another one go on. It returns
// what the endpoint has taken, and whether there was a crash at all.
func crashes(t *testing.T, n int, after, cursorFirst bool, o delivery.Ordering) (took []string, crashed bool) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed()
		e := endpoint("whe_a")
		e.Ordering = o
		b.roll.set(e)
		b.world.answer("whe_a", func(ctx context.Context, m delivery.Message, nth int) delivery.Result {
			if err := ctx.Err(); err != nil {
				return failed(delivery.Broken)
			}
			time.Sleep(30 * time.Millisecond)
			if m.Seq%10 == 3 && nth == 1 {
				return answer(500)
			}
			return ok()
		})
		f := &fuse{left: n, after: after}
		engine := b.engine(t, f.client(b.store))
		if cursorFirst {
			engine.CursorFirst()
		}
		stop := start(t, engine)
		var writing sync.WaitGroup
		writing.Go(func() {
			for i := range crashEvents {
				b.book.write(account, domain.AgentID(fmt.Sprintf("agent_%d", i%4)), "decision.allowed")
				time.Sleep(10 * time.Millisecond)
			}
		})
		select {
		case <-f.blown:
			crashed = true
			b.world.cut() // with the node go its connections
		case <-time.After(10 * time.Second):
		}
		stop()
		b.world.mend()
		defer start(t, b.engine(t, nil))()
		writing.Wait()
		rest(30 * time.Second)
		took = b.world.arrived("whe_a")
	})
	return took, crashed
}

const crashEvents = 40

// TestCrashBetweenAnyTwoWrites has a node crash before and after each of its
// writes. Nothing is lost, few come again, and the order holds.
func TestCrashBetweenAnyTwoWrites(t *testing.T) {
	t.Parallel()
	for _, o := range []delivery.Ordering{delivery.Parallel, delivery.PerAgent} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, written %v", o, after), func(t *testing.T) {
				t.Parallel()
				for n, crashed := 1, true; crashed; n++ {
					var took []string
					took, crashed = crashes(t, n, after, false, o)
					first := slices.Clone(took)
					slices.Sort(first)
					first = slices.Compact(first)
					if !same(first, ids(1, crashEvents)) {
						t.Errorf("a crash at write %d: got %s, want all", n, brief(took))
					}
					if again := len(took) - len(first); again > 20 {
						t.Errorf("a crash at write %d: %d came again, want no more than what a tenth of a second and the window hold", n, again)
					}
					if o == delivery.PerAgent {
						mustBeInOrder(t, took)
					}
				}
			})
		}
	}
}

// mustBeInOrder looks at the first time each was taken.
func mustBeInOrder(t *testing.T, took []string) {
	t.Helper()
	seen, newest := map[string]bool{}, map[int]int{}
	for _, id := range took {
		var i int
		if _, err := fmt.Sscanf(id, "evt_%d", &i); err != nil {
			t.Fatal(err)
		}
		if !seen[id] && i < newest[i%4] {
			t.Errorf("%d comes after %d", i, newest[i%4])
		}
		seen[id] = true
		newest[i%4] = max(newest[i%4], i)
	}
}

// TestCrashAfterTheCursorLoses shows that the test above would see a loss.
func TestCrashAfterTheCursorLoses(t *testing.T) {
	t.Parallel()
	lost := 0
	for n := 5; n < 25; n++ {
		took, _ := crashes(t, n, true, true, delivery.Parallel)
		slices.Sort(took)
		lost += crashEvents - len(slices.Compact(took))
	}
	if lost == 0 {
		t.Error("nothing is lost, so the test of crashes would not see a loss")
	}
}

// TestTwoOwners has a node that is cut off from the store, and doesn't know, go
// on while another one takes over. It stops by itself, and nothing it writes
// counts.
func TestTwoOwners(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		e := endpoint("whe_a")
		e.Ordering = delivery.PerAgent
		b.roll.set(e)
		var mu sync.Mutex
		cut := false
		// Only leases are cut off: the worst that can be, because all else goes on.
		stale := &memlanes.Client{Store: b.store, Before: func(write, key string) error {
			mu.Lock()
			defer mu.Unlock()
			if cut && key == "lease.0" {
				return errors.New("cut off")
			}
			return nil
		}}
		one, other := newWorld(), newWorld()
		first, second := b.engine(t, stale), b.engine(t, nil)
		first.Sender, second.Sender = one, other
		stopFirst := start(t, first)
		defer stopFirst()
		rest(time.Second)
		defer start(t, second)()
		for i := range 2000 {
			b.book.write(account, domain.AgentID(fmt.Sprintf("agent_%d", i%4)), "decision.allowed")
			if i == 500 {
				mu.Lock()
				cut = true
				mu.Unlock()
			}
			rest(10 * time.Millisecond)
		}
		rest(time.Minute)
		byOne, byOther := one.arrived("whe_a"), other.arrived("whe_a")
		if len(byOne) < 500 || len(byOne) > 1500 || len(byOther) < 500 {
			t.Errorf("got %d by the first and %d by the second, want the second to take over", len(byOne), len(byOther))
		}
		all := slices.Concat(byOne, byOther)
		slices.Sort(all)
		if got := slices.Compact(all); !same(got, ids(1, 2000)) {
			t.Errorf("got %s, want all", brief(got))
		}
		if twice := len(byOne) + len(byOther) - 2000; twice > 20 {
			t.Errorf("%d came twice, want no more than what was on its way or settled in a tenth of a second", twice)
		}
	})
}

// TestAStaleOwnerIsRefused has a node that stops for a while in which another
// one takes over, and goes on as if nothing had been.
func TestAStaleOwnerIsRefused(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		b.roll.set(endpoint("whe_a"))
		var mu sync.Mutex
		frozen := make(chan struct{})
		close(frozen)
		hold := func(string, string) error {
			mu.Lock()
			wait := frozen
			mu.Unlock()
			<-wait
			return nil
		}
		stale := b.engine(t, &memlanes.Client{Store: b.store, Before: hold})
		one, other := newWorld(), newWorld()
		one.answer("whe_a", func(context.Context, delivery.Message, int) delivery.Result {
			time.Sleep(time.Millisecond) // so that a refusal, which takes no time, comes before the next round
			return ok()
		})
		stale.Sender = one
		defer start(t, stale)()
		rest(time.Second)
		b.book.write(account, "agent_a", "decision.allowed")
		rest(time.Second)
		mu.Lock()
		frozen = make(chan struct{})
		thaw := frozen
		mu.Unlock()
		for range 20 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		second := b.engine(t, nil)
		second.Sender = other
		defer start(t, second)()
		rest(time.Minute)
		sent := one.attempts("whe_a")
		close(thaw)
		rest(time.Second)
		for range 20 {
			b.book.write(account, "agent_a", "decision.allowed")
		}
		rest(time.Minute)
		if got := other.arrived("whe_a"); !same(got, ids(2, 41)) {
			t.Errorf("got %s by who took over, want 2 to 41, each once", brief(got))
		}
		if n := one.attempts("whe_a"); n > sent+8 {
			t.Errorf("the stale one sent %d more", n-sent)
		}
	})
}
