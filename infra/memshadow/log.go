// Package memshadow records shadows in memory. It keeps every promise of the
// real one and can break them on request, which is what tests need; nothing in it
// outlives the process.
package memshadow

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/behalf-platform/behalf/domain"
)

// Log is the records of all shadows. The zero Log is empty.
type Log struct {
	// BeforeAppend and AfterAppend, where they return an error, make an append
	// fail: before it is stored, or after. They are set before the log is used.
	BeforeAppend, AfterAppend func(domain.ShadowRecord) error

	mu sync.Mutex
	// All below are guarded by mu. grown is closed when there is more.
	entries []entry
	newest  map[domain.Stream]uint64
	grown   chan struct{}
}

type entry struct {
	stream domain.Stream
	kind   domain.Kind
	raw    []byte
}

// Append stores r if the newest record of its agent is at last.
func (l *Log) Append(ctx context.Context, last uint64, r domain.ShadowRecord) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s := r.Stream()
	if err := check(s); err != nil {
		return 0, err
	}
	if r.Event == nil {
		return 0, fmt.Errorf("record %s has no event", r.ID)
	}
	raw, err := r.Append(nil)
	if err != nil {
		return 0, err
	}
	if l.BeforeAppend != nil {
		if err := l.BeforeAppend(r); err != nil {
			return 0, err
		}
	}
	seq, err := l.store(s, last, entry{s, r.Event.Kind(), raw})
	if err == nil && l.AfterAppend != nil {
		err = l.AfterAppend(r)
	}
	return seq, err
}

func (l *Log) store(s domain.Stream, last uint64, e entry) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newest[s] != last {
		return 0, domain.ErrMoved
	}
	if l.newest == nil {
		l.newest = map[domain.Stream]uint64{}
	}
	l.entries = append(l.entries, e)
	seq := uint64(len(l.entries))
	l.newest[s] = seq
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
	return seq, nil
}

// Lose forgets the newest n records, as a server that loses power may.
func (l *Log) Lose(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = l.entries[:max(0, len(l.entries)-n):max(0, len(l.entries)-n)]
	clear(l.newest)
	for i, e := range l.entries {
		l.newest[e.stream] = uint64(i + 1)
	}
}

// Newest is the newest record of an agent, or [domain.ErrNotRecorded].
func (l *Log) Newest(ctx context.Context, of domain.Stream) (domain.ShadowRecorded, error) {
	if err := check(of); err != nil {
		return domain.ShadowRecorded{}, err
	}
	l.mu.Lock()
	seq := l.newest[of]
	l.mu.Unlock()
	return l.Read(ctx, of, seq)
}

// Read is the record of an agent at a sequence, or [domain.ErrNotRecorded].
func (l *Log) Read(ctx context.Context, of domain.Stream, seq uint64) (domain.ShadowRecorded, error) {
	if err := ctx.Err(); err != nil {
		return domain.ShadowRecorded{}, err
	}
	if err := check(of); err != nil {
		return domain.ShadowRecorded{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq == 0 || seq > uint64(len(l.entries)) || l.entries[seq-1].stream != of {
		return domain.ShadowRecorded{}, domain.ErrNotRecorded
	}
	r, err := domain.DecodeShadowRecord(l.entries[seq-1].raw)
	return domain.ShadowRecorded{ShadowRecord: r, Seq: seq}, err
}

// Follow calls see with the kind of the newest record of each agent, and then of
// each record that is stored, until ctx ends.
func (l *Log) Follow(ctx context.Context, see func(domain.Stream, domain.Kind)) error {
	next, begun := 0, false
	for ctx.Err() == nil {
		l.mu.Lock()
		if l.grown == nil {
			l.grown = make(chan struct{})
		}
		grown, all := l.grown, slices.Clip(l.entries)
		var seen []entry
		for i := min(next, len(all)); i < len(all); i++ {
			if begun || l.newest[all[i].stream] == uint64(i+1) {
				seen = append(seen, all[i])
			}
		}
		l.mu.Unlock()
		next, begun = len(all), true
		for _, e := range seen {
			see(e.stream, e.kind)
		}
		select {
		case <-grown:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func check(s domain.Stream) error {
	if s.Budget || !domain.ValidID(string(s.Account)) || !domain.ValidID(string(s.Agent)) {
		return fmt.Errorf("%q is not an agent", s)
	}
	return nil
}
