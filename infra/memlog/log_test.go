package memlog_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/logtest"
	"github.com/behalf-platform/behalf/infra/memlog"
)

func TestLog(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]memlog.Config{
		"one partition":      {},
		"several partitions": {Partitions: 5},
		"replicated":         {Replicated: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logtest.Maker{
				Open:    func(*testing.T) logtest.Log { return memlog.New(config) },
				Join:    func(_ *testing.T, l logtest.Log) logtest.Log { return l.(*memlog.Log).Join() },
				Restart: func(_ *testing.T, l logtest.Log) logtest.Log { return l.(*memlog.Log).Join() },
				Inject: func(_ *testing.T, l logtest.Log, s domain.Stream, raw []byte) {
					l.(*memlog.Log).Inject(s, raw)
				},
			}.Run(t)
		})
	}
}

var (
	agent    = domain.Stream{Account: "acct_a", Agent: "agent_a"}
	errFault = errors.New("fault")
)

func event(id domain.EventID) domain.Record {
	return domain.Record{
		ID: id, At: time.Unix(1, 0), Actor: domain.BySystem("test"),
		Account: agent.Account, Agent: agent.Agent, Event: domain.AgentEnabled{},
	}
}

func decision(id domain.EventID) domain.Record {
	r := event(id)
	r.Event = domain.DecisionMade{Outcome: domain.OutcomeDenied}
	return r
}

func mustAppend(t *testing.T, l *memlog.Log, last uint64, r domain.Record, name string) domain.Receipt {
	t.Helper()
	receipt, err := l.Append(t.Context(), last, r, name)
	if err != nil {
		t.Fatalf("append %s: %v", r.ID, err)
	}
	return receipt
}

func mustStand(t *testing.T, l *memlog.Log, head uint64, followed bool) {
	t.Helper()
	s, err := l.Status(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if s.Head != head || s.Followed != followed {
		t.Errorf("got head %d, followed %t, want %d, %t", s.Head, s.Followed, head, followed)
	}
}

func TestAppendFails(t *testing.T) {
	t.Parallel()
	fail := func(domain.Record) error { return errFault }
	for _, c := range []struct {
		name  string
		spoil func(*memlog.Log)
		mend  func(*memlog.Log)
		want  error
		head  uint64
	}{
		{"not written", func(l *memlog.Log) { l.BeforeAppend(fail) }, func(l *memlog.Log) { l.BeforeAppend(nil) }, errFault, 0},
		{"written", func(l *memlog.Log) { l.AfterAppend(fail) }, func(l *memlog.Log) { l.AfterAppend(nil) }, errFault, 1},
		{"moved", func(l *memlog.Log) { l.Moved(1) }, func(*memlog.Log) {}, domain.ErrMoved, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := memlog.New(memlog.Config{})
			c.spoil(l)
			if _, err := l.Append(t.Context(), 0, event("evt_1"), "evt_1"); !errors.Is(err, c.want) {
				t.Errorf("append: got %v, want %v", err, c.want)
			}
			mustStand(t, l, c.head, false)
			c.mend(l)
			if _, err := logtest.Put(t.Context(), l, event("evt_1")); err != nil {
				t.Errorf("append again: %v", err)
			}
			mustStand(t, l, 1, false)
		})
	}
}

// What goes wrong with several records goes wrong with all of them.
func TestAppendAllFails(t *testing.T) {
	t.Parallel()
	charge := event("evt_2")
	charge.Event = domain.BudgetCharged{RequestID: "req_1"}
	all := []domain.Guarded{{Record: event("evt_1")}, {Record: charge}}
	fail := func(r domain.Record) error {
		if r.ID != "evt_1" {
			t.Errorf("the fault is asked about %s, want the first", r.ID)
		}
		return errFault
	}
	for _, c := range []struct {
		name  string
		spoil func(*memlog.Log)
		want  error
		head  uint64
	}{
		{"not written", func(l *memlog.Log) { l.BeforeAppend(fail) }, errFault, 0},
		{"written", func(l *memlog.Log) { l.AfterAppend(fail) }, errFault, 2},
		{"moved", func(l *memlog.Log) { l.Moved(1) }, domain.ErrMoved, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := memlog.New(memlog.Config{})
			c.spoil(l)
			if receipts, err := l.AppendAll(t.Context(), all, "name"); !errors.Is(err, c.want) || receipts != nil {
				t.Errorf("append all: got %+v and error %v, want %v", receipts, err, c.want)
			}
			mustStand(t, l, c.head, false)
		})
	}
}

func TestInjectedIntoABudget(t *testing.T) {
	t.Parallel()
	l := memlog.New(memlog.Config{})
	budget := domain.Stream{Account: agent.Account, Budget: true}
	at := l.Inject(budget, []byte(`{"kind":"budget.doubled.v1"}`))
	var unreadable *domain.Unreadable
	if _, err := l.Load(t.Context(), budget, 0); !errors.As(err, &unreadable) || unreadable.Stream != budget || unreadable.Position != at {
		t.Errorf("load: got %v, want one that names %s and %+v", err, budget, at)
	}
}

func TestHeldAppend(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		hold func(*memlog.Log) func()
		head uint64
	}{
		{"not written", (*memlog.Log).HoldBefore, 0},
		{"written", (*memlog.Log).HoldAfter, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := memlog.New(memlog.Config{})
				release := c.hold(l)
				ctx, giveUp := context.WithCancel(t.Context())
				given, patient := make(chan error, 1), make(chan error, 1)
				go func() {
					_, err := l.Append(ctx, 0, event("evt_1"), "evt_1")
					given <- err
				}()
				synctest.Wait()
				mustStand(t, l, c.head, false)
				giveUp()
				if err := <-given; !errors.Is(err, context.Canceled) {
					t.Errorf("append that was given up: got %v, want %v", err, context.Canceled)
				}
				mustStand(t, l, c.head, false)

				go func() {
					_, err := l.Append(t.Context(), c.head, event("evt_2"), "evt_2")
					patient <- err
				}()
				synctest.Wait()
				mustStand(t, l, 2*c.head, false)
				release()
				release() // again is no harm
				if err := <-patient; err != nil {
					t.Errorf("append that waited: %v", err)
				}
				mustStand(t, l, c.head+1, false)
				mustAppend(t, l, c.head+1, event("evt_3"), "")
			})
		})
	}
}

// The answers to a repeat whose stream has moved are the two that real logs give.
func TestRepeatAfterMove(t *testing.T) {
	t.Parallel()
	single, replicated := memlog.New(memlog.Config{}), memlog.New(memlog.Config{Replicated: true})
	for _, l := range []*memlog.Log{single, replicated} {
		mustAppend(t, l, 0, event("evt_1"), "name")
	}
	if _, err := single.Append(t.Context(), 0, event("evt_1"), "name"); !errors.Is(err, domain.ErrMoved) {
		t.Errorf("single server: got %v, want %v", err, domain.ErrMoved)
	}
	if r := mustAppend(t, replicated, 0, event("evt_1"), "name"); !r.Duplicate || r.Position.Seq != 1 {
		t.Errorf("replicated: got %+v, want a duplicate of 1", r)
	}
}

func TestNamesAreForgotten(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := memlog.New(memlog.Config{DedupeWindow: time.Minute, Now: func() time.Time { return now }})
	mustAppend(t, l, 0, decision("evt_1"), "name")
	now = now.Add(time.Minute - 1)
	if r := mustAppend(t, l, 0, decision("evt_2"), "name"); !r.Duplicate {
		t.Errorf("within the window: got %+v, want a duplicate", r)
	}
	now = now.Add(1)
	if r := mustAppend(t, l, 0, decision("evt_3"), "name"); r.Duplicate || r.Position.Seq != 2 {
		t.Errorf("after the window: got %+v, want a record at 2", r)
	}
}

func TestReadsFail(t *testing.T) {
	t.Parallel()
	l := memlog.New(memlog.Config{})
	one := mustAppend(t, l, 0, event("evt_1"), "")
	mustAppend(t, l, 1, event("evt_2"), "")

	l.LoadMisses(1)
	if loaded, err := l.Load(t.Context(), agent, 0); err != nil || len(loaded) != 1 {
		t.Errorf("load that misses one: got %d events and %v, want 1", len(loaded), err)
	}
	l.LoadMisses(5)
	if loaded, err := l.Load(t.Context(), agent, 1); err != nil || len(loaded) != 0 {
		t.Errorf("load that misses more than there are: got %d events and %v, want none", len(loaded), err)
	}
	l.LoadMisses(0)
	l.FailLoad(errFault)
	l.FailRead(errFault)
	l.FailSettle(errFault)
	if _, err := l.Load(t.Context(), agent, 0); !errors.Is(err, errFault) {
		t.Errorf("load: got %v, want %v", err, errFault)
	}
	if _, err := l.Read(t.Context(), one.Position); !errors.Is(err, errFault) {
		t.Errorf("read: got %v, want %v", err, errFault)
	}
	if err := l.Settle(t.Context()); !errors.Is(err, errFault) {
		t.Errorf("settle: got %v, want %v", err, errFault)
	}
	if _, err := l.Join().Read(t.Context(), one.Position); err != nil {
		t.Errorf("read on another node: %v", err)
	}
}

func TestHeldFollower(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := memlog.New(memlog.Config{})
		node := l.Join()
		mustAppend(t, l, 0, event("evt_1"), "")
		ends := make(chan error)
		for _, l := range []*memlog.Log{l, node} {
			go func() {
				ends <- l.Follow(t.Context(), 0, 0, func(domain.Recorded, error) error { return nil })
			}()
		}
		synctest.Wait()
		release := node.HoldFollow()
		mustStand(t, node, 1, true) // it has been handed what there is
		mustAppend(t, l, 1, event("evt_2"), "")
		synctest.Wait()
		mustStand(t, l, 2, true)
		mustStand(t, node, 2, false)
		release()
		synctest.Wait()
		mustStand(t, node, 2, true)

		node.StopFollow(errFault)
		if err := <-ends; !errors.Is(err, errFault) {
			t.Errorf("stopped follower: got %v, want %v", err, errFault)
		}
		mustStand(t, node, 2, false)
		mustStand(t, l, 2, true)
		l.StopFollow(errFault)
		<-ends
	})
}

func TestSkew(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := memlog.New(memlog.Config{Now: func() time.Time { return now }})
	l.Skew(-time.Hour)
	receipt := mustAppend(t, l, 0, event("evt_1"), "")
	r, err := l.Read(t.Context(), receipt.Position)
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Status(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := now.Add(-time.Hour); !r.LoggedAt.Equal(want) || !s.Clock.Equal(want) || !s.Asked.Equal(now) || !s.Answered.Equal(now) {
		t.Errorf("got a record logged at %s and status %+v, want %s on the log's clock and %s on ours", r.LoggedAt, s, want, now)
	}
}
