package memlog

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// class is what a record is to its stream.
type class uint8

const (
	event    class = iota // moves it
	decision              // is guarded by it, and changes nothing
)

// entry is a stored record. It holds the bytes, so that what is read was really
// encoded.
type entry struct {
	stream domain.Stream
	class  class
	last   uint64
	at     time.Time
	raw    []byte
	// keep is how long it stays, 0 for ever.
	keep time.Duration
}

// goneAt reports whether its time is over.
func (e *entry) goneAt(now time.Time) bool { return e.keep > 0 && !now.Before(e.at.Add(e.keep)) }

// partition is one sequence of entries. Entries are only ever added; those whose
// time is over are not shown.
type partition struct {
	index uint16
	epoch uint32

	mu sync.RWMutex
	// entries is guarded by mu, as is all below. The first has the sequence 1.
	entries []entry
	// events are the sequences of the entries that move a stream; streams are
	// the same for each stream.
	events  []uint64
	streams map[domain.Stream][]uint64
	// names are the sequences of the appends that were named.
	names map[string]uint64
	// grown is closed, and replaced, with each new entry.
	grown chan struct{}
}

func newPartition(index uint16, epoch uint32) *partition {
	return &partition{
		index: index, epoch: epoch,
		streams: map[domain.Stream][]uint64{}, names: map[string]uint64{}, grown: make(chan struct{}),
	}
}

// append stores all entries, unless a stream has moved or the append was done
// already.
func (p *partition) append(d *data, entries []entry, name string) ([]domain.Receipt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := d.now() // under the lock, so that the log's time runs with its sequence
	moved := slices.ContainsFunc(entries, func(e entry) bool { return e.last != newest(p.streams[e.stream]) })
	if moved && len(entries) == 1 && !d.config.Replicated {
		return nil, domain.ErrMoved
	}
	if seq, ok := p.names[name]; ok && at.Sub(p.entries[seq-1].at) < d.config.DedupeWindow {
		return []domain.Receipt{{Position: p.position(seq), Duplicate: true}}, nil
	}
	if moved {
		return nil, domain.ErrMoved
	}
	receipts := make([]domain.Receipt, len(entries))
	for i, e := range entries {
		e.at = at
		receipts[i].Position = p.position(p.add(e))
	}
	if name != "" {
		p.names[name] = receipts[0].Position.Seq
	}
	return receipts, nil
}

// add stores e and wakes whoever waits for it. The caller holds mu.
func (p *partition) add(e entry) uint64 {
	p.entries = append(p.entries, e)
	seq := uint64(len(p.entries))
	if e.class == event {
		p.events = append(p.events, seq)
		p.streams[e.stream] = append(p.streams[e.stream], seq)
	}
	close(p.grown)
	p.grown = make(chan struct{})
	return seq
}

func (p *partition) position(seq uint64) domain.Position {
	return domain.Position{Partition: p.index, Epoch: p.epoch, Seq: seq}
}

func (p *partition) head() uint64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return uint64(len(p.entries))
}

// ends are the sequences of the newest entry and of the newest event.
func (p *partition) ends() (head, moved uint64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return uint64(len(p.entries)), newest(p.events)
}

// stream is the sequences of a stream after one, less the newest few.
func (p *partition) stream(s domain.Stream, after uint64, missing int) []uint64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	seqs := p.streams[s]
	seqs = seqs[:max(0, len(seqs)-missing)]
	return seqs[firstAfter(seqs, after):]
}

// next is the sequence of the first event after one. Without such an event yet,
// it is 0, and grown is closed when there may be one.
func (p *partition) next(after uint64) (seq uint64, grown <-chan struct{}) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if i := firstAfter(p.events, after); i < len(p.events) {
		return p.events[i], nil
	}
	return 0, p.grown
}

// wait is the entry at a sequence, as soon as there is one.
func (p *partition) wait(ctx context.Context, seq uint64) (entry, error) {
	for {
		if err := ctx.Err(); err != nil {
			return entry{}, err
		}
		p.mu.RLock()
		entries, grown := p.entries, p.grown
		p.mu.RUnlock()
		if seq <= uint64(len(entries)) {
			return entries[seq-1], nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
		}
	}
}

func (p *partition) read(seq uint64) (domain.Recorded, error) {
	p.mu.RLock()
	e := p.entries[seq-1]
	p.mu.RUnlock()
	return p.decode(seq, e)
}

// decode reads the stored form again. A record that does not belong where it
// lies is as unreadable as one that is no record.
func (p *partition) decode(seq uint64, e entry) (domain.Recorded, error) {
	r, err := domain.DecodeRecord(e.raw)
	if err == nil {
		if is, bad := classOf(r); bad != nil || is != e.class || r.Stream() != e.stream {
			err = fmt.Errorf("it is a %s of %s", r.Event.Kind(), r.Stream())
		}
	}
	if err != nil {
		return domain.Recorded{}, &domain.Unreadable{Stream: e.stream, Position: p.position(seq), Err: err}
	}
	r.Keep = e.keep
	return domain.Recorded{Record: r, Position: p.position(seq), Last: e.last, LoggedAt: e.at}, nil
}

// there reports whether a sequence has an entry that has not gone.
func (p *partition) there(seq uint64, now time.Time) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return seq > 0 && seq <= uint64(len(p.entries)) && !p.entries[seq-1].goneAt(now)
}

// since is a search from the oldest on: the clock can be set back.
func (p *partition) since(t, now time.Time) uint64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	i := slices.IndexFunc(p.entries, func(e entry) bool { return !e.at.Before(t) && !e.goneAt(now) })
	if i < 0 {
		i = len(p.entries)
	}
	return uint64(i) + 1
}

func newest(seqs []uint64) uint64 {
	if len(seqs) == 0 {
		return 0
	}
	return seqs[len(seqs)-1]
}

func firstAfter(seqs []uint64, after uint64) int {
	i, found := slices.BinarySearch(seqs, after)
	if found {
		i++
	}
	return i
}
