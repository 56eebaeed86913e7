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

// boundary is load that goes over the end of a window. Each answer moves the
// clock a step, so that as much is answered on either side, however fast.
type boundary struct {
	*lab
	change time.Time
	clock  atomic.Int64
	asked  atomic.Int64
	before atomic.Int64 // allows by their recorded time
	after  atomic.Int64
}

// The nodes' clocks are off by this much, one each way. In each step of the
// clock one verify is answered, so that so many are answered before the clock of
// the first node leaves the window, between then and the second's, and after it.
const (
	boundaryOff     = 900 * time.Millisecond
	boundaryStep    = 30 * time.Millisecond
	boundaryOutside = 70
	boundaryBetween = int(2 * boundaryOff / boundaryStep)
	boundaryWorkers = 16
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
		limits := domain.Limits{Budgets: []domain.Budget{
			{Amount: domain.Decimal(strconv.Itoa(boundaryOutside)), Currency: "USD", Per: tt.per, TimeZone: tt.zone},
		}}
		t.Run(name+", of a permission", func(t *testing.T) {
			t.Parallel()
			cross(t, tt.change, domain.Terms{Action: "purchase", Limits: limits}, domain.Limits{})
		})
		t.Run(name+", of the account", func(t *testing.T) {
			t.Parallel()
			cross(t, tt.change, domain.Terms{Action: "purchase"}, limits)
		})
		if tt.per != domain.PerHour && tt.per != domain.PerDay {
			continue // no rate has it
		}
		t.Run(name+", of a rate", func(t *testing.T) {
			t.Parallel()
			cross(t, tt.change, domain.Terms{Action: "purchase", Limits: domain.Limits{
				Rates: []domain.Rate{{Count: boundaryOutside, Per: tt.per, TimeZone: tt.zone}},
			}}, domain.Limits{})
		})
	}
}

// cross has what is left on either side of the change of a window given out.
func cross(t *testing.T, change time.Time, terms domain.Terms, ofAccount domain.Limits) {
	b := &boundary{change: change}
	b.clock.Store(change.Add(-boundaryOff - boundaryOutside*boundaryStep).UnixNano())
	clock := func(off time.Duration) func() time.Time {
		return func() time.Time { return time.Unix(0, b.clock.Load()).Add(off).UTC() }
	}
	b.lab = &lab{log: memlog.New(memlog.Config{FirstAccount: home, Now: clock(0)})}
	nodes := []*labNode{b.startWith(clock(boundaryOff)), b.startWith(clock(-boundaryOff))}
	key := b.open(t, nodes[0], terms)
	if _, err := nodes[0].SetAccountLimits(t.Context(), b.owner, ofAccount); err != nil {
		t.Fatal(err)
	}
	nodes[1].catchUp()
	var asking sync.WaitGroup
	for i := range boundaryWorkers {
		asking.Go(func() { b.work(t, nodes[i%len(nodes)], key) })
	}
	asking.Wait()
	// Before the first node's clock leaves the window, as many were answered as
	// there is in it; after the second's did, as many were asked.
	if before, after := b.before.Load(), b.after.Load(); before != boundaryOutside || after != boundaryOutside {
		t.Errorf("got %d allows in the window before, and %d in the one after; want %d in each", before, after, boundaryOutside)
	}
	b.audit(t)
}

// work asks until enough was asked by all workers together.
func (b *boundary) work(t *testing.T, n *labNode, key domain.TokenHash) {
	for b.asked.Add(1) <= int64(boundaryOutside+boundaryBetween+boundaryWorkers+boundaryOutside) {
		r, err := n.Verify(t.Context(), key, &domain.Ask{Action: "purchase", Amount: "1"})
		b.clock.Add(int64(boundaryStep))
		switch {
		case err != nil:
			t.Errorf("verify: %v", err)
		case r.Event.(domain.DecisionMade).Outcome != domain.OutcomeAllowed:
		case r.At.Before(b.change):
			b.before.Add(1)
		default:
			b.after.Add(1)
		}
	}
}
