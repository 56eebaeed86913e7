package delivery

import (
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// lane is how far an endpoint is along the log, what is on its way to it, and
// what is put aside. It has no clock, waits for nothing and sends nothing: it is
// told what there is and what became of it, and says what to do.
//
//	           +--------- 5 failures in a row, or every fifth refused ---+
//	           |                                                            v
//	     +-----------+    a message was delivered                      +---------+
//	---> | flowing   | <---------------------------------------------- | held    |
//	     +-----------+                                                 +---------+
//	           |  ^                                one at a time, then   |    |
//	     429   |  | as long as asked               a pause that doubles  +----+
//	           v  |                                                      |
//	     +-----------+                     days, or 410, or blocked      v
//	     | paused    |                                             +----------+
//	     +-----------+                                             | stopped  |
//	                                                               +----------+
type lane struct {
	rules    Rules
	schedule []time.Duration
	ordering Ordering
	most     int // on their way at once
	bucket   bucket
	// jitter is a factor around 1, so that not all come back at the same time.
	jitter func() float64

	// queue are the messages between the oldest that is not settled and seen,
	// the last place that was looked at.
	queue []*item
	seen  Place
	// parked are put aside, by place. They hold the cursor no longer.
	parked []*item
	lines  map[domain.AgentID]*line
	// known are places after seen that were settled or parked in another life.
	known map[Place]bool

	flying, retrying int // of all, of those that are parked
	allowed          int // of most, at this time
	// retryAt is before when none of the parked needs to be looked at.
	retryAt time.Time

	held, stopped bool
	probe         *item // on its way to see whether the endpoint is back
	probeAt       time.Time
	pauses        int // how often the pause has doubled
	pausedUntil   time.Time
	throttles     int
	strikes       int
	blocked       int
	sample        sample
	// since is when it began to fail, and warned how often that was reported.
	since  time.Time
	warned int
	last   Result // without the answer

	totals  Totals
	reports []Report
}

// Totals are what a lane has done since it began.
type Totals struct {
	Delivered uint64 `json:"delivered"`
	Failed    uint64 `json:"failed"` // attempts
	Dead      uint64 `json:"dead"`
	Refused   uint64 `json:"refused"` // messages, by the endpoint's wish
}

// item is a message in a lane.
type item struct {
	place Place
	id    string
	kind  string // its type
	agent domain.AgentID
	at    time.Time
	msg   *Message // nil when it has to be read again
	line  *line    // nil if it waits for nobody

	flying bool
	// parked is being put aside, passed being no concern of the cursor any more.
	parked, passed bool
	// tries are all attempts; refusals those in which it was refused itself, and
	// downs those in which it failed while others didn't.
	tries, refusals, downs int
	due                    time.Time
}

// nextTry is when the message is sent again after it failed, if that is known.
func (it *item) nextTry(outcome string) time.Time {
	if outcome != OutcomeFailed {
		return time.Time{}
	}
	return it.due
}

func (it *item) first() bool { return it.line == nil || it.line.items[0] == it }

func newLane(e Endpoint, rules Rules, start Place, jitter func() float64) *lane {
	most := mostParallel(e, rules)
	return &lane{
		rules: rules, schedule: rules.Schedule, ordering: e.Ordering, most: most, allowed: most,
		bucket: bucket{rate: e.Rate}, jitter: jitter, seen: start,
		lines: map[domain.AgentID]*line{}, known: map[Place]bool{}, sample: sample{size: rules.Sample},
	}
}

// mostParallel is how many messages to an endpoint are on their way at once.
func mostParallel(e Endpoint, rules Rules) int {
	switch {
	case e.Ordering == Strict:
		return 1
	case e.Parallel > 0:
		return min(e.Parallel, rules.Window)
	}
	return rules.Parallel
}

// room is how many more messages it takes.
func (l *lane) room() int {
	if l.stopped {
		return 0
	}
	return l.rules.Window - len(l.queue)
}

// offer adds the next message that is for the endpoint.
func (l *lane) offer(m *Message) {
	l.seen = m.Place()
	it := &item{place: m.Place(), id: m.ID, kind: m.Type, agent: m.Agent, at: m.At, msg: m}
	if l.known[it.place] {
		delete(l.known, it.place)
		it.passed, it.msg = true, nil
		l.queue = append(l.queue, it)
		l.pop()
		return
	}
	l.queue = append(l.queue, it)
	l.lineUp(it)
	if it.line != nil && !it.first() && it.line.items[len(it.line.items)-2].parked { // all of the line are
		l.putAside(it)
	}
}

// pass says that there is nothing more for the endpoint up to a place.
func (l *lane) pass(p Place) {
	if p.Compare(l.seen) > 0 {
		l.seen = p
	}
	for known := range l.known { // only after a change of what the endpoint wants
		if known.Compare(l.seen) <= 0 {
			delete(l.known, known)
		}
	}
}

// cursor is the last place at or below which nothing is left to do, but for
// what is parked.
func (l *lane) cursor() Place {
	if len(l.queue) == 0 {
		return l.seen
	}
	return l.queue[0].place.before()
}

// idle reports that everything that was offered is settled.
func (l *lane) idle() bool { return len(l.queue) == 0 && len(l.parked) == 0 && l.flying == 0 }

// oldest is when the oldest message happened that is not settled.
func (l *lane) oldest() (at time.Time) {
	if len(l.queue) > 0 {
		at = l.queue[0].at
	}
	if len(l.parked) > 0 && (at.IsZero() || l.parked[0].at.Before(at)) {
		at = l.parked[0].at
	}
	return at
}

// next takes the next message to be sent, or says when to ask again: after a
// result or a message, or at a time, if that is not zero.
func (l *lane) next(now time.Time) (*item, time.Time) {
	switch {
	case l.stopped, len(l.queue) == 0 && len(l.parked) == 0:
		return nil, time.Time{}
	case now.Before(l.pausedUntil):
		return nil, l.pausedUntil
	case l.held && l.probe != nil, !l.held && l.flying >= l.allowed:
		return nil, time.Time{}
	case l.held && now.Before(l.probeAt):
		return nil, l.probeAt
	}
	it, wake := l.pick(now)
	if it == nil {
		return nil, wake
	}
	if at, ok := l.bucket.take(now); !ok {
		return nil, at
	}
	it.flying = true
	l.flying++
	if it.parked {
		l.retrying++
	}
	if l.held {
		l.probe = it
	}
	return it, time.Time{}
}

// recall takes an item back that was sent and of which nothing became.
func (l *lane) recall(it *item) {
	it.flying = false
	l.flying--
	if it.parked {
		l.retrying--
		l.retryAt = time.Time{}
	}
	if l.probe == it {
		l.probe = nil
	}
}

// pick finds what is due. Who is held asks with the oldest message, not with one
// that was refused before.
func (l *lane) pick(now time.Time) (*item, time.Time) {
	if l.held {
		for _, it := range l.queue {
			if !it.passed && !it.flying && it.first() {
				return it, time.Time{}
			}
		}
		return l.pickParked(now)
	}
	it, wake := l.pickParked(now)
	if it != nil {
		return it, time.Time{}
	}
	for _, it := range l.queue {
		if it.passed || it.flying || !it.first() {
			continue
		}
		if !it.due.After(now) {
			return it, time.Time{}
		}
		wake = earlier(wake, it.due)
	}
	return nil, wake
}

// pickParked leaves half of what is on its way to what was never refused.
func (l *lane) pickParked(now time.Time) (*item, time.Time) {
	switch {
	case len(l.parked) == 0, l.retrying >= max(1, l.allowed/2):
		return nil, time.Time{}
	case now.Before(l.retryAt):
		return nil, l.retryAt
	}
	l.retryAt = time.Time{}
	for _, it := range l.parked {
		if it.flying || !it.first() {
			continue
		}
		if !it.due.After(now) {
			l.retryAt = time.Time{} // there may be more
			return it, time.Time{}
		}
		l.retryAt = earlier(l.retryAt, it.due)
	}
	return nil, l.retryAt
}
