package delivery

import (
	"slices"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// line is messages of which only the first may be sent.
type line struct{ items []*item }

func (l *lane) lineUp(it *item) {
	var name domain.AgentID
	switch l.ordering {
	case Parallel:
		return
	case PerAgent:
		name = it.agent
	case Strict: // one line for all
	}
	if l.lines[name] == nil {
		l.lines[name] = &line{}
	}
	it.line = l.lines[name]
	it.line.items = append(it.line.items, it)
}

// leave takes an item that is done out of the lane.
func (l *lane) leave(it *item) {
	if it.line != nil {
		it.line.items = slices.Delete(it.line.items, 0, 1) // no other one was sent
		if len(it.line.items) == 0 {
			name := it.agent
			if l.ordering == Strict {
				name = ""
			}
			delete(l.lines, name)
		}
	}
	if it.parked {
		i, _ := l.findParked(it.place)
		l.parked = slices.Delete(l.parked, i, i+1)
		l.retryAt = time.Time{}
	}
	it.passed, it.msg = true, nil
	l.pop()
}

func (l *lane) pop() {
	n := 0
	for n < len(l.queue) && l.queue[n].passed {
		n++
	}
	l.queue = slices.Delete(l.queue, 0, n)
}

// putAside parks an item, if there is room for it.
func (l *lane) putAside(it *item) bool {
	if len(l.parked) >= l.rules.Parked {
		return false
	}
	it.parked, it.passed, it.msg = true, true, nil
	i, _ := l.findParked(it.place)
	l.parked = slices.Insert(l.parked, i, it)
	l.retryAt = time.Time{}
	l.pop()
	return true
}

func (l *lane) findParked(p Place) (int, bool) {
	return slices.BinarySearchFunc(l.parked, p, func(it *item, p Place) int { return it.place.Compare(p) })
}
