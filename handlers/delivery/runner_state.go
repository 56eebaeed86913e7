package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// errLost is another node owning the partition.
var errLost = errors.New("another node owns these lanes")

func laneKey(partition uint16, e Endpoint, replay string) string {
	key := fmt.Sprintf("lane.%d.%s.%s", partition, e.Account, e.ID)
	if replay != "" {
		key += "." + replay
	}
	return key
}

// jitter is ±20 %.
func jitter() float64 { return 0.8 + 0.4*rand.Float64() }

// claim takes the lane over: it reads the state and writes it with this owner's
// epoch, before anything is sent. What the owner before still writes is refused
// from then on.
func (r *runner) claim(ctx context.Context) error {
	var retry pause
	for {
		kept, revision, err := r.left(ctx)
		if err == nil {
			err = r.begin(ctx, kept, revision)
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errLost), ctx.Err() != nil:
			return err
		case !errors.Is(err, domain.ErrMoved): // the one before has written meanwhile
			r.Logs.WarnContext(ctx, "take a lane over", slog.String("lane", r.key), slog.Any("error", err))
		}
		if err := retry.wait(ctx); err != nil {
			return err
		}
	}
}

// left reads the state that another owner has left, or none.
func (r *runner) left(ctx context.Context) (*State, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience())
	defer cancel()
	raw, revision, err := r.Store.Value(ctx, r.key)
	if errors.Is(err, domain.ErrNotRecorded) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	kept, err := decodeState(raw)
	if err == nil && kept.Epoch > r.epoch {
		err = errLost
	}
	return &kept, revision, err
}

func (r *runner) begin(ctx context.Context, kept *State, revision uint64) error {
	r.lane = newLane(r.endpoint, r.rules, r.replay.start(r.endpoint), jitter)
	if r.replay != nil {
		r.lane.schedule = r.rules.ReplaySchedule
	}
	skipped := Place{}
	if kept != nil {
		r.lane.restore(*kept, kept.Revision != r.endpoint.Revision, r.Now())
		r.faded, r.told = kept.Faded, kept.Told
		if start := through(r.endpoint.From); r.replay == nil && start.Compare(kept.Cursor) > 0 {
			skipped = kept.Cursor
			r.lane.pass(start)
		}
	}
	if skipped != (Place{}) && skipped.Seq < r.endpoint.From {
		r.gap(ctx, skipped.Seq+1, r.endpoint.From)
	}
	for _, report := range r.lane.takeReports() {
		r.report(ctx, report)
	}
	s := r.state()
	if kept != nil {
		s.Ended = kept.Ended
	}
	acks := r.acks
	r.acks = nil
	done := r.write(ctx, s, acks, revision)
	if done.err != nil {
		return done.err
	}
	r.saved, r.revision, r.savedAt, r.dirty = s, done.revision, s.At, false
	return nil
}

// save writes the state when that is due, and returns when it will be.
func (r *runner) save(ctx context.Context, now bool) time.Time {
	if r.tidy.Swap(false) && r.lane.cursor().Seq > r.saved.Cursor.Seq+tidyAfter {
		r.dirty = true
	}
	if r.replay != nil && r.ended() && !r.saved.Ended {
		r.dirty, now = true, true
	}
	if !r.dirty || r.saving {
		return time.Time{}
	}
	at := r.Now()
	due := r.savedAt.Add(r.rules.CommitEvery)
	if !now && r.unsaved < r.rules.CommitAfter && at.Before(due) {
		return due
	}
	r.saving, r.dirty, r.unsaved, r.savedAt = true, false, 0, at
	s, acks, revision := r.state(), r.acks, r.revision
	r.acks = nil
	r.sending.Go(func() { r.savings <- r.write(ctx, s, acks, revision) })
	return time.Time{}
}

// tidyAfter is how many records an idle lane may be ahead of its state. What is
// not written is read again, and found to be nothing for the lane.
const tidyAfter = 1000

// kept takes what became of a write of the state.
func (r *runner) kept(ctx context.Context, s saving) error {
	r.saving = false
	if s.err != nil {
		return s.err
	}
	r.saved, r.revision = s.state, s.revision
	return nil
}

// write writes the state once all before it is stored. It tries until it is
// written or somebody else's was, or ctx ends.
func (r *runner) write(ctx context.Context, s State, acks []func(context.Context) error, revision uint64) saving {
	raw, err := s.encode()
	if err != nil {
		return saving{err: err}
	}
	if !r.cursorFirst {
		for _, stored := range acks {
			if err := stored(ctx); err != nil {
				return saving{err: err}
			}
		}
	}
	var retry pause
	for {
		written, err := r.put(ctx, raw, revision)
		if err == nil || errors.Is(err, domain.ErrMoved) || errors.Is(err, errLost) || ctx.Err() != nil {
			return saving{s, written, err}
		}
		r.Logs.WarnContext(ctx, "write the state of a lane", slog.String("lane", r.key), slog.Any("error", err))
		if err := retry.wait(ctx); err != nil {
			return saving{err: err}
		}
	}
}

// put writes once. When the outcome is unknown it looks whether it was written.
func (r *runner) put(ctx context.Context, raw []byte, revision uint64) (uint64, error) {
	short, cancel := context.WithTimeout(ctx, r.patience())
	defer cancel()
	written, err := r.Store.Put(short, r.key, raw, revision)
	if err == nil {
		return written, nil
	}
	reread, cancel := context.WithTimeout(ctx, r.patience())
	defer cancel()
	found, at, readErr := r.Store.Value(reread, r.key)
	switch {
	case readErr == nil && bytes.Equal(found, raw):
		return at, nil
	case errors.Is(readErr, domain.ErrNotRecorded) && revision > 0:
		return 0, fmt.Errorf("%w: the state was removed", errLost)
	case readErr != nil || at <= revision:
		return 0, unclear(err)
	}
	if other, err := decodeState(found); err == nil && other.Epoch < r.epoch {
		return 0, domain.ErrMoved // only while the lane is claimed
	}
	return 0, errLost
}

// unclear makes what a stale read shows as moved into something to be tried
// again.
func unclear(err error) error {
	if errors.Is(err, domain.ErrMoved) {
		return errors.New("the write was refused, and what was there instead could not be read")
	}
	return err
}

// pause grows with each wait.
type pause struct{ length time.Duration }

func (p *pause) wait(ctx context.Context) error {
	p.length = min(max(2*p.length, 20*time.Millisecond), 2*time.Second)
	return sleep(ctx, p.length/2+rand.N(p.length))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
