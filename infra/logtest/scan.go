package logtest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

func scanEverything(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	partition := partitionOf(l, agent)
	sameSeqs(t, mustScan(ctx, t, l, domain.Scan{Partition: partition}))
	var in []domain.Record
	var receipts []domain.Receipt
	for range 3 {
		for _, r := range []domain.Record{b.event(agent), b.decision(agent), b.event(account), b.decision(other), b.event(budget), b.spending(agent)} {
			in = append(in, r)
			receipts = append(receipts, mustPut(ctx, t, l, r))
		}
	}
	sameSeqs(t, mustHold(ctx, t, l, agent, in...), receipts...)
	for p := range uint16(l.Partitions()) {
		if p != partition {
			sameSeqs(t, mustScan(ctx, t, l, domain.Scan{Partition: p}))
		}
	}
}

func scanBounds(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	var all []domain.Receipt
	for i := range 6 {
		r := b.decision(agent)
		switch {
		case i%3 == 0:
			r = b.event(agent)
		case i%2 == 0:
			r = b.spending(agent)
		}
		all = append(all, mustPut(ctx, t, l, r))
	}
	seq := func(i int) uint64 { return all[i].Position.Seq }
	for _, c := range []struct {
		name          string
		from, through uint64
		want          []domain.Receipt
	}{
		{"no bounds", 0, 0, all},
		{"from the first", seq(0), 0, all},
		{"from one on", seq(2), 0, all[2:]},
		{"up to one", 0, seq(3), all[:4]},
		{"between", seq(1), seq(4), all[1:5]},
		{"just one", seq(3), seq(3), all[3:4]},
		{"to beyond the end", seq(4), seq(5) + 100, all[4:]},
		{"beyond the end", seq(5) + 1, 0, nil},
		{"far beyond the end", seq(5) + 100, seq(5) + 200, nil},
		{"upside down", seq(4), seq(2), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := domain.Scan{Partition: partitionOf(l, agent), From: c.from, Through: c.through}
			sameSeqs(t, mustScan(ctx, t, l, q), c.want...)
			q.Account, q.Agent = agent.Account, agent.Agent
			decided := slices.Clone(c.want)
			decided = slices.DeleteFunc(decided, func(r domain.Receipt) bool {
				return r == all[0] || r == all[3] // the events
			})
			sameSeqs(t, mustScan(ctx, t, l, q), decided...)
		})
	}
}

func scanAccount(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	put := func(r domain.Record) domain.Receipt { return mustPut(ctx, t, l, r) }
	put(b.event(agent))
	one := put(b.decision(agent))
	two := put(b.decision(other))
	put(b.event(account))
	three := put(b.spending(agent))
	put(b.event(budget))
	four := put(b.decision(agent))
	// What follows is no decision, or of others: a scan must end all the same.
	stranger := neighbour(l)
	put(b.event(stranger))
	theirs := put(b.decision(stranger))
	put(b.event(agent))
	put(b.event(other))
	undecided := domain.Stream{Account: agent.Account, Agent: "agent_c"}
	put(b.event(undecided))

	q := func(s domain.Stream) domain.Scan {
		return domain.Scan{Partition: partitionOf(l, agent), Account: s.Account, Agent: s.Agent}
	}
	sameSeqs(t, mustScan(ctx, t, l, q(account)), one, two, three, four)
	sameSeqs(t, mustScan(ctx, t, l, q(agent)), one, three, four)
	sameSeqs(t, mustScan(ctx, t, l, q(other)), two)
	sameSeqs(t, mustScan(ctx, t, l, q(stranger)), theirs)
	sameSeqs(t, mustScan(ctx, t, l, q(undecided)))
	sameSeqs(t, mustScan(ctx, t, l, q(domain.Stream{Account: agent.Account, Agent: "agent_d"})))
	sameSeqs(t, mustScan(ctx, t, l, q(domain.Stream{Account: "acct_none"})))
}

// scanOnly asks for what a fold needs, of all, of an account, of an agent and of
// all agents of one name.
func scanOnly(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	put := func(r domain.Record) domain.Receipt { return mustPut(ctx, t, l, r) }
	stranger := neighbour(l)
	stranger.Agent = agent.Agent
	all := []domain.Receipt{
		put(b.event(account)), put(b.event(agent)), put(b.decision(agent)), put(b.event(budget)), put(b.event(other)), put(b.spending(agent)),
		put(b.decision(other)), put(b.event(stranger)), put(b.decision(stranger)), put(b.event(budget)), put(b.event(account)),
	}
	partition := partitionOf(l, agent)
	for _, c := range []struct {
		only domain.Only
		of   domain.Stream
		want []int
	}{
		{domain.OnlyAgents, domain.Stream{}, []int{1, 2, 4, 5, 6, 7, 8}},
		{domain.OnlyAgents, account, []int{1, 2, 4, 5, 6}},
		{domain.OnlyAgents, agent, []int{1, 2, 5}},
		{domain.OnlyAgents, domain.Stream{Agent: agent.Agent}, []int{1, 2, 5, 7, 8}},
		{domain.OnlyAgents, domain.Stream{Account: "acct_none"}, nil},
		{domain.OnlyPassports, domain.Stream{}, []int{1, 4, 5, 7}},
		{domain.OnlyPassports, account, []int{1, 4, 5}},
		{domain.OnlyPassports, agent, []int{1, 5}},
		{domain.OnlyPassports, domain.Stream{Agent: agent.Agent}, []int{1, 5, 7}},
		{domain.OnlyAccounts, domain.Stream{}, []int{0, 3, 9, 10}},
		{domain.OnlyAccounts, account, []int{0, 3, 9, 10}},
		{domain.OnlyAccounts, agent, []int{0, 3, 9, 10}},
		{domain.OnlyAccounts, domain.Stream{Account: stranger.Account}, nil},
		{domain.OnlyBudgets, domain.Stream{}, []int{3, 9}},
		{domain.OnlyBudgets, account, []int{3, 9}},
		{domain.OnlyBudgets, agent, []int{3, 9}},
		{domain.OnlyBudgets, domain.Stream{Account: stranger.Account}, nil},
	} {
		q := domain.Scan{Partition: partition, Only: c.only, Account: c.of.Account, Agent: c.of.Agent}
		var want, early []domain.Receipt
		for _, i := range c.want {
			want = append(want, all[i])
			if i <= 4 {
				early = append(early, all[i])
			}
		}
		sameSeqs(t, mustScan(ctx, t, l, q), want...)
		q.Most = 2
		sameSeqs(t, mustScan(ctx, t, l, q), want[:min(len(want), 2)]...)
		q.Most = 0
		q.Through = all[4].Position.Seq
		sameSeqs(t, mustScan(ctx, t, l, q), early...)
		q.From, q.Through = all[5].Position.Seq, 0
		sameSeqs(t, mustScan(ctx, t, l, q), want[len(early):]...)
	}
	for _, q := range []domain.Scan{
		{Only: "everything"},
		{Only: domain.OnlyAgents, Account: "*"},
		{Only: domain.OnlyPassports, Agent: ">"},
		{Only: domain.OnlyBudgets, Account: "a.b"},
		{Only: domain.OnlyAgents, Agent: "*"},
	} {
		q.Partition = partition
		if found, err := scan(ctx, l, q); err == nil {
			t.Errorf("scan %+v: got %d records and no error, want one", q, len(found))
		}
	}
}

// scanLive sees what was there, then what comes, and ends with its context.
func scanLive(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	for _, q := range []domain.Scan{
		{Partition: partitionOf(l, agent), Live: true},
		{Partition: partitionOf(l, agent), Live: true, Account: agent.Account, Agent: agent.Agent},
	} {
		q.From = mustStatus(ctx, t, l, agent).Head + 1
		first := mustPut(ctx, t, l, b.decision(agent))
		scanning, stop := context.WithCancel(ctx)
		out, done := make(chan handed), make(chan error, 1)
		go func() {
			done <- l.Scan(scanning, q, func(r domain.Recorded, err error) error {
				select {
				case out <- handed{r, err}:
					return nil
				case <-scanning.Done():
					return scanning.Err()
				}
			})
		}()
		for _, want := range []domain.Receipt{first, mustPut(ctx, t, l, b.spending(agent)), mustPut(ctx, t, l, b.decision(agent))} {
			if h := mustTake(ctx, t, out); h.err != nil || h.record.Position != want.Position {
				t.Errorf("live scan: got %+v and error %v, want %+v", h.record.Position, h.err, want.Position)
			}
		}
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("live scan: got %v, want %v", err, context.Canceled)
		}
	}
}

func scanEndsWithError(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	for range 3 {
		mustPut(ctx, t, l, b.decision(agent))
	}
	enough := errors.New("enough")
	calls := 0
	err := l.Scan(ctx, domain.Scan{Partition: partitionOf(l, agent)}, func(domain.Recorded, error) error {
		if calls++; calls == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || calls != 2 {
		t.Errorf("scan: got %v after %d calls, want %v after 2", err, calls, enough)
	}
}

func sequenceByTime(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	partition := partitionOf(l, agent)
	check := func(at time.Time, want uint64) {
		t.Helper()
		if got, err := l.SeqAt(ctx, partition, at); err != nil || got != want {
			t.Errorf("sequence at %s: got %d and error %v, want %d", at, got, err, want)
		}
	}
	check(time.Unix(0, 0), 1)
	var in []domain.Record
	for range 3 {
		in = append(in, b.event(agent), b.decision(agent))
	}
	for _, r := range in {
		mustPut(ctx, t, l, r)
	}
	records := mustHold(ctx, t, l, agent, in...)
	for _, r := range records {
		// Two may have been stored at the same time.
		at := slices.IndexFunc(records, func(o domain.Recorded) bool { return !o.LoggedAt.Before(r.LoggedAt) })
		check(r.LoggedAt, records[at].Position.Seq)
	}
	newest := records[len(records)-1]
	check(time.Unix(0, 0), records[0].Position.Seq)
	check(newest.LoggedAt.Add(time.Hour), newest.Position.Seq+1)

	s := mustStatus(ctx, t, l, agent)
	if s.Answered.Before(s.Asked) || s.Clock.Before(newest.LoggedAt) {
		t.Errorf("got %+v, want a clock that was read after %s", s, newest.LoggedAt)
	}
}

func badPartitionsAreRefused(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	none := uint16(l.Partitions())
	_, err := l.Status(ctx, none)
	_, seqErr := l.SeqAt(ctx, none, time.Now())
	for name, err := range map[string]error{
		"status": err,
		"seq at": seqErr,
		"scan":   l.Scan(ctx, domain.Scan{Partition: none, Live: true}, func(domain.Recorded, error) error { return nil }),
		"follow": l.Follow(ctx, none, 0, func(domain.Recorded, error) error { return nil }),
	} {
		if err == nil || ctx.Err() != nil {
			t.Errorf("%s of partition %d of %d: got error %v, want one at once", name, none, l.Partitions(), err)
		}
	}
}

func firstAccount(_ context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	first := l.FirstAccount()
	if l.Partitions() < 1 || !domain.ValidID(string(first)) || domain.PartitionOf(first, l.Partitions()) != 0 {
		t.Errorf("got first account %q of %d partitions, want an id in partition 0", first, l.Partitions())
	}
}
