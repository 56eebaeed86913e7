package projections

import (
	"context"
	"errors"
	"iter"

	"github.com/behalf-platform/behalf/domain"
)

// Scanner is a log's Scan: it calls yield with the records that match, oldest
// first, or with the error in place of one, and returns the first error yield
// does.
type Scanner func(ctx context.Context, q domain.Scan, yield func(domain.Recorded, error) error) error

// Read hands over what a [Replay] of the range needs of a partition, up to
// through: of one agent what is its own, and what its account's agents spend
// together once it takes part in that; of a range that begins late, only what
// moves a stream before it. Each stream comes in order, and no decision before
// what it stands on. Begins is a sequence before which nothing is in the range
// by its times, 0 if none is known.
func (g *Range) Read(ctx context.Context, scan Scanner, partition uint16, begins, through uint64, take func(domain.Recorded, error) error) error {
	all := domain.Scan{Partition: partition, Account: g.Account, Agent: g.Agent, Through: through}
	if g.Agent != "" {
		all.Only = domain.OnlyAgents
		b := &budgetsBeside{ctx: ctx, scan: scan, of: domain.Scan{Only: domain.OnlyBudgets, Partition: partition, Account: g.Account, Through: through}, take: take}
		defer b.end()
		take = b.before
	} else {
		all.Account = "" // what is of others is passed over sooner than searched for
	}
	if all.From = max(g.From, begins); all.From > through {
		return nil // nothing is in the range
	}
	if all.From > 1 {
		before := all
		before.Only, before.Account, before.From, before.Through = domain.OnlyPassports, g.Account, 0, all.From-1
		if err := scan(ctx, before, take); err != nil {
			return err
		}
		if before.Only = domain.OnlyBudgets; g.Agent == "" {
			if err := scan(ctx, before, take); err != nil {
				return err
			}
		}
	}
	return scan(ctx, all, take)
}

// budgetsBeside reads what accounts' agents spend together beside the records of
// an agent, from where the agent takes part in it.
type budgetsBeside struct {
	ctx  context.Context
	scan Scanner
	of   domain.Scan
	take func(domain.Recorded, error) error

	next func() (domain.Recorded, error, bool) // nil until it is begun
	stop func()
	// record and err come next, unless over.
	record domain.Recorded
	err    error
	over   bool
}

// before takes a record, after those of the budgets that came before it.
func (b *budgetsBeside) before(r domain.Recorded, err error) error {
	if err == nil && b.next == nil && shares(r.Event) {
		b.next, b.stop = iter.Pull2(b.each)
		b.record, b.err, b.over = b.advance()
	}
	for b.next != nil && !b.over && sequenceOf(&b.record, b.err) < sequenceOf(&r, err) {
		if err := b.take(b.record, b.err); err != nil {
			return err
		}
		b.record, b.err, b.over = b.advance()
	}
	return b.take(r, err)
}

func (b *budgetsBeside) advance() (domain.Recorded, error, bool) {
	r, err, ok := b.next()
	return r, err, !ok
}

// errUnwanted ends a scan nobody wants more of.
var errUnwanted = errors.New("nobody wants more")

// each is the budgets' records, or why there are no more as the last one.
func (b *budgetsBeside) each(yield func(domain.Recorded, error) bool) {
	err := b.scan(b.ctx, b.of, func(r domain.Recorded, err error) error {
		if !yield(r, err) {
			return errUnwanted
		}
		return nil
	})
	if err != nil && !errors.Is(err, errUnwanted) {
		yield(domain.Recorded{}, err)
	}
}

func (b *budgetsBeside) end() {
	if b.stop != nil {
		b.stop()
	}
}

// shares reports whether an event says that its agent takes part in what its
// account's agents spend together, or stands on it.
func shares(e domain.Event) bool {
	switch e.Kind() {
	case domain.KindAgentBudgetShared:
		return true
	case domain.KindDecisionMade:
		d, ok := e.(domain.DecisionMade)
		return ok && d.BudgetVersion != 0
	}
	return false
}

// sequenceOf is where a record is, or an error in place of one. Any other error
// comes before all.
func sequenceOf(r *domain.Recorded, err error) uint64 {
	if unreadable, ok := errors.AsType[*domain.Unreadable](err); ok {
		return unreadable.Position.Seq
	}
	return r.Position.Seq
}
