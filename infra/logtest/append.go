package logtest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/behalf-platform/behalf/domain"
)

func appendAndLoad(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	for _, s := range []domain.Stream{agent, account, budget} {
		var records []domain.Record
		var receipts []domain.Receipt
		for range 3 {
			records = append(records, b.event(s))
			receipts = append(receipts, mustPut(ctx, t, l, records[len(records)-1]))
		}
		var last uint64
		for i := range records {
			loaded := mustLoad(ctx, t, l, s, last, len(records)-i)
			sameSeqs(t, loaded, receipts[i:]...)
			got := loaded[0]
			sameRecord(t, got, records[i])
			if got.Last != last {
				t.Errorf("%s: got last %d, want %d", got.ID, got.Last, last)
			}
			if at := got.Position; at.Partition != partitionOf(l, s) || at.Epoch != l.Epoch(at.Partition) {
				t.Errorf("%s: got position %+v, want partition %d and its epoch", got.ID, at, partitionOf(l, s))
			}
			if got.LoggedAt.IsZero() {
				t.Errorf("%s: the log did not say when it stored it", got.ID)
			}
			last = got.Position.Seq
		}
		sameSeqs(t, mustLoad(ctx, t, l, s, last, 0))
	}
	sameSeqs(t, mustLoad(ctx, t, l, other, 0, 0))
}

func firstExpectsNone(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	mustBeMoved(ctx, t, l, 1, b.event(agent))
	first := b.event(agent)
	mustAppend(ctx, t, l, 0, first, "")
	mustBeMoved(ctx, t, l, 0, b.event(agent))
	mustHold(ctx, t, l, agent, first)
}

func movedWritesNothing(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	first, second, third := b.event(agent), b.event(agent), b.event(agent)
	one := mustAppend(ctx, t, l, 0, first, "")
	two := mustAppend(ctx, t, l, one.Position.Seq, second, "")
	for _, last := range []uint64{0, one.Position.Seq, two.Position.Seq + 1, two.Position.Seq + 100} {
		mustBeMoved(ctx, t, l, last, b.event(agent))
		mustBeMoved(ctx, t, l, last, b.decision(agent))
	}
	mustAppend(ctx, t, l, two.Position.Seq, third, "")
	mustHold(ctx, t, l, agent, first, second, third)
}

func guardIsLiteral(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	mine := b.event(agent)
	v := mustPut(ctx, t, l, mine).Position.Seq
	// Everything whose name could be taken for the agent's moves meanwhile.
	in := []domain.Record{mine}
	for _, s := range []domain.Stream{
		other, account, budget,
		{Account: agent.Account, Agent: agent.Agent + "-"},
		{Account: agent.Account, Agent: agent.Agent[:len(agent.Agent)-1]},
		{Account: agent.Account, Agent: domain.AgentID(strings.ToUpper(string(agent.Agent)))},
	} {
		in = append(in, b.event(s))
		mustPut(ctx, t, l, in[len(in)-1])
	}
	elsewhere := domain.Stream{Account: "acct_b", Agent: agent.Agent}
	mustPut(ctx, t, l, b.event(elsewhere))

	next := b.decision(agent)
	_, err := l.Append(ctx, v, next, string(next.ID))
	if errors.Is(err, errLost) {
		_, err = l.Append(ctx, v, next, string(next.ID))
	}
	if err != nil {
		t.Errorf("an append to a stream that has not moved: %v", err)
	}
	records := mustScan(ctx, t, l, domain.Scan{Partition: partitionOf(l, agent)})
	if err := Check(records); err != nil {
		t.Error(err)
	}
	sameSeqs(t, mustLoad(ctx, t, l, agent, 0, 1), domain.Receipt{Position: records[0].Position})
}

func badIDsAreRefused(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	mine := b.event(agent)
	mustAppend(ctx, t, l, 0, mine, "")
	for _, bad := range []string{"*", ">", "agent_*", "a.b", "a b", "a\r\nb", "é", strings.Repeat("a", 65)} {
		for _, s := range []domain.Stream{
			{Account: agent.Account, Agent: domain.AgentID(bad)},
			{Account: domain.AccountID(bad), Agent: agent.Agent},
			{Account: domain.AccountID(bad)},
			{Account: domain.AccountID(bad), Budget: true},
		} {
			if _, err := l.Append(ctx, 0, b.event(s), ""); err == nil {
				t.Errorf("append to %q: got no error", s)
			}
			if loaded, err := l.Load(ctx, s, 0); err == nil || len(loaded) > 0 {
				t.Errorf("load %q: got %d events and error %v, want an error", s, len(loaded), err)
			}
			q := domain.Scan{Partition: partitionOf(l, agent), Account: s.Account, Agent: s.Agent}
			if found, err := scan(ctx, l, q); err == nil || len(found) > 0 {
				t.Errorf("scan %+v: got %d records and error %v, want an error", q, len(found), err)
			}
		}
	}
	if _, err := l.Append(ctx, 0, b.event(domain.Stream{Agent: agent.Agent}), ""); err == nil {
		t.Error("append for no account: got no error")
	}
	if found, err := scan(ctx, l, domain.Scan{Partition: partitionOf(l, agent), Agent: agent.Agent}); err == nil {
		t.Errorf("scan an agent of no account: got %d records and no error", len(found))
	}
	for _, r := range []domain.Record{b.decision(account), b.spending(account)} {
		if _, err := l.Append(ctx, 0, r, ""); err == nil {
			t.Error("append a decision of no agent: got no error")
		}
	}
	mustHold(ctx, t, l, agent, mine)
}

func decisionsDoNotMove(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	in := []domain.Record{b.decision(agent), b.event(agent), b.decision(agent), b.decision(agent), b.event(agent), b.decision(agent)}
	mustAppend(ctx, t, l, 0, in[0], "") // guarded by a stream that has no event
	one := mustAppend(ctx, t, l, 0, in[1], "")
	mustAppend(ctx, t, l, one.Position.Seq, in[2], "")
	mustAppend(ctx, t, l, one.Position.Seq, in[3], "")
	two := mustAppend(ctx, t, l, one.Position.Seq, in[4], "")
	mustBeMoved(ctx, t, l, one.Position.Seq, b.decision(agent))
	mustAppend(ctx, t, l, two.Position.Seq, in[5], "")
	sameSeqs(t, mustLoad(ctx, t, l, agent, 0, 2), one, two)
	mustHold(ctx, t, l, agent, in...)
}

func oneWins(ctx context.Context, t *testing.T, b *bench) {
	const versions, rivals = 5, 12
	l := b.open(t)
	var winners []domain.Record
	var last uint64
	for range versions {
		records := make([]domain.Record, rivals)
		receipts := make([]domain.Receipt, rivals)
		errs := make([]error, rivals)
		var wg sync.WaitGroup
		for i := range rivals {
			records[i] = b.event(agent)
			wg.Go(func() { receipts[i], errs[i] = l.Append(ctx, last, records[i], "") })
		}
		wg.Wait()
		won := 0
		on := last
		for i, err := range errs {
			switch {
			case err == nil:
				won++
				winners = append(winners, records[i])
				last = receipts[i].Position.Seq
			case !errors.Is(err, domain.ErrMoved):
				t.Errorf("append on %d: got %v, want %v", on, err, domain.ErrMoved)
			}
		}
		if won != 1 {
			t.Fatalf("append on %d: got %d winners, want 1", on, won)
		}
	}
	mustHold(ctx, t, l, agent, winners...)
}

// decisionsAllLand has decisions and the events that outdate them race. That
// each was made on the newest version is what the check of the whole log is for.
func decisionsAllLand(ctx context.Context, t *testing.T, b *bench) {
	const writers, each = 8, 4
	l := b.open(t)
	lists := make([][]domain.Record, writers+1)
	for i := range writers {
		for range each {
			lists[i] = append(lists[i], b.decision(agent))
		}
	}
	for range each {
		lists[writers] = append(lists[writers], b.event(agent))
	}
	mustHold(ctx, t, l, agent, race(ctx, t, lists, l)...)
}

// race puts each list from a goroutine of its own, the logs in turn, and
// returns all records.
func race(ctx context.Context, t *testing.T, lists [][]domain.Record, logs ...Log) (all []domain.Record) {
	var wg sync.WaitGroup
	for i, list := range lists {
		all = append(all, list...)
		l := logs[i%len(logs)]
		wg.Go(func() {
			for _, r := range list {
				if _, err := Put(ctx, l, r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return all
}

// givenUp ends the context of an append somewhere on its way.
func givenUp(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	var in []domain.Record
	var last uint64
	for i := range 20 {
		r := b.event(agent)
		if i%2 == 0 {
			r = b.decision(agent)
		}
		in = append(in, r)
		attempt, giveUp := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(giveUp)
		if _, err := l.Append(attempt, last, r, string(r.ID)); errors.Is(err, domain.ErrMoved) {
			t.Errorf("append %s: got %v, but nobody else writes", r.ID, err)
		}
		wg.Wait()
		if at := mustPut(ctx, t, l, r).Position; i%2 == 1 {
			last = at.Seq
		}
	}
	mustHold(ctx, t, l, agent, in...)

	ended, end := context.WithCancel(ctx)
	end()
	if _, err := l.Append(ended, last, b.event(agent), ""); err == nil || errors.Is(err, domain.ErrMoved) {
		t.Errorf("append when the context has ended: got %v, want its error", err)
	}
}

func mustAppend(ctx context.Context, t *testing.T, l Log, last uint64, r domain.Record, dedupe string) domain.Receipt {
	t.Helper()
	receipt, err := l.Append(ctx, last, r, dedupe)
	if err != nil {
		t.Fatalf("append %s on %d: %v", r.ID, last, err)
	}
	if receipt.Duplicate {
		t.Fatalf("append %s on %d: got a duplicate, of %d", r.ID, last, receipt.Position.Seq)
	}
	return receipt
}

func mustBeMoved(ctx context.Context, t *testing.T, l Log, last uint64, r domain.Record) {
	t.Helper()
	if receipt, err := l.Append(ctx, last, r, ""); !errors.Is(err, domain.ErrMoved) {
		t.Fatalf("append %s on %d: got %+v and error %v, want %v", r.ID, last, receipt, err, domain.ErrMoved)
	}
}
