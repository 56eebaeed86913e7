package delivery

import (
	"slices"
	"sync"

	"github.com/behalf-platform/behalf/domain"
)

// ring is the newest part of a partition, in memory. The one who reads the log
// puts messages in and waits for nobody; lanes take what is for their account
// when they have room. A lane that falls out of it reads the log by itself.
type ring struct {
	mu sync.Mutex
	// All below is guarded by mu. Segments follow each other; the last one grows.
	segments []*segment
	segment  int // how many messages there are in one
	// waiting are the lanes that have taken all there is of an account.
	waiting map[domain.AccountID][]*runner
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
		segments: []*segment{newSegment(after)}, segment: max(1, messages/segments),
		waiting: map[domain.AccountID][]*runner{},
	}
}

// add adds a record and wakes the lanes that wait for one of its account.
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
	if len(step.Messages) == 0 {
		return
	}
	for _, lane := range r.waiting[step.Account] {
		lane.nudge()
	}
	delete(r.waiting, step.Account)
}

// pull is the messages of a lane's account after a place, and through where it
// was looked. False means that the ring begins later. A lane that is given all
// there is, is woken by the next one.
func (r *ring) pull(lane *runner, after Place, most int) (found []*Message, read Place, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
	account := lane.endpoint.Account
	if !slices.Contains(r.waiting[account], lane) {
		r.waiting[account] = append(r.waiting[account], lane)
	}
	newest := through(r.segments[len(r.segments)-1].through)
	if newest.Compare(after) < 0 {
		newest = after
	}
	return found, newest, true
}

// forget is a lane that won't pull any more.
func (r *ring) forget(lane *runner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	account := lane.endpoint.Account
	r.waiting[account] = slices.DeleteFunc(r.waiting[account], func(o *runner) bool { return o == lane })
	if len(r.waiting[account]) == 0 {
		delete(r.waiting, account)
	}
}

// bounds are the record after which the ring begins and the newest one in it.
func (r *ring) bounds() (after, newest uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.segments[0].after, r.segments[len(r.segments)-1].through
}
