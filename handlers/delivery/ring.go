package delivery

import (
	"slices"
	"strings"
	"sync"

	"github.com/behalf-platform/behalf/domain"
)

// ring is the newest part of a partition, in memory. The one who reads the log
// puts messages in and waits for nobody; lanes take what is for their account
// when they have room. A lane that falls out of it reads the log by itself. One
// that has taken all rests, and is not disturbed by what it doesn't want.
type ring struct {
	mu sync.Mutex
	// All below is guarded by mu. Segments follow each other; the last one grows.
	segments []*segment
	segment  int // how many messages there are in one
	audience map[domain.AccountID]*audience
}

// segments is how many a ring has.
const segments = 8

// segment is the messages of the records after one up to another, by account.
type segment struct {
	after, through uint64
	of             map[domain.AccountID][]*Message
	messages       int
}

func newSegment(after uint64) *segment {
	return &segment{after: after, through: after, of: map[domain.AccountID][]*Message{}}
}

func (s *segment) add(step Step) {
	s.through = step.Seq
	if len(step.Messages) > 0 {
		s.of[step.Account] = append(s.of[step.Account], step.Messages...)
		s.messages += len(step.Messages)
	}
}

// take is the messages of an account after a place, at most so many.
func (s *segment) take(account domain.AccountID, after Place, most int) []*Message {
	all := s.of[account]
	i, _ := slices.BinarySearchFunc(all, after, func(m *Message, p Place) int {
		if m.Place().Compare(p) <= 0 {
			return -1
		}
		return 1
	})
	n := min(len(all), i+most)
	return all[i:n:n]
}

func newRing(after uint64, messages int) *ring {
	return &ring{
		segments: []*segment{newSegment(after)}, segment: max(1, messages/segments), audience: map[domain.AccountID]*audience{},
	}
}

// add adds a record and wakes the lanes that rest and want something of it.
func (r *ring) add(step Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.segments[len(r.segments)-1]
	if last.messages >= r.segment {
		last = newSegment(last.through)
		r.segments = append(r.segments, last)
		if len(r.segments) > segments {
			r.segments[0] = nil // else the array keeps it
			r.segments = r.segments[1:]
		}
	}
	last.add(step)
	if a := r.audience[step.Account]; a != nil {
		for _, m := range step.Messages {
			a.tell(m)
		}
	}
}

// pull is the messages of a lane's account after a place, and through where it
// was looked, which may be beyond what is in front of the first. False means that
// the ring begins later. A lane that is given all there is rests, and is woken by
// the next one that it wants.
func (r *ring) pull(lane *runner, after Place, most int) (found []*Message, read Place, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	newest := through(r.segments[len(r.segments)-1].through)
	if lane.rests {
		nothing := newest // is for it, up to there
		if lane.wokenBy > 0 {
			nothing, lane.rests = through(lane.wokenBy-1), false
		}
		if after.Compare(nothing) < 0 {
			after = nothing
		}
		if lane.rests {
			return nil, after, true
		}
	}
	if after.Compare(through(r.segments[0].after)) < 0 {
		return nil, after, false
	}
	for _, s := range r.segments {
		if s.through < after.Seq {
			continue
		}
		found = append(found, s.take(lane.endpoint.Account, after, most-len(found))...)
		if len(found) == most {
			return found, found[most-1].Place(), true
		}
	}
	r.rest(lane)
	if newest.Compare(after) < 0 {
		newest = after
	}
	return found, newest, true
}

// rest has a lane wait for what it wants. The caller holds mu.
func (r *ring) rest(lane *runner) {
	lane.rests, lane.wokenBy = true, 0
	if lane.listens {
		return
	}
	a := r.audience[lane.endpoint.Account]
	if a == nil {
		a = &audience{exact: map[string][]*runner{}, open: map[string][]*runner{}}
		r.audience[lane.endpoint.Account] = a
	}
	lane.listens = true
	a.join(lane)
}

// forget is a lane that won't pull any more.
func (r *ring) forget(lane *runner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.audience[lane.endpoint.Account]; a != nil && lane.listens {
		a.leave(lane)
		if len(a.all) == 0 {
			delete(r.audience, lane.endpoint.Account)
		}
	}
	lane.rests, lane.listens = false, false
}

// bounds are the record after which the ring begins and the newest one in it.
func (r *ring) bounds() (after, newest uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.segments[0].after, r.segments[len(r.segments)-1].through
}

// audience is the lanes of an account that have ever rested, by the types they
// want: with many of them, each record would else have all of them look.
type audience struct {
	all []*runner
	// exact are those who want a type, and open those who want all that begin
	// with something: a noun and a dot, or nothing.
	exact, open map[string][]*runner
}

func (a *audience) join(lane *runner) {
	a.all = append(a.all, lane)
	for _, t := range lane.endpoint.Types {
		where, t := a.by(t)
		where[t] = append(where[t], lane)
	}
}

func (a *audience) leave(lane *runner) {
	isLane := func(o *runner) bool { return o == lane }
	a.all = slices.DeleteFunc(a.all, isLane)
	for _, t := range lane.endpoint.Types {
		where, t := a.by(t)
		if where[t] = slices.DeleteFunc(where[t], isLane); len(where[t]) == 0 {
			delete(where, t)
		}
	}
}

// by is where lanes are found that want a pattern, and under what.
func (a *audience) by(pattern string) (map[string][]*runner, string) {
	if prefix, open := strings.CutSuffix(pattern, "*"); open {
		return a.open, prefix
	}
	return a.exact, pattern
}

// tell wakes those who rest and want a message.
func (a *audience) tell(m *Message) {
	if m.To != "" {
		wake(a.all, m)
		return
	}
	wake(a.exact[m.Type], m)
	wake(a.open[""], m)
	for i := range len(m.Type) {
		if m.Type[i] == '.' {
			wake(a.open[m.Type[:i+1]], m)
		}
	}
}

func wake(lanes []*runner, m *Message) {
	for _, lane := range lanes {
		if lane.rests && lane.wokenBy == 0 && lane.endpoint.Wants(m) {
			lane.wokenBy = m.Seq
			lane.nudge()
		}
	}
}
