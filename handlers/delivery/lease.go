package delivery

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// lease is the right to run the lanes of a partition. One node has it at a time,
// or believes so: what decides is that each lane's state carries the epoch of
// the lease, and is written on condition that it is the one before.
type lease struct {
	*Engine
	key string
	me  string // this process; no other one has ever had this name

	epoch    uint64
	beat     uint64
	revision uint64
}

// leased is what is kept of a lease.
type leased struct {
	Epoch uint64 `json:"epoch"`
	Node  string `json:"node"` // for people
	// Holder is empty when the lease was given back.
	Holder string `json:"holder,omitzero"`
	Beat   uint64 `json:"beat"`
}

func newLease(e *Engine, partition uint16) *lease {
	return &lease{Engine: e, key: fmt.Sprintf("lease.%d", partition), me: rand.Text()}
}

// patience is how long one exchange with the store may take.
func (e *Engine) patience() time.Duration { return e.rules.Beat }

// acquire waits until the lease is this node's: until nobody has it, or whoever
// has it has not said so for a while, by this node's own clock.
func (l *lease) acquire(ctx context.Context) error {
	var watched uint64
	var since time.Time
	for {
		found, revision, err := l.read(ctx)
		switch {
		case err != nil:
			if ctx.Err() == nil {
				l.Logs.WarnContext(ctx, "read a lease", slog.String("lease", l.key), slog.Any("error", err))
			}
		case found.Holder == "" || found.Holder == l.me || l.Alone || revision == watched && l.Now().Sub(since) >= l.rules.Lapse:
			l.epoch, l.beat = found.Epoch+1, 0
			if l.put(ctx, l.me, revision) == nil {
				return nil
			}
		case revision != watched:
			watched, since = revision, l.Now()
		}
		if err := sleep(ctx, time.Duration(float64(l.rules.Beat)/2*jitter())); err != nil {
			return err
		}
	}
}

// keep says again and again that this node is there, and returns when it may
// not be the owner any more: long before another one can be.
func (l *lease) keep(ctx context.Context) error {
	renewed := l.Now()
	rest := l.rules.Beat
	for {
		if err := sleep(ctx, rest); err != nil {
			return err
		}
		began := l.Now()
		left := l.rules.Lapse - l.rules.Beat - began.Sub(renewed)
		short, cancel := context.WithTimeout(ctx, max(left, 0))
		err := l.put(short, l.me, l.revision)
		cancel()
		switch {
		case err == nil:
			renewed, rest = began, l.rules.Beat
		case errors.Is(err, errLost):
			return err
		default:
			rest = l.rules.Beat / 8
		}
		if l.Now().Sub(renewed) >= l.rules.Lapse-l.rules.Beat {
			return fmt.Errorf("%w, or may: the lease could not be renewed: %w", errLost, err)
		}
	}
}

// release gives the lease back, so that another node need not wait.
func (l *lease) release(ctx context.Context) { _ = l.put(ctx, "", l.revision) } // else it lapses

func (l *lease) read(ctx context.Context) (found leased, revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.patience())
	defer cancel()
	raw, revision, err := l.Store.Value(ctx, l.key)
	if errors.Is(err, domain.ErrNotRecorded) {
		return leased{}, 0, nil
	}
	if err != nil {
		return leased{}, 0, err
	}
	if err := json.Unmarshal(raw, &found); err != nil {
		return leased{}, 0, fmt.Errorf("decode a lease: %w", err)
	}
	return found, revision, nil
}

// put writes the lease in place of a revision. When it was refused, or nobody
// knows, it looks who has it.
func (l *lease) put(ctx context.Context, holder string, revision uint64) error {
	l.beat++
	want := leased{Epoch: l.epoch, Node: l.Node, Holder: holder, Beat: l.beat}
	raw, err := json.Marshal(want)
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, l.patience())
	defer cancel()
	written, err := l.Store.Put(short, l.key, raw, revision)
	if err == nil {
		l.revision = written
		return nil
	}
	found, at, readErr := l.read(ctx)
	switch {
	case readErr != nil:
		return err
	case found.Holder == l.me && found.Epoch == l.epoch: // one of ours landed, this one or one before
		l.revision = at
		if found.Beat == l.beat {
			return nil
		}
		return err
	case at <= revision: // a stale read, or not written
		return err
	}
	return errLost
}
