// Package shadowtest is the promise that every log of shadows keeps, as a suite
// of tests.
package shadowtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Log is what a log of shadows does.
type Log interface {
	// Append stores r if the newest record of its agent is at last, 0 for none,
	// and returns where. [domain.ErrMoved] means that nothing was written.
	Append(ctx context.Context, last uint64, r domain.ShadowRecord) (uint64, error)
	// Newest is the newest record of an agent, or [domain.ErrNotRecorded].
	Newest(ctx context.Context, of domain.Stream) (domain.ShadowRecorded, error)
	// Read is the record of an agent at a sequence, or [domain.ErrNotRecorded].
	Read(ctx context.Context, of domain.Stream, seq uint64) (domain.ShadowRecorded, error)
	// Follow calls see with the kind of the newest record of each agent, then of
	// each that is stored, until ctx ends. It may show one again or an older one,
	// but never last.
	Follow(ctx context.Context, see func(domain.Stream, domain.Kind)) error
}

// bench is the agents of one test: two of an account, and one of another.
type bench struct {
	agent, other, far domain.Stream
}

// Run holds what open makes against the promise. The logs it makes may be one:
// each test has accounts of its own.
func Run(t *testing.T, open func(*testing.T) Log) {
	for name, test := range map[string]func(context.Context, *testing.T, Log, bench){
		"nothing is there":                              nothing,
		"what is stored can be read":                    stores,
		"each agent has a guard of its own":             guards,
		"of many who append at once one is let through": oneWins,
		"a reader finds nothing of another agent":       keepsApart,
		"a follower sees the newest and what comes":     follows,
		"what is no agent is refused":                   refuses,
		"nothing is done after ctx":                     listens,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			id := rand.Text()
			test(ctx, t, open(t), bench{
				agent: domain.Stream{Account: domain.AccountID("acct_a" + id), Agent: "agent_a"},
				other: domain.Stream{Account: domain.AccountID("acct_a" + id), Agent: "agent_b"},
				far:   domain.Stream{Account: domain.AccountID("acct_b" + id), Agent: "agent_a"},
			})
		})
	}
}

func started(of domain.Stream, n int) domain.ShadowRecord {
	return domain.ShadowRecord{
		ID: domain.EventID(fmt.Sprintf("evt_%d", n)), At: time.Date(2026, 10, 28, 9, 0, n, 0, time.UTC), Actor: "member:mem_1",
		Account: of.Account, Agent: of.Agent, Event: domain.ShadowStarted{
			ShadowID: domain.ShadowID(fmt.Sprintf("shd_%d", n)), Candidate: domain.ShadowCandidate{Only: true},
			Until: time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC),
		},
	}
}

func decided(of domain.Stream, n int) domain.ShadowRecord {
	r := started(of, n)
	r.Cause = fmt.Sprintf("req_%d", n)
	r.Event = domain.ShadowDecided{ShadowID: "shd_1", StartedSeq: 1, RequestID: domain.RequestID(r.Cause), DecidedAt: r.At, Difference: domain.ShadowUndecided}
	return r
}

func mustAppend(ctx context.Context, t *testing.T, l Log, last uint64, r domain.ShadowRecord) uint64 {
	t.Helper()
	seq, err := l.Append(ctx, last, r)
	if err != nil {
		t.Fatalf("append after %d: %v", last, err)
	}
	return seq
}

func wantRecord(t *testing.T, got domain.ShadowRecorded, err error, want domain.ShadowRecord, seq uint64) {
	t.Helper()
	if err != nil || got.Seq != seq || !reflect.DeepEqual(got.ShadowRecord, want) {
		t.Errorf("got %+v, %v, want %+v at %d", got, err, want, seq)
	}
}

func wantNone(t *testing.T, got domain.ShadowRecorded, err error) {
	t.Helper()
	if !errors.Is(err, domain.ErrNotRecorded) {
		t.Errorf("got %+v, %v, want %v", got, err, domain.ErrNotRecorded)
	}
}

func nothing(ctx context.Context, t *testing.T, l Log, b bench) {
	r, err := l.Newest(ctx, b.agent)
	wantNone(t, r, err)
	for _, seq := range []uint64{0, 1, 1 << 40} {
		r, err := l.Read(ctx, b.agent, seq)
		wantNone(t, r, err)
	}
}

func stores(ctx context.Context, t *testing.T, l Log, b bench) {
	one := mustAppend(ctx, t, l, 0, started(b.agent, 1))
	two := mustAppend(ctx, t, l, one, decided(b.agent, 2))
	if two <= one {
		t.Errorf("got %d after %d, want it to grow", two, one)
	}
	r, err := l.Newest(ctx, b.agent)
	wantRecord(t, r, err, decided(b.agent, 2), two)
	r, err = l.Read(ctx, b.agent, one)
	wantRecord(t, r, err, started(b.agent, 1), one)
	r, err = l.Read(ctx, b.agent, two)
	wantRecord(t, r, err, decided(b.agent, 2), two)
}

func guards(ctx context.Context, t *testing.T, l Log, b bench) {
	one := mustAppend(ctx, t, l, 0, started(b.agent, 1))
	mustAppend(ctx, t, l, 0, started(b.other, 2))
	mustAppend(ctx, t, l, 0, started(b.far, 3))
	two := mustAppend(ctx, t, l, one, decided(b.agent, 4))
	for _, last := range []uint64{0, one, two + 1, two + 100} {
		if seq, err := l.Append(ctx, last, decided(b.agent, 5)); !errors.Is(err, domain.ErrMoved) {
			t.Errorf("append after %d: got %d, %v, want %v", last, seq, err, domain.ErrMoved)
		}
	}
	r, err := l.Newest(ctx, b.agent)
	wantRecord(t, r, err, decided(b.agent, 4), two)
}

func oneWins(ctx context.Context, t *testing.T, l Log, b bench) {
	last := mustAppend(ctx, t, l, 0, started(b.agent, 1))
	for range 10 {
		var won atomic.Uint64
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				seq, err := l.Append(ctx, last, decided(b.agent, 2))
				switch {
				case err == nil && !won.CompareAndSwap(0, seq):
					t.Errorf("got %d and %d, want one to be let through", won.Load(), seq)
				case err != nil && !errors.Is(err, domain.ErrMoved):
					t.Errorf("got %v, want %v", err, domain.ErrMoved)
				}
			})
		}
		all.Wait()
		if last = won.Load(); last == 0 {
			t.Fatal("none was let through")
		}
	}
}

func keepsApart(ctx context.Context, t *testing.T, l Log, b bench) {
	one := mustAppend(ctx, t, l, 0, started(b.agent, 1))
	for _, of := range []domain.Stream{b.other, b.far} {
		r, err := l.Newest(ctx, of)
		wantNone(t, r, err)
		r, err = l.Read(ctx, of, one)
		wantNone(t, r, err)
	}
}

func follows(ctx context.Context, t *testing.T, l Log, b bench) {
	one := mustAppend(ctx, t, l, 0, started(b.agent, 1))
	one = mustAppend(ctx, t, l, one, decided(b.agent, 2))
	mustAppend(ctx, t, l, 0, started(b.other, 3))
	type seen struct {
		of   domain.Stream
		kind domain.Kind
	}
	all := make(chan seen, 100)
	following, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- l.Follow(following, func(s domain.Stream, k domain.Kind) {
			if s.Account == b.agent.Account || s.Account == b.far.Account {
				all <- seen{s, k}
			}
		})
	}()
	want := func(wants ...seen) {
		t.Helper()
		left := map[seen]bool{}
		for _, w := range wants {
			left[w] = true
		}
		for len(left) > 0 {
			select {
			case got := <-all:
				delete(left, got) // a server that lags shows older ones first
			case <-ctx.Done():
				t.Fatalf("never saw %v", left)
			}
		}
	}
	want(seen{b.agent, domain.KindShadowDecided}, seen{b.other, domain.KindShadowStarted})
	mustAppend(ctx, t, l, one, started(b.agent, 4))
	want(seen{b.agent, domain.KindShadowStarted})
	mustAppend(ctx, t, l, 0, started(b.far, 5))
	want(seen{b.far, domain.KindShadowStarted})
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func refuses(ctx context.Context, t *testing.T, l Log, b bench) {
	for _, of := range []domain.Stream{
		{},
		{Account: "acct_a"},
		{Agent: "agent_a"},
		{Account: "acct_a", Agent: "*"},
		{Account: ">", Agent: "agent_a"},
		{Account: "acct.a", Agent: "agent_a"},
	} {
		if _, err := l.Append(ctx, 0, started(of, 1)); err == nil || errors.Is(err, domain.ErrMoved) {
			t.Errorf("append of %s: got %v, want it refused", of, err)
		}
		if _, err := l.Newest(ctx, of); err == nil || errors.Is(err, domain.ErrNotRecorded) {
			t.Errorf("newest of %s: got %v, want it refused", of, err)
		}
		if _, err := l.Read(ctx, of, 1); err == nil || errors.Is(err, domain.ErrNotRecorded) {
			t.Errorf("read of %s: got %v, want it refused", of, err)
		}
	}
	empty := started(b.agent, 1)
	empty.Event = nil
	if _, err := l.Append(ctx, 0, empty); err == nil {
		t.Error("append of no event: got no error")
	}
}

func listens(ctx context.Context, t *testing.T, l Log, b bench) {
	one := mustAppend(ctx, t, l, 0, started(b.agent, 1))
	ended, stop := context.WithCancel(ctx)
	stop()
	if _, err := l.Append(ended, one, decided(b.agent, 2)); err == nil {
		t.Error("append: got no error")
	}
	if _, err := l.Newest(ended, b.agent); err == nil {
		t.Error("newest: got no error")
	}
	if err := l.Follow(ended, func(domain.Stream, domain.Kind) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("follow: got %v, want %v", err, context.Canceled)
	}
}
