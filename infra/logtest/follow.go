package logtest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/behalf-platform/behalf/domain"
)

// handed is one call of apply.
type handed struct {
	record domain.Recorded
	err    error
}

// following is a follower at work, and what was seen of it.
type following struct {
	out  chan handed
	seen map[domain.Stream]uint64
}

// mustFollow follows the partition of a stream until the test ends. The
// follower waits for each event to be taken.
func mustFollow(ctx context.Context, t *testing.T, l Log, s domain.Stream, after uint64) *following {
	ctx, stop := context.WithCancel(ctx)
	f := &following{out: make(chan handed), seen: map[domain.Stream]uint64{}}
	var busy atomic.Bool
	done := make(chan error, 1)
	go func() {
		done <- l.Follow(ctx, partitionOf(l, s), after, func(r domain.Recorded, err error) error {
			if busy.Swap(true) {
				t.Errorf("follow: %d is handed over while another one is", r.Position.Seq)
			}
			defer busy.Store(false)
			select {
			case f.out <- handed{r, err}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("follow: got error %v, want %v", err, context.Canceled)
		}
	})
	return f
}

// mustSee takes these events and no others, each stream's in order and without
// a gap. What was seen may come again.
func (f *following) mustSee(ctx context.Context, t *testing.T, want ...domain.Receipt) {
	t.Helper()
	missing := map[domain.Position]bool{}
	for _, w := range want {
		missing[w.Position] = true
	}
	for len(missing) > 0 {
		h := mustTake(ctx, t, f.out)
		if h.err != nil {
			t.Fatalf("follow: %v", h.err)
		}
		s, at := h.record.Stream(), h.record.Position
		newest, known := f.seen[s]
		switch {
		case at.Seq <= newest:
			continue
		case known && h.record.Last != newest:
			t.Fatalf("follow: of %s, %d came after %d, but was appended on %d", s, at.Seq, newest, h.record.Last)
		case !missing[at]:
			t.Fatalf("follow: got %s at %+v, want one of %+v", h.record.Event.Kind(), at, want)
		}
		f.seen[s] = at.Seq
		delete(missing, at)
	}
}

func mustTake(ctx context.Context, t *testing.T, from <-chan handed) handed {
	t.Helper()
	select {
	case h := <-from:
		return h
	case <-ctx.Done():
		t.Fatal("follow: no event came")
		return handed{}
	}
}

// mustBecome asks until the status is as wanted.
func mustBecome(ctx context.Context, t *testing.T, l Log, s domain.Stream, want string, is func(Status) bool) {
	t.Helper()
	for {
		status := mustStatus(ctx, t, l, s)
		if is(status) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("status stays %+v, want %s", status, want)
		}
		pause(ctx)
	}
}

func followInOrder(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	put := func(r domain.Record) domain.Receipt { return mustPut(ctx, t, l, r) }
	var want []domain.Receipt
	for range 3 {
		want = append(want, put(b.event(agent)), put(b.event(account)), put(b.event(other)), put(b.event(budget)), put(b.spending(agent)))
		put(b.decision(agent))
	}
	from := mustFollow(ctx, t, l, agent, 0)
	from.mustSee(ctx, t, want...)
	for _, s := range []domain.Stream{other, agent, budget, account} {
		put(b.decision(agent))
		from.mustSee(ctx, t, put(b.event(s)))
	}
}

func followAfter(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	var all []domain.Receipt
	for range 4 {
		all = append(all, mustPut(ctx, t, l, b.event(agent)))
	}
	decided := mustPut(ctx, t, l, b.decision(agent))
	second := mustFollow(ctx, t, l, agent, all[1].Position.Seq)
	last := mustFollow(ctx, t, l, agent, decided.Position.Seq)
	live := mustPut(ctx, t, l, b.event(agent))
	second.mustSee(ctx, t, all[2], all[3], live)
	last.mustSee(ctx, t, live)
}

func followEndsWithError(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	mustPut(ctx, t, l, b.event(agent))
	mustPut(ctx, t, l, b.event(agent))
	enough := errors.New("enough")
	calls := 0
	err := l.Follow(ctx, partitionOf(l, agent), 0, func(domain.Recorded, error) error {
		calls++
		return enough
	})
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("follow: got %v after %d calls, want %v after 1", err, calls, enough)
	}
}

func followEndsWithContext(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	mustPut(ctx, t, l, b.event(agent))
	ctx, stop := context.WithCancel(ctx)
	err := l.Follow(ctx, partitionOf(l, agent), 0, func(domain.Recorded, error) error {
		stop() // and apply does not mind
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("follow: got %v, want %v", err, context.Canceled)
	}
}

func followEmpty(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	if s := mustStatus(ctx, t, l, agent); s.Followed || s.Head != 0 {
		t.Errorf("got %+v, want no head and no follower", s)
	}
	from := mustFollow(ctx, t, l, agent, 0)
	mustBecome(ctx, t, l, agent, "followed at 0", func(s Status) bool { return s.Followed && s.Head == 0 })
	from.mustSee(ctx, t, mustPut(ctx, t, l, b.event(agent)))
}

// stepper follows one step at a time: apply waits until busy is taken, and then
// until free is.
type stepper struct {
	busy, free chan struct{}
	end        func() // returns when Follow has
}

func newStepper(ctx context.Context, t *testing.T, l Log, s domain.Stream) *stepper {
	ctx, stop := context.WithCancel(ctx)
	f := &stepper{busy: make(chan struct{}), free: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = l.Follow(ctx, partitionOf(l, s), 0, func(domain.Recorded, error) error {
			for _, step := range []chan struct{}{f.busy, f.free} {
				select {
				case step <- struct{}{}:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	f.end = func() { stop(); wg.Wait() }
	t.Cleanup(f.end)
	return f
}

func mustStep(ctx context.Context, t *testing.T, step <-chan struct{}) {
	t.Helper()
	select {
	case <-step:
	case <-ctx.Done():
		t.Fatal("follow: no event came")
	}
}

// followedMeansHandedOver keeps apply busy, which shows that an event that has
// been sent but not taken doesn't count.
func followedMeansHandedOver(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	notFollowed := func(why string) {
		t.Helper()
		if s := mustStatus(ctx, t, l, agent); s.Followed {
			t.Errorf("%s: got %+v, want it not followed", why, s)
		}
	}
	followedAt := func(r domain.Receipt) {
		t.Helper()
		mustBecome(ctx, t, l, agent, "followed at the head", func(s Status) bool { return s.Followed && s.Head == r.Position.Seq })
	}

	first := mustPut(ctx, t, l, b.event(agent))
	notFollowed("there is no follower")
	f := newStepper(ctx, t, l, agent)
	mustStep(ctx, t, f.busy)
	notFollowed("the first event is being applied")
	mustStep(ctx, t, f.free)
	followedAt(first)

	followedAt(mustPut(ctx, t, l, b.decision(agent)))

	second := mustPut(ctx, t, l, b.event(agent))
	notFollowed("the second event is not applied yet")
	mustStep(ctx, t, f.busy)
	notFollowed("the second event is being applied")
	mustStep(ctx, t, f.free)
	followedAt(second)

	f.end()
	third := mustPut(ctx, t, l, b.event(agent))
	notFollowed("the follower has ended")

	// A new one begins at nothing, whatever was handed to the one before.
	f = newStepper(ctx, t, l, agent)
	for range 3 {
		mustStep(ctx, t, f.busy)
		notFollowed("a new follower is behind")
		mustStep(ctx, t, f.free)
	}
	followedAt(third)
}

// followedIsNeverEarly asks for the status while events are stored and applied:
// whenever it says followed, what it calls the head has been applied.
func followedIsNeverEarly(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	var applied, end atomic.Uint64
	following, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		_ = l.Follow(following, partitionOf(l, agent), 0, func(r domain.Recorded, err error) error {
			applied.Store(max(applied.Load(), r.Position.Seq))
			return err
		})
	})
	wg.Go(func() {
		var last domain.Receipt
		for range 20 {
			var err error
			if last, err = Put(ctx, l, b.event(agent)); err != nil {
				t.Error(err)
			}
		}
		end.Store(last.Position.Seq)
	})
	mustBecome(ctx, t, l, agent, "followed to the end", func(s Status) bool {
		if now := applied.Load(); s.Followed && now < s.Head {
			t.Errorf("got %+v when %d was applied", s, now)
		}
		return s.Followed && s.Head == end.Load()
	})
}
