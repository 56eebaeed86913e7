package logtest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/behalf-platform/behalf/domain"
)

// nameStoredOnce has many callers repeat one request at once. Each makes a
// record of its own, as handlers do.
func nameStoredOnce(ctx context.Context, t *testing.T, b *bench) {
	const callers = 50
	l := b.open(t)
	begin := b.event(agent)
	v := mustPut(ctx, t, l, begin).Position.Seq
	receipts := make([]domain.Receipt, callers)
	var wg sync.WaitGroup
	for i := range callers {
		r := b.decision(agent)
		wg.Go(func() {
			var err error
			for ctx.Err() == nil {
				if receipts[i], err = l.Append(ctx, v, r, "name"); err == nil {
					return
				}
				pause(ctx)
			}
			t.Errorf("append %s: %v", r.ID, err)
		})
	}
	wg.Wait()
	stored := 0
	for _, r := range receipts {
		if r.Position != receipts[0].Position {
			t.Errorf("got positions %+v and %+v for one name", r.Position, receipts[0].Position)
		}
		if !r.Duplicate {
			stored++
		}
	}
	// Who was told of the first may be nobody, but never two.
	if stored > 1 || stored == 0 && b.fate != written {
		t.Errorf("got %d receipts that are no duplicates, want 1", stored)
	}
	records := mustScan(ctx, t, l, domain.Scan{Partition: partitionOf(l, agent), Account: agent.Account})
	sameSeqs(t, records, receipts[0])
}

func nameAcrossStreams(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	in := b.event(agent)
	first := mustAppend(ctx, t, l, 0, in, "name")
	mustBeDuplicate(ctx, t, l, 0, b.event(other), "name", first)
	mustBeDuplicate(ctx, t, l, 0, b.event(account), "name", first)
	mustBeDuplicate(ctx, t, l, first.Position.Seq, b.decision(agent), "name", first)
	mustHold(ctx, t, l, agent, in)
}

func noName(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	in := []domain.Record{b.decision(agent), b.decision(agent), b.decision(agent)}
	for _, r := range in {
		mustAppend(ctx, t, l, 0, r, "")
	}
	mustHold(ctx, t, l, agent, in...)
}

// nameAfterMove repeats an append on the version it was first made on. A log on
// a single server looks at the guard first, a replicated one at the name; both
// are told apart from storing it again.
func nameAfterMove(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	in := []domain.Record{b.decision(agent), b.event(agent)}
	first := mustAppend(ctx, t, l, 0, in[0], "decision")
	second := mustAppend(ctx, t, l, 0, in[1], "event")
	for name, was := range map[string]domain.Receipt{"decision": first, "event": second} {
		receipt, err := l.Append(ctx, 0, b.event(agent), name)
		if !errors.Is(err, domain.ErrMoved) && (err != nil || !receipt.Duplicate || receipt.Position != was.Position) {
			t.Errorf("repeat %s on an old version: got %+v and error %v, want %v or a duplicate of %+v", name, receipt, err, domain.ErrMoved, was.Position)
		}
		mustBeDuplicate(ctx, t, l, second.Position.Seq, b.event(agent), name, was)
	}
	mustHold(ctx, t, l, agent, in...)
}

func nameAfterRestart(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	in := []domain.Record{b.decision(agent), b.event(agent)}
	first := mustAppend(ctx, t, l, 0, in[0], "decision")
	second := mustAppend(ctx, t, l, 0, in[1], "event")
	l = b.restart(t, l)
	mustBeDuplicate(ctx, t, l, second.Position.Seq, b.decision(agent), "decision", first)
	mustBeDuplicate(ctx, t, l, second.Position.Seq, b.event(agent), "event", second)
	mustHold(ctx, t, l, agent, in...)
}

// consumedOnce has a decision consumed on two nodes, with the passport moving in
// between, and after a restart. It stands on the passport and doesn't move it.
func consumedOnce(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	in := []domain.Record{b.event(agent), b.decision(agent), b.consumption(agent), b.event(agent)}
	v := mustPut(ctx, t, l, in[0]).Position.Seq
	mustAppend(ctx, t, l, v, in[1], "")
	first := mustAppend(ctx, t, l, v, in[2], "consumption")
	mustBeDuplicate(ctx, t, b.join(t, l), v, b.consumption(agent), "consumption", first)
	second := mustAppend(ctx, t, l, v, in[3], "")
	mustBeMoved(ctx, t, sure(l), v, b.consumption(agent))
	mustBeDuplicate(ctx, t, l, second.Position.Seq, b.consumption(agent), "consumption", first)
	l = b.restart(t, l)
	mustBeDuplicate(ctx, t, l, second.Position.Seq, b.consumption(agent), "consumption", first)
	mustHold(ctx, t, l, agent, in...)
	sameSeqs(t, mustLoad(ctx, t, l, agent, v, 1), second)
}

func mustBeDuplicate(ctx context.Context, t *testing.T, l Log, last uint64, r domain.Record, name string, first domain.Receipt) {
	t.Helper()
	receipt, err := l.Append(ctx, last, r, name)
	if err != nil || !receipt.Duplicate || receipt.Position != first.Position {
		t.Fatalf("append %q again: got %+v and error %v, want a duplicate of %+v", name, receipt, err, first.Position)
	}
}
