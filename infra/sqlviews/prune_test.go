package sqlviews_test

import (
	"slices"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/sqlviews"
	"github.com/behalf-platform/behalf/projections"
)

func mustPrune(t *testing.T, s *sqlviews.Store, v projections.View, before time.Time) (calls int) {
	t.Helper()
	for calls = 1; ; calls++ {
		more, err := s.Prune(t.Context(), v, ours, before)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return calls
		}
	}
}

// left is what a log still has of a history when decisions of ours have expired.
func left(h *history, before time.Time) []domain.Recorded {
	return slices.DeleteFunc(slices.Clone(h.events), func(r domain.Recorded) bool {
		d, ok := r.Event.(domain.DecisionMade)
		return ok && !d.Moves() && r.Account == ours && r.LoggedAt.Before(before)
	})
}

func TestWhatIsPrunedIsNotThereInACleanRebuildEither(t *testing.T) {
	h := newHistory(11).grow(6000) // three days, and the end of a month
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		for _, p := range projections.Projections() {
			s, again := open(t), mustOpen(t, mustURL(t, "sqlite"))
			v := view(p, 1)
			mustProject(t, s, v, h, 1000)
			all := mustDump(t, s, v)
			cut := start.Truncate(24 * time.Hour) // usage goes by days
			mustPrune(t, s, v, cut)
			if got := mustDump(t, s, v); got != all {
				t.Errorf("%s: rows went before their time\n%s", p, firstDifference(got, all))
			}
			for i := range 4 {
				cut = h.events[(i+1)*len(h.events)/5].LoggedAt
				mustPrune(t, s, v, cut)
			}
			got := mustDump(t, s, v)
			if goes := p == projections.ProjectionDecisions || p == projections.ProjectionUsage; goes != (got != all) {
				t.Errorf("%s: something was removed: %t, want %t", p, got != all, goes)
			}
			mustBegin(t, again, v)
			if err := again.Apply(t.Context(), v, span(0, h.seq), mustBatch(t, p, left(h, cut.Add(-time.Minute)))); err != nil {
				t.Fatal(err)
			}
			mustPrune(t, again, v, cut)
			if p == projections.ProjectionDecisions || p == projections.ProjectionUsage {
				if want := mustDump(t, again, v); got != want {
					t.Errorf("%s: got other rows than a clean rebuild has\n%s", p, firstDifference(got, want))
				}
			}
		}
	})
}

func TestPruningLeavesOthersAloneAndGoesStepByStep(t *testing.T) {
	h := newHistory(12).grow(6000)
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, v := open(t), view(projections.ProjectionDecisions, 1)
		mustProject(t, s, v, h, 1000)
		count := func(account domain.AccountID) (n int) {
			err := s.EachDecision(t.Context(), projections.DecisionFilter{Account: account}, func(projections.DecisionRow) error {
				n++
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		theirs := count(foreign)
		if calls := mustPrune(t, s, v, h.at.Add(time.Second)); calls < 2 {
			t.Errorf("all went in %d calls, want more", calls)
		}
		if n := count(ours); n != 0 {
			t.Errorf("%d decisions are left, want none", n)
		}
		if n := count(foreign); n != theirs || n == 0 {
			t.Errorf("the other account has %d decisions, want %d", n, theirs)
		}
		before := h.seq
		h := newHistory(13)
		h.seq, h.at = before, h.at.Add(100*24*time.Hour)
		h.record(ours, "agent_1", domain.AgentDisabled{})
		h.decide(ours, "agent_1")
		if err := s.Apply(t.Context(), v, span(before, h.seq), mustBatch(t, v.Projection, h.events)); err != nil {
			t.Fatal(err)
		}
		if n := count(ours); n != 1 {
			t.Errorf("%d decisions are there after the next, want 1", n)
		}
	})
}
