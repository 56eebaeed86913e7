package handlers

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// tapes read one partition of the log for all who need its events, each stretch
// once for those who are at about the same place in it. A tape holds what was
// read until everybody who listens to it has taken it, and reads no further
// than there is room for. Who falls back goes on by a tape of their own, and
// who catches up with another tape joins that one.
type tapes struct {
	log       ProjectorLog
	partition uint16
	// room is how many events a tape holds, and patience how long it waits, when
	// it is full, for those who are behind while others have taken all.
	room     int
	patience time.Duration

	starts chan *tape // for run

	mu sync.Mutex
	// All below, and what is in the tapes, is guarded by mu. changed tells of
	// anything new there.
	changed *sync.Cond
	open    []*tape
	// settled is the newest event that is known to be as durable as what the log
	// acknowledges.
	settled uint64
}

// segmentSize is how many events are kept and forgotten together.
const segmentSize = 512

// tape is a stretch of the log that is in memory: the events after from.
type tape struct {
	from uint64
	// kept is in the order of the log. What was put in once stays as it is.
	kept [][]domain.Recorded
	// through is the newest event that was read, and err why there will be no more.
	through   uint64
	err       error
	listeners []*listener
	quit      chan struct{} // closed when nobody listens any more
}

// listener is where one of those who read is.
type listener struct {
	tapes *tapes
	tape  *tape
	at    uint64 // the newest event that was taken
}

func newTapes(log ProjectorLog, partition uint16, room int) *tapes {
	ts := &tapes{log: log, partition: partition, room: max(room, 2*segmentSize), patience: 10 * time.Second, starts: make(chan *tape)}
	ts.changed = sync.NewCond(&ts.mu)
	return ts
}

// run reads for tapes until ctx ends.
func (ts *tapes) run(ctx context.Context) {
	var reading sync.WaitGroup
	defer reading.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-ts.starts:
			reading.Go(func() { ts.read(ctx, t) })
		}
	}
}

// errUnheard ends the reading of a tape nobody listens to.
var errUnheard = errors.New("nobody listens")

// read reads for one tape until nobody listens to it or it can't go on.
func (ts *tapes) read(ctx context.Context, t *tape) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() {
		select {
		case <-t.quit:
			cancel(errUnheard)
		case <-ctx.Done():
		}
	})
	defer context.AfterFunc(ctx, ts.wake)()
	err := ts.scan(ctx, t)
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t.err = cmp.Or(context.Cause(ctx), err, errEndedByItself)
	ts.changed.Broadcast()
}

// others is how long a tape waits for others who begin at the same place.
const others = 200 * time.Millisecond

func (ts *tapes) scan(ctx context.Context, t *tape) error {
	if err := sleep(ctx, others); err != nil {
		return err
	}
	ts.mu.Lock()
	from := t.from
	ts.mu.Unlock()
	return ts.log.Scan(ctx, domain.Scan{Partition: ts.partition, From: from + 1, Live: true}, func(r domain.Recorded, err error) error {
		if err != nil {
			return err
		}
		return ts.put(ctx, t, r)
	})
}

var errEndedByItself = errors.New("the log ended the reading by itself")

// wake has everybody who waits look again.
func (ts *tapes) wake() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.changed.Broadcast()
}

// put adds an event to a tape, as soon as there is room.
func (ts *tapes) put(ctx context.Context, t *tape, r domain.Recorded) error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.full(t) {
		defer time.AfterFunc(ts.patience, func() { ts.shed(t) }).Stop()
	}
	for ts.full(t) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		ts.changed.Wait()
	}
	n := len(t.kept)
	if n == 0 || len(t.kept[n-1]) == segmentSize {
		t.kept = append(t.kept, make([]domain.Recorded, 0, segmentSize))
		n++
	}
	t.kept[n-1] = append(t.kept[n-1], r)
	t.through = r.Position.Seq
	ts.changed.Broadcast()
	return nil
}

func (ts *tapes) full(t *tape) bool { return len(t.kept)*segmentSize > ts.room }

// shed leaves those behind who keep others, who have taken all, from going on.
func (ts *tapes) shed(t *tape) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if !ts.full(t) || !slices.ContainsFunc(t.listeners, func(l *listener) bool { return l.at == t.through }) {
		return
	}
	next := t.kept[0][segmentSize-1].Position.Seq
	for _, l := range slices.Clone(t.listeners) {
		if l.at < next {
			l.part()
		}
	}
}

// listen begins to listen after an event.
func (ts *tapes) listen(after uint64) *listener { return &listener{tapes: ts, at: after} }

// leave ends listening. It can be called more than once.
func (l *listener) leave() {
	l.tapes.mu.Lock()
	defer l.tapes.mu.Unlock()
	l.part()
}

// part takes the listener off its tape. The caller holds mu.
func (l *listener) part() {
	t := l.tape
	if t == nil {
		return
	}
	l.tape = nil
	t.listeners = slices.DeleteFunc(t.listeners, func(o *listener) bool { return o == l })
	if len(t.listeners) > 0 {
		l.tapes.forget(t)
		return
	}
	close(t.quit)
	l.tapes.open = slices.DeleteFunc(l.tapes.open, func(o *tape) bool { return o == t })
}

// join puts the listener on the tape that is furthest of those that have what
// comes next for it, and reports whether that is one to be started. The caller
// holds mu.
func (l *listener) join() (begun *tape) {
	if l.tape != nil && l.tape.err != nil && !errors.Is(l.tape.err, errUnheard) {
		return nil // what it is told is what it is to know
	}
	var best *tape
	for _, t := range l.tapes.open { // of those that are as far the first one, so that all come together
		if t.from <= l.at && l.at <= t.through && t.err == nil && (best == nil || t.through > best.through) {
			best = t
		}
	}
	if best == nil {
		best = &tape{from: l.at, through: l.at, quit: make(chan struct{})}
		l.tapes.open = append(l.tapes.open, best)
		begun = best
	}
	if best != l.tape {
		l.part()
		l.tape = best
		best.listeners = append(best.listeners, l)
	}
	return begun
}

// next waits for events and returns some, at most so many, all after those
// before. It returns why there are none any more: a [*domain.Unreadable] when
// the next one can't be read.
func (l *listener) next(ctx context.Context, most int) ([]domain.Recorded, error) {
	defer context.AfterFunc(ctx, l.tapes.wake)()
	for {
		events, begun, err := l.await(ctx, most)
		if begun == nil {
			return events, err
		}
		select {
		case l.tapes.starts <- begun:
		case <-ctx.Done():
			l.tapes.abandon(begun)
			return nil, context.Cause(ctx)
		}
	}
}

// abandon tells who joined a tape that it will not be begun.
func (ts *tapes) abandon(t *tape) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t.err = errUnheard
	ts.changed.Broadcast()
}

func (l *listener) await(ctx context.Context, most int) (events []domain.Recorded, begun *tape, err error) {
	l.tapes.mu.Lock()
	defer l.tapes.mu.Unlock()
	for {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		if begun = l.join(); begun != nil {
			return nil, begun, nil
		}
		if events = l.take(most); len(events) > 0 {
			return events, nil, nil
		}
		if l.tape.err != nil {
			return nil, nil, l.tape.err
		}
		l.tapes.changed.Wait()
	}
}

// more is what is there already, at most so much.
func (l *listener) more(most int) []domain.Recorded {
	l.tapes.mu.Lock()
	defer l.tapes.mu.Unlock()
	if l.tape == nil {
		return nil
	}
	return l.take(most)
}

// take takes events of one segment. The caller holds mu.
func (l *listener) take(most int) []domain.Recorded {
	for _, segment := range l.tape.kept {
		if segment[len(segment)-1].Position.Seq <= l.at {
			continue
		}
		i, _ := slices.BinarySearchFunc(segment, l.at+1, func(r domain.Recorded, seq uint64) int {
			return cmp.Compare(r.Position.Seq, seq)
		})
		through := min(len(segment), i+most)
		events := segment[i:through:through]
		l.at = events[len(events)-1].Position.Seq
		l.tapes.forget(l.tape)
		return events
	}
	return nil
}

// forget drops what everybody has taken, but keeps some for who comes a little
// later. The caller holds mu.
func (ts *tapes) forget(t *tape) {
	least := t.through
	for _, l := range t.listeners {
		least = min(least, l.at)
	}
	for len(t.kept)*segmentSize > ts.room/4 {
		segment := t.kept[0]
		last := segment[len(segment)-1].Position.Seq
		if last > least {
			break
		}
		t.kept[0] = nil // else the array keeps it
		t.kept, t.from = t.kept[1:], last
		ts.changed.Broadcast()
	}
}

// settle returns when the events up to one that was read are as durable as what
// the log acknowledges: rows must not outlive the events they were made of.
func (ts *tapes) settle(ctx context.Context, through uint64) error {
	ts.mu.Lock()
	settled, read := ts.settled, through
	for _, t := range ts.open {
		read = max(read, t.through)
	}
	ts.mu.Unlock()
	if through <= settled {
		return nil
	}
	if err := ts.log.Settle(ctx); err != nil {
		return err
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.settled = max(ts.settled, read)
	return nil
}
