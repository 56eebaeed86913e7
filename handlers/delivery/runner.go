package delivery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// runner runs one lane: it gets messages for it, sends what it says, tells it
// what became of that, and keeps its state. One goroutine does all of it, and
// sleeps when there is nothing to do.
type runner struct {
	*partition
	endpoint Endpoint
	replay   *Replay // nil for the lane of the endpoint itself
	key      string  // of its state

	lane *lane
	// The ring's lock guards these. A lane that rests has taken all there is in
	// the ring, or all before the record that it was woken by, if that is not 0.
	// It listens once it has rested.
	rests, listens bool
	wokenBy        uint64
	// more reads what comes after a place, for who is behind the ring.
	more func(ctx context.Context, after Place) (stretch, error)
	// ahead was read and not offered yet.
	ahead   stretch
	reading bool
	retry   time.Time // when to read again after that failed
	failed  int       // how often in a row it has

	// faded was come by and is not reported yet, told is up to where it was.
	faded span
	told  uint64

	// acks wait for what must be stored before the next state is.
	acks     []func(context.Context) error
	revision uint64 // of the state
	saved    State
	dirty    bool
	unsaved  int // how many were settled since
	saving   bool
	savedAt  time.Time

	awake    chan struct{} // has a token when there is something to look at
	tidy     atomic.Bool   // write the state although little has changed
	edge     atomic.Uint64 // records up to this one are soon removed from the log
	expires  atomic.Bool   // that was reported
	quit     chan struct{} // closed to end in good order
	done     chan struct{} // closed when it has ended
	results  chan sent
	tasks    chan sent // for who sends and has nothing to do
	readings chan reading
	savings  chan saving
	asks     chan chan State
	sending  sync.WaitGroup
	// oldest is when the oldest message happened that is not settled, in
	// nanoseconds, or 0.
	oldest atomic.Int64
	// well is that nothing fails just now, and nothing is about to be lost.
	well  atomic.Bool
	meter *meter
}

type sent struct {
	item   *item
	result Result
	at     time.Time // when it began
}

type saving struct {
	state    State
	revision uint64
	err      error
}

// nudge makes the runner look. It doesn't wait.
func (r *runner) nudge() {
	select {
	case r.awake <- struct{}{}:
	default:
	}
}

// grace is how long what is on its way may take when a lane ends.
const grace = time.Second

// run runs the lane until it is told to quit, ctx ends, or somebody else has
// become the owner, which is [errLost].
func (r *runner) run(ctx context.Context) error {
	if err := r.claim(ctx); err != nil {
		return err
	}
	if r.saved.Ended {
		return nil
	}
	sendCtx, cancel := context.WithCancel(ctx)
	defer r.sending.Wait()
	defer cancel()
	defer r.ring.forget(r)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	quit := r.quit
	var late <-chan time.Time
	for woken := false; ; {
		if quit != nil {
			r.fill(sendCtx)
		}
		if woken { // after it has seen how far there is nothing for it
			woken = false
			r.expiring(ctx)
		}
		wake := time.Time{}
		if quit != nil && !r.ended() {
			wake = r.start(sendCtx)
		}
		wake = earlier(earlier(wake, r.retry), r.save(ctx, quit == nil))
		r.publish()
		if r.settledFor(quit == nil) {
			return nil
		}
		rearm(timer, wake, r.Now())
		select {
		case s := <-r.results:
			r.settle(ctx, s)
			r.settleMore(ctx)
		case got := <-r.readings:
			r.take(ctx, got)
		case s := <-r.savings:
			if err := r.kept(ctx, s); err != nil {
				return err
			}
		case <-r.awake:
			woken = true
		case ask := <-r.asks:
			ask <- r.state()
		case <-timer.C:
		case <-quit:
			quit, late = nil, time.After(grace)
		case <-late:
			cancel()
			r.cutShort(ctx)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// rearm sets a timer, or stops it when there is no time.
func rearm(t *time.Timer, at, now time.Time) {
	if at.IsZero() {
		t.Stop()
		return
	}
	t.Reset(max(at.Sub(now), 0))
}

// ended reports that a replay has come to its end, which is also when nothing may
// be sent any more.
func (r *runner) ended() bool {
	if r.replay != nil && r.lane.stopped {
		return r.lane.flying == 0
	}
	return r.replay != nil && r.lane.idle() && r.lane.seen.Compare(r.replay.end()) >= 0
}

// settledFor reports that nothing is left to wait for by who ends.
func (r *runner) settledFor(quitting bool) bool {
	if r.replay != nil && r.saved.Ended {
		return true
	}
	return quitting && r.lane.flying == 0 && !r.saving && !r.dirty
}

// start sends what the lane says, and returns when to ask it again.
func (r *runner) start(ctx context.Context) time.Time {
	for r.unsaved < r.rules.Uncommitted {
		now := r.Now()
		it, wake := r.lane.next(now)
		if it == nil {
			return wake
		}
		next := sent{item: it, at: now}
		select {
		case r.tasks <- next:
		default:
			r.sending.Go(func() { r.carry(ctx, next) })
		}
	}
	return time.Time{}
}

// stays is how long a goroutine that sends waits for more. What it has already
// grown is a good part of what sending costs.
const stays = time.Second

// carry sends one message, and those that it is given soon after.
func (r *runner) carry(ctx context.Context, s sent) {
	idle := time.NewTimer(stays)
	defer idle.Stop()
	for {
		s.result = r.send(ctx, s.item)
		r.results <- s
		idle.Reset(stays)
		select {
		case s = <-r.tasks:
		case <-idle.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// send sends one message. A message of another life is read first.
func (r *runner) send(ctx context.Context, it *item) Result {
	m := it.msg
	if m == nil {
		var err error
		if m, err = r.chunks.one(ctx, r.endpoint.Account, it.place); err != nil {
			return Result{Category: Unready}
		}
		if m == nil {
			return Result{Category: Expired}
		}
	}
	replay := ""
	if r.replay != nil {
		replay = r.replay.ID
	}
	return r.Sender.Send(ctx, r.endpoint, *m, replay)
}

// settleMore takes the results that are there already.
func (r *runner) settleMore(ctx context.Context) {
	for {
		select {
		case s := <-r.results:
			r.settle(ctx, s)
		default:
			return
		}
	}
}

func (r *runner) settle(ctx context.Context, s sent) {
	outcome := r.lane.settle(s.item, s.result, r.Now())
	r.keep(Attempt{
		Message: s.item.id, Type: s.item.kind, NextTry: s.item.nextTry(outcome), Seq: s.item.place.Seq, Index: s.item.place.Index, Try: s.item.tries, At: s.at,
		Status: s.result.Status, Category: s.result.Category, Latency: s.result.Latency,
		RetryAfter: s.result.RetryAfter, Key: s.result.Key,
	}, s.result.Answer, outcome)
	r.meter.sent(outcome, s.result.Latency)
	for _, report := range r.lane.takeReports() {
		r.report(ctx, report)
	}
	r.dirty = true
	r.unsaved++
}

// keep stores an attempt. The next state waits for it.
func (r *runner) keep(a Attempt, answer []byte, outcome string) {
	if r.replay != nil {
		a.Replay = r.replay.ID
	}
	r.acks = append(r.acks, r.attempt(r.endpoint, a, answer, outcome))
}

// report makes a report. The next state waits for it, but not for ever.
func (r *runner) report(ctx context.Context, rep Report) {
	rep.Account, rep.Endpoint, rep.URL = r.endpoint.Account, r.endpoint.ID, r.endpoint.URL
	if r.replay != nil && rep.Kind != Exhausted {
		return // what a replay meets is not news of the endpoint
	}
	reported := make(chan struct{})
	r.sending.Go(func() {
		defer close(reported)
		r.tell(ctx, rep)
	})
	r.acks = append(r.acks, func(ctx context.Context) error {
		select {
		case <-reported:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// cutShort waits for what was cut short. What was delivered all the same counts;
// the rest comes again.
func (r *runner) cutShort(ctx context.Context) {
	for r.lane.flying > 0 {
		s := <-r.results
		if classify(s.result) == delivered {
			r.settle(ctx, s)
			continue
		}
		r.lane.recall(s.item)
	}
}

// expiring reports once that what is not delivered is soon gone.
func (r *runner) expiring(ctx context.Context) {
	cursor := r.lane.cursor().Seq
	expires := cursor < r.edge.Load() && r.replay == nil
	if expires && !r.expires.Load() {
		since := earlier(earlier(r.lane.since, r.lane.oldest()), r.Now())
		r.report(ctx, Report{
			Kind: Expiring, At: r.Now(), Why: r.lane.last.Category, Status: r.lane.last.Status, Since: since, From: cursor + 1,
		})
	}
	r.expires.Store(expires)
}

// publish shows others how the lane is.
func (r *runner) publish() {
	var oldest int64
	if at := r.lane.oldest(); !at.IsZero() {
		oldest = at.UnixNano()
	}
	r.oldest.Store(oldest)
	r.well.Store(r.lane.since.IsZero() && !r.expires.Load())
}

// state is what would be written now.
func (r *runner) state() State {
	s := r.lane.state()
	s.Epoch, s.Revision, s.At, s.Ended = r.epoch, r.endpoint.Revision, r.Now(), r.ended()
	s.Faded, s.Told = r.faded, r.told
	if r.cursorFirst && r.replay == nil {
		s.Cursor, s.Ahead = r.lane.seen, nil
	}
	return s
}

// newRunner makes a runner of an endpoint's lane, or of one of its replays.
func newRunner(p *partition, e Endpoint, replay *Replay) *runner {
	r := &runner{
		partition: p, endpoint: e, replay: replay, key: laneKey(p.number, e, ""),
		awake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		readings: make(chan reading, 1), savings: make(chan saving, 1),
		asks: make(chan chan State), tasks: make(chan sent), meter: p.Metrics.of(e),
	}
	r.results = make(chan sent, mostParallel(e, p.rules))
	r.more = r.behind
	if replay != nil {
		r.key = laneKey(p.number, e, replay.ID)
		r.endpoint = replay.narrow(e, p.rules)
		if len(replay.Places) > 0 {
			r.more = r.listed
		}
	}
	return r
}
