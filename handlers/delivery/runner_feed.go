package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// stretch is messages that are for a lane, and through where the log was read
// for them. What came before lost is not in the log any more, and some of what
// was among the faded isn't either.
type stretch struct {
	messages []*Message
	through  Place
	lost     uint64
	faded    span
}

type reading struct {
	stretch stretch
	err     error
}

// fill offers the lane what comes next, from the ring or, if it is behind that,
// from the log.
func (r *runner) fill(ctx context.Context) {
	for r.lane.room() >= max(1, r.rules.Window/2) {
		if len(r.ahead.messages) > 0 {
			n := min(len(r.ahead.messages), r.lane.room())
			r.offer(r.ahead.messages[:n])
			r.ahead.messages = r.ahead.messages[n:]
			continue
		}
		if r.ahead.through.Compare(r.lane.seen) > 0 {
			r.lane.pass(r.ahead.through)
			r.ahead = stretch{}
		}
		if r.replay != nil && r.lane.seen.Compare(r.replay.end()) >= 0 {
			return
		}
		if r.replay == nil {
			room := r.lane.room()
			found, read, ok := r.ring.pull(r, r.lane.seen, room)
			if ok {
				r.offer(r.wanted(found))
				r.tellFaded(ctx)
			}
			r.lane.pass(read)
			switch {
			case ok && len(found) < room:
				return
			case ok:
				continue
			}
		}
		r.read(ctx)
		return
	}
}

func (r *runner) offer(messages []*Message) {
	for _, m := range messages {
		r.lane.offer(m)
	}
}

// wanted keeps the messages that the endpoint wants. It doesn't change all.
func (r *runner) wanted(all []*Message) (kept []*Message) {
	for _, m := range all {
		if r.endpoint.Wants(m) {
			kept = append(kept, m)
		}
	}
	return kept
}

// read begins to read on, unless that is under way.
func (r *runner) read(ctx context.Context) {
	if r.reading || r.Now().Before(r.retry) {
		return
	}
	r.reading, r.retry = true, time.Time{}
	after := r.lane.seen
	r.sending.Go(func() {
		got, err := r.more(ctx, after)
		r.readings <- reading{got, err}
	})
}

func (r *runner) take(ctx context.Context, got reading) {
	r.reading = false
	if got.err != nil {
		if ctx.Err() == nil {
			r.failed++
			r.retry = r.Now().Add(min(50*time.Millisecond<<min(r.failed, 10), 5*time.Second))
			r.Logs.WarnContext(ctx, "read the log for a lane", slog.String("lane", r.key), slog.Any("error", got.err))
		}
		return
	}
	r.failed = 0
	r.ahead = got.stretch
	if lost := got.stretch.lost; lost > r.lane.seen.Seq {
		r.gap(ctx, r.lane.seen.Seq+1, lost)
		r.lane.pass(through(lost))
	}
	faded := got.stretch.faded
	if faded.From = max(faded.From, r.told+1); faded.From > faded.Through { // a lane that begins again reads some again
		r.tellFaded(ctx)
		return
	}
	if r.faded.From == 0 {
		r.faded.From = faded.From
	}
	r.faded.Through, r.dirty = max(r.faded.Through, faded.Through), true
}

// tellFaded reports what the lane came by that had gone from among what the log
// still holds: once, at its end, since that may be many records with others
// between them.
func (r *runner) tellFaded(ctx context.Context) {
	if r.faded == (span{}) {
		return
	}
	r.gap(ctx, r.faded.From, r.faded.Through)
	r.faded, r.told = span{}, r.faded.Through
}

// gap records that a stretch of the log is not delivered.
func (r *runner) gap(ctx context.Context, from, last uint64) {
	now := r.Now()
	r.Logs.WarnContext(ctx, "a lane passes over a part of the log", slog.String("lane", r.key),
		slog.Uint64("from", from), slog.Uint64("through", last))
	r.keep(Attempt{Seq: from, Through: last, Category: Skipped, At: now}, nil, OutcomeFailed)
	r.report(ctx, Report{Kind: Gap, At: now, From: from, Through: last})
	r.dirty = true
}

// behind reads on from the log, as far as the ring goes.
func (r *runner) behind(ctx context.Context, after Place) (stretch, error) {
	_, newest := r.ring.bounds()
	seq := after.Seq // the records after it are not looked at yet, and maybe some of its own
	if after.Index != whole && seq > 0 {
		seq--
	}
	if seq >= newest {
		return stretch{}, fmt.Errorf("%w: at %d of %d", errNotYet, seq, newest)
	}
	k, err := r.chunks.after(ctx, seq, newest)
	if err != nil {
		return stretch{}, err
	}
	got := stretch{through: through(max(k.through, k.lost)), lost: k.lost}
	got.messages = r.wanted(k.take(r.endpoint.Account, after, k.messages))
	if r.replay == nil {
		if got.faded, err = r.fadedIn(ctx, k, max(seq, k.lost)); err != nil {
			return stretch{}, err
		}
	}
	if r.replay != nil {
		got.messages = slices.DeleteFunc(got.messages, func(m *Message) bool { return m.Place().Compare(r.replay.end()) > 0 })
	}
	return got, nil
}
