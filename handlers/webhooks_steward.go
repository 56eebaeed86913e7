package handlers

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
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

// Run tends replays until ctx ends.
func (s *WebhookSteward) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		changed := s.Passports.EndpointsChanged()
		var look <-chan time.Time
		if s.tend(ctx) {
			look = time.After(cmp.Or(s.Every, 2*time.Second))
		}
		select {
		case <-changed:
		case <-look:
		case <-ctx.Done():
		}
	}
	return nil
}

// tend looks at all replays once, and reports whether any is still to be looked
// at.
func (s *WebhookSteward) tend(ctx context.Context) (more bool) {
	current := make([]bool, s.Source.Partitions())
	for i := range current {
		current[i] = s.Current(ctx, uint16(i)) == nil
		more = more || !current[i]
	}
	for _, id := range s.Passports.Accounts() {
		account, err := s.Passports.Account(id)
		if err != nil || !current[domain.PartitionOf(id, len(current))] {
			continue // that is told elsewhere
		}
		for _, e := range account.Endpoints {
			open, err := s.replays(ctx, id, e)
			if err != nil && ctx.Err() == nil {
				s.Logs.WarnContext(ctx, "tend the replays of a webhook", slog.String("endpoint", string(e.ID)), slog.Any("error", err))
			}
			more = more || open || err != nil
		}
	}
	return more
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
			end := domain.EndReplay{EndpointID: e.ID, ReplayID: r.ID, Delivered: int(p.Totals.Delivered), Failed: int(p.Totals.Dead)}
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
	}
	return err
}

// choose finds where in the log is what was selected.
func (s *WebhookSteward) choose(ctx context.Context, replay *delivery.Replay, r domain.Replay) (err error) {
	switch {
	case r.DeadLetters:
		replay.Places, err = s.Engine.DeadPlaces(ctx, replay.Account, replay.Endpoint, r.Since, r.Until)
	case len(r.EventIDs) > 0:
		replay.Places, err = s.find(ctx, replay, r)
	default:
		replay.From, err = s.Source.SeqAt(ctx, r.Through.Partition, r.Since)
		if err == nil && !r.Until.IsZero() {
			var after uint64
			if after, err = s.Source.SeqAt(ctx, r.Through.Partition, r.Until); err == nil {
				replay.Through = min(replay.Through, after-1)
			}
		}
		if err == nil && replay.From > replay.Through {
			err = delivery.ErrNothing
		}
		return err
	}
	if err == nil && len(replay.Places) == 0 {
		err = delivery.ErrNothing
	}
	return err
}

const (
	// before and behind are how far the log's time of an event may be from the
	// time in its id: clocks differ, and an append takes a while.
	before = 3 * time.Second
	behind = 10 * time.Second
)

// window is a time in which some events happened.
type window struct {
	from, until time.Time
	ids         map[string]bool // of those that were not found yet
}

// windows are where to look for events by their ids, which begin with the time.
// Those that were at about the same time are looked for together.
func windows(ids []domain.EventID) (all []window) {
	made := map[domain.EventID]time.Time{}
	for _, id := range ids {
		text, _, _ := strings.Cut(strings.TrimPrefix(string(id), domain.EventPrefix), "-")
		if u, err := ulid.ParseStrict(text); err == nil { // else it is no id of ours, and so of no event
			made[id] = ulid.Time(u.Time())
		}
	}
	ids = slices.SortedFunc(maps.Keys(made), func(a, b domain.EventID) int { return made[a].Compare(made[b]) })
	for _, id := range ids {
		from, until := made[id].Add(-before), made[id].Add(behind)
		if n := len(all); n == 0 || from.After(all[n-1].until) {
			all = append(all, window{from: from, ids: map[string]bool{}})
		}
		last := &all[len(all)-1]
		last.until, last.ids[string(id)] = until, true
	}
	return all
}

// find finds the account's events by their ids. One that the log doesn't hold is
// left out, and so is one of another account, or a test of another endpoint.
func (s *WebhookSteward) find(ctx context.Context, replay *delivery.Replay, r domain.Replay) (places []delivery.Place, err error) {
	for _, w := range windows(r.EventIDs) {
		from, err := s.Source.SeqAt(ctx, r.Through.Partition, w.from)
		if err != nil {
			return nil, err
		}
		after, err := s.Source.SeqAt(ctx, r.Through.Partition, w.until)
		if err != nil {
			return nil, err
		}
		if from >= after {
			continue
		}
		stretch := delivery.Stretch{Partition: r.Through.Partition, From: from, Through: after - 1}
		err = s.Source.Scan(ctx, stretch, func(step delivery.Step) error {
			if step.Account != replay.Account {
				return nil
			}
			for _, m := range step.Messages {
				if w.ids[m.ID] && (m.To == "" || m.To == replay.Endpoint) {
					places = append(places, m.Place())
					delete(w.ids, m.ID)
				}
			}
			if len(w.ids) == 0 {
				return errSeen
			}
			return nil
		})
		if err != nil && !errors.Is(err, errSeen) {
			return nil, err
		}
	}
	return places, nil
}

// errSeen ends a search that has found all it was for.
var errSeen = errors.New("seen")
