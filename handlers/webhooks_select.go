package handlers

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
)

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
