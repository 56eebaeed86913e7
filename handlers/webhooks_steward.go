package handlers

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/projections"
)

// WebhookSteward has replays begin that members have asked for, and records
// their end. What was asked is in the log, so that whatever stops in between,
// here or where it is sent, is done by whoever looks next. Each node may have
// one: what was begun already isn't begun again, and what is over ends once.
type WebhookSteward struct {
	Passports *projections.Passports
	Engine    *delivery.Engine
	Webhooks  *Webhooks
	Source    delivery.Source
	// Current is as that of the [WebhookRegistry]: before it returns, what was
	// cancelled or is over would seem to run, and would begin anew.
	Current func(ctx context.Context, partition uint16) error
	Logs    *slog.Logger
	// Every is how often it is looked how far replays are, 2s if 0.
	Every time.Duration
}

// Run tends replays until ctx ends. Endpoints are looked at beside each other: one
// that takes long delays no other one.
func (s *WebhookSteward) Run(ctx context.Context) error {
	w := rounds{WebhookSteward: s, turns: make(chan struct{}, mostTended), tended: map[tendedKey]*tended{}}
	defer w.running.Wait()
	for ctx.Err() == nil {
		changed := s.Passports.EndpointsChanged()
		rest := time.Hour
		if w.tend(ctx) {
			rest = s.every()
		}
		select {
		case <-changed:
		case <-time.After(rest):
		case <-ctx.Done():
		}
	}
	return nil
}

func (s *WebhookSteward) every() time.Duration { return cmp.Or(s.Every, 2*time.Second) }

const (
	// mostTended bounds the endpoints that are worked on at once.
	mostTended = 8
	// mostBackOff is the longest an endpoint is left alone after that failed.
	mostBackOff = 2 * time.Minute
	// remembered is how long what is kept of a replay stays after it is over.
	remembered = 7 * 24 * time.Hour
)

type tendedKey struct {
	account domain.AccountID
	id      domain.EndpointID
}

// tended is how it went with an endpoint.
type tended struct {
	busy bool
	// of is the endpoint as it was then, and open that something is to be looked
	// at again.
	of     *domain.Endpoint
	open   bool
	failed int       // how often in a row it has
	after  time.Time // when to look again
}

// rounds looks at all endpoints again and again.
type rounds struct {
	*WebhookSteward
	turns   chan struct{}
	running sync.WaitGroup

	mu sync.Mutex
	// tended is guarded by mu.
	tended map[tendedKey]*tended
}

// tend has all be worked on of which something is to be done, and reports whether
// there is or was any.
func (w *rounds) tend(ctx context.Context) (more bool) {
	current := make([]bool, w.Source.Partitions())
	for i := range current {
		current[i] = w.Current(ctx, uint16(i)) == nil
		more = more || !current[i]
	}
	stands := map[tendedKey]bool{}
	for _, id := range w.Passports.Accounts() {
		account, err := w.Passports.Account(id)
		if err != nil || !current[domain.PartitionOf(id, len(current))] {
			continue // that is told elsewhere
		}
		for _, e := range account.Endpoints {
			if len(e.Replays) == 0 {
				continue
			}
			key := tendedKey{id, e.ID}
			stands[key] = true
			more = w.take(ctx, key, e) || more
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.tended, func(k tendedKey, t *tended) bool { return !stands[k] && !t.busy })
	return more
}

// take has an endpoint be worked on, if it is due, and reports whether it is to
// be looked at again.
func (w *rounds) take(ctx context.Context, key tendedKey, e *domain.Endpoint) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.tended[key]
	if t == nil {
		t = &tended{}
		w.tended[key] = t
	}
	now := w.Webhooks.Writer.Now()
	switch {
	case t.busy:
		return true
	case t.of == e && !t.open: // only what is kept of it may be due to go
		if now.Before(t.after) {
			return false
		}
	case t.failed > 0 && now.Before(t.after):
		return true
	}
	t.busy = true
	w.running.Go(func() { w.work(ctx, key, e, t) })
	return true
}

// work brings the replays of an endpoint on, in its turn.
func (w *rounds) work(ctx context.Context, key tendedKey, e *domain.Endpoint, t *tended) {
	select {
	case w.turns <- struct{}{}:
	case <-ctx.Done():
		return
	}
	open, err := w.replays(ctx, key.account, e)
	if err == nil && !open {
		err = w.forget(ctx, key.account, e)
	}
	<-w.turns
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.Webhooks.Writer.Now()
	t.busy, t.of, t.open = false, e, open || err != nil
	if err == nil {
		t.failed, t.after = 0, now.Add(remembered/7)
		return
	}
	t.after = now.Add(min(w.every()<<min(t.failed, 10), mostBackOff))
	t.failed++
	if ctx.Err() == nil {
		w.Logs.WarnContext(ctx, "tend the replays of a webhook", slog.String("endpoint", string(e.ID)), slog.Any("error", err))
	}
}

// forget drops what is kept of replays that have been over for long. What came of
// them is in the log.
func (s *WebhookSteward) forget(ctx context.Context, account domain.AccountID, e *domain.Endpoint) error {
	start := s.Webhooks.Writer.Now().Add(-remembered)
	return s.Engine.ForgetReplays(ctx, account, delivery.EndpointID(e.ID), func(id string) bool {
		r, known := e.Replay(domain.ReplayID(id))
		if !known { // it is not among the newest any more, so it is over
			at, err := ulid.ParseStrict(strings.TrimPrefix(id, domain.ReplayPrefix))
			return err == nil && ulid.Time(at.Time()).Before(start)
		}
		return r.State != domain.ReplayIsRunning && r.EndedAt.Before(start)
	})
}

// replays brings those of one endpoint on.
func (s *WebhookSteward) replays(ctx context.Context, account domain.AccountID, e *domain.Endpoint) (open bool, err error) {
	var known map[string]delivery.Progress
	for _, r := range e.Replays {
		if r.State == domain.ReplayIsFinished {
			continue
		}
		if known == nil {
			if known, err = s.progress(ctx, account, e.ID); err != nil {
				return true, err
			}
		}
		p, begun := known[string(r.ID)]
		switch {
		case r.State == domain.ReplayIsCancelled && begun && p.State != "done" && !p.Cancelled:
			err = errors.Join(err, s.Engine.CancelReplay(ctx, account, delivery.EndpointID(e.ID), string(r.ID)))
		case r.State == domain.ReplayIsCancelled:
		case !begun:
			open = true
			err = errors.Join(err, s.begin(ctx, account, e, r))
		case p.State == "done":
			end := domain.EndReplay{
				EndpointID: e.ID, ReplayID: r.ID, Delivered: int(p.Totals.Delivered), Failed: int(p.Totals.Dead), Reason: categoryText(p.Why, p.Status),
			}
			err = errors.Join(err, s.Webhooks.FinishReplay(ctx, account, end))
		default:
			open = true
		}
	}
	return open, err
}

func (s *WebhookSteward) progress(ctx context.Context, account domain.AccountID, id domain.EndpointID) (map[string]delivery.Progress, error) {
	list, err := s.Engine.Replays(ctx, account, delivery.EndpointID(id))
	known := map[string]delivery.Progress{}
	for _, p := range list {
		known[p.ID] = p
	}
	return known, err
}

// begin asks for a replay of what was selected. One of nothing is over.
func (s *WebhookSteward) begin(ctx context.Context, account domain.AccountID, e *domain.Endpoint, r domain.Replay) error {
	replay := delivery.Replay{
		ID: string(r.ID), Account: account, Endpoint: delivery.EndpointID(e.ID), By: string(r.By), At: r.RequestedAt,
		Through: r.Through.Seq, Rate: float64(r.RatePerSecond),
	}
	err := s.choose(ctx, &replay, r)
	if err == nil {
		err = s.Engine.StartReplay(ctx, replay)
	}
	switch {
	case errors.Is(err, delivery.ErrReplayKnown):
		return nil
	case errors.Is(err, delivery.ErrNothing):
		return s.Webhooks.FinishReplay(ctx, account, domain.EndReplay{EndpointID: e.ID, ReplayID: r.ID})
	case errors.Is(err, delivery.ErrTooMany): // and will be
		return s.Webhooks.FinishReplay(ctx, account, domain.EndReplay{EndpointID: e.ID, ReplayID: r.ID, Reason: delivery.ErrTooMany.Error()})
	}
	return err
}
