package logtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/behalf-platform/behalf/domain"
)

// PutAll appends records together on the newest versions of their streams,
// however often it takes, as [Put] does one. They are stored once.
func PutAll(ctx context.Context, l Log, records ...domain.Record) ([]domain.Receipt, error) {
	all := make([]domain.Guarded, len(records))
	for i, r := range records {
		all[i].Record = r
	}
	for {
		receipts, err := attemptAll(ctx, l, all)
		if err == nil {
			return receipts, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("put %s and more: %w, after: %w", records[0].ID, context.Cause(ctx), err)
		}
		if !errors.Is(err, errLost) {
			pause(ctx)
		}
	}
}

// attemptAll looks whether the records are there, and appends them on what it
// has seen if they aren't. The first one must move its stream.
func attemptAll(ctx context.Context, l Log, all []domain.Guarded) ([]domain.Receipt, error) {
	ctx, giveUp := context.WithTimeout(ctx, patience)
	defer giveUp()
	for i := range all {
		newer, err := l.Load(ctx, all[i].Stream(), all[i].Last)
		if err != nil {
			return nil, err
		}
		for _, e := range newer {
			all[i].Last = e.Position.Seq
			if i == 0 && e.ID == all[0].ID {
				return inARow(e.Position, len(all)), nil
			}
		}
	}
	receipts, err := l.AppendAll(ctx, all, string(all[0].ID))
	if err == nil && receipts[0].Duplicate {
		return inARow(receipts[0].Position, len(all)), nil
	}
	return receipts, err
}

// inARow is where records are that were stored together.
func inARow(first domain.Position, n int) []domain.Receipt {
	receipts := make([]domain.Receipt, n)
	for i := range receipts {
		receipts[i].Position = first
		first.Seq++
	}
	return receipts
}

func mustPutAll(ctx context.Context, t *testing.T, l Log, records ...domain.Record) []domain.Receipt {
	t.Helper()
	receipts, err := PutAll(ctx, l, records...)
	if err != nil {
		t.Fatal(err)
	}
	return receipts
}

// mustAppendAll appends records and checks that they lie in a row.
func mustAppendAll(ctx context.Context, t *testing.T, l Log, dedupe string, records ...domain.Guarded) []domain.Receipt {
	t.Helper()
	receipts, err := l.AppendAll(ctx, records, dedupe)
	if err != nil {
		t.Fatalf("append %d records: %v", len(records), err)
	}
	if !slices.Equal(receipts, inARow(receipts[0].Position, len(records))) {
		t.Fatalf("append %d records: got receipts %+v, want one for each, in a row", len(records), receipts)
	}
	return receipts
}

// on is a record that stands on a version.
func on(last uint64, r domain.Record) domain.Guarded { return domain.Guarded{Record: r, Last: last} }

func allOrNone(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	from := mustFollow(ctx, t, l, agent, 0)
	registered, limited := b.event(agent), b.event(budget)
	v, w := mustAppend(ctx, t, l, 0, registered, ""), mustAppend(ctx, t, l, 0, limited, "")
	from.mustSee(ctx, t, v, w)
	agentOn, budgetOn := v.Position.Seq, w.Position.Seq
	in := []domain.Record{registered, limited}
	for range 3 {
		for name, refused := range map[string][]domain.Guarded{
			"the first guard":  {on(agentOn+1, b.spending(agent)), on(budgetOn, b.event(budget))},
			"the second guard": {on(agentOn, b.spending(agent)), on(budgetOn-1, b.event(budget))},
			"both guards":      {on(0, b.spending(agent)), on(0, b.event(budget))},
			"the other way round": {
				on(budgetOn, b.event(budget)), on(agentOn-1, b.spending(agent)),
			},
			"the last of three": {
				on(agentOn, b.spending(agent)), on(budgetOn, b.event(budget)), on(budgetOn, b.event(account)),
			},
			"a decision that changes nothing": {on(budgetOn, b.event(budget)), on(agentOn-1, b.decision(agent))},
		} {
			if receipts, err := l.AppendAll(ctx, refused, ""); !errors.Is(err, domain.ErrMoved) || len(receipts) > 0 {
				t.Fatalf("%s: got %+v and error %v, want %v", name, receipts, err, domain.ErrMoved)
			}
		}
		spent, charged := b.spending(agent), b.event(budget)
		receipts := mustAppendAll(ctx, t, l, string(spent.ID), on(agentOn, spent), on(budgetOn, charged))
		from.mustSee(ctx, t, receipts...)
		sameSeqs(t, mustLoad(ctx, t, l, agent, agentOn, 1), receipts[0])
		sameSeqs(t, mustLoad(ctx, t, l, budget, budgetOn, 1), receipts[1])
		agentOn, budgetOn = receipts[0].Position.Seq, receipts[1].Position.Seq
		in = append(in, spent, charged)
	}
	// One of each kind of stream, and a record that lies beside its stream.
	three := []domain.Record{b.decision(agent), b.event(budget), b.event(account)}
	receipts := mustAppendAll(ctx, t, l, "", on(agentOn, three[0]), on(budgetOn, three[1]), on(0, three[2]))
	from.mustSee(ctx, t, receipts[1:]...)
	in = append(in, three...)
	// The next ones stand on them.
	next := []domain.Record{b.event(agent), b.event(budget)}
	mustAppend(ctx, t, l, agentOn, next[0], "")
	mustAppend(ctx, t, l, receipts[1].Position.Seq, next[1], "")
	mustHold(ctx, t, l, agent, append(in, next...)...)
}

func allMustBelongTogether(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	stranger := neighbour(l)
	strangers := domain.Stream{Account: stranger.Account, Budget: true}
	noAgent := b.spending(agent)
	noAgent.Agent = ""
	badAgent := b.spending(agent)
	badAgent.Agent = "*"
	for name, records := range map[string][]domain.Guarded{
		"nothing":                       {},
		"two accounts":                  {on(0, b.spending(agent)), on(0, b.event(strangers))},
		"two of one stream":             {on(0, b.event(agent)), on(0, b.spending(agent))},
		"two of one stream, one beside": {on(0, b.event(agent)), on(0, b.event(budget)), on(0, b.decision(agent))},
		"a decision of no agent":        {on(0, noAgent), on(0, b.event(budget))},
		"what is no id":                 {on(0, b.event(budget)), on(0, badAgent)},
		"what is no event":              {on(0, b.event(budget)), on(0, b.record(agent))},
	} {
		if receipts, err := l.AppendAll(ctx, records, ""); err == nil || errors.Is(err, domain.ErrMoved) || len(receipts) > 0 {
			t.Errorf("%s: got %+v and error %v, want an error", name, receipts, err)
		}
	}
	only := b.spending(agent)
	one := mustAppendAll(ctx, t, l, "name", on(0, only))
	if receipts, err := l.AppendAll(ctx, []domain.Guarded{on(0, b.event(other))}, "name"); err != nil ||
		!slices.Equal(receipts, []domain.Receipt{{Position: one[0].Position, Duplicate: true}}) {
		t.Errorf("one record again: got %+v and error %v, want a duplicate of %+v", receipts, err, one[0].Position)
	}
	mustHold(ctx, t, l, agent, only)
}

// namedTogether repeats what has a name, in each way in which it can be.
func namedTogether(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	in := []domain.Record{b.spending(agent), b.event(budget)}
	first := mustAppendAll(ctx, t, l, "name", on(0, in[0]), on(0, in[1]))
	v, w := first[0].Position.Seq, first[1].Position.Seq
	repeats(ctx, t, l, b, first[0], v, w)

	// Names are those of single appends too, and known when the streams have moved.
	mustBeDuplicate(ctx, t, l, v, b.decision(agent), "name", first[0])
	mustBeDuplicate(ctx, t, l, 0, b.event(account), "name", first[0])
	mustBeDuplicate(ctx, t, l, v, b.event(agent), "name", first[0])
	alone := b.decision(agent)
	plain := mustAppend(ctx, t, l, v, alone, "single")
	for _, last := range []uint64{v, 0} {
		mustRepeat(ctx, t, l, "single", plain, on(last, b.spending(agent)), on(w, b.event(budget)))
	}
	next := []domain.Record{b.event(agent), b.event(budget)}
	v, w = mustAppend(ctx, t, l, v, next[0], "").Position.Seq, mustAppend(ctx, t, l, w, next[1], "").Position.Seq
	repeats(ctx, t, l, b, first[0], v, w)

	// It names the first, not the others.
	last := []domain.Record{b.spending(agent), b.event(budget)}
	mustAppendAll(ctx, t, l, "another", on(v, last[0]), on(w, last[1]))
	mustHold(ctx, t, l, agent, slices.Concat(in, []domain.Record{alone}, next, last)...)
}

func repeats(ctx context.Context, t *testing.T, l Log, b *bench, first domain.Receipt, v, w uint64) {
	t.Helper()
	for _, records := range [][]domain.Guarded{
		{on(0, b.spending(agent)), on(0, b.event(budget))},
		{on(v, b.spending(agent)), on(w, b.event(budget))},
		{on(v, b.spending(agent)), on(0, b.event(budget))},
		{on(w, b.event(budget)), on(v, b.spending(agent))},
		{on(0, b.event(other)), on(w, b.event(budget)), on(0, b.event(account))},
	} {
		mustRepeat(ctx, t, l, "name", first, records...)
	}
}

func mustRepeat(ctx context.Context, t *testing.T, l Log, name string, first domain.Receipt, records ...domain.Guarded) {
	t.Helper()
	receipts, err := l.AppendAll(ctx, records, name)
	if want := []domain.Receipt{{Position: first.Position, Duplicate: true}}; err != nil || !slices.Equal(receipts, want) {
		t.Fatalf("append all %q again: got %+v and error %v, want %+v", name, receipts, err, want)
	}
}

// nameTogetherOnce has many callers repeat one request at once.
func nameTogetherOnce(ctx context.Context, t *testing.T, b *bench) {
	const callers = 24
	l := b.open(t)
	first := make([]domain.Receipt, callers)
	var wg sync.WaitGroup
	for i := range callers {
		records := []domain.Guarded{on(0, b.spending(agent)), on(0, b.event(budget))}
		wg.Go(func() {
			for ctx.Err() == nil {
				if receipts, err := l.AppendAll(ctx, records, "name"); err == nil {
					first[i] = receipts[0]
					return
				} else if !errors.Is(err, domain.ErrMoved) && !errors.Is(err, errLost) {
					t.Errorf("append all: %v", err)
				}
				pause(ctx)
			}
			t.Error("append all: it takes too long")
		})
	}
	wg.Wait()
	stored := 0
	for _, r := range first {
		if r.Position != first[0].Position {
			t.Errorf("got positions %+v and %+v for one name", r.Position, first[0].Position)
		}
		if !r.Duplicate {
			stored++
		}
	}
	if stored > 1 || stored == 0 && b.fate != written {
		t.Errorf("got %d receipts that are no duplicates, want 1", stored)
	}
	sameSeqs(t, mustScan(ctx, t, l, domain.Scan{Partition: partitionOf(l, agent)}), inARow(first[0].Position, 2)...)
}

// oneOfAllWins has batches and single appends meet on each version of a budget,
// and one of them wins.
func oneOfAllWins(ctx context.Context, t *testing.T, b *bench) {
	const versions, rivals = 4, 12
	l := b.open(t)
	var winners []domain.Record
	var budgetOn uint64
	for range versions {
		all := make([][]domain.Guarded, rivals)
		receipts := make([][]domain.Receipt, rivals)
		errs := make([]error, rivals)
		var wg sync.WaitGroup
		for i := range rivals {
			own := domain.Stream{Account: account.Account, Agent: domain.AgentID(fmt.Sprintf("agent_%d_%d", budgetOn, i))}
			all[i] = []domain.Guarded{on(budgetOn, b.event(budget))}
			switch i % 3 {
			case 0:
				all[i] = append(all[i], on(0, b.spending(own)))
			case 1:
				all[i] = slices.Insert(all[i], 0, on(0, b.spending(own)))
			}
			wg.Go(func() { receipts[i], errs[i] = l.AppendAll(ctx, all[i], "") })
		}
		wg.Wait()
		won := 0
		version := budgetOn
		for i, err := range errs {
			switch {
			case err == nil:
				won++
				for j, r := range all[i] {
					winners = append(winners, r.Record)
					if r.Stream() == budget {
						budgetOn = receipts[i][j].Position.Seq
					}
				}
			case !errors.Is(err, domain.ErrMoved):
				t.Errorf("append all on %d: got %v, want %v", version, err, domain.ErrMoved)
			}
		}
		// A replicated log may refuse all who come at once, but only as if they
		// had moved.
		if won != 1 {
			t.Fatalf("append all on %d: got %d winners, want 1", version, won)
		}
	}
	mustHold(ctx, t, l, agent, winners...)
}

// chargesAllLand has agents of one account spend at once, on several nodes, with
// single appends to the same streams in between.
func chargesAllLand(ctx context.Context, t *testing.T, b *bench, logs ...Log) {
	const writers, each = 6, 4
	var all []domain.Record
	var wg sync.WaitGroup
	for i := range writers {
		l := logs[i%len(logs)]
		s := []domain.Stream{agent, other}[i%2]
		var pairs [][]domain.Record
		for range each {
			pair := []domain.Record{b.spending(s), b.event(budget)}
			single := []domain.Record{b.event(budget), b.event(s), b.decision(s)}[i%3]
			all = append(append(all, pair...), single)
			pairs = append(pairs, pair, []domain.Record{single})
		}
		wg.Go(func() {
			for _, p := range pairs {
				var err error
				if len(p) == 1 {
					_, err = Put(ctx, l, p[0])
				} else {
					_, err = PutAll(ctx, l, p...)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	records := mustHold(ctx, t, logs[0], agent, all...)
	for i, r := range records {
		if d, is := r.Event.(domain.DecisionMade); is && d.Spends && (i+1 == len(records) || records[i+1].Stream() != budget) {
			t.Errorf("the decision at %d is not followed by its charge", r.Position.Seq)
		}
	}
	var charges []domain.Receipt
	for _, r := range records {
		if r.Stream() == budget {
			charges = append(charges, domain.Receipt{Position: r.Position})
		}
	}
	for _, l := range logs {
		sameSeqs(t, mustLoad(ctx, t, l, budget, 0, len(charges)), charges...)
	}
}

func batchesAgainstSingles(ctx context.Context, t *testing.T, b *bench) {
	chargesAllLand(ctx, t, b, b.open(t))
}

func twoNodesSpend(ctx context.Context, t *testing.T, b *bench) {
	one := b.open(t)
	chargesAllLand(ctx, t, b, one, b.join(t, one))
}

// manyTogether has more callers than the server takes batches, none of which
// are in each other's way.
func manyTogether(ctx context.Context, t *testing.T, b *bench) {
	const callers = 70
	l := b.open(t)
	pairs := make([][]domain.Record, callers)
	var all []domain.Record
	for i := range pairs {
		s := domain.Stream{Account: account.Account, Agent: domain.AgentID(fmt.Sprintf("agent_%d", i))}
		pairs[i] = []domain.Record{b.spending(s), b.event(domain.Stream{Account: s.Account, Agent: s.Agent + "_x"})}
		all = append(all, pairs[i]...)
	}
	var wg sync.WaitGroup
	for _, p := range pairs {
		wg.Go(func() {
			if _, err := l.AppendAll(ctx, []domain.Guarded{on(0, p[0]), on(0, p[1])}, string(p[0].ID)); errors.Is(err, domain.ErrMoved) {
				t.Errorf("append all: got %v, but nobody is in the way", err)
			} else if err == nil {
				return
			}
			if _, err := PutAll(ctx, l, p...); err != nil { // it took too long
				t.Error(err)
			}
		})
	}
	wg.Wait()
	mustHold(ctx, t, l, agent, all...)
}

// allGivenUp ends the context of appends somewhere on their way. Whatever became
// of one, it is not half there.
func allGivenUp(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	var in []domain.Record
	for range 20 {
		pair := []domain.Record{b.spending(agent), b.event(budget)}
		in = append(in, pair...)
		var lasts [2]uint64
		for i, s := range []domain.Stream{agent, budget} {
			if n := len(in)/2 - 1; n > 0 {
				loaded := mustLoad(ctx, t, l, s, 0, n)
				lasts[i] = loaded[len(loaded)-1].Position.Seq
			}
		}
		attempt, giveUp := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(giveUp)
		_, err := l.AppendAll(attempt, []domain.Guarded{on(lasts[0], pair[0]), on(lasts[1], pair[1])}, string(pair[0].ID))
		if errors.Is(err, domain.ErrMoved) {
			t.Errorf("append all: got %v, but nobody else writes", err)
		}
		wg.Wait()
		mustPutAll(ctx, t, l, pair...)
	}
	mustHold(ctx, t, l, agent, in...)
}

func togetherAfterRestart(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	in := []domain.Record{b.spending(agent), b.event(budget)}
	first := mustAppendAll(ctx, t, l, "name", on(0, in[0]), on(0, in[1]))
	l = b.restart(t, l)
	sameSeqs(t, mustHold(ctx, t, l, agent, in...), first...)
	v, w := first[0].Position.Seq, first[1].Position.Seq
	repeats(ctx, t, l, b, first[0], v, w)
	if _, err := l.AppendAll(ctx, []domain.Guarded{on(v, b.spending(agent)), on(0, b.event(budget))}, ""); !errors.Is(err, domain.ErrMoved) {
		t.Errorf("append all on an old version: got %v, want %v", err, domain.ErrMoved)
	}
	next := []domain.Record{b.spending(agent), b.event(budget)}
	mustAppendAll(ctx, t, l, "another", on(v, next[0]), on(w, next[1]))
	mustHold(ctx, t, l, agent, append(in, next...)...)
}

// someDecisionsMove has each decision that changes what its agent may do next
// treated as an event, and the others as none.
func someDecisionsMove(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	from := mustFollow(ctx, t, l, agent, 0)
	opens, uses := b.spending(agent), b.spending(agent)
	d := opens.Event.(domain.DecisionMade)
	d.Spends, d.Outcome, d.ReasonCode, d.ApprovalID = false, domain.OutcomeRequiresApproval, "APPROVAL_REQUIRED", "apr_1"
	d.Gate = &domain.Gate{Digest: strings.Repeat("0", 64), MinRole: domain.RoleApprover, Quorum: 1}
	opens.Event = d
	d.Gate, d.Outcome, d.ReasonCode = nil, domain.OutcomeAllowed, "ALLOWED"
	uses.Event = d

	in := []domain.Record{b.event(agent)}
	v := mustPut(ctx, t, l, in[0])
	from.mustSee(ctx, t, v)
	all, decided := []domain.Receipt{v}, []domain.Receipt(nil)
	for _, r := range []domain.Record{b.spending(agent), opens, uses} {
		if !r.Moves() {
			t.Fatalf("decision %s changes nothing", r.ID)
		}
		beside := b.decision(agent)
		decided = append(decided, mustPut(ctx, t, l, beside))
		before := v.Position.Seq
		v = mustPut(ctx, t, l, r)
		from.mustSee(ctx, t, v)
		got := mustLoad(ctx, t, l, agent, before, 1)
		sameSeqs(t, got, v)
		sameRecord(t, got[0], r)
		for _, late := range []domain.Record{b.decision(agent), b.event(agent), b.spending(agent)} {
			mustBeMoved(ctx, t, sure(l), before, late)
		}
		after := b.decision(agent)
		decided = append(decided, v, mustAppend(ctx, t, sure(l), v.Position.Seq, after, ""))
		all = append(all, v)
		in = append(in, beside, r, after)
	}
	sameSeqs(t, mustLoad(ctx, t, l, agent, 0, len(all)), all...)
	for _, s := range []domain.Stream{agent, account} {
		q := domain.Scan{Partition: partitionOf(l, agent), Account: s.Account, Agent: s.Agent}
		sameSeqs(t, mustScan(ctx, t, l, q), decided...)
	}
	mustHold(ctx, t, l, agent, in...)
}

// budgetsAreApart moves the three kinds of streams of one account by turns.
func budgetsAreApart(ctx context.Context, t *testing.T, b *bench) {
	l := b.open(t)
	from := mustFollow(ctx, t, l, agent, 0)
	streams := []domain.Stream{budget, agent, account}
	chains := map[domain.Stream][]domain.Receipt{}
	lasts := map[domain.Stream]uint64{}
	var in []domain.Record
	for range 3 {
		for _, s := range streams {
			in = append(in, b.event(s))
			r := mustAppend(ctx, t, l, lasts[s], in[len(in)-1], "")
			mustBeMoved(ctx, t, l, lasts[s], b.event(s))
			lasts[s], chains[s] = r.Position.Seq, append(chains[s], r)
			from.mustSee(ctx, t, r)
			mustBecome(ctx, t, l, s, "followed at the head", func(s Status) bool { return s.Followed && s.Head == r.Position.Seq })
		}
	}
	for _, s := range streams {
		sameSeqs(t, mustLoad(ctx, t, l, s, 0, 3), chains[s]...)
	}
	sameSeqs(t, mustLoad(ctx, t, l, domain.Stream{Account: neighbour(l).Account, Budget: true}, 0, 0))
	sameSeqs(t, mustScan(ctx, t, l, domain.Scan{Partition: partitionOf(l, agent), Account: account.Account}))
	if loaded, err := l.Load(ctx, domain.Stream{Account: agent.Account, Agent: agent.Agent, Budget: true}, 0); err == nil {
		t.Errorf("load the budget of an agent: got %d events and no error", len(loaded))
	}
	again := mustFollow(ctx, t, l, agent, 0)
	again.mustSee(ctx, t, slices.Concat(chains[budget], chains[agent], chains[account])...)
	mustHold(ctx, t, l, agent, in...)
}
