package delivery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Replay sends messages again to one endpoint, beside what is delivered to it
// otherwise, under the ids they had. It has a lane of its own.
type Replay struct {
	ID       string           `json:"id"`
	Account  domain.AccountID `json:"account"`
	Endpoint EndpointID       `json:"endpoint"`
	// By is who asked for it, At when.
	By string    `json:"by"`
	At time.Time `json:"at"`
	// Places are single messages, in the order of the log. With none, it is all
	// that the endpoint wants of the records From to Through.
	Places  []Place `json:"places,omitempty"`
	From    uint64  `json:"from,omitzero"`
	Through uint64  `json:"through,omitzero"`
	// Rate bounds the messages per second; 0 is the usual share.
	Rate      float64 `json:"rate,omitzero"`
	Cancelled bool    `json:"cancelled,omitzero"`
}

// mostPlaces bounds the single messages of a replay, which are all dead letters
// that are kept.
const mostPlaces = 10_000

// Errors of replays. Their text is safe to show.
var (
	ErrNothing     = errors.New("there is nothing to replay")
	ErrTooMany     = fmt.Errorf("more than %d single messages; replay a range instead", mostPlaces)
	ErrReplayKnown = errors.New("a replay of this id exists")
	ErrNoReplay    = errors.New("no such replay")
)

// start is the place after which a lane begins: a replay's, or, without one, the
// endpoint's own.
func (r *Replay) start(e Endpoint) Place {
	switch {
	case r == nil:
		return through(e.From)
	case len(r.Places) > 0:
		return r.Places[0].before()
	}
	return through(r.From - 1)
}

// end is the last place it has to do with.
func (r *Replay) end() Place {
	if len(r.Places) > 0 {
		return r.Places[len(r.Places)-1]
	}
	return through(r.Through)
}

// replayParallel is how much of a replay is on its way at once.
const replayParallel = 2

// narrow is the endpoint as the replay may use it.
func (r *Replay) narrow(e Endpoint, rules Rules) Endpoint {
	share := rules.ReplayRate
	if e.Rate > 0 {
		share = e.Rate * rules.ReplayShare
	}
	e.Rate = cmp.Or(r.Rate, share)
	e.Parallel = min(replayParallel, cmp.Or(e.Parallel, rules.Parallel))
	return e
}

// listed reads the next single messages of a replay.
func (r *runner) listed(ctx context.Context, after Place) (stretch, error) {
	got := stretch{through: after}
	for _, p := range r.replay.Places {
		if p.Compare(after) <= 0 {
			continue
		}
		m, err := r.chunks.one(ctx, r.endpoint.Account, p)
		if err != nil {
			return stretch{}, err
		}
		if m != nil {
			got.messages = append(got.messages, m)
		}
		if got.through = p; len(got.messages) == mostListReads {
			break
		}
	}
	return got, nil
}

func replayKey(partition uint16, r Replay) string {
	return fmt.Sprintf("replay.%d.%s.%s.%s", partition, r.Account, r.Endpoint, r.ID)
}

// StartReplay asks for a replay, of whoever owns the endpoint's lane. The caller
// has recorded who asked for what. Its id must be new, or the error is
// [ErrReplayKnown].
func (e *Engine) StartReplay(ctx context.Context, r Replay) error {
	if !domain.ValidID(r.ID) || !domain.ValidID(string(r.Account)) || !domain.ValidID(string(r.Endpoint)) {
		return fmt.Errorf("replay %q of %q: not an id", r.ID, r.Endpoint)
	}
	r.Places = slices.Clone(r.Places)
	slices.SortFunc(r.Places, Place.Compare)
	r.Places = slices.Compact(r.Places)
	partition := e.partitionOf(r.Account)
	switch {
	case len(r.Places) > mostPlaces:
		return ErrTooMany
	case len(r.Places) == 0:
		first, newest, err := e.Source.Bounds(ctx, partition)
		if err != nil {
			return fmt.Errorf("start a replay: %w", err)
		}
		r.From, r.Through = max(r.From, first, 1), min(cmp.Or(r.Through, newest), newest)
		if r.From > r.Through {
			return ErrNothing
		}
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("start a replay: %w", err)
	}
	_, err = e.Store.Put(ctx, replayKey(partition, r), raw, 0)
	if errors.Is(err, domain.ErrMoved) {
		return ErrReplayKnown
	}
	if err != nil {
		return fmt.Errorf("start replay %s: %w", r.ID, err)
	}
	return nil
}

// CancelReplay ends a replay. What is on its way may still arrive.
func (e *Engine) CancelReplay(ctx context.Context, account domain.AccountID, endpoint EndpointID, id string) error {
	key := replayKey(e.partitionOf(account), Replay{ID: id, Account: account, Endpoint: endpoint})
	for {
		raw, revision, err := e.Store.Value(ctx, key)
		if errors.Is(err, domain.ErrNotRecorded) {
			return ErrNoReplay
		}
		if err != nil {
			return fmt.Errorf("cancel replay %s: %w", id, err)
		}
		var r Replay
		if err := json.Unmarshal(raw, &r); err != nil {
			return fmt.Errorf("cancel replay %s: %w", id, err)
		}
		if r.Cancelled {
			return nil
		}
		r.Cancelled = true
		if raw, err = json.Marshal(r); err != nil {
			return fmt.Errorf("cancel replay %s: %w", id, err)
		}
		_, err = e.Store.Put(ctx, key, raw, revision)
		if err == nil {
			return nil
		}
		if !errors.Is(err, domain.ErrMoved) {
			return fmt.Errorf("cancel replay %s: %w", id, err)
		}
	}
}

// Progress is how far a replay is.
type Progress struct {
	Replay
	// Cursor is how far it is, of From to Through or of Places.
	Cursor Place
	Totals Totals
	// Waiting are refused messages that are tried again.
	Waiting int
	// State is "waiting", "running", "done" or "cancelled".
	State string
	// Why and Status are of the last attempt of one that is done before all was
	// sent, because the endpoint wants nothing any more, or may be sent nothing.
	Why    Category
	Status int
}

// Replays are those of an endpoint, the newest first.
func (e *Engine) Replays(ctx context.Context, account domain.AccountID, endpoint EndpointID) ([]Progress, error) {
	partition := e.partitionOf(account)
	states := map[string]State{}
	prefix := laneKey(partition, Endpoint{Account: account, ID: endpoint}, "")
	err := e.Store.Values(ctx, prefix, false, func(key string, raw []byte, _ uint64) error {
		s, err := decodeState(raw)
		states[key] = s
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the progress of replays: %w", err)
	}
	var list []Progress
	prefix = fmt.Sprintf("replay.%d.%s.%s", partition, account, endpoint)
	err = e.Store.Values(ctx, prefix, false, func(_ string, raw []byte, _ uint64) error {
		p := Progress{State: "waiting"}
		if err := json.Unmarshal(raw, &p.Replay); err != nil {
			return err
		}
		if s, known := states[laneKey(partition, Endpoint{Account: account, ID: endpoint}, p.ID)]; known {
			p.Cursor, p.Totals, p.Waiting, p.State = s.Cursor, s.Totals, len(s.Parked), "running"
			if s.Ended {
				p.State = "done"
			}
			if s.Ended && s.Stopped {
				p.Why, p.Status = s.Why, s.Status
			}
		}
		if p.Cancelled && p.State != "done" {
			p.State = "cancelled"
		}
		list = append(list, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the replays: %w", err)
	}
	slices.SortFunc(list, func(a, b Progress) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.ID, a.ID)) })
	return list, nil
}

// ForgetReplays drops what is kept of an endpoint's replays of which over says that
// nobody asks any more. They must be over, or they would begin anew.
func (e *Engine) ForgetReplays(ctx context.Context, account domain.AccountID, endpoint EndpointID, over func(id string) bool) error {
	partition := e.partitionOf(account)
	lane := laneKey(partition, Endpoint{Account: account, ID: endpoint}, "")
	asked := strings.TrimSuffix(replayKey(partition, Replay{Account: account, Endpoint: endpoint}), ".")
	ids := map[string]bool{}
	for _, prefix := range []string{asked, lane} { // what is kept of one may have been dropped in part
		err := e.Store.Values(ctx, prefix, false, func(key string, _ []byte, _ uint64) error {
			if id, ok := strings.CutPrefix(key, prefix+"."); ok && over(id) {
				ids[id] = true
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the replays: %w", err)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		// What was asked goes first: with that alone, it would begin again.
		for _, key := range []string{asked + "." + id, lane + "." + id} {
			if err := e.Store.Remove(ctx, key); err != nil {
				return fmt.Errorf("forget replay %s: %w", id, err)
			}
		}
	}
	return nil
}
