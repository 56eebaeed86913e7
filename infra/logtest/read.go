package logtest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/behalf-platform/behalf/domain"
)

// readAtPosition reads what was just stored, and reads it at once: who has a
// receipt must get the record.
func readAtPosition(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	var last uint64
	for _, r := range []domain.Record{
		b.event(agent), b.decision(agent), b.event(agent), b.event(account), b.decision(agent),
		b.spending(agent), b.event(budget), b.decision(agent),
	} {
		receipt := mustPut(ctx, t, l, r)
		got, err := l.Read(ctx, receipt.Position)
		if err != nil {
			t.Fatalf("read %+v: %v", receipt.Position, err)
		}
		sameRecord(t, got, r)
		if got.Position != receipt.Position || got.LoggedAt.IsZero() {
			t.Errorf("got %+v stored at %s, want %+v and a time", got.Position, got.LoggedAt, receipt.Position)
		}
		if r.Stream() != agent {
			continue
		}
		if got.Last != last {
			t.Errorf("%s: got last %d, want %d", r.ID, got.Last, last)
		}
		if got.Moves() {
			last = receipt.Position.Seq
		}
	}
}

// settles can't pull the plug. It is about a log that says it can't.
func settles(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	for range 3 {
		mustPut(ctx, t, l, b.event(agent))
		mustLoad(ctx, t, l, agent, 0, 1)
		if err := l.Settle(ctx); err != nil {
			t.Errorf("settle: %v", err)
		}
	}
}

func readNothing(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	at := mustPut(ctx, t, l, b.event(agent)).Position
	for _, p := range []domain.Position{
		{},
		{Partition: at.Partition, Epoch: at.Epoch},
		{Partition: at.Partition, Epoch: at.Epoch, Seq: at.Seq + 1},
		{Partition: at.Partition, Epoch: at.Epoch, Seq: 1 << 40},
		{Partition: at.Partition, Epoch: at.Epoch + 1, Seq: at.Seq},
		{Partition: uint16(l.Partitions()), Epoch: at.Epoch, Seq: at.Seq},
	} {
		if r, err := l.Read(ctx, p); !errors.Is(err, domain.ErrNotRecorded) {
			t.Errorf("read %+v: got %s and error %v, want %v", p, r.ID, err, domain.ErrNotRecorded)
		}
	}
}

// unreadableIsNamed puts what can't be read between two events.
func unreadableIsNamed(ctx context.Context, t *testing.T, b *bench) {
	stored := func(r domain.Record) string {
		raw, err := r.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for _, c := range []struct {
		name, raw string
		is        error
	}{
		{"a kind made later", `{"id":"evt_x","kind":"agent.cloned.v1","at":"2026-01-02T03:04:05Z","actor":"system:x",` +
			`"account":"acct_a","agent":"agent_a","data":{}}`, domain.ErrUnknownKind},
		{"not a record", "\x00\xff", nil},
		{"nothing", "", nil},
		{"an event of another stream", stored(b.event(other)), nil},
		{"a decision that changes nothing among events", stored(b.decision(agent)), nil},
		{"a charge of the account's", stored(b.event(budget)), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := b.open(t)
			before := mustPut(ctx, t, l, b.event(agent))
			b.maker.Inject(t, l, agent, []byte(c.raw))
			at := before.Position
			at.Seq = mustStatus(ctx, t, l, agent).Head
			after := mustAppend(ctx, t, l, at.Seq, b.event(agent), "")
			decided := mustAppend(ctx, t, l, after.Position.Seq, b.decision(agent), "")
			named := func(err error) error {
				var u *domain.Unreadable
				if !errors.As(err, &u) || u.Stream != agent || u.Position != at || c.is != nil && !errors.Is(err, c.is) {
					return fmt.Errorf("got error %w, want one that names %s and %+v", err, agent, at)
				}
				return nil
			}

			if _, err := l.Load(ctx, agent, 0); named(err) != nil {
				t.Errorf("load: %v", named(err))
			}
			sameSeqs(t, mustLoad(ctx, t, l, agent, at.Seq, 1), after)
			sameSeqs(t, mustLoad(ctx, t, l, other, 0, 0))
			if _, err := l.Read(ctx, at); named(err) != nil {
				t.Errorf("read: %v", named(err))
			}

			var found []domain.Recorded
			err := l.Scan(ctx, domain.Scan{Partition: at.Partition}, func(r domain.Recorded, err error) error {
				if err != nil {
					return named(err)
				}
				found = append(found, r)
				return nil
			})
			if err != nil {
				t.Errorf("scan: %v", err)
			}
			sameSeqs(t, found, before, after, decided)

			// It may be a decision, so it is not left out of them.
			for _, q := range []domain.Scan{{Account: agent.Account}, {Account: agent.Account, Agent: agent.Agent}} {
				q.Partition, found = at.Partition, nil
				times := 0
				err := l.Scan(ctx, q, func(r domain.Recorded, err error) error {
					if err != nil {
						times++
						return named(err)
					}
					found = append(found, r)
					return nil
				})
				if err != nil || times != 1 {
					t.Errorf("scan the decisions: got error %v, and %d named, want 1", err, times)
				}
				sameSeqs(t, found, decided)
			}

			from := mustFollow(ctx, t, l, agent, 0)
			from.mustSee(ctx, t, before)
			if h := mustTake(ctx, t, from.out); named(h.err) != nil {
				t.Errorf("follow: %v", named(h.err))
			}
			from.seen[agent] = at.Seq
			from.mustSee(ctx, t, after)
		})
	}
}
