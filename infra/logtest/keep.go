package logtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// expired is a log whose oldest, newest and some other decisions have gone.
type expired struct {
	l          Log
	gone, left []domain.Receipt
	kept       domain.Record // a decision that goes later
}

// mustExpire has a log let go of what may go, and waits for that.
func mustExpire(ctx context.Context, t *testing.T, b *bench) expired {
	t.Helper()
	e := expired{l: b.open(t), kept: b.decision(agent)}
	brief := func(r domain.Record) domain.Record {
		r.Keep = time.Second
		return r
	}
	e.kept.Keep = time.Hour
	put := func(into *[]domain.Receipt, r domain.Record) { *into = append(*into, mustPut(ctx, t, e.l, r)) }
	put(&e.gone, brief(b.decision(agent)))
	put(&e.gone, brief(b.decision(other)))
	put(&e.left, brief(b.event(agent))) // what moves a stream stays, whatever it says
	put(&e.left, brief(b.spending(agent)))
	put(&e.gone, brief(b.decision(agent)))
	put(&e.left, e.kept)
	put(&e.left, brief(b.event(account)))
	put(&e.left, brief(b.event(budget)))
	put(&e.left, b.decision(other))
	put(&e.gone, brief(b.decision(other)))
	put(&e.gone, brief(b.decision(agent)))
	for _, r := range e.gone {
		mustGo(ctx, t, e.l, r)
	}
	return e
}

// mustGo waits until a record is not there any more.
func mustGo(ctx context.Context, t *testing.T, l Log, r domain.Receipt) {
	t.Helper()
	for {
		switch _, err := l.Read(ctx, r.Position); {
		case errors.Is(err, domain.ErrNotRecorded):
			return
		case ctx.Err() != nil:
			t.Fatalf("record %d is still there", r.Position.Seq)
		}
		pause(ctx)
	}
}

func decisionsGo(ctx context.Context, t *testing.T, b *bench) {
	e := mustExpire(ctx, t, b)
	p := partitionOf(e.l, agent)
	left := mustScan(ctx, t, e.l, domain.Scan{Partition: p})
	sameSeqs(t, left, e.left...)
	for _, r := range left {
		if want := map[bool]time.Duration{true: time.Hour}[r.ID == e.kept.ID]; r.Keep != want {
			t.Errorf("record %d is kept for %s, want %s", r.Position.Seq, r.Keep, want)
		}
	}
	sameSeqs(t, mustScan(ctx, t, e.l, domain.Scan{Partition: p, Account: agent.Account}), e.left[1], e.left[2], e.left[5])
	sameSeqs(t, mustScan(ctx, t, e.l, domain.Scan{Partition: p, Account: agent.Account, Agent: agent.Agent}), e.left[1], e.left[2])
	last := e.gone[len(e.gone)-1].Position.Seq
	sameSeqs(t, mustScan(ctx, t, e.l, domain.Scan{Partition: p, From: last - 1}))
	sameSeqs(t, mustScan(ctx, t, e.l, domain.Scan{Partition: p, From: e.left[5].Position.Seq, Through: last}), e.left[5])
	if s := mustStatus(ctx, t, e.l, agent); s.Head != last {
		t.Errorf("the head is %d, want %d: sequences are never used again", s.Head, last)
	}
	if got, err := e.l.SeqAt(ctx, p, time.Unix(0, 0)); err != nil || got != e.left[0].Position.Seq {
		t.Errorf("the oldest record is at %d (%v), want %d", got, err, e.left[0].Position.Seq)
	}
	mustFollow(ctx, t, e.l, agent, 0).mustSee(ctx, t, e.left[0], e.left[1], e.left[3], e.left[4])
	mustBecome(ctx, t, e.l, agent, "followed", func(s Status) bool { return s.Followed })

	next := mustPut(ctx, t, e.l, b.decision(agent))
	if next.Position.Seq != last+1 {
		t.Errorf("the next record is at %d, want %d", next.Position.Seq, last+1)
	}
	sameSeqs(t, mustScan(ctx, t, e.l, domain.Scan{Partition: p}), append(e.left, next)...)
}

// goneStaysGone restarts a log whose end has gone.
func goneStaysGone(ctx context.Context, t *testing.T, b *bench) {
	e := mustExpire(ctx, t, b)
	l := b.restart(t, e.l)
	sameSeqs(t, mustScan(ctx, t, l, domain.Scan{Partition: partitionOf(l, agent)}), e.left...)
	if s, last := mustStatus(ctx, t, l, agent), e.gone[len(e.gone)-1].Position.Seq; s.Head != last {
		t.Errorf("the head is %d, want %d: sequences are never used again", s.Head, last)
	}
}

// nameOutlives repeats a decision that has gone: whoever repeats it is told where it was.
func nameOutlives(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	r := b.decision(agent)
	r.Keep = time.Second
	first := mustAppend(ctx, t, l, 0, r, "name")
	mustGo(ctx, t, l, first)
	mustBeDuplicate(ctx, t, l, 0, r, "name", first)
}
