package handlers_test

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// watched counts the sequences that scans look at.
type watched struct {
	handlers.DecisionLog
	seen uint64
}

func (l *watched) Scan(ctx context.Context, q domain.Scan, yield func(domain.Recorded, error) error) error {
	l.seen += q.Through - q.From + 1
	return l.DecisionLog.Scan(ctx, q, yield)
}

func TestPagesOfABoundedListHoldEveryDecisionOnce(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		ollie, _ := n.agent("agent_ollie")
		other, _ := n.agent("agent_other")
		var all, ollies, late []domain.RequestID // newest first
		var since time.Time
		for i := range 90 {
			key := other
			if i%30 < 5 { // so that between them lie more than a page looks at
				key = ollie
			}
			if i == 60 {
				time.Sleep(time.Minute)
				since = time.Now()
			}
			d, err := n.verify(key, ask())
			if err != nil {
				t.Fatalf("verify: %v", err)
			}
			all = slices.Insert(all, 0, d.RequestID)
			if key == ollie {
				ollies = slices.Insert(ollies, 0, d.RequestID)
			}
			if i >= 60 {
				late = slices.Insert(late, 0, d.RequestID)
			}
		}
		for _, c := range []struct {
			name  string
			query handlers.DecisionQuery
			want  []domain.RequestID
			empty bool // whether some pages are empty
		}{
			{"all", handlers.DecisionQuery{}, all, false},
			{"one agent's", handlers.DecisionQuery{Agent: "agent_ollie"}, ollies, true},
			{"allowed", handlers.DecisionQuery{Outcome: domain.OutcomeAllowed}, all, false},
			{"denied", handlers.DecisionQuery{Outcome: domain.OutcomeDenied}, nil, true},
			{"since", handlers.DecisionQuery{Since: since}, late, false},
			{"until", handlers.DecisionQuery{Until: since}, all[len(late):], false},
		} {
			for _, most := range []int{1, 7, 1000} {
				for _, limit := range []int{3, 100} {
					log := &watched{DecisionLog: n.log}
					h := &handlers.History{Log: log, MostScanned: most}
					q := c.query
					q.Account, q.Limit = home, limit
					var got []domain.RequestID
					empty := false
					for {
						log.seen = 0
						page, cursor, err := h.List(t.Context(), q)
						if err != nil {
							t.Fatalf("%s: list: %v", c.name, err)
						}
						if log.seen > uint64(most) || len(page) > limit {
							t.Fatalf("%s: got a page of %d that looked at %d, want at most %d and %d", c.name, len(page), log.seen, limit, most)
						}
						for _, r := range page {
							got = append(got, r.Event.(domain.DecisionMade).RequestID)
						}
						if cursor == "" {
							break
						}
						empty = empty || len(page) == 0
						q.Cursor = cursor
					}
					if !slices.Equal(got, c.want) {
						t.Errorf("%s, looking at %d for %d: got %d decisions %v, want %d: %v", c.name, most, limit, len(got), got, len(c.want), c.want)
					}
					if c.empty && most == 1 && !empty {
						t.Errorf("%s: got no empty page", c.name)
					}
				}
			}
		}
	})
}

// long is a log whose decisions are all alike, but for those at its end that no
// query matches.
type long struct {
	handlers.DecisionLog // nil
	head, matching       uint64
}

func (l long) Scan(_ context.Context, q domain.Scan, yield func(domain.Recorded, error) error) error {
	for seq := q.From; seq <= q.Through; seq++ {
		made := domain.DecisionMade{Outcome: domain.OutcomeDenied}
		if seq <= l.matching {
			made.Outcome = domain.OutcomeAllowed
		}
		r := domain.Recorded{Record: domain.Record{Event: made}, Position: domain.Position{Epoch: 1, Seq: seq}}
		if err := yield(r, nil); err != nil {
			return err
		}
	}
	return nil
}

func (l long) Status(context.Context, uint16) (domain.LogStatus, error) {
	return domain.LogStatus{Head: l.head}, nil
}
func (l long) Partitions() int     { return 1 }
func (l long) Epoch(uint16) uint32 { return 1 }

// It isn't parallel, so that nothing else takes memory meanwhile.
func TestAPageHoldsNoMoreThanItShows(t *testing.T) {
	list := func(outcome domain.Outcome) (page []domain.Recorded, cursor string, bytes uint64) {
		h := &handlers.History{Log: long{head: 200_000, matching: 150_000}}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		page, cursor, err := h.List(t.Context(), handlers.DecisionQuery{Account: home, Outcome: outcome, Limit: 10})
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		return page, cursor, after.TotalAlloc - before.TotalAlloc
	}
	_, _, none := list(domain.OutcomeRequiresApproval) // what making the records takes
	page, cursor, bytes := list(domain.OutcomeAllowed)
	if len(page) != 10 || page[0].Position.Seq != 150_000 || page[9].Position.Seq != 149_991 {
		t.Fatalf("got a page of %d, want 150000 to 149991", len(page))
	}
	if want := (domain.Position{Epoch: 1, Seq: 149_990}).String(); cursor != want {
		t.Errorf("got the cursor %s, want %s", cursor, want)
	}
	if bytes > none+1<<20 {
		t.Errorf("got %d bytes more than for a page of none, want under 1 MiB", bytes-none)
	}
}
