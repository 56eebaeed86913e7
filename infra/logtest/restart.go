package logtest

import (
	"context"
	"slices"
	"testing"

	"github.com/behalf-platform/behalf/domain"
)

func sameAfterRestart(ctx context.Context, t *testing.T, b *bench) {
	old := b.open(t)
	in := []domain.Record{b.event(agent), b.decision(agent), b.event(account), b.spending(agent)}
	var receipts []domain.Receipt
	for _, r := range in {
		receipts = append(receipts, mustPut(ctx, t, old, r))
	}
	epoch, first, partitions := old.Epoch(partitionOf(old, agent)), old.FirstAccount(), old.Partitions()

	l := b.restart(t, old)
	if l.Epoch(partitionOf(l, agent)) != epoch || l.FirstAccount() != first || l.Partitions() != partitions {
		t.Errorf("got epoch %d, first account %s, %d partitions, want %d, %s and %d",
			l.Epoch(partitionOf(l, agent)), l.FirstAccount(), l.Partitions(), epoch, first, partitions)
	}
	sameSeqs(t, mustHold(ctx, t, l, agent, in...), receipts...)
	sameSeqs(t, mustLoad(ctx, t, l, agent, 0, 2), receipts[0], receipts[3])
	if s := mustStatus(ctx, t, l, agent); s.Followed || s.Head != receipts[3].Position.Seq {
		t.Errorf("got %+v, want the head %d and no follower", s, receipts[3].Position.Seq)
	}
	for i, receipt := range receipts {
		r, err := l.Read(ctx, receipt.Position)
		if err != nil {
			t.Fatalf("read %+v: %v", receipt.Position, err)
		}
		sameRecord(t, r, in[i])
	}
	// The guard is where it was, and sequences are never used again.
	mustBeMoved(ctx, t, sure(l), receipts[0].Position.Seq, b.event(agent))
	next := b.event(agent)
	if at := mustPut(ctx, t, l, next).Position; at.Seq <= receipts[3].Position.Seq {
		t.Errorf("got sequence %d after %d", at.Seq, receipts[3].Position.Seq)
	}
	mustHold(ctx, t, l, agent, append(in, next)...)
}

// twoNodes has two nodes write to one agent. Each loses to the other, and both
// follow the same chain.
func twoNodes(ctx context.Context, t *testing.T, b *bench) {
	one := b.open(t)
	two := b.join(t, one)
	lists := make([][]domain.Record, 4)
	for i := range lists {
		for range 3 {
			lists[i] = append(lists[i], b.event(agent), b.decision(agent), b.spending(agent))
		}
	}
	all := race(ctx, t, lists, one, two)
	records := mustHold(ctx, t, one, agent, all...)
	var chain []domain.Receipt
	for _, r := range slices.DeleteFunc(slices.Clone(records), func(r domain.Recorded) bool { return !r.Moves() }) {
		chain = append(chain, domain.Receipt{Position: r.Position})
	}
	for _, l := range []Log{one, two} {
		sameSeqs(t, mustLoad(ctx, t, l, agent, 0, len(chain)), chain...)
		mustFollow(ctx, t, l, agent, 0).mustSee(ctx, t, chain...)
	}
}

// sameForBoth opens a log twice before anything is in it, and has the second
// see what the first one stores.
func sameForBoth(ctx context.Context, t *testing.T, b *bench) {
	one := b.open(t)
	two := b.join(t, one)
	p := partitionOf(one, agent)
	if one.FirstAccount() != two.FirstAccount() || one.Epoch(p) != two.Epoch(p) || one.Partitions() != two.Partitions() {
		t.Errorf("got first accounts %s and %s, epochs %d and %d, %d and %d partitions",
			one.FirstAccount(), two.FirstAccount(), one.Epoch(p), two.Epoch(p), one.Partitions(), two.Partitions())
	}
	from := mustFollow(ctx, t, two, agent, 0)
	r := b.event(agent)
	first := mustAppend(ctx, t, one, 0, r, "name")
	mustBeDuplicate(ctx, t, two, first.Position.Seq, b.decision(agent), "name", first)
	mustBeMoved(ctx, t, two, 0, b.event(agent))
	from.mustSee(ctx, t, first)
	got, err := two.Read(ctx, first.Position)
	if err != nil {
		t.Fatalf("read %+v: %v", first.Position, err)
	}
	sameRecord(t, got, r)
	// Each node has a follower of its own.
	mustBecome(ctx, t, two, agent, "followed", func(s Status) bool { return s.Followed })
	if s := mustStatus(ctx, t, one, agent); s.Followed {
		t.Errorf("the node without a follower: got %+v", s)
	}
}
