package natsevents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/logtest"
	"github.com/behalf-platform/behalf/infra/memlog"
	"github.com/behalf-platform/behalf/projections"
)

// flaky is a public stream in memory that fails: it stores none, some or all of
// what it is to store, and doesn't say which.
type flaky struct {
	random  *rand.Rand
	steady  bool // it doesn't fail
	events  []projections.PublicEvent
	saved   checkpoint
	version uint64
	// faults is how often it failed.
	faults map[string]int
	// done ends the test once the stream has so many events.
	want int
	done func()
}

var errFlaky = errors.New("it went wrong")

func (f *flaky) extent(context.Context) (extent, uint64, error) {
	x := extent{last: uint64(len(f.events)), places: map[uint16]place{}}
	for _, p := range f.saved.Partitions {
		x.places[p.Partition] = p
	}
	for _, e := range f.events[f.saved.Stream:] {
		x.places[e.Position.Partition] = placeOf(e.Cursor())
	}
	return x, f.version, nil
}

func (f *flaky) append(_ context.Context, last uint64, events []projections.PublicEvent) (uint64, error) {
	if last != uint64(len(f.events)) {
		f.faults["moved"]++
		return 0, errMoved
	}
	if f.steady {
		f.events = append(f.events, events...)
		return uint64(len(f.events)), nil
	}
	switch f.random.IntN(4) {
	case 0:
		f.faults["nothing stored"]++
		return 0, errFlaky
	case 1:
		some := f.random.IntN(len(events) + 1)
		f.events = append(f.events, events[:some]...)
		f.faults["some stored"]++
		return 0, errFlaky
	case 2:
		f.events = append(f.events, events...)
		f.faults["all stored and not acknowledged"]++
		return 0, errFlaky
	}
	f.events = append(f.events, events...)
	if len(f.events) >= f.want {
		f.done()
	}
	return uint64(len(f.events)), nil
}

func (f *flaky) save(_ context.Context, version uint64, c checkpoint) (uint64, error) {
	switch {
	case version != f.version:
		return 0, errTaken
	case !f.steady && f.random.IntN(2) == 0:
		f.faults["not saved"]++
		return 0, errFlaky
	}
	f.saved = c
	f.version++
	return f.version, nil
}

// Whatever is lost, stored in part, or stored and not acknowledged, the stream
// has each event once and in order.
func TestNothingIsLostOrRepeatedByAStreamThatFails(t *testing.T) {
	t.Parallel()
	total := map[string]int{}
	for seed := range uint64(8) {
		log := memlog.New(memlog.Config{Partitions: 2})
		var want [2][]string
		for i := range 60 {
			for _, account := range []domain.AccountID{"acct_1", "acct_2", "acct_3"} {
				var event domain.Event = decision(domain.OutcomeDenied, domain.BudgetExceeded)
				switch i % 3 {
				case 1:
					event = domain.PermissionRevoked{PermissionID: "perm_1", Cancels: []domain.ApprovalID{"apr_1", "apr_2", "apr_3"}}
				case 2:
					event = domain.BudgetCharged{RequestID: "req_1"}
				}
				r := domain.Record{ID: domain.EventID(fmt.Sprintf("evt_%s_%d", account, i)), Actor: "agent:a", Account: account, Agent: "agent_a", Event: event}
				if i%3 == 2 {
					r.Agent = ""
				}
				receipt, err := logtest.Put(t.Context(), log, r)
				if err != nil {
					t.Fatal(err)
				}
				events, err := projections.Public(nil, &domain.Recorded{Record: r, Position: receipt.Position})
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range events {
					want[receipt.Position.Partition] = append(want[receipt.Position.Partition], e.ID())
				}
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		f := &flaky{
			random: rand.New(rand.NewPCG(seed, 1)), faults: map[string]int{}, want: len(want[0]) + len(want[1]), done: cancel,
		}
		events := &Events{Config: Config{Log: log, Logger: slog.New(slog.DiscardHandler), Now: time.Now}}
		for tries := 0; ctx.Err() == nil && tries < 1000 && len(f.events) < f.want; tries++ {
			of, end := context.WithCancelCause(ctx)
			s := &session{Events: events, sink: f, end: end}
			_ = s.run(of)
			end(nil)
		}
		cancel()
		var got [2][]string
		for _, e := range f.events {
			got[e.Position.Partition] = append(got[e.Position.Partition], e.ID())
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d:\ngot  %s\nwant %s", seed, got, want)
		}
		for fault, n := range f.faults {
			total[fault] += n
		}
	}
	for _, fault := range []string{"nothing stored", "some stored", "all stored and not acknowledged", "not saved"} {
		if total[fault] == 0 {
			t.Errorf("it never happened that %s: %v", fault, maps.Collect(maps.All(total)))
		}
	}
}

// What can't be read may be public, so nothing after it is published until
// somebody can read it, and the lag says so.
func TestARecordThatCanNotBeReadIsNotPassedOver(t *testing.T) {
	t.Parallel()
	log := memlog.New(memlog.Config{})
	put := func(id domain.EventID) {
		t.Helper()
		r := domain.Record{ID: id, Actor: "agent:a", Account: "acct_1", Agent: "agent_a", Event: decision(domain.OutcomeDenied, domain.NoPermission)}
		if _, err := logtest.Put(t.Context(), log, r); err != nil {
			t.Fatal(err)
		}
	}
	put("evt_1")
	log.Inject(domain.Stream{Account: "acct_1", Agent: "agent_b"},
		[]byte(`{"id":"evt_2","kind":"agent.painted.v1","at":"2026-10-28T09:15:02Z","actor":"agent:b","account":"acct_1","agent":"agent_b","data":{}}`))
	put("evt_3")
	now := time.Unix(1000, 0)
	events := &Events{Config: Config{Log: log, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }}}
	f := &flaky{steady: true, want: 1000}
	for range 3 {
		ctx, end := context.WithCancelCause(t.Context())
		s := &session{Events: events, sink: f, end: end}
		err := s.run(ctx)
		end(nil)
		if unreadable, ok := errors.AsType[*domain.Unreadable](err); !ok || !errors.Is(unreadable, domain.ErrUnknownKind) {
			t.Fatalf("got %v, want that it can't be read", err)
		}
		events.stopped(err)
		if len(f.events) != 1 || f.events[0].ID() != "evt_1" {
			t.Fatalf("got %d events, want the one before it", len(f.events))
		}
	}
	now = now.Add(time.Hour)
	if events.Lag() < time.Hour || events.Publishes() {
		t.Errorf("got a lag of %s, want an hour", events.Lag())
	}
}
