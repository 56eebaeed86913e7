package handlers

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// Retentions says which decisions accounts don't keep.
type Retentions interface {
	// KeptSince is, for each account whose decisions go after a time, from when on
	// they are kept at a moment.
	KeptSince(now time.Time) map[domain.AccountID]time.Time
}

// Pruning is what a [Projector] needs to remove what accounts don't keep.
type Pruning struct {
	Retentions
	// Ready says why Retentions may not know the accounts' newest settings. Nil
	// means that it does.
	Ready func() error
	Now   func() time.Time
	// Every is how often it is looked what has to go, a minute if 0.
	Every time.Duration
}

// PruneEvery is how often it is looked what has to go, unless it is set.
const PruneEvery = time.Minute

// prune removes from views what accounts don't keep, a little of each, and
// reports whether all is gone that has to.
func (p *Projector) prune(ctx context.Context, views ...projections.View) (done bool, err error) {
	if p.Pruning == nil {
		return true, nil
	}
	if err := p.Pruning.Ready(); err != nil {
		return false, err
	}
	done = true
	for account, since := range p.Pruning.KeptSince(p.Pruning.Now()) {
		for _, v := range views {
			more, err := p.pruneOne(ctx, v, account, since)
			if err != nil {
				if ctx.Err() == nil {
					p.Logs.WarnContext(ctx, "remove what is not kept any more", slog.String("view", v.String()), slog.Any("error", err))
				}
				return false, err
			}
			done = done && !more
		}
	}
	return done, nil
}

func (p *Projector) pruneOne(ctx context.Context, v projections.View, account domain.AccountID, since time.Time) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, mostApply)
	defer cancel()
	return p.Store.Prune(ctx, v, account, since)
}

// pruner is when to prune next.
type pruner struct{ next time.Time }

// run prunes if it is time to, and says how soon to come again at the latest.
func (r *pruner) run(ctx context.Context, p *Projector, views []projections.View) time.Duration {
	const soon, later = 10 * time.Millisecond, time.Second
	if p.Pruning == nil {
		return time.Hour
	}
	now := p.Pruning.Now()
	if wait := r.next.Sub(now); wait > 0 {
		return wait
	}
	done, err := p.prune(ctx, views...)
	switch {
	case err != nil:
		return later
	case !done:
		return soon
	}
	every := cmp.Or(p.Pruning.Every, PruneEvery)
	r.next = now.Add(every)
	return every
}
