package sqlviews_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/sqlviews"
	"github.com/behalf-platform/behalf/projections"
)

func TestRowsAreTheSameHoweverTheyWereMade(t *testing.T) {
	t.Parallel()
	h := newHistory(1).grow(1200)
	lite, post := mustOpen(t, mustURL(t, "sqlite")), mustOpen(t, mustURL(t, "postgres"))
	small := mustOpen(t, mustURL(t, "sqlite"))
	mustProjectAll(t, lite, h, 1<<20)
	mustProjectAll(t, post, h, 97)
	mustProjectAll(t, small, h, 13)
	for _, p := range projections.Projections() {
		want := mustDump(t, lite, view(p, 1))
		if lines := strings.Count(want, "\n"); lines < 20 {
			t.Errorf("%s: got %d lines, want more", p, lines)
		}
		for name, s := range map[string]*sqlviews.Store{"on PostgreSQL, in steps": post, "in small steps": small} {
			if got := mustDump(t, s, view(p, 1)); got != want {
				t.Errorf("%s %s: got other rows\n%s", p, name, firstDifference(got, want))
			}
		}
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\ngot  %.2000s\nwant %.2000s", i, g[i], w[i])
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}

func TestABatchIsAppliedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, h := open(t), newHistory(2).grow(300)
		for _, p := range projections.Projections() {
			v := view(p, 1)
			mustProject(t, s, v, h, 100)
			want := mustDump(t, s, v)
			for _, again := range []projections.Span{span(0, 100), span(h.seq-100, h.seq), span(h.seq+1, h.seq+2), span(0, h.seq)} {
				through := min(again.Through, h.seq)
				b := mustBatch(t, p, h.events[min(again.From, through):through])
				if err := s.Apply(t.Context(), v, again, b); !errors.Is(err, projections.ErrStale) {
					t.Errorf("%s %v: got error %v, want %v", p, again, err, projections.ErrStale)
				}
			}
			if got := mustDump(t, s, v); got != want {
				t.Errorf("%s: got other rows after stale writes\n%s", p, firstDifference(got, want))
			}
			other := span(h.seq, h.seq+1)
			other.Epoch++
			if err := s.Apply(t.Context(), v, other, projections.NewBatch(p)); !errors.Is(err, projections.ErrAnotherLog) {
				t.Errorf("%s: got error %v, want %v", p, err, projections.ErrAnotherLog)
			}
			if _, err := s.Begin(t.Context(), v, 0, epoch+1); !errors.Is(err, projections.ErrAnotherLog) {
				t.Errorf("%s: got error %v, want %v", p, err, projections.ErrAnotherLog)
			}
			if err := s.Apply(t.Context(), view(p, 9), span(0, 1), projections.NewBatch(p)); !errors.Is(err, projections.ErrNoView) {
				t.Errorf("%s: got error %v, want %v", p, err, projections.ErrNoView)
			}
		}
	})
}

func TestOfWritersAtOnceOneWins(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		h := newHistory(3).grow(600)
		stores := []*sqlviews.Store{open(t), open(t), open(t)}
		v := view(projections.ProjectionDecisions, 1)
		mustBegin(t, stores[0], v)
		var wg sync.WaitGroup
		for _, s := range stores {
			for _, step := range []uint64{7, 11} {
				wg.Go(func() { race(t, s, v, h, step) })
			}
		}
		wg.Wait()
		clean := mustOpen(t, mustURL(t, "sqlite"))
		mustProject(t, clean, v, h, 1000)
		if got, want := mustDump(t, stores[0], v), mustDump(t, clean, v); got != want {
			t.Errorf("got other rows\n%s", firstDifference(got, want))
		}
	})
}

// race projects beside others who do so too.
func race(t *testing.T, s *sqlviews.Store, v projections.View, h *history, step uint64) {
	for {
		list, err := s.Checkpoints(t.Context(), v)
		if err != nil {
			t.Error(err)
			return
		}
		at := list[0].Seq
		if at == h.seq {
			return
		}
		through := min(h.seq, at+step)
		b := projections.NewBatch(v.Projection)
		for _, r := range h.events[at:through] {
			if err := b.Add(r); err != nil {
				t.Error(err)
				return
			}
		}
		if err := s.Apply(t.Context(), v, span(at, through), b); err != nil && !errors.Is(err, projections.ErrStale) {
			t.Error(err)
			return
		}
	}
}

func TestWhatIsCutShortLeavesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, h := open(t), newHistory(4).grow(2000)
		for _, p := range projections.Projections() {
			v := view(p, 1)
			mustBegin(t, s, v)
			b := mustBatch(t, p, h.events)
			for range 5 {
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(cancel)
				err := s.Apply(ctx, v, span(0, h.seq), b)
				wg.Wait()
				list, listErr := s.Checkpoints(t.Context(), v)
				if listErr != nil {
					t.Fatal(listErr)
				}
				rows := strings.Count(mustDump(t, s, v), "\n") - strings.Count(mustDump(t, s, v), ": ")
				switch {
				case list[0].Seq == 0 && rows > 0:
					t.Fatalf("%s: got %d rows and no checkpoint, after %v", p, rows, err)
				case list[0].Seq != 0 && rows == 0:
					t.Fatalf("%s: got a checkpoint at %d and no rows, after %v", p, list[0].Seq, err)
				case list[0].Seq != 0:
					return
				}
			}
		}
	})
}

func TestRowsThatAreRefusedAreNamed(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, h := open(t), newHistory(5).grow(400)
		v := view(projections.ProjectionPassports, 1)
		mustBegin(t, s, v)
		b := mustBatch(t, v.Projection, h.events)
		b.Changes[70].Account, b.Changes[70].Seq = b.Changes[10].Account, b.Changes[10].Seq // the same twice
		err := s.Apply(t.Context(), v, span(0, h.seq), b)
		refused, ok := errors.AsType[*projections.Inapplicable](err)
		if !ok || refused.Seq != b.Changes[10].Seq {
			t.Errorf("got error %v, want one of event %d", err, b.Changes[10].Seq)
		}
		if list, err := s.Checkpoints(t.Context(), v); err != nil || list[0].Seq != 0 {
			t.Errorf("got checkpoints %+v and error %v, want it at 0", list, err)
		}
		if got := strings.Count(mustDump(t, s, v), "\n"); got != 4 {
			t.Errorf("got %d lines, want those that name the tables", got)
		}
	})
}

func TestDecisionsThatAreRefusedAreNamed(t *testing.T) {
	t.Parallel()
	s, h := mustOpen(t, mustURL(t, "postgres")), newHistory(6).grow(400)
	v := view(projections.ProjectionDecisions, 1)
	mustBegin(t, s, v)
	b := mustBatch(t, v.Projection, h.events)
	b.Decisions[123].Reason = "a NUL that \x00 slipped through"
	err := s.Apply(t.Context(), v, span(0, h.seq), b)
	if refused, ok := errors.AsType[*projections.Inapplicable](err); !ok || refused.Seq != b.Decisions[123].Seq {
		t.Errorf("got error %v, want one of event %d", err, b.Decisions[123].Seq)
	}
	if list, err := s.Checkpoints(t.Context(), v); err != nil || list[0].Seq != 0 {
		t.Errorf("got checkpoints %+v and error %v, want it at 0", list, err)
	}
}

func TestAStoppedViewSaysWhyAndGoesOn(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, h := open(t), newHistory(7).grow(200)
		for _, p := range projections.Projections() {
			v := view(p, 1)
			mustProject(t, s, v, h, 1000)
			const reason = "unknown kind 'x' \x00 of event"
			if err := s.Stop(t.Context(), v, 0, h.seq, reason); !errors.Is(err, projections.ErrStale) {
				t.Errorf("%s: stop at what is applied: got error %v, want %v", p, err, projections.ErrStale)
			}
			if err := s.Stop(t.Context(), v, 0, h.seq+5, reason); err != nil {
				t.Fatal(err)
			}
			for name, query := range queries(s) {
				if !strings.HasPrefix(name, string(p)) {
					continue
				}
				err := query(t.Context())
				if stopped, ok := errors.AsType[*projections.Stopped](err); !ok || stopped.StoppedAt != h.seq+5 || stopped.View != v {
					t.Errorf("%s: got error %v, want that it stopped", name, err)
				}
			}
			list, err := s.Checkpoints(t.Context(), v)
			if err != nil || list[0].StoppedAt != h.seq+5 || !strings.HasPrefix(list[0].Reason, "unknown kind 'x'") || list[0].Seq != h.seq {
				t.Errorf("%s: got checkpoints %+v and error %v, want where it stopped", p, list, err)
			}
			if err := s.Apply(t.Context(), v, span(h.seq, h.seq+5), projections.NewBatch(p)); err != nil {
				t.Fatal(err)
			}
			for name, query := range queries(s) {
				if err := query(t.Context()); strings.HasPrefix(name, string(p)) && err != nil && !isNotFound(err) {
					t.Errorf("%s: got error %v, want none", name, err)
				}
			}
		}
	})
}

func isNotFound(err error) bool {
	rule, ok := errors.AsType[*domain.RuleError](err)
	return ok && rule.Code == domain.NotFound
}

// queries are all queries there are, by the projection that answers.
func queries(s *sqlviews.Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"decisions": func(ctx context.Context) error {
			_, _, err := s.Decisions(ctx, projections.DecisionFilter{Account: ours}, 10, projections.Cursor{})
			return err
		},
		"decisions each": func(ctx context.Context) error {
			return s.EachDecision(ctx, projections.DecisionFilter{Account: ours}, func(projections.DecisionRow) error { return nil })
		},
		"decisions totals": func(ctx context.Context) error {
			_, err := s.Totals(ctx, projections.DecisionFilter{Account: ours})
			return err
		},
		"decisions one": func(ctx context.Context) error { _, err := s.Decision(ctx, ours, "", "req_1"); return err },
		"usage": func(ctx context.Context) error {
			_, _, err := s.Usage(ctx, projections.UsageFilter{Account: ours}, 10, projections.UsageCursor{})
			return err
		},
		"passports changes": func(ctx context.Context) error {
			_, _, err := s.Changes(ctx, ours, "", 10, projections.Cursor{})
			return err
		},
		"passports agents":      func(ctx context.Context) error { _, err := s.Agents(ctx, ours, 10, ""); return err },
		"passports agent":       func(ctx context.Context) error { _, err := s.Agent(ctx, ours, "agent_1"); return err },
		"passports permissions": func(ctx context.Context) error { _, err := s.Permissions(ctx, ours, "agent_1"); return err },
		"passports members":     func(ctx context.Context) error { _, err := s.Members(ctx, ours); return err },
		"approvals": func(ctx context.Context) error {
			_, _, err := s.Approvals(ctx, projections.ApprovalFilter{Account: ours}, 10, projections.Cursor{})
			return err
		},
		"approvals one": func(ctx context.Context) error { _, err := s.Approval(ctx, ours, "", "apr_1"); return err },
	}
}

func TestBeforeThereAreRowsThereIsNoView(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s := open(t)
		for name, query := range queries(s) {
			if err := query(t.Context()); !errors.Is(err, projections.ErrNoView) {
				t.Errorf("%s: got error %v, want %v", name, err, projections.ErrNoView)
			}
		}
		if list, err := s.Status(t.Context()); err != nil || len(list) > 0 {
			t.Errorf("got %+v and error %v, want no views", list, err)
		}
	})
}
