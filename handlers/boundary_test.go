package handlers_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/memlog"
)

// Under load, over the end of a window, and by nodes whose clocks differ, each
// allow counts in exactly one window, and each window is used up.
func TestWindowsAreExactAtTheirBoundaries(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		per    domain.Period
		zone   string
		change time.Time
	}{
		"the end of a month":            {domain.PerMonth, "Europe/Berlin", time.Date(2000, 1, 31, 23, 0, 0, 0, time.UTC)},
		"the end of a day":              {domain.PerDay, "America/New_York", time.Date(2000, 2, 2, 5, 0, 0, 0, time.UTC)},
		"an hour that is skipped":       {domain.PerHour, "Europe/Berlin", time.Date(2000, 3, 26, 1, 0, 0, 0, time.UTC)},
		"the end of a day of 23 hours":  {domain.PerDay, "Europe/Berlin", time.Date(2000, 3, 26, 22, 0, 0, 0, time.UTC)},
		"an hour that comes twice":      {domain.PerHour, "Europe/Berlin", time.Date(2000, 10, 29, 1, 0, 0, 0, time.UTC)},
		"the end of a day of 25 hours":  {domain.PerDay, "Europe/Berlin", time.Date(2000, 10, 29, 23, 0, 0, 0, time.UTC)},
		"the end of a week and a year":  {domain.PerWeek, "UTC", time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)},
		"a midnight that is left out":   {domain.PerDay, "America/Sao_Paulo", time.Date(2000, 10, 8, 3, 0, 0, 0, time.UTC)},
		"a midnight that comes earlier": {domain.PerDay, "America/Havana", time.Date(2000, 10, 30, 5, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const each, limit = 90, 30
			var clock atomic.Int64
			clock.Store(tt.change.Add(-3 * time.Second).UnixNano())
			off := func(by time.Duration) func() time.Time {
				return func() time.Time { return time.Unix(0, clock.Load()).Add(by).UTC() }
			}
			l := &lab{log: memlog.New(memlog.Config{FirstAccount: home, Now: off(0)})}
			nodes := []*labNode{l.startWith(off(900 * time.Millisecond)), l.startWith(off(-900 * time.Millisecond))}
			key := l.open(t, nodes[0], domain.Terms{Action: "purchase", Limits: domain.Limits{
				Budgets: []domain.Budget{{Amount: domain.Decimal(strconv.Itoa(limit)), Currency: "USD", Per: tt.per, TimeZone: tt.zone}},
			}})
			nodes[1].catchUp()
			var (
				asking        sync.WaitGroup
				before, after atomic.Int64 // allows by their recorded time
			)
			for range 2 * each {
				for _, n := range nodes {
					asking.Go(func() {
						r, err := n.Verify(t.Context(), key, &domain.Ask{Action: "purchase", Amount: "1"})
						switch {
						case err != nil:
							t.Errorf("verify: %v", err)
						case r.Event.(domain.DecisionMade).Outcome != domain.OutcomeAllowed:
						case r.At.Before(tt.change):
							before.Add(1)
						default:
							after.Add(1)
						}
					})
				}
				clock.Add(int64(6 * time.Second / (2 * each)))
			}
			asking.Wait()
			// Whatever was late for the window before, the one after is used up now.
			for range limit {
				if r, err := nodes[0].Verify(t.Context(), key, &domain.Ask{Action: "purchase", Amount: "1"}); err != nil {
					t.Fatalf("verify: %v", err)
				} else if r.Event.(domain.DecisionMade).Outcome == domain.OutcomeAllowed {
					after.Add(1)
				}
			}
			if before.Load() > limit || after.Load() != limit {
				t.Errorf("got %d allows in the window before, and %d in the one after; want at most, and exactly, %d", before.Load(), after.Load(), limit)
			}
			l.audit(t)
		})
	}
}
